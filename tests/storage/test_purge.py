"""Laws of the end of the log's keep."""

import sqlite3
from pathlib import Path

import pytest

from storage.model import LogFilter
from storage.reader import Reader
from storage.status import Event, Status
from storage.store import Store
from tests.storage import makers
from tests.storage.makers import DAY, NOW, accept, accept_due, hit, report, result

_TABLES = (
    "message",
    "recipient",
    "content",
    "attempt",
    "event",
    "by_address",
    "by_sender",
    "by_header",
    "stretch",
    "stretch_of",
)


def left(state_dir: Path) -> dict[str, int]:
    connection = sqlite3.connect(state_dir / "telltale.db")
    rows = {table: connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0] for table in _TABLES}
    connection.close()
    return {table: count for table, count in rows.items() if count}


async def make_history(store: Store, received_ms: int) -> int:
    (job,) = await accept(store, received_ms=received_ms, message_id=f"<{received_ms}@x>")
    await store.settle(result(job, Event.DELIVER))
    await store.record_hits([hit(job.recipient_id)])
    dsn_id = await store.accept_dsn(b"raw", job.recipient_id, "", received_ms)
    await store.settle_dsn(dsn_id, [report(job.recipient_id, Event.FAIL)], "dsn")
    return job.recipient_id


@pytest.mark.parametrize("stretch", [1, 4, 1000])
async def test_what_is_old_and_done_goes_with_all_its_traces(
    store: Store, reader: Reader, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stretch: int
) -> None:
    monkeypatch.setattr("storage.stretch.STRETCH_RECIPIENTS", stretch)
    for number in range(10):
        await make_history(store, NOW + number * DAY)
    _, (pending,) = await accept_due(store, received_ms=NOW)
    young = await make_history(store, NOW + 20 * DAY)
    assert [await store.purge(NOW + 10 * DAY, limit=4) for _ in range(4)] == [4, 4, 2, 0]
    rows = await reader.log(LogFilter(recipient="@there.example"), limit=99)
    assert [row.recipient_id for row in rows] == [young, pending]
    counts = await reader.status_counts()
    assert {status: count for status, count in counts.items() if count} == {Status.OPENED: 1, Status.UNSENT: 1}
    await store.remove([pending], NOW)
    assert await store.purge(NOW + 30 * DAY) == 2
    assert await store.purge(NOW + 30 * DAY) == 0
    assert left(tmp_path) == {}


async def test_nothing_young_is_purged(store: Store, tmp_path: Path) -> None:
    await make_history(store, NOW)
    assert await store.purge(NOW) == 0
    assert await store.purge(NOW + 1) == 1


async def test_a_step_is_bounded_in_recipients_and_always_gets_on(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("storage.purge._MOST_RECIPIENTS", 5)
    await makers.block(store, "@x.example")
    for recipients in (3, 2, 1, 9, 1):
        new = [makers.new_recipient(store, f"{number}@x.example") for number in range(recipients)]
        await store.accept(makers.message(store), b"hello", new, lifetime_ms=DAY, leased=True)
    assert [await store.purge(NOW + 1) for _ in range(5)] == [2, 1, 1, 1, 0]


async def test_a_message_without_recipients_goes_too(store: Store, tmp_path: Path) -> None:
    await store.accept(makers.message(store), b"hello", [], lifetime_ms=DAY, leased=True)
    assert await store.purge(NOW + 1) == 1
    assert left(tmp_path) == {}


async def test_settled_bounce_messages_go_and_waiting_ones_stay(store: Store) -> None:
    ids = [await store.accept_dsn(b"raw", None, "", NOW + number) for number in range(4)]
    for dsn_id in ids[:3]:
        await store.settle_dsn(dsn_id, [], "unknown")
    assert [await store.purge_dsns(NOW + 2, limit=1) for _ in range(3)] == [1, 1, 0]
    assert [waiting[0] for waiting in await store.waiting_dsns(9)] == [ids[3]]
    assert await store.purge_dsns(NOW + 9) == 1


async def test_followers_changes_are_kept_for_four_days_after_their_stretch(
    store: Store, reader: Reader, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("storage.stretch.STRETCH_RECIPIENTS", 1)
    monkeypatch.setattr("storage.transaction.ms_of", lambda _: NOW)
    await accept_due(store, "first@x.example")
    await accept_due(store, "second@x.example")
    assert len((await reader.changed(LogFilter(), -1))[1]) == 2
    monkeypatch.setattr("storage.transaction.ms_of", lambda _: NOW + 4 * DAY + 1)
    await accept_due(store, "third@x.example")
    assert [row.recipient for row in (await reader.changed(LogFilter(), -1))[1]] == ["third@x.example"]
