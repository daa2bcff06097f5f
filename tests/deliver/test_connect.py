import asyncio
import contextlib
import dataclasses
import socket
import ssl
from collections.abc import AsyncIterator, Iterator

import pytest

from relay.deliver.client import Timeouts, Transaction
from relay.deliver.connect import MAX_ADDRESSES, MAX_SESSIONS, Connection, Dialer, Failure
from relay.deliver.demand import Demand, Proof
from relay.deliver.destination import Destination, of_hosts, of_route
from relay.deliver.dns import Resolver
from relay.deliver.failure import FailureType, Mishap
from relay.deliver.mx import Hosts
from relay.deliver.route import Route
from relay.deliver.settings import DnsSettings, TlsPolicy
from relay.deliver.tls import LESS_SECONDS, RESUMED_SECONDS, TlsClient
from storage.model import Phase
from tests.peers.dns import DnsServer
from tests.peers.smtp import DROP, HANG, RESET, Raw, Script, ScriptedServer, Step, Then, ca_file, free_port

pytestmark = pytest.mark.both_loops

SOON = Timeouts(connect=0.15, greeting=0.15, quit=0.15)


class World:
    """A dialer, its DNS, and a clock that stands."""

    def __init__(self, dns: DnsServer) -> None:
        self.dns = dns
        self.now = 1000.0
        self.chance = 0.5
        self.tls = TlsClient(lambda: self.now)
        self.resolver = Resolver(DnsSettings(nameservers=(dns.endpoint,), timeout=1))
        self.dialer = self.with_timeouts(Timeouts())
        self.connections: list[Connection] = []

    def hurry(self, step: Step = HANG) -> None:
        """Wait for a moment only, where the step is to hang."""
        if step is HANG:
            self.dialer = self.with_timeouts(SOON)

    def with_timeouts(self, timeouts: Timeouts) -> Dialer:
        return Dialer(
            self.resolver,
            self.tls,
            ehlo_name="relay.test",
            timeouts=timeouts,
            chance=lambda: self.chance,
            clock=lambda: self.now,
        )

    async def dial(self, destination: Destination, avoided: frozenset[str] = frozenset()) -> Connection | Failure:
        dialed = await self.dialer.dial(destination, avoided)
        if isinstance(dialed, Connection):
            self.connections.append(dialed)
        return dialed

    async def connect(self, destination: Destination, avoided: frozenset[str] = frozenset()) -> Connection:
        dialed = await self.dial(destination, avoided)
        assert isinstance(dialed, Connection), dialed
        return dialed

    async def fail(self, destination: Destination) -> Failure:
        dialed = await self.dial(destination)
        assert isinstance(dialed, Failure)
        return dialed


@pytest.fixture
def dns() -> Iterator[DnsServer]:
    with DnsServer() as server:
        server.add("peer.test", "A", "127.0.0.1")
        yield server


@pytest.fixture
async def world(dns: DnsServer) -> AsyncIterator[World]:
    world = World(dns)
    yield world
    for connection in world.connections:
        connection.session.abort()
    await world.resolver.close()
    for _ in range(3):  # the loop closes the sockets
        await asyncio.sleep(0)


def hosts(
    *groups: tuple[str, ...], port: int, tls: TlsPolicy = TlsPolicy.MAY, allow_private: bool = True
) -> Destination:
    return of_hosts(Hosts(groups), port, tls, allow_private=allow_private)


def to(server: ScriptedServer, tls: TlsPolicy = TlsPolicy.MAY) -> Destination:
    return hosts(("peer.test",), port=server.port, tls=tls)


def brief(failure: Failure) -> str:
    return f"{failure.phase} {failure.reply.code} {failure.reply.enhanced}"


async def send(connection: Connection) -> int:
    outcome = await connection.session.start(Transaction("a@relay.test", "b@peer.test", b"Subject: x\r\n\r\nx\r\n"))
    return outcome.reply.code


async def test_a_connection_is_ready_for_mail(world: World) -> None:
    with ScriptedServer() as server:
        connection = await world.connect(to(server))
        assert (connection.host, connection.address, connection.tls) == ("peer.test", "127.0.0.1", None)
        assert connection.born == world.now
        assert connection.session.extensions.pipelining
        assert connection.session.extensions.size == 104857600
        assert await send(connection) == 250
        assert server.commands[0] == "EHLO relay.test"


# Each phase of the greeting times each kind of answer.

ANSWERS: list[tuple[Step, str]] = [
    ("421 4.3.2 closing", "421 4.3.2"),
    ("450 4.7.0 later", "450 4.7.0"),
    ("554 5.7.1 go away", "554 5.7.1"),
    (DROP, "0 4.4.2"),
    (RESET, "0 4.4.2"),
    (HANG, "0 4.4.2"),
    (Raw(b"SSH-2.0-OpenSSH\r\n"), "0 4.5.0"),
    (Raw(b"250-x\r\n" * 10_000), "0 4.5.0"),
]


@pytest.mark.parametrize(("step", "expected"), ANSWERS)
async def test_the_banner_times_each_answer(world: World, step: Step, expected: str) -> None:
    world.hurry(step)
    with ScriptedServer(Script(banner=step)) as server:
        failure = await world.fail(to(server))
        # A reset may overtake the end of our connect().
        assert brief(failure) in {f"banner {expected}", "connect 0 4.4.1" if step is RESET else ""}
        assert (failure.host, failure.address) == ("peer.test", "127.0.0.1")
        assert not failure.final


@pytest.mark.parametrize(("step", "expected"), ANSWERS)
async def test_ehlo_times_each_answer(world: World, step: Step, expected: str) -> None:
    world.hurry(step)
    with ScriptedServer(Script(ehlo=step, helo="550 5.7.1 no")) as server:
        expected = "550 5.7.1" if expected.startswith("5") else expected
        assert brief(await world.fail(to(server))) == f"ehlo {expected}"


async def test_a_server_of_old_is_greeted_with_helo(world: World) -> None:
    with ScriptedServer(Script(ehlo="502 what")) as server:
        connection = await world.connect(to(server))
        assert not connection.session.extensions.pipelining
        assert connection.session.extensions.size is None
        assert await send(connection) == 250


async def test_a_banner_in_many_lines_and_an_odd_ehlo(world: World) -> None:
    script = Script(banner="220-hello\n220 there", ehlo="250-peer\n250-size=x\n250-AUTH=LOGIN\n250-\n250 8bitmime")
    with ScriptedServer(script) as server:
        connection = await world.connect(to(server))
        assert connection.session.extensions.eight_bit
        assert await send(connection) == 250


async def test_what_a_server_says_holds_no_surrogates(world: World) -> None:
    with ScriptedServer(Script(banner=Raw(b"554 5.7.1 caf\xe9 \x1b[31m\r\n"))) as server:
        failure = await world.fail(to(server))
        assert failure.reply.text == "caf� [31m"


async def test_a_connection_that_is_refused_or_goes_nowhere(world: World) -> None:
    port = free_port()
    failure = await world.fail(hosts(("peer.test",), port=port))
    assert brief(failure) == "connect 0 4.4.1"
    assert failure.reply.text == f"connect to peer.test[127.0.0.1]:{port}: Connection refused"
    listener = socket.create_server(("127.0.0.1", 0), backlog=0)
    first = socket.create_connection(listener.getsockname())  # fills the backlog: the next SYN is not answered
    second = socket.socket()
    second.setblocking(False)
    second.connect_ex(listener.getsockname())
    world.hurry()
    timed_out = await world.fail(hosts(("peer.test",), port=listener.getsockname()[1]))
    assert brief(timed_out) in {"connect 0 4.4.1", "banner 0 4.4.2"}
    assert "timed out" in timed_out.reply.text
    for each in (first, second, listener):
        each.close()


# Hosts and addresses.


async def test_the_next_host_is_asked_where_one_fails(world: World) -> None:
    world.dns.add("bad.test", "A", "127.0.0.2")
    port = free_port("127.0.0.1", "127.0.0.2")
    with ScriptedServer(port=port) as good, ScriptedServer(Script(banner="554 no"), "127.0.0.2", port):
        connection = await world.connect(hosts(("bad.test",), ("peer.test",), port=port))
        assert connection.host == "peer.test"
        assert good.conversations


async def test_hosts_to_be_avoided_come_last(world: World) -> None:
    world.dns.add("other.test", "A", "127.0.0.2")
    port = free_port("127.0.0.1", "127.0.0.2")
    with ScriptedServer(port=port), ScriptedServer(address="127.0.0.2", port=port):
        destination = hosts(("peer.test",), ("other.test",), port=port)
        assert (await world.connect(destination)).host == "peer.test"
        assert (await world.connect(destination, frozenset({"peer.test"}))).host == "other.test"
        assert (await world.connect(destination, frozenset({"peer.test", "other.test"}))).host == "peer.test"


async def test_an_address_that_was_not_reached_is_asked_after_the_others(world: World) -> None:
    world.dns.add("two.test", "A", "127.0.0.1", "127.0.0.2")
    destination = hosts(("two.test",), port=free_port())
    usual = await world.dialer._addresses("two.test", destination)
    assert isinstance(usual, list)
    await world.fail(hosts((usual[0],), port=free_port()))
    assert await world.dialer._addresses("two.test", destination) == [usual[1], usual[0]]
    world.now += 1000
    assert await world.dialer._addresses("two.test", destination) == usual


async def test_a_host_of_both_families_is_reached_by_either(world: World) -> None:
    world.dns.add("both.test", "AAAA", "::1")
    world.dns.add("both.test", "A", "127.0.0.1")
    with ScriptedServer() as server:
        assert (await world.connect(hosts(("both.test",), port=server.port))).address == "127.0.0.1"


async def test_the_number_of_addresses_is_bounded(world: World) -> None:
    world.dns.add("many.test", "A", *(f"127.0.1.{n}" for n in range(1, 30)))
    port = free_port()
    await world.fail(hosts(("many.test",), ("peer.test",), port=port))
    assert len(world.dialer._unreached) == MAX_ADDRESSES


async def test_two_servers_that_answer_badly_are_enough(world: World) -> None:
    world.dns.add("many.test", "A", *(f"127.0.1.{n}" for n in range(1, 4)))
    addresses = [f"127.0.1.{n}" for n in range(1, 4)]
    port = free_port(*addresses)
    with contextlib.ExitStack() as stack:
        servers = [stack.enter_context(ScriptedServer(Script(banner="554 no"), each, port)) for each in addresses]
        assert brief(await world.fail(hosts(("many.test",), port=port))) == "banner 554 None"
        assert sum(len(server.conversations) for server in servers) == MAX_SESSIONS


async def test_what_is_remembered_of_addresses_is_bounded(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("relay.deliver.connect._ADDRESSES_KEPT", 2)
    world.dns.add("many.test", "A", *(f"127.0.1.{n}" for n in range(1, 6)))
    await world.fail(hosts(("many.test",), port=free_port()))
    assert len(world.dialer._unreached) == 2


async def test_hosts_without_addresses(world: World) -> None:
    world.dns.servfail("broken.test")
    assert brief(await world.fail(hosts(("nowhere.test",), port=1))) == "dns 0 5.4.4"
    assert (await world.fail(hosts(("nowhere.test",), port=1))).final
    assert brief(await world.fail(hosts(("broken.test",), port=1))) == "dns 0 4.4.3"
    # What may pass outweighs what is final, in either order.
    for order in (("broken.test",), ("nowhere.test",)), (("nowhere.test",), ("broken.test",)):
        assert brief(await world.fail(hosts(*order, port=1))) == "dns 0 4.4.3"
    assert brief(await world.fail(Destination(Hosts(()), 25, TlsPolicy.MAY, final_hop=True))) == "dns 0 5.4.4"


async def test_private_addresses_need_the_operators_word(world: World) -> None:
    with ScriptedServer() as server:
        stranger = hosts(("peer.test",), port=server.port, allow_private=False)
        failure = await world.fail(stranger)
        assert brief(failure) == "dns 0 5.7.1"
        assert "127.0.0.1" in failure.reply.text
        literal = hosts(("127.0.0.1",), port=server.port, allow_private=False)
        assert brief(await world.fail(literal)) == "dns 0 5.7.1"
        assert server.conversations == []
        route = of_route(Route("peer.test", server.port), TlsPolicy.MAY)
        assert await send(await world.connect(route)) == 250


async def test_a_route_may_name_an_address_or_what_the_system_knows(world: World) -> None:
    with ScriptedServer() as server:
        assert (await world.connect(of_route(Route("127.0.0.1", server.port), TlsPolicy.MAY))).host == "127.0.0.1"
        local = await world.connect(of_route(Route("localhost", server.port), TlsPolicy.MAY))
        assert (local.host, local.address) == ("localhost", "127.0.0.1")
    # A mistake of the operator ends nobody's mail.
    assert brief(await world.fail(of_route(Route("nowhere.test", 25), TlsPolicy.MAY))) == "dns 0 4.4.4"


async def test_one_who_gives_up_leaves_no_socket(world: World) -> None:
    with ScriptedServer(Script(banner=HANG)) as server:
        task = asyncio.create_task(world.dialer.dial(to(server)))
        await server.until(lambda s: bool(s.conversations))
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
        await server.until(lambda s: s.conversations[0].ended)


@pytest.mark.parametrize(
    "script",
    [Script(banner=HANG), Script(ehlo=HANG), Script(starttls=HANG, tls=True), Script(handshake=HANG, tls=True)],
)
async def test_who_gives_up_is_heard_at_every_moment(world: World, script: Script) -> None:
    """Python 3.11's wait_for may swallow a cancellation: a relay that is to end would wait for a silent server."""
    with ScriptedServer(script) as server:
        for turns in range(30):
            task = asyncio.create_task(world.dial(hosts(("127.0.0.1",), port=server.port)))
            for _ in range(turns):
                await asyncio.sleep(0)
            task.cancel()
            await asyncio.wait([task], timeout=2)
            assert task.done(), f"given up after {turns} turns of the loop, it goes on"
        await server.until(lambda s: all(each.ended for each in s.conversations))


# TLS.


async def test_tls_is_used_where_it_is_offered(world: World) -> None:
    with ScriptedServer(Script(tls=True)) as server:
        connection = await world.connect(to(server))
        assert connection.tls is not None
        assert connection.tls.startswith("TLSv1.3 TLS_")
        assert connection.tls.endswith(" unverified")
        assert await send(connection) == 250
        assert server.commands[:3] == ["EHLO relay.test", "STARTTLS", "EHLO relay.test"]


async def test_policy_none_asks_for_no_tls(world: World) -> None:
    with ScriptedServer(Script(tls=True)) as server:
        connection = await world.connect(to(server, TlsPolicy.NONE))
        assert connection.tls is None
        assert "STARTTLS" not in server.commands


BROKEN: list[Step] = [DROP, RESET, Raw(b"this is no TLS" * 10), HANG]


@pytest.mark.parametrize("handshake", BROKEN)
async def test_a_broken_handshake_is_followed_by_clear_and_remembered(world: World, handshake: Step) -> None:
    world.hurry(handshake)
    with ScriptedServer(Script(tls=True, handshake=handshake)) as server:
        connection = await world.connect(to(server))
        assert connection.tls is None
        assert await send(connection) == 250
        assert len(server.conversations) == 2
        again = await world.connect(to(server))
        assert again.tls is None
        assert server.commands.count("STARTTLS") == 1
        # It counts for a report as the first one did (RFC 8460, 4.3): only a try would tell that it got better.
        assert [mishap.failure for mishap in again.mishaps] == [mishap.failure for mishap in connection.mishaps]
        assert not again.as_asked
        world.now += LESS_SECONDS + 1
        await world.connect(to(server))
        assert server.commands.count("STARTTLS") == 2


@pytest.mark.parametrize("step", ["454 4.7.0 not now", "501 5.5.2 what"])
async def test_a_refused_starttls_goes_on_in_clear_on_the_same_connection(world: World, step: str) -> None:
    with ScriptedServer(Script(tls=True, starttls=step)) as server:
        connection = await world.connect(to(server))
        assert connection.tls is None
        assert len(server.conversations) == 1
        assert connection.session.extensions.pipelining
        assert await send(connection) == 250


@pytest.mark.parametrize("policy", [TlsPolicy.ENCRYPT, TlsPolicy.VERIFY])
@pytest.mark.parametrize(
    "script",
    [Script(tls=True, starttls="454 4.7.0 no"), Script(), *(Script(tls=True, handshake=step) for step in BROKEN)],
)
async def test_where_a_policy_asks_for_tls_nothing_goes_in_clear(
    world: World, policy: TlsPolicy, script: Script
) -> None:
    world.hurry(script.handshake)  # type: ignore[arg-type]
    with ScriptedServer(script) as server:
        failure = await world.fail(to(server, policy))
        assert failure.phase is Phase.TLS
        assert not failure.final
        assert len(server.conversations) == 1
        assert not any(command.startswith("MAIL") for command in server.commands)


async def test_verify_asks_for_the_hosts_name(world: World) -> None:
    world.dns.add("other.test", "A", "127.0.0.1")
    world.tls.trust(str(ca_file()))
    with ScriptedServer(Script(tls=True)) as server:
        connection = await world.connect(to(server, TlsPolicy.VERIFY))
        assert connection.tls is not None
        assert connection.tls.endswith(" verified")
        failure = await world.fail(hosts(("other.test",), port=server.port, tls=TlsPolicy.VERIFY))
        assert brief(failure) == "tls 0 4.7.5"
        assert "CERTIFICATE_VERIFY_FAILED" in failure.reply.text
        encrypted = await world.connect(hosts(("other.test",), port=server.port, tls=TlsPolicy.ENCRYPT))
        assert encrypted.tls is not None


async def test_what_came_in_clear_after_starttls_is_thrown_away(world: World) -> None:
    """CVE-2011-0411: replies that somebody put before the handshake must not be read as the server's."""
    injected = Then("220 go", Raw(b"250-peer\r\n250 SIZE 1\r\n"))
    with ScriptedServer(Script(tls=True, starttls=injected, handshake=DROP)) as server:
        dialed = await world.dial(to(server, TlsPolicy.ENCRYPT))
        assert isinstance(dialed, Failure)


async def test_implicit_tls(world: World) -> None:
    world.tls.trust(str(ca_file()))
    with ScriptedServer(Script(implicit_tls=True)) as server:
        route = of_route(Route("peer.test", server.port, implicit_tls=True), TlsPolicy.VERIFY)
        connection = await world.connect(route)
        assert connection.tls is not None
        assert await send(connection) == 250
        wrong = of_route(Route("localhost.localdomain", server.port, implicit_tls=True), TlsPolicy.VERIFY)
        world.dns.add("localhost.localdomain", "A", "127.0.0.1")
        assert brief(await world.fail(wrong)) == "tls 0 4.7.5"
    with ScriptedServer(Script(banner=Raw(b"220 no TLS here\r\n"))) as clear:
        route = of_route(Route("peer.test", clear.port, implicit_tls=True), TlsPolicy.MAY)
        failure = await world.fail(route)
        assert failure.phase is Phase.TLS
        assert len(clear.conversations) == 1


async def test_implicit_tls_that_says_nothing_times_out_in_the_banner(world: World) -> None:
    world.hurry()
    with ScriptedServer(Script(implicit_tls=True, banner=HANG)) as server:
        route = of_route(Route("peer.test", server.port, implicit_tls=True), TlsPolicy.MAY)
        assert brief(await world.fail(route)) == "banner 0 4.4.2"


@pytest.mark.parametrize("policy", [TlsPolicy.MAY, TlsPolicy.VERIFY])
@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
async def test_a_second_connection_resumes_tls(world: World, policy: TlsPolicy, version: ssl.TLSVersion) -> None:
    world.tls.trust(str(ca_file()))
    with ScriptedServer(Script(tls=True, tls_version=version)) as server:
        for _ in range(3):
            connection = await world.connect(to(server, policy))
            await send(connection)
            connection.keep_tls_session()
        assert [each.resumed for each in server.conversations] == [False, True, True]
        # What was proven an hour ago is proven anew.
        world.now += RESUMED_SECONDS + 1
        await world.connect(to(server, policy))
        assert not server.conversations[-1].resumed


async def test_no_session_is_resumed_where_less_was_proven(world: World) -> None:
    """A session that nobody verified must not stand for a certificate that is to be verified."""
    with ScriptedServer(Script(tls=True)) as server:
        connection = await world.connect(to(server))
        await send(connection)
        connection.keep_tls_session()
        failure = await world.fail(to(server, TlsPolicy.VERIFY))
        assert "CERTIFICATE_VERIFY_FAILED" in failure.reply.text


async def test_the_sessions_kept_are_bounded(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("relay.deliver.tls._HOSTS_KEPT", 1)
    world.dns.add("other.test", "A", "127.0.0.1")
    with ScriptedServer(Script(tls=True)) as server:
        for name in ("peer.test", "other.test", "peer.test"):
            connection = await world.connect(hosts((name,), port=server.port))
            await send(connection)
            connection.keep_tls_session()
        assert [each.resumed for each in server.conversations] == [False, False, False]
        in_clear = await world.connect(to(server, TlsPolicy.NONE))
        in_clear.keep_tls_session()


def test_what_is_remembered_of_hosts_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("relay.deliver.tls._HOSTS_KEPT", 2)
    tls = TlsClient(lambda: 0.0)
    clear = Demand(None, "h")
    may = Demand(Proof.NONE, "h", otherwise=clear)
    for n in range(5):
        tls.remember_failure(f"h{n}", may, Mishap(FailureType.VALIDATION, f"h{n}"))
    assert len(tls._less) == 2
    assert tls.asked("h0", may) == (may, [])
    assert tls.asked("h4", may) == (clear, [Mishap(FailureType.VALIDATION, "h4")])


# AUTH.


def login(server: ScriptedServer, **changes: object) -> Destination:
    route = Route("peer.test", server.port, user="jo@relay.test", password="pässword")
    return dataclasses.replace(of_route(route, TlsPolicy.MAY), **changes)  # type: ignore[arg-type]


@pytest.mark.parametrize("mechanisms", ["PLAIN LOGIN", "LOGIN PLAIN", "LOGIN"])
async def test_a_smarthost_is_logged_in_to(world: World, mechanisms: str) -> None:
    with ScriptedServer(Script(tls=True, extensions=("PIPELINING", f"AUTH {mechanisms}"))) as server:
        connection = await world.connect(login(server))
        assert server.conversations[0].credentials == ("jo@relay.test", "pässword")
        assert server.conversations[0].tls
        assert await send(connection) == 250
        assert ("AUTH PLAIN" in server.commands) is ("PLAIN" in mechanisms)


@pytest.mark.parametrize(
    ("step", "expected"),
    [
        ("535 5.7.8 bad credentials", "auth 535 5.7.8"),
        ("454 4.7.0 later", "auth 454 4.7.0"),
        (DROP, "auth 0 4.4.2"),
        (HANG, "auth 0 4.4.2"),
        (Raw(b"?\r\n"), "auth 0 4.5.0"),
    ],
)
async def test_auth_times_each_answer(world: World, step: Step, expected: str) -> None:
    world.hurry(step)
    with ScriptedServer(Script(tls=True, extensions=("AUTH PLAIN LOGIN",), auth=step)) as server:
        failure = await world.fail(login(server))
        assert brief(failure) == expected
        assert len(server.conversations) == 1  # one try: tries that fail lock accounts
        assert sum(command.startswith("AUTH") for command in server.commands) == 1


async def test_a_server_without_a_known_mechanism(world: World) -> None:
    with ScriptedServer(Script(tls=True, extensions=("AUTH GSSAPI",))) as server:
        assert brief(await world.fail(login(server))) == "auth 0 4.7.0"


async def test_a_password_goes_in_clear_to_this_machine_only(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    with ScriptedServer(Script(extensions=("AUTH PLAIN",))) as server:
        await world.connect(login(server))
        assert server.conversations[0].credentials == ("jo@relay.test", "pässword")
        monkeypatch.setattr("relay.deliver.greet._is_this_machine", lambda _: False)
        assert brief(await world.fail(login(server))) == "auth 0 4.7.11"
        assert server.conversations[1].credentials is None


async def test_what_goes_wrong_with_tls_is_told_with_both_ends(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """For reports; an address of ours that others cannot see is left out."""
    with ScriptedServer(Script(tls=True, handshake=DROP)) as server:
        connection = await world.connect(to(server))
        assert [(each.mx, each.address, each.source) for each in connection.mishaps] == [("peer.test", "127.0.0.1", "")]
        world.now += LESS_SECONDS + 1
        monkeypatch.setattr("relay.deliver.connect.is_public", lambda _: True)
        failure = await world.fail(to(server, TlsPolicy.ENCRYPT))
        (mishap,) = failure.mishaps
        assert (mishap.failure, mishap.source) == ("validation-failure", "127.0.0.1")
