"""storage/words.py, wordtext.py, wordpage.py: what is typed is found, entered or not, and forgotten with its mail."""

import itertools
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage import stretch
from storage.logpage import Pager, Wanted
from storage.model import BodyType, LogFilter, Message, NewRecipient
from storage.people import POLICY
from storage.reader import Reader
from storage.status import Event, Status
from storage.store import Store
from storage.wordtext import match_of, words_of
from tests.storage.makers import result


@pytest.fixture
async def cleanup() -> AsyncIterator[AsyncExitStack]:
    async with AsyncExitStack() as stack:
        yield stack


class Log:
    """A store and a reader of it."""

    def __init__(self, store: Store, reader: Reader) -> None:
        self.store = store
        self.reader = reader

    async def accept(
        self,
        subject: str,
        *addresses: str,
        sender: str = "news@sender.test",
        broadcast: str | None = None,
        at_ms: int = 0,
    ) -> None:
        message = Message(
            self.store.next_id(), at_ms, sender, BodyType.SEVEN_BIT, False, 1, b"", from_header="The Editor <x@y>",
            subject=subject, broadcast=broadcast,
        )  # fmt: skip
        people = [NewRecipient(self.store.next_id(), one, one.rpartition("@")[2], Status.UNSENT) for one in addresses]
        for job in await self.store.accept(message, b"x", people, lifetime_ms=10**9, leased=True):
            await self.store.settle(result(job, Event.DELIVER))

    async def found(self, text: str, **more: object) -> list[str]:
        wanted = replace(LogFilter(words=text), **more)  # type: ignore[arg-type]
        return [row.recipient for row in (await self.reader.page(Wanted(wanted, 50))).rows]


@pytest.fixture(params=["entered", "fresh"])
async def log(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Log]:
    monkeypatch.setattr(stretch, "STRETCH_RECIPIENTS", 2 if request.param == "entered" else 10**6)
    store = await Store.open(tmp_path, POLICY)
    reader = await Reader.open(tmp_path)
    log = Log(store, reader)
    await log.accept("The weekly report", "ann@example.test", "bob.smith@other.test")
    await log.accept("Grüße aus Köln", "ann@example.test", sender="chef@haus.test", broadcast="spring-7")
    await log.accept("100% of nothing", "dora@example.test")
    await store.enter_words(100)
    yield log
    await reader.close()
    await store.close()


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("weekly", ["bob.smith@other.test", "ann@example.test"]),
        ("WEEKLY report", ["bob.smith@other.test", "ann@example.test"]),
        ("weekly köln", []),
        ("week*", ["bob.smith@other.test", "ann@example.test"]),
        ("köln", ["ann@example.test"]),
        ("chef@haus.test", ["ann@example.test"]),
        ("spring", ["ann@example.test"]),
        ("editor", ["dora@example.test", "ann@example.test", "bob.smith@other.test", "ann@example.test"]),
        ("smith", ["bob.smith@other.test"]),
        ("bob.smith@other.test", ["bob.smith@other.test"]),
        ("dora", ["dora@example.test"]),
        ("--", []),
        ('100% "', ["dora@example.test"]),
        ("a OR b NOT NEAR(", []),
    ],
)
async def test_words_are_found(log: Log, text: str, found: list[str]) -> None:
    assert await log.found(text) == found


async def test_words_go_with_other_filters(log: Log) -> None:
    assert await log.found("editor", broadcast="spring-7") == ["ann@example.test"]
    assert await log.found("editor", statuses=(Status.FAILED,)) == []
    assert await log.found("editor", user="somebody") == []
    assert [row.recipient async for row in log.reader.stream(LogFilter(words="smith"))] == ["bob.smith@other.test"]
    rows = await log.reader.log(LogFilter(), limit=9)
    among = await log.reader.among([row.recipient_id for row in rows], LogFilter(words="weekly"))
    assert [row.recipient for row in among] == ["bob.smith@other.test", "ann@example.test"]


@pytest.mark.parametrize("hurried", [False, True])
@pytest.mark.parametrize("entered", [0, 7, 20, 1000])
async def test_pages_of_words_meet_every_row_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cleanup: AsyncExitStack, hurried: bool, entered: int
) -> None:
    """However far the words are entered and however little time there is."""
    monkeypatch.setattr(stretch, "STRETCH_RECIPIENTS", 4)
    monkeypatch.setattr("storage.wordpage._FIRST_STEP", 2)
    monkeypatch.setattr("storage.logquery._MOST_UNENTERED", 100)
    store = await Store.open(tmp_path, POLICY)
    cleanup.push_async_callback(store.close)
    reader = await Reader.open(tmp_path)
    cleanup.push_async_callback(reader.close)
    log = Log(store, reader)
    for number in range(30):
        subject = "weekly" if number % 2 else "daily"
        await log.accept(
            subject, *[f"r{number}.{n}.{'weekly' if n % 2 else 'monthly'}@x.test" for n in range(1 + number % 4)]
        )
    if entered:
        await store.enter_words(entered)
    expected = [row.recipient for row in await log.reader.log(LogFilter(), limit=1000)]
    expected = [one for one in expected if ".weekly@" in one or int(one[1:].partition(".")[0]) % 2]
    met: list[str] = []
    ticks = itertools.count()
    wanted: Wanted | None = Wanted(LogFilter(words="weekly"), 5)
    while wanted is not None:
        page = await Pager(log.reader._all, (lambda: float(next(ticks))) if hurried else (lambda: 0.0), wanted).page()
        met += [row.recipient for row in page.rows]
        last = page.rows[-1].recipient_id if page.rows else None
        wanted = (
            replace(wanted, before_id=last, below=None) if page.more
            else replace(wanted, before_id=None, below=page.reached) if page.reached is not None
            else None
        )  # fmt: skip
    assert met == expected


async def test_what_is_purged_is_found_no_more_and_the_tables_stay_sound(log: Log, tmp_path: Path) -> None:
    await log.accept("weekly again", "eve@example.test", at_ms=10**12)
    await log.store.enter_words(100)
    while await log.store.purge(10**11):
        pass
    assert await log.found("weekly") == ["eve@example.test"]
    assert await log.found("smith") == []
    for table in ("message_words", "address_words"):
        found = await log.reader._connection.execute_fetchall(
            f"SELECT count(*) FROM {table} WHERE {table} MATCH 'weekly OR smith OR eve OR editor'"
        )
        assert [tuple(row) for row in found] == [(int(await _entered(log)),)]


async def _entered(log: Log) -> bool:
    found = await log.reader._connection.execute_fetchall("SELECT stretch FROM words_entered")
    return any(row[0] > 2 for row in found)


def test_a_beginning_has_some_letters_or_is_a_word() -> None:
    assert words_of("wee* week* weekly") == ["wee", "week*", "weekly"]
    assert match_of("wee* week*") == '"wee" "week"*'


async def test_entering_ends(log: Log) -> None:
    assert await log.store.enter_words(100) == 0


@given(st.text())
def test_what_is_typed_is_words_and_no_operators(text: str) -> None:
    match = match_of(text)
    assert (match is None) == (not words_of(text))
    assert match is None or match.replace("*", "").count('"') == 2 * len(words_of(text))
