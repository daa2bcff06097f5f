"""Laws of the log's questions, against the plainest way to answer them: looking at every row."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from storage.logquery import Query
from storage.model import HitFacts, LogFilter, LogRow, message_id_of
from storage.people import POLICY
from storage.reader import Reader
from storage.status import PENDING, Event, Status
from storage.store import Store
from tests.storage import makers
from tests.storage.makers import BUSY, DAY, NOW, UNKNOWN, accept, accept_due, hit, report, result

_SENDERS = ("ann@sender.example", "News@sender.example", "bob@other.example", "")
_ADDRESSES = ("joe@a.example", "Joe@b.example", "50%_off@a.example", "eve@c.example", "a\\b@c.example")
_HOUR = 3_600_000
_ENDS = (Event.DELIVER, Event.HAND_OVER, Event.FAIL, Event.BOUNCE, Event.DEFER, None)


async def fill(store: Store) -> None:
    """Messages of many kinds, over twelve hours, some of them received out of order."""
    for number in range(72):
        addresses = [_ADDRESSES[(number + more) % len(_ADDRESSES)] for more in range(1 + number % 3)]
        received_ms = NOW + (number * 10 - (number % 5) * 17) * 60_000
        jobs = await accept(store, *addresses, sender=_SENDERS[number % 4], received_ms=received_ms)
        for at, job in enumerate(jobs):
            event = _ENDS[(number + at) % len(_ENDS)]
            if event is not None:
                await store.settle(result(job, event, BUSY if event is Event.DEFER else UNKNOWN))
            if number % 7 == 0:
                await store.record_hits([hit(job.recipient_id)])
        if number % 9 == 0:
            await store.hold([jobs[0].recipient_id], NOW)
    await makers.block(store, *_ADDRESSES)
    refused = [makers.new_recipient(store, address) for address in _ADDRESSES]
    await store.accept(makers.message(store), b"hello", refused, lifetime_ms=DAY, leased=True)


async def make_log(state_dir: Path) -> None:
    store = await Store.open(state_dir, makers.policy(failed=False))
    await fill(store)
    await store.close()


@pytest.fixture(scope="module", params=[1, 7, 1000], ids=["tiny stretches", "small stretches", "all fresh"])
def log_dir(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    state_dir = tmp_path_factory.mktemp("log")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("storage.stretch.STRETCH_RECIPIENTS", request.param)
        asyncio.run(make_log(state_dir))
    return state_dir


@pytest.fixture
async def filled(log_dir: Path) -> AsyncIterator[Reader]:
    reader = await Reader.open(log_dir)
    yield reader
    await reader.close()


def matches(row: LogRow, wanted: LogFilter) -> bool:
    return (
        (not wanted.statuses or row.status in wanted.statuses)
        and (wanted.recipient is None or address_matches(row.recipient, wanted.recipient))
        and (wanted.sender is None or address_matches(row.sender, wanted.sender))
        and (wanted.since_ms is None or row.received_ms >= wanted.since_ms)
        and (wanted.until_ms is None or row.received_ms < wanted.until_ms)
        and (wanted.queue_id is None or row.queue_id == wanted.queue_id)
        and (not wanted.pending_only or row.status in PENDING)
    )


def address_matches(address: str, text: str) -> bool:
    if text.startswith("@"):
        return address.rpartition("@")[2] == text[1:].lower()
    return address.lower() == text.lower() if "@" in text else text.lower() in address.lower()


_TIMES = st.none() | st.integers(-2 * _HOUR, 14 * _HOUR).map(lambda ms: NOW + ms)
_PARTS = st.sampled_from(["joe", "%", "_", "\\", "example", "nobody", "JOE@A.example", "@c.example", "@C.EXAMPLE", "@"])
_FILTERS = st.builds(
    LogFilter,
    statuses=st.lists(st.sampled_from(Status), max_size=3).map(tuple),
    recipient=st.none() | st.sampled_from(_ADDRESSES) | _PARTS,
    sender=st.none() | st.sampled_from(_SENDERS) | _PARTS,
    since_ms=_TIMES,
    until_ms=_TIMES,
    pending_only=st.booleans(),
)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(wanted=_FILTERS, limit=st.integers(1, 60))
async def test_pages_hold_exactly_what_the_filter_wants(filled: Reader, wanted: LogFilter, limit: int) -> None:
    whole = await filled.log(LogFilter(), limit=10_000)
    found: list[LogRow] = []
    page = await filled.log(wanted, limit=limit)
    while page:
        assert len(page) <= limit
        found += page
        page = await filled.log(wanted, limit=limit, before_id=page[-1].recipient_id)
    assert found == [row for row in whole if matches(row, wanted)]
    assert [row async for row in filled.stream(wanted)] == found


async def test_a_queue_id_finds_its_message(filled: Reader) -> None:
    whole = await filled.log(LogFilter(), limit=10_000)
    assert len(whole) > 140
    for row in whole[::9]:
        wanted = LogFilter(queue_id=row.queue_id)
        assert await filled.log(wanted, limit=99) == [other for other in whole if other.queue_id == row.queue_id]
        message_id = message_id_of(row.queue_id)
        assert message_id is not None
        assert (row.recipient_id, row.recipient) in await filled.recipients_of(message_id)
        assert await filled.message_of(row.recipient_id) == (message_id, row.recipient)
    assert await filled.log(LogFilter(queue_id="no queue id"), limit=9) == []
    assert await filled.message_of(5) is None


async def test_the_counts_are_those_of_the_rows(filled: Reader) -> None:
    whole = await filled.log(LogFilter(), limit=10_000)
    counts = await filled.status_counts()
    assert counts == {status: sum(row.status is status for row in whole) for status in Status}
    pending = await filled.status_counts(pending_only=True)
    assert pending == {status: counts[status] for status in PENDING}


async def test_a_message_id_finds_the_newest_recipient(
    store: Store, reader: Reader, monkeypatch: pytest.MonkeyPatch
) -> None:
    for stretch in (1, 1000):
        monkeypatch.setattr("storage.stretch.STRETCH_RECIPIENTS", stretch)
        for _ in range(2):
            (job,) = await accept(store, "Joe@a.example", message_id="<one@x>")
        assert await reader.recipient_by_message_id("<one@x>", "joe@A.example") == job.recipient_id
    assert await reader.recipient_by_message_id("<one@x>", "eve@a.example") is None
    assert await reader.recipient_by_message_id("<two@x>", "joe@a.example") is None


async def test_what_another_process_entered_is_not_entered_again(
    tmp_path: Path, store: Store, reader: Reader, monkeypatch: pytest.MonkeyPatch
) -> None:
    await accept_due(store, "a@x.example")
    other = await Store.open(tmp_path, POLICY)
    monkeypatch.setattr("storage.stretch.STRETCH_RECIPIENTS", 1)
    await accept_due(store, "b@x.example")
    await other.record_hits([])
    await other.close()
    rows = await reader.log(LogFilter(recipient="@x.example"), limit=9)
    assert [row.recipient for row in rows] == ["b@x.example", "a@x.example"]
    assert [row[0] for row in await reader._all(Query("SELECT number FROM stretch"))] == [1]


async def test_facts_of_hits_come_for_any_number_of_recipients(store: Store, reader: Reader) -> None:
    _, ids = await accept_due(store, *(f"{number}@x.example" for number in range(2300)))
    (job,) = await accept(store)
    await store.settle(result(job, Event.DEFER, BUSY, in_doubt=True))
    facts = await reader.hit_facts([*ids, 17, job.recipient_id])
    assert facts.keys() == {*ids, job.recipient_id}
    assert facts[ids[0]] == HitFacts(ids[0], Status.UNSENT, None, None, None)
    doubt = HitFacts(job.recipient_id, Status.SOFT_BOUNCED, None, NOW + 40, "192.0.2.1")
    assert facts[job.recipient_id] == doubt


async def test_a_follower_sees_each_change_once(store: Store, reader: Reader) -> None:
    serial, rows = await reader.changed(LogFilter(), 0)
    assert rows == []
    (job,) = await accept(store)
    await accept_due(store, "eve@else.example")
    serial, rows = await reader.changed(LogFilter(), serial)
    assert [row.recipient for row in rows] == ["eve@else.example", "bob@there.example"]
    assert await reader.changed(LogFilter(), serial) == (serial, [])
    await store.settle(result(job, Event.DELIVER))
    await store.record_hits([hit(job.recipient_id)])
    dsn_id = await store.accept_dsn(b"raw", job.recipient_id, "", NOW)
    await store.settle_dsn(dsn_id, [report(job.recipient_id, Event.FAIL)], "dsn")
    later, rows = await reader.changed(LogFilter(statuses=(Status.OPENED,)), serial)
    assert [row.late for row in rows] == ["bounced later: 5.1.1 no such user"]
    assert (await reader.changed(LogFilter(statuses=(Status.FAILED,)), serial)) == (later, [])
    assert (await reader.changed(LogFilter(), 0)) == (later, [])


async def test_a_follower_far_behind_catches_up_in_bounded_answers(
    store: Store, reader: Reader, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("storage.reader._MOST_CHANGED", 5)
    monkeypatch.setattr("storage.reader._CHANGES", 2)
    serial, _ = await reader.changed(LogFilter(), 0)
    for number in range(12):
        await accept_due(store, f"{number}@x.example")
    seen: list[str] = []
    while (answer := await reader.changed(LogFilter(), serial))[1]:
        serial = answer[0]
        assert len(answer[1]) <= 6
        seen += [row.recipient for row in reversed(answer[1])]
    assert seen == [f"{number}@x.example" for number in range(12)]


async def test_a_reader_is_not_in_the_way_of_writers(store: Store, reader: Reader) -> None:
    for number in range(30):
        await accept_due(store, f"{number}@x.example")
    rows = reader.stream(LogFilter())
    first = await anext(rows)
    (job,) = await asyncio.wait_for(accept(store), 10)
    await asyncio.wait_for(store.settle(result(job, Event.DELIVER)), 10)
    assert first.recipient == "29@x.example"
    assert len([row async for row in rows]) == 29


async def test_an_unknown_recipient_has_no_timeline(reader: Reader) -> None:
    assert await reader.timeline(12345) == []
