"""Questions to the store: reads only, never in the way of the writers (WAL), on aiosqlite."""

import json
from array import array
from collections.abc import AsyncIterator, Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Self

import aiosqlite

from storage import database, timeline
from storage.database import StoreMissingError, StoreVersionError
from storage.logquery import COLUMNS, FROM, Where, log_row, where
from storage.model import HitFacts, LogFilter, LogRow, TimelineEntry, User
from storage.status import PENDING, Status

__all__ = ["Reader", "StoreMissingError", "StoreVersionError"]

_PAGE: Final = 1000
# Recipients that one answer of `changed` may speak of; who is further behind asks again.
_MOST_CHANGED: Final = 10_000
_BUSY_SECONDS: Final = 30.0


class Reader:
    """Reads one store; many may be open at once, in many processes."""

    def __init__(self, connection: aiosqlite.Connection) -> None:
        """Use `open`."""
        self._connection = connection

    @classmethod
    async def open(cls, state_dir: Path) -> Self:
        """Open the store for reading; raises StoreMissingError (a sentence) where there is none yet."""
        connection = await aiosqlite.connect(
            database.reading_uri(state_dir), uri=True, timeout=_BUSY_SECONDS, isolation_level=None
        )
        try:
            await connection.execute("PRAGMA query_only = ON")
            reader = cls(connection)
            ((version,),) = await reader._all("PRAGMA user_version")
            database.check_readable(version, state_dir)
        except BaseException:
            await connection.close()
            raise
        return reader

    async def close(self) -> None:
        """Close it."""
        await self._connection.close()

    async def log(self, wanted: LogFilter, *, limit: int, before_id: int | None = None) -> list[LogRow]:
        """Return rows, newest first, of recipients with ids below `before_id` (keyset paging)."""
        asked = where(wanted)
        if before_id is not None:
            asked.add("r.id < ?", before_id)
        return await self._rows(asked, limit)

    async def _rows(self, asked: Where, limit: int) -> list[LogRow]:
        sql = f"SELECT {COLUMNS}{FROM}{asked} ORDER BY r.id DESC LIMIT ?"
        return [log_row(row) for row in await self._all(sql, (*asked.values, limit))]

    def stream(self, wanted: LogFilter) -> AsyncIterator[LogRow]:
        """Yield all rows that match, newest first, in constant memory."""
        return self._pages(wanted)

    async def _pages(self, wanted: LogFilter) -> AsyncIterator[LogRow]:
        # Page by page: one long query would keep the write-ahead log from being reused all the while.
        rows = await self.log(wanted, limit=_PAGE)
        while rows:
            for row in rows:
                yield row
            rows = await self.log(wanted, limit=_PAGE, before_id=rows[-1].recipient_id)

    async def changed(self, wanted: LogFilter, since_serial: int) -> tuple[int, list[LogRow]]:
        """Return (serial now, rows that match and changed after `since_serial`), for `--follow` and live pages.

        A first call with serial 0 returns the present serial and no rows.
        """
        if not since_serial:
            ((serial,),) = await self._all("SELECT ifnull(max(serial), 0) FROM change")
            # 0 means "a first call": a store without changes yet is at -1, before its first.
            return serial or -1, []
        serial, ids = await self._changed_ids(since_serial)
        rows: list[LogRow] = []
        for some in _chunks(ids):
            asked = where(wanted)
            asked.add("r.id IN (SELECT value FROM json_each(?))", json.dumps(some))
            rows += await self._rows(asked, len(some))
        return serial, sorted(rows, key=lambda row: row.recipient_id, reverse=True)

    async def _changed_ids(self, since_serial: int) -> tuple[int, list[int]]:
        serial, ids = since_serial, array("q")
        sql = "SELECT serial, touched FROM change WHERE serial > ? ORDER BY serial LIMIT ?"
        for serial, packed in await self._all(sql, (since_serial, _MOST_CHANGED)):  # noqa: B007 - used after the loop
            ids.frombytes(packed)
            if len(ids) >= _MOST_CHANGED:
                break
        return serial, list(dict.fromkeys(ids))

    async def timeline(self, recipient_id: int) -> list[TimelineEntry]:
        """Return what is known of a recipient, oldest first."""
        accepted = await self._all(timeline.ACCEPTED, (recipient_id,))
        if not accepted:
            return []
        attempts = await self._all(timeline.ATTEMPTS, (recipient_id,))
        events = await self._all(timeline.EVENTS, (recipient_id,))
        entries = [timeline.accepted_entry(accepted[0], tried=bool(attempts))]
        entries += [entry for row in attempts for entry in timeline.attempt_entries(row)]
        entries += [timeline.event_entry(row) for row in events]
        return sorted(entries, key=lambda entry: entry.at_ms)

    async def status_counts(self, *, pending_only: bool = False) -> Mapping[Status, int]:
        """Return how many recipients are in each status."""
        counts = dict.fromkeys((status for status in Status if status in PENDING or not pending_only), 0)
        for status, recipients in await self._all("SELECT status, recipients FROM tally"):
            if status in counts:
                counts[Status(status)] = recipients
        return counts

    async def hit_facts(self, recipient_ids: Collection[int]) -> Mapping[int, HitFacts]:
        """Return what judging hits of these recipients needs; unknown ids are left out."""
        sql = (
            "SELECT id, status, delivered_ms, in_doubt_ms, mx_address FROM recipient"
            " WHERE id IN (SELECT value FROM json_each(?))"
        )
        facts = {}
        for some in _chunks(recipient_ids):
            for id_, status, *rest in await self._all(sql, (json.dumps(some),)):
                facts[id_] = HitFacts(id_, Status(status), *rest)
        return facts

    async def recipients_of(self, message_id: int) -> Sequence[tuple[int, str]]:
        """Return (recipient id, address) of a message."""
        sql = "SELECT id, address FROM recipient WHERE message_id = ? ORDER BY id"
        return await self._all(sql, (message_id,))

    async def recipient_by_message_id(self, message_id_header: str, address: str) -> int | None:
        """Return the recipient of the newest message with this Message-ID and address; None where unknown."""
        sql = (
            "SELECT r.id FROM message m JOIN recipient r ON r.message_id = m.id"
            " WHERE m.message_id = ? AND r.address = ? COLLATE NOCASE ORDER BY m.id DESC LIMIT 1"
        )
        found = await self._all(sql, (message_id_header, address))
        return found[0][0] if found else None

    async def message_of(self, recipient_id: int) -> tuple[int, str] | None:
        """Return (message id, recipient address); None where unknown."""
        found = await self._all("SELECT message_id, address FROM recipient WHERE id = ?", (recipient_id,))
        return found[0] if found else None

    async def users(self) -> list[User]:
        """Return all users by name."""
        return [_user(row) for row in await self._all(f"{_USERS} ORDER BY name")]

    async def user(self, name: str) -> User | None:
        """Return a user; None where there is no such user."""
        found = await self._all(f"{_USERS} WHERE name = ?", (name,))
        return _user(found[0]) if found else None

    async def _all(self, sql: str, values: Iterable[Any] = ()) -> list[Any]:
        return list(await self._connection.execute_fetchall(sql, values))


_USERS: Final = "SELECT name, password_hash, senders, created_ms FROM user"


def _user(row: tuple[Any, ...]) -> User:
    name, password_hash, senders, created_ms = row
    return User(name, password_hash, tuple(json.loads(senders)), created_ms)


def _chunks(ids: Collection[int]) -> Iterable[list[int]]:
    """Yield bounded lists of ids."""
    listed = list(ids)
    for start in range(0, len(listed), _PAGE):
        yield listed[start : start + _PAGE]
