"""storage/logpage.py: pages in both directions, whatever is asked for and however little time there is."""

import itertools
import sqlite3
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from storage import stretch
from storage.logpage import Pager, Wanted
from storage.model import BodyType, LogFilter, LogPage, Message, NewRecipient
from storage.people import POLICY
from storage.reader import Reader
from storage.status import Event, Status
from storage.store import Store
from tests.storage.makers import result

ROWS = 60
OLD = range(3, 9)
"""Messages of a user, a sender and a broadcast that nothing came from since."""
FILTERS = [
    LogFilter(),
    LogFilter(recipient="r7@odd.test"),
    LogFilter(recipient="@odd.test"),
    LogFilter(recipient="r1"),
    LogFilter(sender="@news.test"),
    LogFilter(sender="news.t"),
    LogFilter(subject="weekly"),
    LogFilter(subject="100%"),
    LogFilter(broadcast="spring"),
    LogFilter(user="ann"),
    LogFilter(user="ann", statuses=(Status.FAILED,)),
    LogFilter(broadcast="winter"),
    LogFilter(broadcast="winter", statuses=(Status.FAILED, Status.UNSENT)),
    LogFilter(broadcast="winter", user="old"),
    LogFilter(user="old", statuses=(Status.FAILED,)),
    LogFilter(user="old", statuses=(Status.UNSENT,)),
    LogFilter(user="old", pending_only=True),
    LogFilter(sender="@old.test", recipient="r", statuses=(Status.FAILED,)),
    LogFilter(statuses=(Status.FAILED,)),
    LogFilter(statuses=(Status.FAILED, Status.BOUNCED)),
    LogFilter(statuses=(Status.UNSENT,)),
    LogFilter(statuses=(Status.UNSENT, Status.SOFT_BOUNCED)),
    LogFilter(statuses=(Status.UNSENT, Status.DELIVERED)),
    LogFilter(statuses=(Status.DELIVERED,), recipient="r"),
    LogFilter(pending_only=True),
    LogFilter(pending_only=True, recipient="r2"),
    LogFilter(since_ms=20_000, until_ms=40_000),
    LogFilter(queue_id="nonsense"),
    LogFilter(category="spam"),
    LogFilter(category="spam", statuses=(Status.FAILED, Status.BOUNCED)),
    LogFilter(category="spam", broadcast="spring"),
]


def _sender(number: int) -> str:
    return "n@old.test" if number in OLD else "n@news.test" if number % 3 else "x@y.test"


@pytest.fixture
async def reader(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Reader]:
    """A log of many small stretches and some rows that are in none."""
    monkeypatch.setattr(stretch, "STRETCH_RECIPIENTS", 4)
    store = await Store.open(tmp_path, POLICY)
    events = itertools.cycle([None, Event.DELIVER, Event.FAIL, Event.BOUNCE, Event.DEFER])
    for number in range(ROWS // 2):
        message = Message(
            store.next_id(), number * 2000, _sender(number), BodyType.SEVEN_BIT, False, 1,
            b"", user="old" if number in OLD else "ann" if number % 2 else None,
            subject="The 100% Weekly" if number % 4 else "Hello",
            broadcast="winter" if number in OLD else "spring" if number % 5 else None,
        )  # fmt: skip
        domain = "odd.test" if number % 2 else "even.test"
        people = [
            NewRecipient(store.next_id(), f"r{number}@{domain}", domain, Status.UNSENT),
            NewRecipient(store.next_id(), f"s{number}@{domain}", domain, Status.UNSENT),
        ]
        for job in await store.accept(message, b"x", people, lifetime_ms=10**9, leased=True):
            event = next(events)
            if event is not None:
                await store.settle(result(job, event, category="spam" if number % 3 else None))
    await store.close()
    with sqlite3.connect(tmp_path / "telltale.db") as connection:
        assert connection.execute("SELECT count(*) FROM stretch").fetchone()[0] > 5
    reader = await Reader.open(tmp_path)
    yield reader
    await reader.close()


async def walked(reader: Reader, wanted: Wanted, *, hurried: bool) -> list[int]:
    """Return the recipient ids of all pages in the order they were met; `hurried`: the time is up at once, always."""
    ids: list[int] = []
    ticks = itertools.count()
    for _ in range(200):
        page = await Pager(
            reader._all, reader._timed.ask, (lambda: float(next(ticks))) if hurried else (lambda: 0.0), wanted
        ).page()
        assert page.rows == sorted(page.rows, key=lambda row: -row.recipient_id)
        ids += [row.recipient_id for row in page.found]
        following = _next(page, wanted)
        if following is None:
            return ids
        wanted = following
    raise AssertionError("the pages do not end")


def _next(page: LogPage, wanted: Wanted) -> Wanted | None:
    plain = replace(wanted, before_id=None, after_id=None, below=None, above=None)
    if page.more:
        last = page.found[-1].recipient_id
        return replace(plain, before_id=last) if page.newest_first else replace(plain, after_id=last)
    if page.reached is not None:
        return replace(plain, below=page.reached) if page.newest_first else replace(plain, above=page.reached)
    return None


@pytest.mark.parametrize("wanted", FILTERS, ids=str)
@pytest.mark.parametrize("hurried", [False, True])
async def test_the_pages_hold_what_the_log_holds_in_both_directions(
    reader: Reader, wanted: LogFilter, hurried: bool
) -> None:
    """Page after page, whatever the time allows, every row that matches is met exactly once."""
    expected = [row.recipient_id for row in await reader.log(wanted, limit=1000)]
    assert expected or wanted.queue_id
    assert await walked(reader, Wanted(wanted, 3), hurried=hurried) == expected
    upwards = await walked(reader, Wanted(wanted, 3, after_id=0), hurried=hurried)
    assert upwards == expected[::-1]


@pytest.mark.parametrize(
    "wanted",
    [
        LogFilter(broadcast="winter"),
        LogFilter(user="old"),
        LogFilter(sender="@old.test"),
        LogFilter(user="old", recipient="3@"),
        LogFilter(user="old", statuses=(Status.FAILED,)),
    ],
    ids=str,
)
async def test_what_was_long_ago_is_found_at_once_and_nothing_newer_is_looked_through(
    reader: Reader, wanted: LogFilter
) -> None:
    """However little time there is: the stretches of a broadcast, a user and a sender are known."""
    ticks = itertools.count()
    page = await Pager(reader._all, reader._timed.ask, lambda: float(next(ticks)), Wanted(wanted, 2)).page()
    assert page.rows == await reader.log(wanted, limit=2)
    assert page.rows or wanted.recipient


@pytest.mark.parametrize(
    "wanted",
    [
        LogFilter(broadcast="nothing"),
        LogFilter(broadcast="spring", user="old"),
        LogFilter(user="nobody", statuses=(Status.FAILED,)),
        LogFilter(sender="n@nowhere.test"),
    ],
    ids=str,
)
async def test_what_was_never_is_known_not_to_be_there(reader: Reader, wanted: LogFilter) -> None:
    ticks = itertools.count()
    for after_id in (None, 0):
        page = await Pager(
            reader._all, reader._timed.ask, lambda: float(next(ticks)), Wanted(wanted, 2, after_id=after_id)
        ).page()
        assert (list(page.rows), page.more, page.reached) == ([], False, None)


async def test_a_page_before_a_row_ends_above_the_page_after_it(reader: Reader) -> None:
    first = await reader.page(Wanted(LogFilter(), 10))
    second = await reader.page(Wanted(LogFilter(), 10, before_id=first.rows[-1].recipient_id))
    back = await reader.page(Wanted(LogFilter(), 10, after_id=second.rows[0].recipient_id))
    assert (first.more, second.more, back.more) == (True, True, False)
    assert back.rows == first.rows
    assert len({row.recipient_id for row in first.rows + second.rows}) == 20


async def test_one_row_is_found_where_it_may_be_seen(reader: Reader) -> None:
    (row,) = await reader.log(LogFilter(recipient="r17@odd.test"), limit=1)
    assert await reader.row(row.recipient_id, LogFilter()) == row
    assert await reader.row(row.recipient_id, LogFilter(user="ann")) == row
    assert await reader.row(row.recipient_id, LogFilter(user="bob")) is None
    assert await reader.row(1, LogFilter()) is None
