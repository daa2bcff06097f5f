"""The matrix: what each answer in each phase, and each kind of DNS answer, makes of a recipient.

A row is one attempt of a whole delivery at a scripted server, and says how it ends there alone, and whether another
MX host is asked within the attempt. `relay/deliver/verdict.py` has the same as rules.
"""

import contextlib
import socket
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from relay.deliver.client import Timeouts
from storage.model import LogRow, TimelineEntry
from storage.status import Status
from tests.deliver.world import World
from tests.peers.dns import DnsServer
from tests.peers.smtp import DROP, HANG, STALL, Raw, Script, ScriptedServer, Step, free_port

QUICK = Timeouts(connect=0.3, greeting=0.3, mail=0.3, rcpt=0.3, data=0.3, block=0.3, dot=0.3, quit=0.3)
CALM = Timeouts(connect=5, greeting=5, mail=5, rcpt=5, data=5, block=5, dot=5, quit=5)
LARGE = b"Subject: large\r\n\r\n" + b"a line of a large message that no buffer on the way holds\r\n" * 300_000
GARBAGE = Raw(b"what is this?\r\n")
SOFT, BOUNCED, FAILED, DELIVERED = Status.SOFT_BOUNCED, Status.BOUNCED, Status.FAILED, Status.DELIVERED


@dataclass(frozen=True)
class Ends:
    """How an attempt ends."""

    status: Status
    phase: str
    word: str
    """Beginning of the reply: its code, or the enhanced code of our own words."""
    other: bool = False
    """Whether another MX host is asked within the attempt."""
    doubt: bool = False


# Before MAIL: all trouble is the host's, another is asked, and nobody's mail ends for it.
SETUP = [
    ("banner", "450 4.2.0 later", Ends(SOFT, "banner", "450", other=True)),
    ("banner", "554 5.7.1 go away", Ends(SOFT, "banner", "554", other=True)),
    ("banner", "421 4.3.2 busy", Ends(SOFT, "banner", "421", other=True)),
    ("banner", DROP, Ends(SOFT, "banner", "4.4.2", other=True)),
    ("banner", HANG, Ends(SOFT, "banner", "4.4.2", other=True)),
    ("banner", GARBAGE, Ends(SOFT, "banner", "4.5.0", other=True)),
    ("ehlo", "450 4.2.0 later", Ends(SOFT, "ehlo", "450", other=True)),
    ("ehlo", "502 5.5.1 what is EHLO", Ends(DELIVERED, "after-dot", "250")),  # HELO is tried, RFC 5321, 3.2
    ("ehlo", "421 4.3.2 busy", Ends(SOFT, "ehlo", "421", other=True)),
    ("ehlo", DROP, Ends(SOFT, "ehlo", "4.4.2", other=True)),
    ("ehlo", HANG, Ends(SOFT, "ehlo", "4.4.2", other=True)),
    ("ehlo", GARBAGE, Ends(SOFT, "ehlo", "4.5.0", other=True)),
]

# STARTTLS and the handshake where TLS is optional: the copy goes in clear then (RFC 7435, 3).
TLS_MAY = [
    ("starttls", "454 4.7.0 no TLS now", Ends(DELIVERED, "after-dot", "250")),
    ("starttls", "554 5.7.3 no TLS", Ends(DELIVERED, "after-dot", "250")),
    ("starttls", DROP, Ends(DELIVERED, "after-dot", "250")),
    ("starttls", HANG, Ends(DELIVERED, "after-dot", "250")),
    ("starttls", GARBAGE, Ends(DELIVERED, "after-dot", "250")),
    ("handshake", DROP, Ends(DELIVERED, "after-dot", "250")),
    ("handshake", HANG, Ends(DELIVERED, "after-dot", "250")),
    ("handshake", GARBAGE, Ends(DELIVERED, "after-dot", "250")),
]

# Where TLS is asked for.
TLS_ENCRYPT = [
    ("starttls", "454 4.7.0 no TLS now", Ends(SOFT, "tls", "454", other=True)),
    ("starttls", "554 5.7.3 no TLS", Ends(SOFT, "tls", "554", other=True)),
    ("starttls", DROP, Ends(SOFT, "tls", "4.4.2", other=True)),
    ("starttls", HANG, Ends(SOFT, "tls", "4.4.2", other=True)),
    ("starttls", GARBAGE, Ends(SOFT, "tls", "4.5.0", other=True)),
    ("handshake", DROP, Ends(SOFT, "tls", "4.", other=True)),
    ("handshake", HANG, Ends(SOFT, "tls", "4.", other=True)),
    ("handshake", GARBAGE, Ends(SOFT, "tls", "4.7.5", other=True)),
]

# A smarthost's AUTH: what fails is ours to mend, whatever is said.
AUTH = [
    ("450 4.7.0 later", Ends(SOFT, "auth", "450")),
    ("535 5.7.8 wrong password", Ends(SOFT, "auth", "535")),
    (DROP, Ends(SOFT, "auth", "4.4.2")),
    (HANG, Ends(SOFT, "auth", "4.4.2")),
    (GARBAGE, Ends(SOFT, "auth", "4.5.0")),
]

# The transaction: a reply speaks of the mail, silence and 421 speak of the host; after the dot no other is asked.
MAIL = [
    ("mail", "450 4.2.0 later", Ends(SOFT, "mail", "450")),
    ("mail", "554 5.5.0 no", Ends(BOUNCED, "mail", "554")),
    ("mail", "550 5.1.1 no such user", Ends(BOUNCED, "mail", "550")),  # it has not heard the recipient yet
    ("mail", "421 4.3.2 closing", Ends(SOFT, "mail", "421", other=True)),
    ("mail", "451 4.3.0 no disk", Ends(SOFT, "mail", "451", other=True)),
    ("mail", "354 go on", Ends(SOFT, "mail", "4.5.0", other=True)),
    ("mail", DROP, Ends(SOFT, "mail", "4.4.2", other=True)),
    ("mail", HANG, Ends(SOFT, "mail", "4.4.2", other=True)),
    ("mail", GARBAGE, Ends(SOFT, "mail", "4.5.0", other=True)),
    ("rcpt", "450 4.2.0 later", Ends(SOFT, "rcpt", "450")),
    ("rcpt", "554 5.5.0 no", Ends(BOUNCED, "rcpt", "554")),
    ("rcpt", "550 5.1.1 no such user", Ends(FAILED, "rcpt", "550")),
    ("rcpt", "421 4.3.2 closing", Ends(SOFT, "rcpt", "421", other=True)),
    ("rcpt", "354 go on", Ends(SOFT, "rcpt", "4.5.0", other=True)),
    ("rcpt", DROP, Ends(SOFT, "rcpt", "4.4.2", other=True)),
    ("rcpt", HANG, Ends(SOFT, "rcpt", "4.4.2", other=True)),
    ("rcpt", GARBAGE, Ends(SOFT, "rcpt", "4.5.0", other=True)),
    ("data", "450 4.2.0 later", Ends(SOFT, "data", "450")),
    ("data", "554 5.5.0 no", Ends(BOUNCED, "data", "554")),
    ("data", "550 5.1.1 no such user", Ends(FAILED, "data", "550")),
    ("data", "421 4.3.2 closing", Ends(SOFT, "data", "421", other=True)),
    ("data", "250 already", Ends(SOFT, "data", "4.5.0", other=True)),
    ("data", DROP, Ends(SOFT, "data", "4.4.2", other=True)),
    ("data", HANG, Ends(SOFT, "data", "4.4.2", other=True)),
    ("data", GARBAGE, Ends(SOFT, "data", "4.5.0", other=True)),
    ("dot", "450 4.2.0 later", Ends(SOFT, "after-dot", "450")),
    ("dot", "554 5.5.0 no", Ends(BOUNCED, "after-dot", "554")),
    ("dot", "550 5.1.1 no such user", Ends(FAILED, "after-dot", "550")),
    ("dot", "421 4.3.2 closing", Ends(SOFT, "after-dot", "421")),
    ("dot", "354 more", Ends(SOFT, "after-dot", "4.5.0", doubt=True)),
    ("dot", DROP, Ends(SOFT, "after-dot", "4.4.2", doubt=True)),
    ("dot", HANG, Ends(SOFT, "after-dot", "4.4.2", doubt=True)),
    ("dot", GARBAGE, Ends(SOFT, "after-dot", "4.5.0", doubt=True)),
]

# In the middle of the content: a final word is final, a lone break is not, and neither is in doubt.
CONTENT = [
    ("450 4.2.0 later", Ends(SOFT, "content", "450")),
    ("552 5.3.4 too big", Ends(BOUNCED, "content", "552")),
    ("550 5.1.1 no such user", Ends(FAILED, "content", "550")),
    ("421 4.3.2 closing", Ends(SOFT, "content", "421", other=True)),
    ("250 kept already", Ends(SOFT, "content", "250", other=True)),
    (DROP, Ends(SOFT, "content", "4.4.2", other=True)),
    (STALL, Ends(SOFT, "content", "4.4.2", other=True)),
    (GARBAGE, Ends(SOFT, "content", "4.5.0", other=True)),
]


def named(value: object) -> str | None:
    """Name a row's answer as the table does."""
    if isinstance(value, Ends):
        return value.status.value
    if isinstance(value, Raw):
        return "garbage"
    return getattr(value, "what", None)


def patience(*steps: Step) -> Timeouts:
    """Wait no longer than a test has to, and a loaded machine needs."""
    return QUICK if HANG in steps or STALL in steps else CALM


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    with DnsServer() as dns:
        dns.mx("one.test", "mx1.test")
        dns.mx("two.test", "10 mx1.test", "20 mx2.test")
        dns.add("mx1.test", "A", "127.0.0.1")
        dns.add("mx2.test", "A", "127.0.0.2")
        made = World(tmp_path, dns)
        await made.open()
        yield made
        await made.close()


async def attempt(world: World, address: str) -> tuple[LogRow, TimelineEntry]:
    row = await world.settled(address)
    entries = [entry for entry in await world.timeline(address) if entry.phase is not None]
    assert row.attempts == len(entries) == 1
    return row, entries[0]


async def holds(world: World, script: Script, ends: Ends, content: bytes | None = None, **settings: Any) -> None:
    """Run a row twice: where the server is the domain's only host, and where there is another."""
    changes = {} if content is None else {"content": content}
    port = free_port("127.0.0.1", "127.0.0.2")
    with ScriptedServer(script, port=port), ScriptedServer(Script(tls=script.tls), "127.0.0.2", port) as other:
        steps = [
            getattr(script, phase) for phase in ("banner", "ehlo", "starttls", "handshake", "mail", "rcpt", "data")
        ]
        timeouts = patience(*steps, script.dot)
        if script.body == STALL:
            timeouts = replace(CALM, block=0.3)
        world.make(port=port, timeouts=timeouts, **settings)
        await world.send("bob@one.test", **changes)
        row, entry = await attempt(world, "bob@one.test")
        assert (row.status, str(entry.phase)) == (ends.status, ends.phase)
        assert entry.reply is not None
        assert (str(entry.reply.code) if entry.reply.code else entry.reply.enhanced or "").startswith(ends.word)
        assert ("in doubt" in entry.text) is ends.doubt
        assert (row.next_attempt_ms is None) is (row.status is not SOFT)
        world.delivery.flush_hint()
        await world.send("bob@two.test", **changes)
        row, _ = await attempt(world, "bob@two.test")
        assert bool(other.conversations) is ends.other
        assert row.status is (DELIVERED if ends.other else ends.status)


@pytest.mark.parametrize(("phase", "step", "ends"), SETUP, ids=named)
async def test_before_mail(world: World, phase: str, step: Step, ends: Ends) -> None:
    await holds(world, Script(**{phase: step}), ends)  # type: ignore[arg-type]


async def test_ehlo_and_helo_refused(world: World) -> None:
    script = Script(ehlo="502 5.5.1 what is EHLO", helo="554 5.5.0 no")
    await holds(world, script, Ends(SOFT, "ehlo", "554", other=True))


@pytest.mark.parametrize(("phase", "step", "ends"), TLS_MAY, ids=named)
async def test_optional_tls(world: World, phase: str, step: Step, ends: Ends) -> None:
    await holds(world, Script(tls=True, **{phase: step}), ends)  # type: ignore[arg-type]


@pytest.mark.parametrize(("phase", "step", "ends"), TLS_ENCRYPT, ids=named)
async def test_tls_that_is_asked_for(world: World, phase: str, step: Step, ends: Ends) -> None:
    await holds(world, Script(tls=True, **{phase: step}), ends, tls="encrypt")  # type: ignore[arg-type]


@pytest.mark.parametrize(("step", "ends"), AUTH, ids=named)
async def test_auth_at_a_smarthost(world: World, step: Step, ends: Ends) -> None:
    with ScriptedServer(Script(auth=step, extensions=("AUTH PLAIN",))) as server:
        world.make(routes={"*": f"smtp://me:secret@127.0.0.1:{server.port}"}, timeouts=patience(step))
        await world.send("bob@one.test")
        row, entry = await attempt(world, "bob@one.test")
        assert (row.status, str(entry.phase)) == (ends.status, ends.phase)
        assert entry.reply is not None
        assert (str(entry.reply.code) if entry.reply.code else entry.reply.enhanced or "").startswith(ends.word)


@pytest.mark.parametrize("pipelining", [True, False], ids=["pipelined", "in turn"])
@pytest.mark.parametrize(("phase", "step", "ends"), MAIL, ids=named)
async def test_the_transaction(world: World, phase: str, step: Step, ends: Ends, *, pipelining: bool) -> None:
    extensions = ("PIPELINING", "8BITMIME") if pipelining else ("8BITMIME",)
    await holds(world, Script(extensions=extensions, **{phase: step}), ends)  # type: ignore[arg-type]


@pytest.mark.parametrize(("step", "ends"), CONTENT, ids=named)
async def test_the_middle_of_the_content(world: World, step: Step, ends: Ends) -> None:
    await holds(world, Script(body=step, body_bytes=100_000), ends, content=LARGE)


# The connection itself.


@contextlib.contextmanager
def deaf(address: str) -> Iterator[int]:
    """A port where nobody takes connections and the queue of the kernel is full: SYNs are dropped."""
    with socket.create_server((address, 0), backlog=0) as listener:
        port: int = listener.getsockname()[1]
        fillers = [socket.socket() for _ in range(3)]
        for filler in fillers:
            filler.setblocking(False)
            filler.connect_ex((address, port))
        try:
            yield port
        finally:
            for filler in fillers:
                filler.close()


async def test_a_port_where_nobody_listens(world: World) -> None:
    port = free_port("127.0.0.1", "127.0.0.2")
    world.make(port=port, timeouts=QUICK)
    await world.send("bob@one.test")
    row, entry = await attempt(world, "bob@one.test")
    assert (row.status, entry.phase, row.enhanced_status) == (SOFT, "connect", "4.4.1")
    assert "Connection refused" in row.diagnostic
    with ScriptedServer(address="127.0.0.2", port=port):
        await world.send("bob@two.test")
        assert (await attempt(world, "bob@two.test"))[0].status is DELIVERED


async def test_a_host_that_does_not_answer(world: World) -> None:
    with deaf("127.0.0.1") as port, ScriptedServer(address="127.0.0.2", port=port):
        world.make(port=port, timeouts=QUICK)
        await world.send("bob@one.test")
        row, entry = await attempt(world, "bob@one.test")
        assert (row.status, entry.phase, row.enhanced_status) == (SOFT, "connect", "4.4.1")
        assert "timed out" in row.diagnostic
        await world.send("bob@two.test")
        assert (await attempt(world, "bob@two.test"))[0].status is DELIVERED


# DNS. "here" is a host at 127.0.0.1 that takes all, "dead" one at 127.0.0.9 where nobody listens.

DNS = [
    ("null MX (RFC 7505)", {"MX": ["0 ."]}, FAILED, "dns", "5.1.10"),
    ("no MX, an address (implicit MX)", {"A": ["127.0.0.1"]}, DELIVERED, "after-dot", None),
    ("no MX, no address", {"TXT": ['"v=spf1 -all"']}, FAILED, "dns", "5.4.4"),
    ("no such domain", {}, FAILED, "dns", "5.1.2"),
    ("SERVFAIL", "servfail", SOFT, "dns", "4.4.3"),
    ("REFUSED", "refuse", SOFT, "dns", "4.4.3"),
    ("no answer", "drop", SOFT, "dns", "4.4.3"),
    ("garbage", "garbage", SOFT, "dns", "4.4.3"),
    ("an answer that is truncated", {"MX": ["10 here.test."], "rule": "truncate"}, DELIVERED, "after-dot", None),
    ("the domain is an alias", {"CNAME": ["alias.test."]}, DELIVERED, "after-dot", None),
    ("the MX host is an alias", {"MX": ["10 cname.test."]}, DELIVERED, "after-dot", None),
    ("an alias of itself", {"CNAME": ["case.test."]}, SOFT, "dns", "4.4.3"),
    ("an address as MX host", {"MX": ["10 127.0.0.1."]}, DELIVERED, "after-dot", None),
    ("ourselves", {"MX": ["10 relay.test."]}, BOUNCED, "dns", "5.4.6"),
    ("ourselves best", {"MX": ["10 relay.test.", "20 here.test."]}, BOUNCED, "dns", "5.4.6"),
    ("ourselves after another", {"MX": ["10 here.test.", "20 relay.test."]}, DELIVERED, "after-dot", None),
    ("the best is dead", {"MX": ["10 dead.test.", "20 here.test."]}, DELIVERED, "after-dot", None),
    ("one of two alike is dead", {"MX": ["10 dead.test.", "10 here.test."]}, DELIVERED, "after-dot", None),
    ("all are dead", {"MX": ["10 dead.test.", "20 dead2.test."]}, SOFT, "connect", "4.4.1"),
    ("the best has no address", {"MX": ["10 empty.test.", "20 here.test."]}, DELIVERED, "after-dot", None),
    ("the best does not exist", {"MX": ["10 nowhere.test.", "20 here.test."]}, DELIVERED, "after-dot", None),
    ("no host has an address", {"MX": ["10 empty.test.", "20 nowhere.test."]}, FAILED, "dns", "5.4.4"),
    ("the best cannot be looked up", {"MX": ["10 broken.test.", "20 here.test."]}, DELIVERED, "after-dot", None),
    ("no host can be looked up", {"MX": ["10 broken.test."]}, SOFT, "dns", "4.4.3"),
    ("one dead, one that cannot be looked up", {"MX": ["1 broken.test.", "2 dead.test."]}, SOFT, "connect", "4.4.1"),
    ("one without address, one dead", {"MX": ["1 empty.test.", "2 dead.test."]}, SOFT, "connect", "4.4.1"),
    ("a null MX among others", {"MX": ["0 .", "10 here.test."]}, DELIVERED, "after-dot", None),
    ("IPv6 only", {"MX": ["10 six.test."]}, DELIVERED, "after-dot", None),
    ("IPv6 dead, IPv4 alive", {"MX": ["10 mixed.test."]}, DELIVERED, "after-dot", None),
    ("a host of many addresses, the last alive", {"MX": ["10 many.test."]}, DELIVERED, "after-dot", None),
]


@pytest.mark.parametrize(("records", "status", "phase", "enhanced"), [row[1:] for row in DNS], ids=[r[0] for r in DNS])
async def test_dns(world: World, records: Any, status: Status, phase: str, enhanced: str | None) -> None:
    dns = world.dns
    dns.mx("alias.test", "here.test")
    dns.add("here.test", "A", "127.0.0.1")
    dns.add("cname.test", "CNAME", "here.test.")
    dns.add("dead.test", "A", "127.0.0.9")
    dns.add("dead2.test", "A", "127.0.0.10")
    dns.add("empty.test", "TXT", '"nothing"')
    dns.add("six.test", "AAAA", "::1")
    dns.add("mixed.test", "AAAA", "::2")
    dns.add("mixed.test", "A", "127.0.0.1")
    dns.add("many.test", "A", *(f"127.0.0.{n}" for n in (9, 10, 11, 12)), "127.0.0.1")
    dns.servfail("broken.test")
    if isinstance(records, str):
        getattr(dns, records)("case.test")
    else:
        rule = records.get("rule")
        for kind, values in records.items():
            if kind != "rule":
                dns.add("case.test", kind, *values)
        if rule is not None:
            getattr(dns, rule)("case.test")
    port = free_port("127.0.0.1", "::1", "127.0.0.9")
    with ScriptedServer(port=port) as four, ScriptedServer(address="::1", port=port) as six:
        world.make(port=port, timeouts=CALM)
        await world.send("bob@case.test")
        row, entry = await attempt(world, "bob@case.test")
        assert (row.status, str(entry.phase)) == (status, phase)
        assert enhanced is None or row.enhanced_status == enhanced
        assert len([*four.conversations, *six.conversations]) == (status is DELIVERED)


@pytest.mark.parametrize(
    ("addresses", "status"),
    [
        (["127.0.0.1"], BOUNCED),
        (["10.0.0.1", "192.168.0.1", "172.16.0.1"], BOUNCED),
        (["169.254.1.1"], BOUNCED),
        (["::1"], BOUNCED),
        (["fe80::1", "fd00::1"], BOUNCED),
        (["::ffff:127.0.0.1"], BOUNCED),
        (["0.0.0.0"], BOUNCED),
        (["224.0.0.1"], BOUNCED),
    ],
)
async def test_no_stranger_sends_us_to_private_addresses(world: World, addresses: list[str], status: Status) -> None:
    world.dns.mx("private.test", "mx.private.test")
    for kind in ("A", "AAAA"):
        world.dns.add("mx.private.test", kind, *(each for each in addresses if (":" in each) is (kind == "AAAA")))
    world.make(port=free_port(), timeouts=QUICK, allow_private_destinations=False)
    await world.send("bob@private.test")
    row, entry = await attempt(world, "bob@private.test")
    assert (row.status, entry.phase, row.enhanced_status) == (status, "dns", "5.7.1")


async def test_preferences_are_kept_and_equals_are_shuffled(world: World) -> None:
    """RFC 5321, 5.1: lower numbers first; the sender spreads the load over equal ones."""
    from relay.deliver.mx import Hosts

    hosts = Hosts((("a", "b"), ("c",)))
    chance = iter([0.9, 0.1, 0.1, 0.9])
    assert hosts.in_order(lambda: next(chance)) == ["b", "a", "c"]
    assert hosts.in_order(lambda: next(chance)) == ["a", "b", "c"]


async def test_both_families_at_once_are_asked_ipv6_first(world: World) -> None:
    world.dns.mx("both.test", "mx.both.test")
    world.dns.add("mx.both.test", "A", "127.0.0.1")
    world.dns.add("mx.both.test", "AAAA", "::1")
    port = free_port("127.0.0.1", "::1")
    with ScriptedServer(port=port) as four, ScriptedServer(address="::1", port=port) as six:
        world.make(port=port, timeouts=CALM)
        await world.send("bob@both.test")
        await attempt(world, "bob@both.test")
        assert (len(four.conversations), len(six.conversations)) == (0, 1)
