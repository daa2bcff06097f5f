"""Questions to the store: reads only, never in the way of the writers (WAL), on aiosqlite."""

import json
import sqlite3
import time
from collections.abc import AsyncIterator, Collection, Iterable, Mapping, Sequence
from math import inf
from pathlib import Path
from struct import unpack
from typing import Any, Final, Self

import aiosqlite

from storage import database, judging, post_verbs, timeline
from storage.access import ApiToken, Role, Scope, Session
from storage.admission_reader import AdmissionReader
from storage.blocked_reader import BlockedReader
from storage.broadcast_reader import BroadcastReader
from storage.contact_reader import ContactReader
from storage.database import StoreMissingError, StoreVersionError
from storage.feed_reader import FeedReader
from storage.logpage import Pager, Wanted
from storage.logquery import BY_HEADER, OF_MESSAGE, Bounds, Query, Search, log_row
from storage.model import Changes, HitFacts, Judged, LogFilter, LogPage, LogRow, StoredDsn, TimelineEntry, User
from storage.posting import KEPT_MS, Posted, PostKey
from storage.statements import clean
from storage.stats_reader import StatsReader
from storage.status import PENDING, Status
from storage.stretch import COUNTS
from storage.timed import Timed
from storage.unsubscribed_reader import UnsubscribedReader
from storage.webhook_reader import WebhookReader
from storage.wordtext import holds

__all__ = ["Reader", "StoreMissingError", "StoreVersionError"]

_PAGE: Final = 1000
_FIRST_PAGE: Final = 20
_PAST_ALL: Final = (1 << 63) - 1
# Recipients that one answer of `changed` may speak of; who is further behind asks again.
_MOST_CHANGED: Final = 10_000
_CHANGES: Final = 500
# Stretches that a question looks through first; twice as many each time it finds too few rows.
_FIRST_STRETCHES: Final = 2
_BUSY_SECONDS: Final = 30.0


class Reader:
    """Reads one store; many may be open at once, in many processes."""

    def __init__(self, connection: aiosqlite.Connection, timed: Timed) -> None:
        """Use `open`."""
        self._connection = connection
        self._timed = timed
        self.admission = AdmissionReader(self._all)
        self.broadcasts = BroadcastReader(self._all)
        self.contacts = ContactReader(self._all)
        self.blocked = BlockedReader(self._all)
        self.feed = FeedReader(self._all, self.among)
        self.unsubscribed = UnsubscribedReader(self._all)
        self.webhooks = WebhookReader(self._all)
        self.stats = StatsReader(self._all)

    @classmethod
    async def open(cls, state_dir: Path) -> Self:
        """Open the store for reading; raises StoreMissingError (a sentence) where there is none yet."""
        connection = await aiosqlite.connect(
            database.reading_uri(state_dir), uri=True, timeout=_BUSY_SECONDS, isolation_level=None
        )
        try:
            await connection.execute("PRAGMA query_only = ON")
            await connection.create_function("holds", 2, holds, deterministic=True)
            reader = cls(connection, Timed(state_dir))
            ((version,),) = await reader._all(Query("PRAGMA user_version"))
            database.check_readable(version, state_dir)
        except BaseException as error:
            await connection.close()
            if isinstance(error, sqlite3.DatabaseError):
                raise StoreVersionError(f"{state_dir} holds no Telltale database ({error})") from None
            raise
        return reader

    async def close(self) -> None:
        """Close it."""
        await self._timed.close()
        await self._connection.close()

    async def log(self, wanted: LogFilter, *, limit: int, before_id: int | None = None) -> list[LogRow]:
        """Return rows, newest first, of recipients with ids below `before_id` (keyset paging)."""
        if wanted.words is not None:
            return (await self.page(Wanted(wanted, limit, before_id, seconds=inf))).rows
        search = Search(wanted, Bounds(before_id))
        if search.by_stretch:
            return await self._by_stretch(search, limit)
        pages = [await self._rows(query) for query in search.pages(limit)]
        return pages[0] if len(pages) == 1 else _newest([row for page in pages for row in page], limit)

    async def page(self, wanted: Wanted) -> LogPage:
        """Return a page of rows, found within a bounded time (storage/logpage.py)."""
        return await Pager(self._all, self._timed.ask, time.monotonic, wanted).page()

    async def row(self, recipient_id: int, wanted: LogFilter) -> LogRow | None:
        """Return the row of a recipient; None where it is unknown or does not match."""
        found = await self.among([recipient_id], wanted)
        return found[0] if found else None

    async def _by_stretch(self, search: Search, limit: int) -> list[LogRow]:
        """Look through stretches, the newest first, until no older one can hold a row of the page."""
        # What is fresh goes first: entered into a stretch meanwhile, it is met twice and not never.
        found = await self._rows(search.fresh(limit))
        stretches = await self._all(search.stretches())
        start, step = 0, _FIRST_STRETCHES
        while start < len(stretches):
            some = [number for number, _, _ in stretches[start : start + step]]
            found = _newest(found + await self._rows(search.within(some, limit)), limit)
            start, step = start + step, step * 2
            if len(found) == limit and start < len(stretches) and found[-1].recipient_id > stretches[start][2]:
                break
        return found

    async def _rows(self, query: Query) -> list[LogRow]:
        return [log_row(row) for row in await self._all(query)]

    def stream(self, wanted: LogFilter) -> AsyncIterator[LogRow]:
        """Yield all rows that match, newest first, in constant memory."""
        return self._pages(wanted)

    async def _pages(self, wanted: LogFilter) -> AsyncIterator[LogRow]:
        # Page by page: one long query would keep the write-ahead log from being reused all the while.
        # The first page is a short one, that something comes soon.
        rows = await self.log(wanted, limit=_FIRST_PAGE)
        while rows:
            for row in rows:
                yield row
            rows = await self.log(wanted, limit=_PAGE, before_id=rows[-1].recipient_id)

    async def changed(self, wanted: LogFilter, since_serial: int) -> tuple[int, list[LogRow]]:
        """Return (serial now, rows that match and changed after `since_serial`), for `--follow` and live pages.

        A first call with serial 0 returns the present serial and no rows.
        """
        if not since_serial:
            return await self.serial(), []
        serial, ids = await self._changed_ids(since_serial)
        search = Search(wanted)
        rows: list[LogRow] = []
        for some in _chunks(ids):
            rows += await self._rows(search.among(some))
        return serial, _newest(rows, len(rows))

    async def serial(self) -> int:
        """Return the serial of the last change."""
        ((serial,),) = await self._all(Query("SELECT max(serial) FROM change"))
        return int(serial)

    async def changes(self, since: int) -> Changes:
        """Return what happened after the serial `since`: some transactions; who is further behind asks again."""
        sql = "SELECT serial, touched, accepted FROM change WHERE serial > ? ORDER BY serial LIMIT ?"
        found = await self._all(Query(sql, (since, _CHANGES)))
        touched, accepted = dict[int, None](), list[int]()
        for _, packed, new in found:
            touched.update(dict.fromkeys(unpack(f"<{len(packed) // 8}q", packed)))
            accepted += json.loads(new) if new else ()
        last = found[-1][0] if found else await self.serial()
        torn = bool(found and found[0][0] > since + 1) or last < since
        return Changes(since, last, tuple(touched), tuple(accepted), torn)

    async def among(self, recipient_ids: Sequence[int], wanted: LogFilter) -> list[LogRow]:
        """Return the rows of those of some recipients that match, newest first."""
        return await self._rows(Search(wanted).among(recipient_ids))

    async def _changed_ids(self, since_serial: int) -> tuple[int, list[int]]:
        """Return the serial reached and the recipients changed up to it; more may be waiting."""
        serial, ids = since_serial, dict[int, None]()
        sql = "SELECT serial, touched FROM change WHERE serial > ? ORDER BY serial LIMIT ?"
        while len(ids) < _MOST_CHANGED:
            changes = await self._all(Query(sql, (serial, _CHANGES)))
            for serial, packed in changes:  # noqa: B007 - the last one is the serial reached
                ids.update(dict.fromkeys(unpack(f"<{len(packed) // 8}q", packed)))
            if len(changes) < _CHANGES:
                break
        return serial, list(ids)

    async def waiting(self, most: int) -> tuple[dict[str, int], bool]:
        """Return how many recipients wait in the store, by domain, those being delivered left out.

        At most `most` are counted; True: there are more.
        """
        counted = {domain: int(number) for domain, number in await self._all(Query(_WAITING, (most + 1,)))}
        return counted, sum(counted.values()) > most

    async def timeline(self, recipient_id: int) -> list[TimelineEntry]:
        """Return what is known of a recipient, oldest first."""
        accepted = await self._all(Query(timeline.ACCEPTED, (recipient_id,)))
        if not accepted:
            return []
        attempts = await self._all(Query(timeline.ATTEMPTS, (recipient_id,)))
        events = await self._all(Query(timeline.EVENTS, (recipient_id,)))
        entries = [timeline.accepted_entry(accepted[0], tried=bool(attempts))]
        entries += [entry for row in attempts for entry in timeline.attempt_entries(row)]
        entries += [timeline.event_entry(row) for row in events]
        return sorted(entries, key=lambda entry: entry.at_ms)

    async def status_counts(self, *, pending_only: bool = False) -> Mapping[Status, int]:
        """Return how many recipients are in each status."""
        (counts,) = await self._all(Query(_COUNTS))
        return {status: n for status, n in zip(Status, counts, strict=True) if status in PENDING or not pending_only}

    async def hit_facts(self, recipient_ids: Collection[int]) -> Mapping[int, HitFacts]:
        """Return what judging hits of these recipients needs; unknown ids are left out."""
        sql = (
            "SELECT id, status, delivered_ms, in_doubt_ms, mx_address FROM recipient"
            " WHERE id IN (SELECT value FROM json_each(?))"
        )
        facts = {}
        for some in _chunks(recipient_ids):
            for id_, status, *rest in await self._all(Query(sql, (json.dumps(some),))):
                facts[id_] = HitFacts(id_, Status(status), *rest)
        return facts

    async def recipients_of(self, message_id: int) -> Sequence[tuple[int, str]]:
        """Return (recipient id, address) of a message."""
        return await self._all(Query(OF_MESSAGE, (message_id,)))

    async def recipient_by_message_id(self, message_id_header: str, address: str) -> int | None:
        """Return the recipient of the newest message with this Message-ID and address; None where unknown."""
        values = (clean(message_id_header), clean(message_id_header), clean(address))
        found = await self._all(Query(BY_HEADER, values))
        return found[0][0] if found else None

    async def message_of(self, recipient_id: int) -> tuple[int, str] | None:
        """Return (message id, recipient address); None where unknown."""
        found = await self._all(Query("SELECT message_id, address FROM recipient WHERE id = ?", (recipient_id,)))
        return found[0] if found else None

    async def broadcast_of(self, recipient_id: int) -> int | None:
        """Return the id of the broadcast that a recipient's message belongs to; None where it belongs to none."""
        sql = (
            "SELECT b.id FROM recipient r JOIN message m ON m.id = r.message_id"
            " JOIN broadcast b ON b.owner = ifnull(m.user, '') AND b.name = m.broadcast WHERE r.id = ?"
        )
        found = await self._all(Query(sql, (recipient_id,)))
        return found[0][0] if found else None

    async def dsn(self, dsn_id: int) -> StoredDsn | None:
        """Return a bounce message as it came; None where it is not kept (any more)."""
        found = await self._all(Query(f"{judging.DSN} WHERE id = ?", (dsn_id,)))
        return StoredDsn(*found[0]) if found else None

    async def unmatched(self) -> AsyncIterator[StoredDsn]:
        """Yield the bounce messages that speak of nobody that we know, newest first, one in memory at a time."""
        sql = f"{judging.DSN} WHERE {judging.UNMATCHED} AND id < ? ORDER BY id DESC LIMIT 1"
        before_id = _PAST_ALL
        while found := await self._all(Query(sql, (before_id,))):
            yield StoredDsn(*found[0])
            before_id = found[0][0]

    async def judged(self, since_ms: int) -> AsyncIterator[list[Judged]]:
        """Yield what has or may have a category and happened since then, some at a time: attempts, then reports."""
        for sql, made in ((judging.ATTEMPTS, judging.attempt), (judging.REPORTS, judging.report)):
            after = (0, 0)
            while found := await self._all(Query(sql, (*after, since_ms, _PAGE))):
                yield [made(row) for row in found]
                after = found[-1][0], found[-1][1]

    async def users(self) -> list[User]:
        """Return all users by name."""
        return [_user(row) for row in await self._all(Query(f"{_USERS} ORDER BY name"))]

    async def user(self, name: str) -> User | None:
        """Return a user; None where there is no such user."""
        found = await self._all(Query(f"{_USERS} WHERE name = ?", (clean(name),)))
        return _user(found[0]) if found else None

    async def session(self, hash_: bytes) -> Session | None:
        """Return a session by the hash of its secret, however old it is; None where there is none."""
        found = await self._all(Query(f"{_SESSIONS} WHERE hash = ?", (hash_,)))
        return Session(*found[0]) if found else None

    async def sessions_of(self, name: str) -> list[Session]:
        """Return a user's sessions, newest first."""
        query = Query(f"{_SESSIONS} WHERE user = ? ORDER BY made_ms DESC", (clean(name),))
        return [Session(*row) for row in await self._all(query)]

    async def token(self, hash_: bytes) -> ApiToken | None:
        """Return an API token by the hash of it, also one that expired; None where there is none."""
        found = await self._all(Query(f"{_TOKENS} WHERE hash = ?", (hash_,)))
        return _token(found[0]) if found else None

    async def tokens(self, user: str | None = None) -> list[ApiToken]:
        """Return API tokens by user and time: all, or a user's."""
        where, values = ("", ()) if user is None else (" WHERE user = ?", (clean(user),))
        return [_token(row) for row in await self._all(Query(f"{_TOKENS}{where} ORDER BY user, made_ms", values))]

    async def posted(self, key: PostKey) -> Posted | None:
        """Return what was answered to a request with this key and body; None: nothing yet.

        Raises KeyUsedError where the key came with another body.
        """
        found = await self._all(Query(post_verbs.KNOWN, (clean(key.user), clean(key.key), key.now_ms - KEPT_MS)))
        return post_verbs.known(found[0], key) if found else None

    async def has_admin(self) -> bool:
        """Return whether anybody has the role of an administrator."""
        return bool(await self._all(Query("SELECT 1 FROM user WHERE role = 'admin' LIMIT 1")))

    async def has_setup_link(self, hash_: bytes, now_ms: int) -> bool:
        """Return whether a link may still make the first admin."""
        sql = "SELECT 1 FROM setup_link WHERE hash = ? AND expires_ms > ?"
        return bool(await self._all(Query(sql, (hash_, now_ms)))) and not await self.has_admin()

    async def _all(self, query: Query) -> list[Any]:
        return list(await self._connection.execute_fetchall(query.sql, query.values))


_COUNTS: Final = f"SELECT {', '.join(COUNTS)} FROM change ORDER BY serial DESC LIMIT 1"  # noqa: S608 - our own words
_WAITING: Final = (
    "SELECT domain, count(*) FROM (SELECT domain FROM recipient"
    " WHERE due_ms IS NOT NULL AND lease IS NULL LIMIT ?) GROUP BY domain"
)
_USERS: Final = "SELECT name, password_hash, senders, created_ms, role, answers FROM user"
_SESSIONS: Final = "SELECT hash, user, made_ms, seen_ms, client, agent FROM session"
_TOKENS: Final = "SELECT hash, prefix, user, name, scopes, made_ms, expires_ms, used_ms FROM api_token"


def _user(row: tuple[Any, ...]) -> User:
    name, password_hash, senders, created_ms, role, answers = row
    return User(name, password_hash, tuple(json.loads(senders)), created_ms, Role(role), answers)


def _token(row: tuple[Any, ...]) -> ApiToken:
    hash_, prefix, user, name, scopes, *times = row
    # A scope that only a newer version knows gives nothing here.
    known = frozenset(Scope(scope) for scope in json.loads(scopes) if scope in set(Scope))
    return ApiToken(hash_, prefix, user, name, known, *times)


def _newest(rows: Iterable[LogRow], limit: int) -> list[LogRow]:
    """Return the `limit` newest of rows that may repeat, newest first."""
    known = {row.recipient_id: row for row in rows}
    return [known[id_] for id_ in sorted(known, reverse=True)[:limit]]


def _chunks(ids: Collection[int]) -> Iterable[list[int]]:
    """Yield bounded lists of ids."""
    listed = list(ids)
    for start in range(0, len(listed), _PAGE):
        yield listed[start : start + _PAGE]
