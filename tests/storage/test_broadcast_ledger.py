"""Duplicate: an address gets a broadcast once, whatever comes at the same time or again."""

import asyncio
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from storage.broadcast_model import NewRun, RunOrder
from storage.model import LogFilter
from storage.people import POLICY, Unsubscription
from storage.reader import Reader
from storage.status import Event, Status
from storage.store import Store
from tests.storage.makers import BUSY, DAY, NOW, accept, block, message, new_recipient, result


async def once(store: Store, *addresses: str, broadcast: str = "Spring", user: str | None = None) -> list[str]:
    """Accept a message of a broadcast; the addresses that it is sent to."""
    made = message(store, broadcast=broadcast, user=user)
    recipients = [new_recipient(store, address) for address in addresses]
    jobs = await store.accept(made, b"hello", recipients, lifetime_ms=5 * DAY, leased=True, once=True)
    return [job.address for job in jobs]


async def test_the_same_address_again_is_a_row_that_says_why(store: Store, reader: Reader) -> None:
    assert await once(store, "bob@there.example", "eve@there.example") == ["bob@there.example", "eve@there.example"]
    assert await once(store, "bob@there.example", "dan@there.example") == ["dan@there.example"]
    row = (await reader.log(LogFilter(statuses=(Status.DUPLICATE,)), limit=9))[0]
    assert (row.recipient, row.diagnostic) == (
        "bob@there.example",
        'the address was met before in the broadcast "Spring"',
    )
    assert (await reader.status_counts())[Status.DUPLICATE] == 1


async def test_users_and_names_do_not_collide(store: Store) -> None:
    for user, broadcast in ((None, "Spring"), ("ann", "Spring"), ("joe", "Spring"), ("ann", "Summer")):
        assert await once(store, "bob@there.example", broadcast=broadcast, user=user) == ["bob@there.example"]
        assert await once(store, "bob@there.example", broadcast=broadcast, user=user) == []


async def test_the_letter_case_of_the_local_part_counts(store: Store) -> None:
    assert len(await once(store, "Bob@there.example", "bob@there.example")) == 2


async def test_a_message_whose_broadcast_does_not_count_goes_as_often_as_it_comes(store: Store) -> None:
    """A provider's tag, or a List-ID, is met on many messages that all want to arrive."""
    for _ in range(2):
        assert len(await accept(store, "bob@there.example", broadcast="Spring")) == 1
    assert len(await once(store, "bob@there.example")) == 1


async def test_who_was_blocked_has_not_had_it(store: Store) -> None:
    await block(store, "bob@there.example", expires_ms=NOW + DAY)
    assert await once(store, "bob@there.example") == []
    made = message(store, broadcast="Spring", received_ms=NOW + DAY)
    new = [new_recipient(store, "bob@there.example")]
    assert len(await store.accept(made, b"hello", new, lifetime_ms=DAY, leased=True, once=True)) == 1


async def test_who_was_held_back_while_he_waited_has_not_had_it(store: Store, reader: Reader) -> None:
    """An incident blocks whom it should not while a broadcast waits; it is undone, and the broadcast sent again."""
    people = ["blocked@there.example", "left@there.example", "gone@there.example", "tried@there.example"]
    made = message(store, broadcast="Spring", broadcast_type="general", user="ann")
    new = [new_recipient(store, address) for address in people]
    jobs = await store.accept(made, b"hello", new, lifetime_ms=5 * DAY, leased=True, once=True)
    await store.settle(result(jobs[3], Event.DEFER, BUSY))
    await store.postpone(jobs[:3], NOW)
    await block(store, "blocked@there.example", "tried@there.example")
    await store.contacts.unsubscribe([Unsubscription("left@there.example", "general", NOW, "one-click")])
    assert await store.broadcasts.withdraw("gone@there.example", "general", [jobs[2].recipient_id], NOW) == 1
    assert await store.claim(NOW + DAY, 9) == []
    assert (await reader.status_counts())[Status.BLOCKED] == 2
    await store.blocked.remove(["blocked@there.example", "tried@there.example"], "ann", NOW)
    assert await once(store, *people, user="ann") == people[:3]


async def test_a_ledger_is_forgotten_after_its_retention_step_by_step(store: Store) -> None:
    await once(store, *(f"{number}@there.example" for number in range(30)))
    await once(store, "bob@there.example", broadcast="Other")
    assert await store.purge_broadcasts(NOW, 10) == 0
    assert await store.purge_broadcasts(NOW + 1, 20) == 21
    while await store.purge_broadcasts(NOW + 1, 20):
        continue
    assert await once(store, "1@there.example", "bob@there.example") == ["1@there.example", "bob@there.example"]


async def test_a_broadcast_that_is_still_sent_is_not_forgotten(store: Store) -> None:
    await once(store, "bob@there.example")
    new = NewRun("Spring", "general", "news@sender.test", "Hi", b"", personal=False)
    run_id = await store.broadcasts.create(new, NOW)
    assert await store.purge_broadcasts(NOW + DAY) == 0
    assert await store.broadcasts.order(run_id, RunOrder.CANCEL, NOW)
    assert await store.purge_broadcasts(NOW + DAY) == 2
    assert await store.purge_broadcasts(NOW + DAY) == 0


async def test_large_content_that_nobody_gets_leaves_no_file(store: Store, tmp_path: Path) -> None:
    large = b"x" * (300 << 10)
    for _ in range(2):
        made = message(store, broadcast="Spring", size=len(large))
        recipients = [new_recipient(store, "bob@there.example")]
        await store.accept(made, large, recipients, lifetime_ms=DAY, leased=True, once=True)
    assert len(list((tmp_path / "content").iterdir())) == 1


_ADDRESSES = st.lists(st.sampled_from([f"{name}@{at}.example" for name in "abc" for at in "xy"]), max_size=8)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(st.sampled_from("PQ"), _ADDRESSES, st.booleans()), max_size=8), st.integers(0, 8))
def test_an_address_gets_a_broadcast_exactly_once(
    tmp_path_factory: object, messages: list[tuple[str, list[str], bool]], close_after: int
) -> None:
    """In one message or many, in one group or many, in one process after the other: once, and never not at all."""
    directory: Path = tmp_path_factory.mktemp("store")  # type: ignore[attr-defined]

    async def run() -> list[tuple[str, str]]:
        store = await Store.open(directory, POLICY)
        sent: list[tuple[str, str]] = []
        waiting: list[tuple[str, asyncio.Task[list[str]]]] = []
        for number, (name, addresses, wait) in enumerate(messages):
            waiting.append((name, asyncio.create_task(once(store, *addresses, broadcast=name))))
            if wait or number == close_after:
                sent += [(name, address) for name, task in waiting for address in await task]
                waiting = []
            if number == close_after:
                await store.close()
                store = await Store.open(directory, POLICY)
        sent += [(name, address) for name, task in waiting for address in await task]
        await store.close()
        return sent

    sent = asyncio.run(run())
    assert sorted(sent) == sorted({(name, address) for name, addresses, _ in messages for address in addresses})
