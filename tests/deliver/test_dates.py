"""No recipient is forgotten and none lives past its time, whatever happened to the process that had it."""

import logging
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from storage.status import Status
from tests.deliver.world import DAY_MS, World
from tests.peers.dns import DnsServer
from tests.peers.smtp import Script, ScriptedServer, free_port

BOB = "bob@example.test"
HOUR = 3600.0


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    with DnsServer() as dns:
        dns.mx("example.test", "mx.example.test")
        dns.add("mx.example.test", "A", "127.0.0.1")
        made = World(tmp_path, dns)
        await made.open()
        yield made
        await made.close()


async def spoil(world: World, sql: str) -> None:
    """Do to the database what no verb does."""

    def run(transaction: Any, wanted: list[str]) -> list[None]:
        transaction.connection.execute(wanted[0])
        return [None]

    await world.store._writer.call(run, sql)


def mended(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if "queue-mended" in record.getMessage()]


async def test_a_message_that_ends_its_process_each_time_is_ended_with_its_life(world: World) -> None:
    with ScriptedServer() as server:
        world.make(port=server.port)
        await world.accept(BOB, leased=False, lifetime_ms=0)
        await spoil(world, "UPDATE recipient SET losses = 2")
        await world.delivery.start()
        row = await world.settled(BOB)
        assert (row.status, row.enhanced_status, row.category) == (Status.BOUNCED, "4.4.7", "expired")
        assert "the relay process that tried it ended each time, 2 times" in row.diagnostic
        assert server.conversations == []


@pytest.mark.parametrize(("losses", "lifetime_ms"), [(1, 0), (5, DAY_MS)])
async def test_one_loss_costs_nobody_the_last_try_and_many_none_before_its_time(
    world: World, losses: int, lifetime_ms: int
) -> None:
    with ScriptedServer() as server:
        world.make(port=server.port)
        await world.accept(BOB, leased=False, lifetime_ms=lifetime_ms)
        await spoil(world, f"UPDATE recipient SET losses = {losses}")
        await world.delivery.start()
        assert (await world.settled(BOB)).status is Status.DELIVERED


async def test_the_watchdog_takes_up_what_nobody_does(world: World, caplog: pytest.LogCaptureFixture) -> None:
    with ScriptedServer() as server:
        world.make(port=server.port)
        await world.accept(BOB, leased=False)
        await world.delivery.audit()
        assert (await world.row(BOB)).attempts == 0
        world.jump(16 * 60)
        await world.delivery.audit()
        assert (await world.settled(BOB)).status is Status.DELIVERED
        (line,) = mended(caplog)
        assert 'fault="it has been due for long and nobody took it up"' in line


async def test_the_watchdog_ends_what_has_no_content(world: World, caplog: pytest.LogCaptureFixture) -> None:
    with ScriptedServer(Script(rcpt="450 4.2.0 later")) as server:
        world.make(port=server.port)
        await world.send(BOB)
        await world.settled(BOB)
        await spoil(world, "DELETE FROM content")
        await world.delivery.audit()
        row = await world.settled(BOB, attempts=2)
        assert (row.status, row.enhanced_status) == (Status.BOUNCED, "5.3.0")
        assert 'fault="its content is missing"' in mended(caplog)[0]


async def test_what_waits_with_reason_is_no_finding_until_its_life_is_long_over(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    """A site that rests, or one that is so slow that its mail waits in the store, holds nobody past its time."""
    world.make(port=free_port(), schedule=(60,))
    await world.accept(BOB, leased=False, lifetime_ms=3_600_000)
    world.delivery._skipped = ["example.test"]
    world.jump(1800)
    await world.delivery.audit()
    row = await world.row(BOB)
    assert (row.status, row.attempts) == (Status.UNSENT, 0)
    world.jump(2 * HOUR)
    await world.delivery.audit()
    row = await world.settled(BOB)
    assert (row.status, row.enhanced_status) == (Status.BOUNCED, "4.4.7")
    assert mended(caplog) == []


async def test_what_expired_while_we_were_down_gets_its_last_try_first(world: World) -> None:
    world.make(port=free_port())
    await world.accept(BOB, leased=False, lifetime_ms=1000)
    world.jump(3 * DAY_MS / 1000)
    with ScriptedServer() as server:
        world.make(port=server.port)
        await world.delivery.audit()
        assert (await world.settled(BOB)).status is Status.DELIVERED


async def test_while_the_memory_is_full_what_is_overdue_waits(world: World, caplog: pytest.LogCaptureFixture) -> None:
    world.make(port=free_port())
    await world.accept(BOB, leased=False)
    world.jump(1800)
    world.delivery._busy = True
    await world.delivery.audit()
    assert (await world.row(BOB)).attempts == 0
    assert mended(caplog) == []


async def test_a_held_recipient_lives_until_it_is_released_and_then_gets_its_last_try(world: World) -> None:
    """As Postfix's hold queue: what an operator holds does not expire (postsuper(1), -h)."""
    with ScriptedServer(Script(rcpt="450 4.2.0 later")) as server:
        world.make(port=server.port)
        await world.accept(BOB, leased=False, lifetime_ms=3_600_000)
        recipient_id = (await world.row(BOB)).recipient_id
        await world.store.hold([recipient_id], world.now_ms())
        await world.delivery.start()
        world.jump(10 * HOUR)
        await world.delivery.audit()
        row = await world.row(BOB)
        assert (row.status, row.held) == (Status.UNSENT, True)
        await world.store.release([recipient_id], world.now_ms())
        row = await world.settled(BOB)
        assert (row.status, row.enhanced_status, row.code) == (Status.BOUNCED, "4.4.7", 450)


async def test_a_queue_without_faults_costs_a_look_and_no_transaction(world: World) -> None:
    world.make(port=free_port())
    await world.accept(BOB, leased=False)

    def refuse(*_: object) -> None:
        raise AssertionError("nothing is to be written")

    world.store.mend = refuse  # type: ignore[method-assign, assignment]
    await world.delivery.audit()


async def test_while_results_cannot_be_written_nothing_is_mended(world: World) -> None:
    """Leases that could not be renewed run out under recipients that are being delivered."""
    world.make(port=free_port())
    await world.accept(BOB)
    world.jump(HOUR)
    world.delivery._results._unstored = 1
    await world.delivery.audit()
    assert await world.store.next_due_ms() is None
    world.delivery._results._unstored = 0
    await world.delivery.audit()
    assert await world.store.next_due_ms() is not None


async def test_a_store_that_fails_is_audited_later(
    world: World, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    from storage.store import StoreFailedError

    async def fail(*_: object) -> None:
        raise StoreFailedError("I/O error")

    monkeypatch.setattr(world.store, "audit", fail)
    caplog.set_level(logging.ERROR)
    await world.make(port=free_port()).audit()
    assert any("no-audit" in record.getMessage() for record in caplog.records)
