"""Delivery from addresses that the operator chose; on Linux every address of 127.0.0.0/8 is one of this host."""

import errno
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from relay.deliver.binding import trouble_with, why_not
from storage.model import Phase
from storage.status import Status
from tests.deliver.world import World
from tests.peers.dns import DnsServer
from tests.peers.smtp import DROP, Script, ScriptedServer, free_port

SOURCES: dict[str, Any] = {
    "main": {"addresses": ["127.0.0.21"], "ehlo": "main.relay.test"},
    "second": {"addresses": ["127.0.0.22"]},
}


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    with DnsServer() as dns:
        dns.mx("example.test", "mx.example.test")
        dns.add("mx.example.test", "A", "127.0.0.1")
        made = World(tmp_path, dns)
        await made.open()
        yield made
        await made.close()


async def test_mail_goes_out_from_the_source_under_its_name(world: World) -> None:
    with ScriptedServer() as server:
        world.make(port=server.port, sources=SOURCES, pools={"relay.test": ["main"]})
        await world.send("bob@example.test")
        assert (await world.settled("bob@example.test")).status is Status.DELIVERED
        (conversation,) = server.conversations
        assert (conversation.peer, conversation.commands[0]) == ("127.0.0.21", "EHLO main.relay.test")
        assert (await world.timeline("bob@example.test"))[-1].source == "127.0.0.21"


async def test_a_source_without_a_name_greets_with_the_host_s(world: World) -> None:
    with ScriptedServer() as server:
        world.make(port=server.port, sources=SOURCES, pools={"*": ["second"]})
        await world.send("bob@example.test", sender="")
        await world.settled("bob@example.test")
        assert (server.conversations[0].peer, server.commands[0]) == ("127.0.0.22", "EHLO relay.test")


async def test_a_sender_without_a_pool_goes_out_as_the_system_chooses(world: World) -> None:
    with ScriptedServer() as server:
        world.make(port=server.port, sources=SOURCES, pools={"other.test": ["main"]})
        await world.send("bob@example.test")
        await world.settled("bob@example.test")
        assert server.conversations[0].peer == "127.0.0.1"
        assert (await world.timeline("bob@example.test"))[-1].source is None


async def test_a_message_has_one_source_for_all_recipients_and_retries(world: World) -> None:
    with ScriptedServer(Script(rcpt=lambda address: "450 later" if address.startswith("late") else "250 ok")) as server:
        world.make(port=server.port, sources=SOURCES, schedule=(60,))
        await world.delivery.start()
        for n in range(12):
            await world.send(f"r{n}@example.test", f"late{n}@example.test")
        for n in range(12):
            await world.settled(f"late{n}@example.test")
        world.jump(70)
        for n in range(12):
            await world.settled(f"late{n}@example.test", attempts=2)
        used: Counter[str] = Counter()
        for n in range(12):
            entries = [*await world.timeline(f"r{n}@example.test"), *await world.timeline(f"late{n}@example.test")]
            (source,) = {entry.source for entry in entries if entry.phase is not None}
            used[str(source)] += 1
        assert set(used) == {"127.0.0.21", "127.0.0.22"}


async def test_an_address_of_another_host_is_said_clearly(world: World) -> None:
    with ScriptedServer() as server:
        world.make(port=server.port, sources={"main": {"addresses": ["192.0.2.25"]}})
        await world.send("bob@example.test")
        row = await world.settled("bob@example.test")
        assert (row.status, row.attempts, row.enhanced_status) == (Status.SOFT_BOUNCED, 1, "4.3.5")
        assert row.diagnostic == "cannot send from 192.0.2.25 (source main): it is no address of this host"
        assert (await world.timeline("bob@example.test"))[-1].source == "192.0.2.25"
        assert server.conversations == []


async def test_sources_that_cannot_be_used_are_told_at_the_start(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    await world.make(port=free_port(), sources=SOURCES | {"away": {"addresses": ["192.0.2.25"]}}).start()
    told = [record.getMessage() for record in caplog.records if "source-unusable" in record.getMessage()]
    assert told == ['event=source-unusable source=away address=192.0.2.25 reason="it is no address of this host"']


def test_trouble_with_an_address_is_a_few_words() -> None:
    assert trouble_with("127.0.0.1") == ""
    assert trouble_with("nonsense") != ""
    assert why_not(OSError(errno.EACCES, "x")) == "permission denied"


async def test_a_host_of_the_other_family_waits_for_the_operator(world: World) -> None:
    world.dns.mx("six.test", "mx.six.test")
    world.dns.add("mx.six.test", "AAAA", "::1")
    world.make(port=free_port(), sources=SOURCES)
    await world.send("bob@six.test")
    row = await world.settled("bob@six.test")
    assert (row.status, row.enhanced_status) == (Status.SOFT_BOUNCED, "4.4.4")
    assert "is reached from an IPv6 address only" in row.diagnostic
    assert (await world.timeline("bob@six.test"))[-1].phase is Phase.DNS


async def test_trouble_of_one_source_is_not_the_other_s(world: World) -> None:
    """Sites are kept for each source: a server that is angry with one address of ours gets mail from the other."""

    def greet(peer: str) -> Any:
        return DROP if peer == "127.0.0.21" else "220 welcome"

    pools = {"angry.test": ["main"], "*": ["second"]}
    with ScriptedServer(Script(banner=greet)) as server:
        world.make(port=server.port, sources=SOURCES, pools=pools, schedule=(300,))
        await world.delivery.start()
        await world.send("bob@example.test", sender="ann@angry.test")
        assert (await world.settled("bob@example.test")).status is Status.SOFT_BOUNCED
        await world.send("late@example.test", sender="ann@angry.test")
        await world.accept("eve@example.test", leased=False)
        assert (await world.settled("eve@example.test")).status is Status.DELIVERED
        late = await world.row("late@example.test")
        assert (late.status, late.attempts) == (Status.UNSENT, 0)


async def test_a_domain_is_skipped_only_while_all_its_ways_rest(world: World) -> None:
    world.make(port=free_port(), sources=SOURCES, pools={"one.test": ["main"], "two.test": ["second"]}, schedule=(300,))
    await world.send("bob@example.test", sender="ann@one.test")
    await world.settled("bob@example.test")
    places = world.delivery._places
    assert places.domains_to_skip(100, 100) == []
    await world.send("eve@example.test", sender="ann@two.test")
    await world.settled("eve@example.test")
    assert places.domains_to_skip(100, 100) == ["example.test"]


async def test_routes_are_reached_as_the_system_chooses(world: World) -> None:
    """The operator's own servers judge no address of ours, and may be reached from some of them only."""
    with ScriptedServer() as server:
        world.make(sources=SOURCES, routes={"*": f"smtp://127.0.0.1:{server.port}"})
        for n in range(6):
            await world.send(f"r{n}@example.test")
        await world.done(6)
        assert {conversation.peer for conversation in server.conversations} == {"127.0.0.1"}
        assert len(world.delivery._places.sites()) == 1


async def test_a_reload_takes_other_sources(world: World) -> None:
    with ScriptedServer() as server:
        delivery = world.make(port=server.port, sources=SOURCES, pools={"*": ["main"]})
        settings = delivery._places._settings
        await world.send("bob@example.test")
        await world.settled("bob@example.test")
        delivery.reload(settings.model_copy(update={"pools": {"*": {"second": 1}}}))
        await world.send("eve@example.test")
        await world.settled("eve@example.test")
        assert [conversation.peer for conversation in server.conversations] == ["127.0.0.21", "127.0.0.22"]


# IPv6 refused by policy.

GMAIL = (
    "550-5.7.1 [2001:db8::25] Our system has detected that this message does not\n"
    "550-5.7.1 meet IPv6 sending guidelines regarding PTR records and authentication.\n"
    "550 5.7.1 https://support.google.com/mail/?p=IPv6AuthError"
)


@pytest.fixture
def both(world: World) -> int:
    """A domain whose host has an address of each family; a port that is free at both."""
    world.dns.mx("both.test", "mx.both.test")
    world.dns.add("mx.both.test", "AAAA", "::1")
    world.dns.add("mx.both.test", "A", "127.0.0.1")
    return free_port("127.0.0.1", "::1")


@pytest.mark.parametrize("phase", ["mail", "rcpt", "data", "dot"])
async def test_what_policy_refuses_over_ipv6_goes_over_ipv4_within_the_attempt(
    world: World, both: int, phase: str
) -> None:
    with ScriptedServer(Script(**{phase: GMAIL}), "::1", both) as six, ScriptedServer(port=both) as four:  # type: ignore[arg-type]
        world.make(port=both)
        await world.send("bob@both.test")
        row = await world.settled("bob@both.test")
        assert (row.status, row.attempts) == (Status.DELIVERED, 1)
        assert (await world.timeline("bob@both.test"))[-1].address == "127.0.0.1"
        await world.send("eve@both.test")
        assert (await world.settled("eve@both.test")).status is Status.DELIVERED
        assert len(six.conversations) == 1, "who comes after it goes over IPv4 at once"
        assert len(four.messages) == 2


async def test_what_both_families_refuse_is_refused_once_each(world: World, both: int) -> None:
    refusal = Script(dot="550 5.7.1 spam")
    with ScriptedServer(refusal, "::1", both) as six, ScriptedServer(refusal, port=both) as four:
        world.make(port=both)
        await world.send("bob@both.test")
        row = await world.settled("bob@both.test")
        assert (row.status, row.attempts) == (Status.BOUNCED, 1)
        assert (len(six.messages), len(four.messages)) == (1, 1)
        await world.send("eve@both.test")
        assert (await world.settled("eve@both.test")).status is Status.BOUNCED
        assert len(six.messages) + len(four.messages) == 3, "for a while nobody is refused twice"


async def test_where_ipv4_cannot_be_reached_the_first_refusal_holds(world: World, both: int) -> None:
    with ScriptedServer(Script(rcpt=GMAIL), "::1", both):
        world.make(port=both)
        await world.send("bob@both.test")
        row = await world.settled("bob@both.test")
        assert (row.status, row.attempts, row.enhanced_status) == (Status.BOUNCED, 1, "5.7.1")
        assert (await world.timeline("bob@both.test"))[-1].address == "::1"


@pytest.mark.parametrize(
    "reply", ["550 5.1.1 no such user", "550 5.7.1 no such user", "450 4.7.1 greylisted", "554 no"]
)
async def test_no_other_word_sends_us_to_ipv4(world: World, both: int, reply: str) -> None:
    with ScriptedServer(Script(rcpt=reply), "::1", both), ScriptedServer(port=both) as four:
        world.make(port=both)
        await world.send("bob@both.test")
        await world.settled("bob@both.test")
        assert four.conversations == []


async def test_a_source_without_ipv4_is_refused_as_it_is(world: World, both: int) -> None:
    with ScriptedServer(Script(rcpt=GMAIL), "::1", both) as six, ScriptedServer(port=both) as four:
        world.make(port=both, sources={"main": {"addresses": ["::1"]}})
        await world.send("bob@both.test")
        assert (await world.settled("bob@both.test")).status is Status.BOUNCED
        assert (len(six.conversations), four.conversations) == (1, [])


async def test_idle_connections_over_ipv6_are_left_with_the_rest(world: World, both: int) -> None:
    replies: list[Any] = ["250 ok", GMAIL]
    with ScriptedServer(Script(dot=replies), "::1", both) as six, ScriptedServer(port=both) as four:
        world.make(port=both)
        await world.send("a@both.test")
        await world.settled("a@both.test")
        await world.send(*(f"r{n}@both.test" for n in range(10)))
        await world.done(11)
        assert {row.status for row in await world.rows()} == {Status.DELIVERED}
        await six.until(lambda s: all(conversation.ended for conversation in s.conversations))
        assert len(four.messages) >= 1
