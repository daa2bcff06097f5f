"""storage/audit.py and the leases that are lost: what nobody would ever try is found, counted and mended."""

from pathlib import Path

import pytest

from storage import audit, owners
from storage.audit import Facts, Fault, Walk, fault_of
from storage.model import LogFilter, TimelineKind
from storage.people import POLICY
from storage.queue_verbs import LEASE_MS
from storage.reader import Reader
from storage.recipient import NEVER
from storage.status import Event, Status
from storage.store import Store
from tests.storage.makers import BUSY, DAY, MINUTE, NOW, accept, accept_due, result

OWNER = 77 << 10 | 3
LEASE = 80 << 10 | 3


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({}, None),
        ({"due_ms": NOW + DAY}, None),
        ({"due_ms": NOW - 10 * MINUTE}, None),
        ({"due_ms": NOW - 16 * MINUTE}, Fault.OVERDUE),
        ({"due_ms": NOW + 5 * DAY}, None),
        ({"due_ms": NOW + 6 * DAY}, Fault.FAR),
        ({"expires_ms": NOW - DAY}, None),
        ({"expires_ms": NOW - DAY, "due_ms": NOW + 2 * MINUTE}, Fault.FAR),
        ({"has_content": False}, Fault.CONTENT),
        ({"has_content": False, "due_ms": NOW + DAY}, Fault.CONTENT),
        ({"lease": LEASE, "due_ms": NOW + LEASE_MS}, None),
        ({"lease": LEASE, "due_ms": NOW + LEASE_MS, "has_content": False}, None),
        ({"lease": LEASE, "due_ms": NOW - 2 * MINUTE}, Fault.OVERDUE_LEASE),
        ({"lease": LEASE, "due_ms": NOW + LEASE_MS + 2 * MINUTE}, Fault.FAR),
        ({"lease": LEASE + 1}, Fault.LEASE),
        ({"lease": (OWNER - 1024)}, Fault.LEASE),
        ({"due_ms": NEVER}, None),
        ({"due_ms": NEVER, "expires_ms": NOW - DAY, "has_content": False}, None),
        ({"due_ms": NEVER, "lease": LEASE}, None),
        ({"due_ms": NEVER, "lease": LEASE + 1}, Fault.LEASE),
    ],
)
def test_what_is_wrong_with_a_recipient(changes: dict[str, int], fault: Fault | None) -> None:
    """A held one waits for its operator, however long; all others are tried, or have a lease that lives."""
    facts = Facts(
        **({"id": 1, "due_ms": NOW, "lease": None, "expires_ms": NOW + 5 * DAY, "has_content": True} | changes)
    )  # type: ignore[arg-type]
    assert fault_of(facts, NOW, {OWNER}) is fault


async def suspects(store: Store, now_ms: int = NOW) -> dict[int, Fault]:
    step = await store.audit(Walk(), 100, now_ms)
    assert step.walk is None
    return {suspect.recipient_id: suspect.fault for suspect in step.suspects}


async def spoil(store: Store, tmp_path: Path, sql: str) -> None:
    """Do to the database what no verb does; the writing connection is the store's own thread's."""

    def run(transaction: object, wanted: list[str]) -> list[None]:
        transaction.connection.execute(wanted[0])  # type: ignore[attr-defined]
        return [None]

    await store._writer.call(run, sql)


async def test_a_sound_queue_has_nothing_to_mend(store: Store) -> None:
    jobs = await accept(store, "a@x.example", "b@x.example", leased=True)
    await accept_due(store, "c@x.example")
    await store.settle(result(jobs[0], Event.DEFER, BUSY))
    await store.hold([jobs[1].recipient_id], NOW)
    assert await suspects(store) == {}


async def test_a_long_queue_is_walked_in_steps(store: Store) -> None:
    first, _ = await accept_due(store, *(f"r{n}@x.example" for n in range(7)))
    await accept_due(store, *(f"s{n}@x.example" for n in range(3)))
    walk, seen, steps = Walk(), 0, 0
    while True:
        step = await store.audit(walk, 4, NOW + DAY)
        seen, steps = seen + len(step.suspects), steps + 1
        if step.walk is None:
            break
        walk = step.walk
    assert (seen, steps) == (10, 3)
    assert first


async def test_a_walk_reads_an_index_and_not_the_table(store: Store, tmp_path: Path) -> None:
    """Law 6: an audit's cost does not grow with the log."""
    plan: list[str] = []

    def run(transaction: object, wanted: list[None]) -> list[None]:
        rows = transaction.connection.execute(f"EXPLAIN QUERY PLAN {audit._LOOK}", (0, 0, 10))  # type: ignore[attr-defined]
        plan.extend(row[3] for row in rows)
        return [None]

    await store._writer.call(run, None)
    assert plan[0].startswith("SEARCH r USING INDEX recipient_pending")
    assert not any("SCAN" in line or "TEMP B-TREE" in line for line in plan)


async def test_a_lease_of_nobody_is_ended_and_told(store: Store, reader: Reader, tmp_path: Path) -> None:
    """A database that was restored from a copy has leases of processes that left no file."""
    (job,) = await accept(store)
    await spoil(store, tmp_path, "UPDATE recipient SET lease = lease | 1023")
    assert await suspects(store) == {job.recipient_id: Fault.LEASE}
    faults, jobs = await store.mend([job.recipient_id], NOW, 10)
    assert (faults, jobs) == ({job.recipient_id: Fault.LEASE}, [])
    assert await suspects(store) == {}
    (again,) = await store.claim(NOW, 10)
    assert again.losses == 1
    (entry,) = [e for e in await reader.timeline(job.recipient_id) if e.kind is TimelineKind.QUEUE]
    assert entry.text == (
        "the relay process that held it ended without a word of what came of it; to be tried again at once"
    )


async def test_a_held_recipient_loses_its_lease_and_stays_held(store: Store, reader: Reader, tmp_path: Path) -> None:
    (job,) = await accept(store)
    await store.hold([job.recipient_id], NOW)
    await spoil(store, tmp_path, "UPDATE recipient SET lease = lease | 1023")
    await store.mend([job.recipient_id], NOW, 10)
    (row,) = await reader.log(LogFilter(), limit=2)
    assert row.held
    assert await store.claim(NOW + 30 * DAY, 10) == []
    await store.release([job.recipient_id], NOW)
    assert len(await store.claim(NOW, 10)) == 1


async def test_a_lease_that_ran_out_is_ended(store: Store) -> None:
    (job,) = await accept(store)
    now_ms = NOW + LEASE_MS + 2 * MINUTE
    assert await suspects(store, now_ms) == {job.recipient_id: Fault.OVERDUE_LEASE}
    await store.mend([job.recipient_id], now_ms, 10)
    assert await store.next_due_ms() == now_ms


async def test_what_is_due_beyond_its_life_is_due_now(store: Store, tmp_path: Path) -> None:
    """A clock that was wrong for a while leaves dates behind that nobody would live to see."""
    _, (recipient_id,) = await accept_due(store)
    await spoil(store, tmp_path, f"UPDATE recipient SET due_ms = {NOW + 400 * DAY}")
    assert await suspects(store) == {recipient_id: Fault.FAR}
    await store.mend([recipient_id], NOW, 10)
    assert await store.next_due_ms() == NOW


async def test_a_lease_of_the_future_ends_as_others_do_and_stays_its_holder_s(store: Store, tmp_path: Path) -> None:
    (job,) = await accept(store)
    await spoil(store, tmp_path, f"UPDATE recipient SET due_ms = {NOW + 400 * DAY}")
    await store.mend([job.recipient_id], NOW, 10)
    assert await suspects(store) == {}
    assert (await store.settle(result(job, Event.DELIVER))).accepted


async def test_what_has_been_due_for_long_is_taken_up_as_far_as_there_is_room(store: Store) -> None:
    _, ids = await accept_due(store, "a@x.example", "b@x.example", "c@x.example")
    faults, jobs = await store.mend(ids, NOW + DAY, 2)
    assert set(faults.values()) == {Fault.OVERDUE}
    assert [job.recipient_id for job in jobs] == ids[:2]
    assert [job.recipient_id for job in await store.claim(NOW + DAY, 10)] == ids[2:]


async def test_what_has_no_content_is_taken_up_at_once(store: Store, tmp_path: Path) -> None:
    (job,) = await accept(store)
    await store.settle(result(job, Event.DEFER, BUSY))
    await spoil(store, tmp_path, "DELETE FROM content")
    assert await suspects(store) == {job.recipient_id: Fault.CONTENT}
    _, jobs = await store.mend([job.recipient_id], NOW, 10)
    assert [each.recipient_id for each in jobs] == [job.recipient_id]
    assert await store.content(jobs[0].message.id) is None


async def test_what_was_mended_meanwhile_is_left(store: Store) -> None:
    (job,) = await accept(store)
    await store.settle(result(job, Event.DELIVER))
    assert await store.mend([job.recipient_id, 12345], NOW + DAY, 10) == ({}, [])
    _, (sound,) = await accept_due(store)
    assert await store.mend([sound], NOW, 10) == ({}, [])


# Leases lost.


async def test_a_process_that_dies_of_a_message_tries_it_later_each_time(tmp_path: Path) -> None:
    """The first loss may be anything: at once. From the second on, the message may be what kills: by the schedule."""
    waits = {1: 0, 2: MINUTE, 3: 5 * MINUTE}.__getitem__
    store = await Store.open(tmp_path, POLICY)
    await accept_due(store)
    now_ms = NOW
    for losses, wait_ms in ((1, 0), (2, MINUTE), (3, 5 * MINUTE)):
        (job,) = await store.claim(now_ms, 10)
        assert job.losses == losses - 1
        await die(store)
        store = await Store.open(tmp_path, POLICY)
        assert await store.recover(now_ms, waits) == 1
        assert await store.next_due_ms() == now_ms + wait_ms
        if wait_ms:
            assert await store.claim(now_ms + wait_ms - 1, 10) == []
        now_ms += wait_ms
    reader = await Reader.open(tmp_path)
    texts = [e.text for e in await reader.timeline(job.recipient_id) if e.kind is TimelineKind.QUEUE]
    assert [text.rpartition("; ")[2] for text in texts] == [
        "to be tried again at once",
        "to be tried again in 60 s",
        "to be tried again in 300 s",
    ]
    assert "3 times now" in texts[2]
    await reader.close()
    await store.close()


async def test_a_wait_does_not_outlast_the_life(tmp_path: Path) -> None:
    store = await Store.open(tmp_path, POLICY)
    await accept_due(store)
    await store.claim(NOW, 10)
    await die(store)
    store = await Store.open(tmp_path, POLICY)
    await store.recover(NOW, lambda _: 30 * DAY)
    assert await store.next_due_ms() == NOW + 5 * DAY
    await store.close()


async def test_a_lease_that_runs_out_again_waits_too(store: Store) -> None:
    """A message that hangs its process leaves no dead one: the lease that ran out tells."""
    await accept(store)
    later = NOW + LEASE_MS
    waits = {1: 0, 2: MINUTE}.__getitem__
    (job,) = await store.claim(later, 10, (), waits)
    assert job.losses == 1
    later += LEASE_MS
    assert await store.claim(later, 10, (), waits) == []
    (job,) = await store.claim(later + MINUTE, 10, (), waits)
    assert job.losses == 2


async def test_what_is_given_back_is_no_loss(tmp_path: Path) -> None:
    store = await Store.open(tmp_path, POLICY)
    await accept(store)
    await store.close()
    store = await Store.open(tmp_path, POLICY)
    (job,) = await store.claim(NOW, 10)
    assert (job.losses, job.status) == (0, Status.UNSENT)
    await store.close()


async def die(store: Store) -> None:
    """Go as a killed process does: nothing is given back, and the lock on the owner's file is gone."""
    await store._lookups.close()
    await store._writer.close()
    path = store._state_dir / "owners" / str(store._owner.id)
    path.touch()
    assert not owners._locked(path)
