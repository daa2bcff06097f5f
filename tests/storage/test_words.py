"""storage/words.py, wordtext.py, wordpage.py: what is typed is found, entered or not, and forgotten with its mail."""

import asyncio
import itertools
import sqlite3
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage import stretch
from storage.logpage import Pager, Wanted
from storage.logquery import Query
from storage.model import BodyType, LogFilter, Message, NewRecipient
from storage.people import POLICY
from storage.reader import Reader
from storage.status import Event, Status
from storage.store import Store
from storage.timed import Timed
from storage.wordtext import holds, leading_of, match_of, words_of
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


async def _make_log(state_dir: Path, entered: int) -> None:
    store = await Store.open(state_dir, POLICY)
    reader = await Reader.open(state_dir)
    for number in range(30):
        people = [f"r{number}.{n}.{'weekly' if n % 2 else 'monthly'}@x.test" for n in range(1 + number % 4)]
        await Log(store, reader).accept(
            f"{'weekly' if number % 2 else 'daily'} x",
            *people,
            broadcast="old" if number in range(5, 10) else None,
            sender="a@x.test",
            at_ms=number * 600_000,
        )
    if entered:
        await store.enter_words(entered)
    await reader.close()
    await store.close()


@pytest.fixture(scope="module", params=[0, 7, 20, 1000], ids=["none entered", "few", "some", "all entered"])
def long_log(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A log that is in small stretches, and its words are entered so far."""
    state_dir = tmp_path_factory.mktemp("words")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stretch, "STRETCH_RECIPIENTS", 4)
        asyncio.run(_make_log(state_dir, request.param))
    return state_dir


@pytest.mark.parametrize("words", ["weekly", "week*", "weekl* x*", "test weekly"])
@pytest.mark.parametrize("narrow", [{}, {"broadcast": "old"}, {"since_ms": 3_600_000, "until_ms": 5 * 3_600_000}])
@pytest.mark.parametrize("hurried", [False, True])
@pytest.mark.parametrize("listed_seconds", [10.0, 0.0])
async def test_pages_of_words_meet_every_row_once(
    long_log: Path,
    monkeypatch: pytest.MonkeyPatch,
    cleanup: AsyncExitStack,
    *,
    hurried: bool,
    listed_seconds: float,
    narrow: dict[str, Any],
    words: str,
) -> None:
    """However far the words are entered, however little time there is, and whether the tables answer in time or not."""
    monkeypatch.setattr("storage.wordpage._LISTED_SECONDS", listed_seconds)
    monkeypatch.setattr("storage.wordpage._MET", 2)
    monkeypatch.setattr("storage.wordpage._FIRST_STEP", 2)
    monkeypatch.setattr("storage.wordquery._MOST_UNENTERED", 100)
    reader = await Reader.open(long_log)
    cleanup.push_async_callback(reader.close)
    filter_ = replace(LogFilter(), **narrow)
    expected = [row.recipient for row in await reader.log(filter_, limit=1000)]
    expected = [one for one in expected if ".weekly@" in one or int(one[1:].partition(".")[0]) % 2]
    assert expected
    met: list[str] = []
    ticks = itertools.count()
    wanted: Wanted | None = Wanted(replace(filter_, words=words), 5)
    while wanted is not None:
        clock = (lambda: float(next(ticks))) if hurried else (lambda: 0.0)
        page = await Pager(reader._all, reader._timed.ask, clock, wanted).page()
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


def test_a_star_asks_for_beginnings() -> None:
    assert words_of("wee* * weekly") == ["wee*", "weekly"]
    assert match_of("wee* weekly") == '"wee"* "weekly"'
    assert leading_of("wee* week weekly") == '"weekly"'
    assert leading_of("wee* week*") is None


@pytest.mark.parametrize(
    ("words", "text", "held"),
    [
        ("week*", "The WEEKLY report", True),
        ("week", "The weekly report", False),
        ("eekly", "The weekly report", False),
        ("weekly report", "report_weekly", True),
        ("weekly monthly", "weekly", False),
        ("koln", "Grüße aus Köln", True),
        ("KÖLN", "koln", True),
        ("köln", "Ko\u0308ln", True),
        ("gru*", "Grüße", True),
        ("--", "--", False),
        ("a", "", False),
        ("a", None, False),
        ("ann example", "ann@EXAMPLE.test", True),
        ("1*", "n12", False),
        ("привет", "ПРИВЕТ!", True),
    ],
)
def test_a_text_holds_words(words: str, text: str | None, held: bool) -> None:
    assert holds(words, text) is held


@given(st.text(st.characters(max_codepoint=0x24F)), st.text(st.characters(max_codepoint=0x24F)))
def test_a_text_holds_what_the_tables_find_in_it(words: str, text: str) -> None:
    """What is met row by row is what the full-text tables would have listed."""
    match = match_of(words)
    with closing(sqlite3.connect(":memory:")) as connection:
        connection.execute("CREATE VIRTUAL TABLE t USING fts5(x, tokenize='unicode61 remove_diacritics 2')")
        connection.execute("INSERT INTO t VALUES (?)", (text,))
        found = match is not None and connection.execute("SELECT 1 FROM t WHERE t MATCH ?", (match,)).fetchone()
    assert holds(words, text) or not found


async def test_a_question_whose_time_is_up_is_given_up_and_the_next_one_is_asked(tmp_path: Path) -> None:
    await (await Store.open(tmp_path, POLICY)).close()
    timed = Timed(tmp_path)
    endless = Query("WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT max(i) FROM n")
    assert await timed.ask(endless, 0.01) is None
    assert await timed.ask(Query("SELECT ?", (7,)), 10) == [(7,)]
    with pytest.raises(sqlite3.OperationalError, match="no such table"):
        await timed.ask(Query("SELECT * FROM none"), 10)
    await timed.close()


async def test_entering_ends(log: Log) -> None:
    assert await log.store.enter_words(100) == 0


@given(st.text())
def test_what_is_typed_is_words_and_no_operators(text: str) -> None:
    match = match_of(text)
    assert (match is None) == (not words_of(text))
    assert match is None or match.replace("*", "").count('"') == 2 * len(words_of(text))
