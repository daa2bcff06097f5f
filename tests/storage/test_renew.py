"""A lease that lasts: what `Store.renew` keeps from others."""

from storage.model import Job, LogFilter
from storage.reader import Reader
from storage.store import LEASE_MS, Store
from tests.storage.makers import NOW, accept


async def claimed(store: Store, now_ms: int) -> list[Job]:
    return await store.claim(now_ms, 10)


async def test_a_renewed_lease_lasts_from_the_time_given(store: Store) -> None:
    (job,) = await accept(store)
    await store.renew([job], NOW + 60_000)
    assert await claimed(store, NOW + LEASE_MS + 59_999) == []
    assert len(await claimed(store, NOW + LEASE_MS + 60_000)) == 1


async def test_a_lease_that_another_holds_is_not_renewed(store: Store) -> None:
    (job,) = await accept(store)
    (other,) = await claimed(store, NOW + LEASE_MS)
    await store.renew([job], NOW + 10 * LEASE_MS)
    assert [again.recipient_id for again in await claimed(store, NOW + 2 * LEASE_MS)] == [other.recipient_id]


async def test_a_lease_that_was_given_back_and_a_held_one_are_not_renewed(store: Store, reader: Reader) -> None:
    back, held = await accept(store, "a@there.example", "b@there.example")
    await store.postpone([back], NOW)
    await store.hold([held.recipient_id], NOW)
    await store.renew([back, held], NOW + LEASE_MS)
    assert [job.recipient_id for job in await claimed(store, NOW)] == [back.recipient_id]
    assert await claimed(store, NOW + 10 * LEASE_MS) != []
    assert [row.held for row in await reader.log(LogFilter(recipient="b@there.example"), limit=2)] == [True]
