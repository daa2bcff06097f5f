"""Delivery when something around it fails: the store, our own code, time."""

import asyncio
from collections.abc import AsyncIterator, Collection, Sequence

import pytest

from relay.deliver.client import Timeouts
from relay.deliver.connect import Dialer
from relay.deliver.dns import Resolver
from relay.deliver.settings import DnsSettings
from storage.audit import Step, Walk
from storage.model import Job
from storage.people import POLICY
from storage.queue_verbs import Wait, at_once
from storage.settings import ServerSettings
from storage.status import Status
from storage.store import Store, StoreFailedError, StoreFullError
from tests.deliver.world import World
from tests.peers.smtp import HANG, Script, ScriptedServer, free_port


class BrokenStore(Store):
    """A store some of whose verbs fail for a while."""

    failing: Collection[str] = ()
    failed: int = 0

    def _fail(self, verb: str, error: Exception) -> None:
        if verb in self.failing:
            self.failed += 1
            raise error

    async def claim(
        self, now_ms: int, limit: int, skip_domains: Collection[str] = (), wait: Wait = at_once
    ) -> list[Job]:
        self._fail("claim", StoreFailedError("I/O error"))
        return await super().claim(now_ms, limit, skip_domains, wait)

    async def recover(self, now_ms: int, wait: Wait = at_once) -> int:
        self._fail("recover", StoreFullError("no space left"))
        return await super().recover(now_ms, wait)

    async def audit(self, walk: Walk, limit: int, now_ms: int) -> Step:
        self._fail("audit", StoreFailedError("I/O error"))
        return await super().audit(walk, limit, now_ms)

    async def renew(self, jobs: Sequence[Job], now_ms: int) -> None:
        self._fail("renew", StoreFailedError("I/O error"))
        await super().renew(jobs, now_ms)

    async def postpone(self, jobs: Sequence[Job], due_ms: int, warn_after_ms: int = 0) -> None:
        self._fail("postpone", StoreFullError("no space left"))
        await super().postpone(jobs, due_ms, warn_after_ms)

    async def content(self, message_id: int) -> bytes | None:
        self._fail("content", StoreFailedError("I/O error"))
        return await super().content(message_id)


@pytest.fixture
async def broken(world: World) -> AsyncIterator[BrokenStore]:
    """The world's store, broken."""
    store, mine = await BrokenStore.open(world.state_dir, POLICY), world.store
    world.store = store
    yield store
    store.failing = ()
    await world.delivery.drain(1)
    world.store = mine
    await store.close()


async def test_a_store_that_fails_is_asked_again(
    world: World, broken: BrokenStore, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("relay.deliver.delivery._LOOK_SECONDS", 0.05)
    monkeypatch.setattr("relay.deliver.delivery._RECOVER_SECONDS", 0.05)
    broken.failing = {"claim", "recover"}
    with ScriptedServer() as server:
        world.make(port=server.port)
        await world.delivery.start()
        await world.accept("bob@example.test", leased=False)
        await world.until(lambda: broken.failed > 3)
        broken.failing = ()
        assert (await world.settled("bob@example.test")).status is Status.DELIVERED
    assert "event=no-claim" in caplog.text
    assert "event=no-recovery" in caplog.text


async def test_what_cannot_be_given_back_now_is_given_back_later(
    world: World, broken: BrokenStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("relay.deliver.results._AGAIN_SECONDS", 0.05)
    world.make(port=free_port(), schedule=(300,))
    await world.send("first@example.test")
    await world.settled("first@example.test")
    broken.failing = {"postpone"}
    await world.send("second@example.test")
    await world.until(lambda: broken.failed > 1)
    assert world.delivery.room() == 0
    broken.failing = ()
    await world.until(lambda: world.delivery.room() == 5000)
    assert await world.store.claim(world.now_ms() + 300_000, 10) != []


async def test_a_drain_does_not_wait_for_ever_for_a_store_that_takes_nothing(
    world: World, broken: BrokenStore, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("relay.deliver.delivery._SETTLE_SECONDS", 0.1)
    world.make()
    broken.failing = {"postpone"}
    world.dns.drop("silent.test")
    await world.send("bob@silent.test")
    async with asyncio.timeout(9):
        await world.delivery.drain(0)
    assert "event=results-not-stored verbs=1" in caplog.text


async def test_what_is_submitted_beyond_a_sites_share_is_given_back(world: World) -> None:
    with ScriptedServer(Script(banner=HANG)) as server:
        world.make(port=server.port, max_queue_in_memory=100, timeouts=Timeouts())
        await world.send(*(f"r{n}@example.test" for n in range(80)))
        await world.until(lambda: world.delivery.room() >= 50)
        assert len(await world.store.claim(world.now_ms(), 100)) == 80 - (100 - world.delivery.room())


async def test_leases_that_could_not_be_renewed_are_tried_again(world: World, broken: BrokenStore) -> None:
    with ScriptedServer(Script(dot=HANG)) as server:
        world.make(port=server.port, timeouts=Timeouts())
        await world.send("bob@example.test")
        await server.until(lambda s: bool(s.messages))
        broken.failing = {"renew"}
        world.jump(240)
        await world.delivery._watch_leases(world.clock())
        broken.failing = ()
        await world.delivery._watch_leases(world.clock())
        world.jump(800)
        assert await world.store.claim(world.now_ms(), 10) == []


async def test_a_content_that_cannot_be_read_postpones_its_recipient_only(
    world: World, broken: BrokenStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken.failing = {"content"}
    with ScriptedServer() as server:
        world.make(port=server.port)
        await world.accept("claimed@example.test", leased=False)
        await world.delivery.start()
        row = await world.settled("claimed@example.test")
        assert (row.status, row.enhanced_status) == (Status.SOFT_BOUNCED, "4.3.0")
        await world.send("leased@example.test")
        assert (await world.settled("leased@example.test")).status is Status.DELIVERED


async def test_a_content_that_is_gone_ends_its_recipient(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """No retry would bring it back, and people should know."""

    async def nothing(*_: object) -> None:
        return None

    monkeypatch.setattr(Store, "content", nothing)
    with ScriptedServer() as server:
        world.make(port=server.port)
        await world.accept("bob@example.test", leased=False)
        await world.delivery.start()
        row = await world.settled("bob@example.test")
        assert (row.status, row.enhanced_status) == (Status.BOUNCED, "5.3.0")
        assert "missing" in row.diagnostic


async def test_a_bug_of_ours_in_a_dial_stops_no_other_site(
    world: World, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    world.dns.mx("bug.test", "mx.bug.test")
    dial = Dialer._addresses

    async def buggy(self: Dialer, host: str, destination: object) -> object:
        if host == "mx.bug.test":
            raise ZeroDivisionError
        return await dial(self, host, destination)  # type: ignore[arg-type]

    monkeypatch.setattr(Dialer, "_addresses", buggy)
    with ScriptedServer() as server:
        world.make(port=server.port)
        await world.send("bob@bug.test", "bob@example.test")
        assert (await world.settled("bob@example.test")).status is Status.DELIVERED
        await world.until(lambda: world.delivery.room() == 5000)
        assert (await world.row("bob@bug.test")).attempts == 0
    assert caplog.text.count("event=connection-task-failed") == 1


async def test_a_bug_of_ours_in_a_lookup_postpones_its_domain_only(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    ask = Resolver.mx

    async def buggy(self: Resolver, domain: str) -> object:
        if domain == "bug.test":
            raise ZeroDivisionError
        return await ask(self, domain)

    monkeypatch.setattr(Resolver, "mx", buggy)
    with ScriptedServer() as server:
        world.make(port=server.port)
        await world.send("bob@bug.test", "bob@example.test")
        assert (await world.settled("bob@example.test")).status is Status.DELIVERED
        assert (await world.settled("bob@bug.test")).status is Status.SOFT_BOUNCED


async def test_what_is_not_used_is_forgotten(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("relay.deliver.connections.IDLE_SECONDS", 0.05)
    with ScriptedServer() as server:
        world.make(port=server.port, routes={"routed.test": f"smtp://127.0.0.1:{server.port}"})
        await world.send("bob@example.test", "bob@routed.test", "bob@[127.0.0.1]")
        await world.done(3)
        places = world.delivery._places
        places.forget()
        assert len(places._places) == 3
        world.jump(4000)
        places.forget()
        assert places._places == {}
        world.delivery._places.tidy()
        await server.until(lambda s: all(c.ended for c in s.conversations))
        await world.until(lambda: not any(site.connections for site in places.sites()))
        places.forget()
        assert places.sites() == []


async def test_a_dead_sites_failures_are_forgotten_in_the_end(world: World) -> None:
    world.make(port=free_port())
    await world.send("bob@example.test")
    await world.settled("bob@example.test")
    places = world.delivery._places
    world.jump(600)
    places.forget()
    assert len(places.sites()) == 1
    world.jump(4000)
    places.forget()
    assert places.sites() == []


async def test_a_site_rests_longer_with_each_failure(world: World) -> None:
    world.make(port=free_port(), schedule=(60, 300, 3600))
    await world.delivery.start()
    await world.send("bob@example.test")
    rests = []
    for attempts in (1, 2, 3, 4):
        row = await world.settled("bob@example.test", attempts=attempts)
        (site,) = world.delivery._places.sites()
        rests.append(round((site._backoff.rests_until - world.clock()) / 10) * 10)
        assert row.next_attempt_ms is not None
        world.jump((row.next_attempt_ms - world.now_ms()) / 1000 + 0.1)
        world.delivery._wake.set()
    assert rests == [50, 270, 600, 600]


async def test_one_in_doubt_at_the_end_of_its_life_is_bounced_with_that_said(world: World) -> None:
    with ScriptedServer(Script(dot=HANG)) as server:
        world.make(port=server.port, timeouts=Timeouts(dot=0.2))
        await world.send("bob@example.test", lifetime_ms=0)
        row = await world.settled("bob@example.test")
        assert (row.status, row.enhanced_status) == (Status.BOUNCED, "4.4.7")
        assert "may have the message" in row.diagnostic


async def test_without_a_hostname_the_machines_is_said(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    from relay.deliver import delivery

    monkeypatch.setattr("socket.getfqdn", lambda: "machine.test")
    with ScriptedServer() as server:
        made = delivery.Delivery(
            world.store,
            world.compose,
            delivery.DeliverySettings(routes={"*": f"smtp://127.0.0.1:{server.port}"}),
            DnsSettings(),
            delivery.RetrySettings(),
            ServerSettings(),
        )
        made.submit(await world.accept("bob@example.test"))
        await world.settled("bob@example.test")
        assert server.commands[0] == "EHLO machine.test"
        await made.drain(1)


async def test_many_sites_at_once_keep_their_bounds(world: World) -> None:
    for n in range(40):
        world.dns.mx(f"d{n}.test", f"mx{n}.test")
        world.dns.add(f"mx{n}.test", "A", "127.0.0.1")
    with ScriptedServer() as server:
        world.make(port=server.port, max_connections=5)
        for _ in range(5):
            await world.send(*(f"r@d{n}.test" for n in range(40)))
        await world.done(200)
        assert len(server.messages) == 200
        # The store tells readers of a commit before it tells us.
        await world.until(lambda: world.delivery._held == 0)
