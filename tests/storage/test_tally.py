"""storage/tally.py: counters always equal a recount of the rows, whatever happened in whatever order."""

import asyncio
import sqlite3
import tempfile
from collections import Counter
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from storage import database, tally
from storage.model import HitKind, Job, LogFilter
from storage.reader import Reader
from storage.status import Event, Status
from storage.store import Store
from storage.stretch import COUNTS
from storage.tally import ENDED, MEASURES, REACHED, WAITS_MS
from tests.storage import makers
from tests.storage.makers import BUSY, DAY, MINUTE, NOW, OK, UNKNOWN, hit, result

_COLUMNS = ", ".join(COUNTS)
_ROWS = """SELECT r.id, r.domain, r.status, r.category, r.machine_hits, r.prefetched, r.first_open_ms, r.delivered_ms,
 m.user, m.broadcast, m.untracked_reason IS NULL, b.id FROM recipient r JOIN message m ON m.id = r.message_id
 LEFT JOIN broadcast b ON b.owner = ifnull(m.user, '') AND b.name = m.broadcast"""
Counters = dict[str, Counter[Any]]


def counted(state_dir: Path) -> Counters:
    """What the store has counted, zeros left out."""
    with closing(sqlite3.connect(state_dir / "telltale.db")) as db:
        found: Counters = {"hours": Counter(), "users": Counter(), "broadcasts": Counter(), "shares": Counter()}
        for hour, *counts in db.execute(f"SELECT hour, {_COLUMNS} FROM hour_count"):
            found["hours"].update({(hour, s): n for s, n in zip(Status, counts, strict=True)})
        for user, hour, *counts in db.execute(f"SELECT user, hour, {_COLUMNS} FROM user_hour_count"):
            found["users"].update({(user, hour, s): n for s, n in zip(Status, counts, strict=True)})
        for of, hour, *counts in db.execute(f"SELECT broadcast_id, hour, {', '.join(MEASURES)} FROM broadcast_count"):
            found["broadcasts"].update({(of, hour, name): n for name, n in zip(MEASURES, counts, strict=True)})
        for of, what, key, n in db.execute("SELECT * FROM broadcast_share"):
            found["shares"][of, what, key] += n
    return {name: +counter for name, counter in found.items()}


def recounted(state_dir: Path) -> Counters:
    """The same from the rows, by the words of docs/reports.md."""
    found: Counters = {"hours": Counter(), "users": Counter(), "broadcasts": Counter(), "shares": Counter()}
    with closing(sqlite3.connect(state_dir / "telltale.db")) as db:
        listed = set(db.execute("SELECT broadcast_id, key FROM broadcast_share WHERE what = 'domain' AND key <> ''"))
        rows = db.execute(_ROWS).fetchall()
    for id_, domain, status, category, machine, prefetched, first, delivered, user, name, tracked, of in rows:
        hour = (id_ >> 10) // 3_600_000_000
        found["hours"][hour, status] += 1
        if user is not None:
            found["users"][user, hour, status] += 1
        if name is None:
            continue
        assert of is not None, name
        trackable = status == Status.OPENED or (tracked and status in REACHED)
        measures = [Status(status).name.lower(), *["trackable"] * trackable]
        measures += ["fetched"] * (trackable and machine > 0) + ["prefetched"] * (trackable and prefetched)
        measures += ["fetched_only"] * (trackable and machine > 0 and status != Status.OPENED)
        found["broadcasts"].update((of, hour, measure) for measure in measures)
        key = domain if (of, domain) in listed else ""
        shares = [("domain", key), *[("trackable", key)] * trackable]
        if status == Status.OPENED:
            shares += [("opened", key), ("hour", str(first // 3_600_000))]
            shares += [("waited", str(sum(first - (delivered or first) >= end for end in WAITS_MS)))]
        if status in ENDED:
            shares += [("failed", key), ("why", f"{status}:{category or ''}")]
        found["shares"].update((of, *share) for share in shares)
    return found


def invalid(state_dir: Path) -> set[Any]:
    with closing(sqlite3.connect(state_dir / "telltale.db")) as db:
        return set(db.execute("SELECT user, address, at_ms, code, diagnostic, category FROM invalid_address"))


_USERS = st.sampled_from([None, "ann", "bob"])
_NAMES = st.sampled_from([None, "spring", "autumn"])
_ACCEPT = st.tuples(st.just("accept"), _USERS, _NAMES, st.booleans(), st.integers(1, 4), st.booleans())
_SETTLE = st.tuples(
    st.just("settle"),
    st.integers(0, 50),
    st.sampled_from([Event.DEFER, Event.HAND_OVER, Event.DELIVER, Event.BOUNCE, Event.FAIL]),
    st.booleans(),
    st.sampled_from([None, "user unknown", "mailbox full"]),
)
_HIT = st.tuples(
    st.just("hit"), st.integers(0, 50), st.sampled_from(list(HitKind)), st.integers(-10, 20_000)
)  # minutes
_REPORT = st.tuples(st.just("report"), st.integers(0, 50), st.sampled_from([Event.DELIVER, Event.BOUNCE, Event.FAIL]))
_ORDER = st.tuples(st.just("order"), st.integers(0, 50), st.sampled_from(["hold", "release", "remove"]))
_JUDGE = st.tuples(st.just("judge"), st.sampled_from(["moved", "spam"]))
_STEPS = st.lists(st.one_of(_ACCEPT, _SETTLE, _SETTLE, _HIT, _REPORT, _ORDER, _JUDGE), min_size=2, max_size=25)


class Mail:
    def __init__(self, store: Store, reader: Reader) -> None:
        self.store, self.reader = store, reader
        self.jobs: list[Job] = []
        self.ids: list[int] = []

    async def accept(self, user: str | None, name: str | None, once: bool, people: int, tracked: bool) -> None:
        new = [makers.new_recipient(self.store, f"p{n}@d{n}.example") for n in range(people)]
        reason = None if tracked else "signed"
        message = makers.message(self.store, user=user, broadcast=name, untracked_reason=reason, broadcast_type=name)
        self.jobs += await self.store.accept(message, b"hello", new, lifetime_ms=5 * DAY, leased=True, once=once)
        self.ids += [one.id for one in new]

    async def settle(self, which: int, event: Event, in_doubt: bool, category: str | None) -> None:
        if self.jobs:
            taken = event in {Event.DELIVER, Event.HAND_OVER}
            reply = OK if taken else BUSY if event is Event.DEFER else UNKNOWN
            doubt = in_doubt and event is Event.DEFER
            job = self.jobs.pop(which % len(self.jobs))
            made = result(job, event, reply, in_doubt=doubt, category=None if taken else category)
            await self.store.settle(made)

    async def hit(self, which: int, kind: HitKind, minutes: int) -> None:
        if self.ids:
            await self.store.record_hits([hit(self.ids[which % len(self.ids)], kind, NOW + minutes * MINUTE)])

    async def report(self, which: int, event: Event) -> None:
        if self.ids:
            id_ = self.ids[which % len(self.ids)]
            dsn = await self.store.accept_dsn(b"raw", id_, "", NOW)
            await self.store.settle_dsn(dsn, [makers.report(id_, event)], "dsn")

    async def order(self, which: int, verb: str) -> None:
        if self.ids:
            await getattr(self.store, verb)([self.ids[which % len(self.ids)]], NOW)
            self.jobs += await self.store.claim(NOW + MINUTE, 5)

    async def judge(self, category: str) -> None:
        async for facts in self.reader.judged(0):
            await self.store.recategorise([(fact, category, 2) for fact in facts])


async def _live(steps: list[tuple[Any, ...]], state_dir: Path) -> None:
    store = await Store.open(state_dir, makers.policy(failed=False))
    reader = await Reader.open(state_dir)
    mail = Mail(store, reader)
    try:
        for verb, *arguments in steps:
            await getattr(mail, verb)(*arguments)
            assert counted(state_dir) == recounted(state_dir), verb
    finally:
        await reader.close()
        await store.close()


def _fill_anew(state_dir: Path) -> None:
    """Bring the store back to the version without counters, and let it be migrated: what is younger is dropped."""
    with closing(sqlite3.connect(state_dir / "telltale.db")) as db, closing(sqlite3.connect(":memory:")) as old:
        for step, sql in database._migrations():
            if step < 10:
                old.executescript(sql)
        for kind in ("index", "trigger", "view", "table"):
            for name in _named(db, kind) - _named(old, kind):
                db.execute(f"DROP {kind} {name}")
        for table in _named(old, "table"):
            for column in _columns(db, table) - _columns(old, table):
                db.execute(f"ALTER TABLE {table} DROP COLUMN {column}")
        db.execute("PRAGMA user_version = 9")
        db.commit()


def _named(db: sqlite3.Connection, kind: str) -> set[str]:
    sql = "SELECT name FROM sqlite_schema WHERE type = ? AND sql IS NOT NULL AND name NOT LIKE 'sqlite_%'"
    return {name for (name,) in db.execute(sql, (kind,))}


def _columns(db: sqlite3.Connection, table: str) -> set[str]:
    return {row[1] for row in db.execute(f"PRAGMA table_info({table})")}


@settings(max_examples=40, deadline=None)
@given(_STEPS)
@example(
    [
        ("accept", "ann", "spring", True, 2, True),
        ("settle", 0, Event.DEFER, True, None),
        ("hit", 0, HitKind.PREFETCH, 1),
        ("order", 0, "remove"),
        ("settle", 0, Event.DELIVER, False, None),
    ]
)
def test_counters_equal_a_recount(steps: list[tuple[Any, ...]]) -> None:
    """After each transaction; and a log that is filled in later is counted alike."""
    with tempfile.TemporaryDirectory() as directory:
        state_dir = Path(directory)
        asyncio.run(_live(steps, state_dir))
        live, addresses = counted(state_dir), invalid(state_dir)
        _fill_anew(state_dir)
        asyncio.run(_live([], state_dir))
        assert counted(state_dir) == live
        assert invalid(state_dir) == addresses


async def test_domains_past_the_most_are_counted_together(
    store: Store, reader: Reader, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tally, "MOST_DOMAINS", 3)
    mail = Mail(store, reader)
    await mail.accept(None, "spring", once=False, people=2, tracked=True)
    await mail.accept(None, "spring", once=False, people=6, tracked=True)
    for _ in range(8):
        await mail.settle(0, Event.DELIVER, in_doubt=False, category=None)
    found = counted(tmp_path)
    assert found == recounted(tmp_path)
    domains = {key: n for (_, what, key), n in found["shares"].items() if what == "domain"}
    assert domains == {"d0.example": 2, "d1.example": 2, "d2.example": 1, "": 3}


async def test_a_purge_takes_nothing_back(store: Store, reader: Reader, tmp_path: Path) -> None:
    """A broadcast's page stays when the log of it is gone."""
    mail = Mail(store, reader)
    await mail.accept("ann", "spring", once=True, people=3, tracked=True)
    for _ in range(3):
        await mail.settle(0, Event.DELIVER, in_doubt=False, category=None)
    before = counted(tmp_path)
    assert await store.purge(NOW + DAY) == 1
    assert not await reader.log(LogFilter(), limit=5)
    assert counted(tmp_path) == before
    while await store.purge_broadcasts(1 << 50):
        pass
    assert not any(counted(tmp_path).values())
