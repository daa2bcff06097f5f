"""Questions about what was counted, as `Reader.stats`: each costs the same however long the log is.

Rules: nothing here looks at the log's rows. `user` as an argument means: only of this user's mail; None: of all.
"""
# ruff: noqa: S608 - SQL is put together from words of this program only; values are parameters

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from typing import Any, Final

from storage.contact_reader import ContactReader
from storage.logquery import Query
from storage.statements import clean
from storage.stats_model import (
    BroadcastStats,
    Counts,
    DomainStats,
    InvalidAddress,
    InvalidCursor,
    InvalidPage,
    Reading,
    Shares,
)
from storage.status import Status
from storage.stretch import COUNTS
from storage.tally import WAITS_MS

MOST_READ: Final = 2000
"""Broadcasts that `reading` looks at, the newest of the time asked for."""
_MOST_LOOKED: Final = 5000
_COUNTS: Final = ", ".join(COUNTS)
_SUMS: Final = ", ".join(f"ifnull(sum(c.{name}), 0)" for name in COUNTS)
_READ: Final = (
    f"ifnull(sum({' + '.join(f'c.{name}' for name in COUNTS)}), 0), ifnull(sum(c.opened), 0),"
    " ifnull(sum(c.trackable), 0), ifnull(sum(c.sent + c.delivered + c.opened - c.trackable), 0),"
    " ifnull(sum(c.fetched_only), 0), ifnull(sum(c.fetched), 0), ifnull(sum(c.prefetched), 0)"
)
_BROADCAST: Final = (
    f"SELECT b.id, b.owner, b.name, b.type, b.from_header, b.subject, b.created_ms, b.used_ms, {_SUMS}, {_READ}"
)
_NEWEST: Final = "SELECT * FROM broadcast WHERE (?1 IS NULL OR owner = ?1) AND id < ?2 ORDER BY id DESC LIMIT ?3"
_READ_OF: Final = (
    "(SELECT * FROM broadcast WHERE (?1 IS NULL OR owner = ?1) AND used_ms >= ?2 * 3600000 - 3600000"
    f" ORDER BY id DESC LIMIT {MOST_READ}) b JOIN broadcast_count c ON c.broadcast_id = b.id AND c.hour >= ?2"
)
_PAST_ALL: Final = (1 << 63) - 1
# The epoch was a Thursday; 0 is Monday.
_WEEKDAY: Final = "((c.hour * 3600 + ?3) / 86400 + 3) % 7"
_INVALID_COLUMNS: Final = "user, address, at_ms, code, enhanced, diagnostic, category, recipient_id"


class StatsReader:
    """Asks by somebody's connection."""

    def __init__(self, ask: Callable[[Query], Awaitable[list[Any]]]) -> None:
        """Take what answers a query."""
        self._ask = ask
        self._contacts = ContactReader(ask)

    async def hours(self, since_hour: int, user: str | None = None) -> dict[int, Counts]:
        """Return what became of the recipients accepted in each hour since then; hours without any are left out."""
        if user is None:
            query = Query(f"SELECT hour, {_COUNTS} FROM hour_count WHERE hour >= ? ORDER BY hour", (since_hour,))
        else:
            sql = f"SELECT hour, {_COUNTS} FROM user_hour_count WHERE user = ? AND hour >= ? ORDER BY hour"
            query = Query(sql, (clean(user), since_hour))
        return {hour: _counts(counts) for hour, *counts in await self._ask(query)}

    async def waiting(self, user: str | None = None) -> int:
        """Return how many recipients the queue has to serve now, whenever they were accepted."""
        if user is None:
            query = Query("SELECT ifnull(sum(unsent + soft_bounced), 0) FROM hour_count")
        else:
            sql = "SELECT ifnull(sum(unsent + soft_bounced), 0) FROM user_hour_count WHERE user = ?"
            query = Query(sql, (clean(user),))
        ((found,),) = await self._ask(query)
        return int(found)

    async def broadcasts(
        self, user: str | None = None, *, limit: int, before_id: int | None = None
    ) -> list[BroadcastStats]:
        """Return broadcasts, the newest first, with ids below `before_id` (keyset paging)."""
        sql = f"{_BROADCAST} FROM ({_NEWEST}) b LEFT JOIN broadcast_count c ON c.broadcast_id = b.id GROUP BY b.id"
        values = (_cleaned(user), _PAST_ALL if before_id is None else before_id, limit)
        return [_broadcast(row) for row in await self._ask(Query(f"{sql} ORDER BY b.id DESC", values))]

    async def broadcast(self, broadcast_id: int, user: str | None = None) -> BroadcastStats | None:
        """Return a broadcast; None where there is none of this id (or it is another user's)."""
        sql = f"{_BROADCAST} FROM broadcast b LEFT JOIN broadcast_count c ON c.broadcast_id = b.id WHERE b.id = ?"
        found = await self._ask(Query(f"{sql} GROUP BY b.id", (broadcast_id,)))
        made = _broadcast(found[0]) if found else None
        return made if made is None or user is None or made.owner == clean(user) else None

    async def broadcast_named(self, name: str, owner: str) -> int | None:
        """Return the id of a broadcast; None where there is none."""
        found = await self._ask(
            Query("SELECT id FROM broadcast WHERE owner = ? AND name = ?", (clean(owner), clean(name)))
        )
        return found[0][0] if found else None

    async def shares(self, broadcast_id: int) -> Shares:
        """Return how a broadcast was opened, and why it bounced."""
        sql = (
            "SELECT what, key, recipients FROM broadcast_share WHERE broadcast_id = ?"
            " AND what IN ('hour', 'waited', 'why') AND recipients > 0"
        )
        opens, waits, reasons = dict[int, int](), [0] * (len(WAITS_MS) + 1), dict[tuple[Status, str], int]()
        for what, key, recipients in await self._ask(Query(sql, (broadcast_id,))):
            if what == "hour":
                opens[int(key)] = recipients
            elif what == "waited":
                waits[int(key)] = recipients
            else:
                status, _, category = key.partition(":")
                reasons[Status(status), category] = recipients
        return Shares(dict(sorted(opens.items())), tuple(waits), reasons)

    async def domains(self, broadcast_id: int, limit: int) -> list[DomainStats]:
        """Return a broadcast's domains, those with most recipients first; "" is all that are not counted singly."""
        other = "(SELECT recipients FROM broadcast_share WHERE broadcast_id = ?1 AND key = d.key AND what = '{}')"
        rest = ", ".join(f"ifnull({other.format(what)}, 0)" for what in ("trackable", "opened", "failed"))
        sql = (
            f"SELECT d.key, d.recipients, {rest} FROM (SELECT key, recipients FROM broadcast_share"
            " WHERE broadcast_id = ?1 AND what = 'domain' ORDER BY recipients DESC, key LIMIT ?2) d"
        )
        return [DomainStats(*row) for row in await self._ask(Query(sql, (broadcast_id, limit)))]

    async def reading(self, since_hour: int, user: str | None = None) -> list[BroadcastStats]:
        """Return broadcasts with what was sent since then of them, the newest first, at most MOST_READ."""
        sql = f"{_BROADCAST} FROM {_READ_OF} GROUP BY b.id ORDER BY b.id DESC"
        return [_broadcast(row) for row in await self._ask(Query(sql, (_cleaned(user), since_hour)))]

    async def weekdays(self, since_hour: int, zone_seconds: int, user: str | None = None) -> dict[int, Reading]:
        """Return how broadcasts were read by the weekday they went out on (0: Monday), in a zone ahead of UTC by that.

        It looks at the same broadcasts as `reading`.
        """
        sql = f"SELECT {_WEEKDAY}, {_READ} FROM {_READ_OF} GROUP BY 1"
        found = await self._ask(Query(sql, (_cleaned(user), since_hour, zone_seconds)))
        return {day: Reading(*counts) for day, *counts in found}

    async def invalid(
        self,
        user: str | None = None,
        *,
        limit: int,
        after: InvalidCursor | None = None,
        text: str = "",
        contacts_only: bool = False,
    ) -> InvalidPage:
        """Return addresses that servers called invalid, the one tried last first, with whose they are.

        `text`: a part of the address. Some thousand are looked at: there may be fewer than `limit` on a page that is
        not the last.
        """
        where, values = ["1"], list[Any]()
        if user is not None:
            where, values = ["user = ?"], [clean(user)]
        if after is not None:
            where.append("(at_ms, user, address) < (?, ?, ?)")
            values += [after.at_ms, clean(after.user), clean(after.address)]
        sql = (
            f"SELECT {_INVALID_COLUMNS} FROM invalid_address WHERE {' AND '.join(where)}"
            " ORDER BY at_ms DESC, user DESC, address DESC LIMIT ?"
        )
        most = _MOST_LOOKED if text or contacts_only else limit
        looked = [InvalidAddress(*row) for row in await self._ask(Query(sql, (*values, most)))]
        rows = [row for row in looked if text.lower() in row.address.lower()]
        # Whose they are is asked for those that are shown only, where that is no filter.
        rows = await self._with_contacts(rows if contacts_only else rows[: limit + 1], contacts_only=contacts_only)
        some = rows[:limit]
        if len(rows) > limit:
            return InvalidPage(tuple(some), _cursor(some[-1]))
        return InvalidPage(tuple(some), _cursor(looked[-1]) if len(looked) == most else None)

    async def _with_contacts(self, rows: Sequence[InvalidAddress], *, contacts_only: bool) -> list[InvalidAddress]:
        owners = await self._contacts.owners([row.address for row in rows])
        made = []
        for row in rows:
            if owner := owners.get(row.address):
                made.append(
                    replace(
                        row,
                        contact_id=owner.id,
                        contact_key=owner.key,
                        contact_name=owner.name,
                        contact_fields=owner.fields,
                    )
                )
            elif not contacts_only:
                made.append(row)
        return made


def _cursor(row: InvalidAddress) -> InvalidCursor:
    return InvalidCursor(row.at_ms, row.user, row.address)


def _cleaned(user: str | None) -> str | None:
    return None if user is None else clean(user)


def _counts(values: Sequence[int]) -> Counts:
    return Counts(dict(zip(Status, values, strict=True)))


def _broadcast(row: Sequence[Any]) -> BroadcastStats:
    id_, owner, name, type_, from_header, subject, created_ms, used_ms, *counted = row
    counts, reading = _counts(counted[: len(COUNTS)]), Reading(*counted[len(COUNTS) :])
    return BroadcastStats(id_, owner, name, type_, from_header, subject, created_ms, used_ms, counts, reading)
