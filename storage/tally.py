"""What a transaction does to the counters that the pages are made of (storage/sql/010_stats.sql).

Rules: a counter is the number of recipients that stand so at present, and moves in the transaction that moves them. A
message costs the same however long the log is: a transaction writes one row for the hour, one more for each
user, and only mail of broadcasts pays for more. Nothing is counted twice, and nothing is taken back with the
rows that go at the end of their keep.
"""

import json
import sqlite3
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Final

from storage.owners import ms_of
from storage.recipient import Recipient
from storage.statements import Rows, clean
from storage.status import Status
from storage.stretch import COUNTS

HOUR_US: Final = 3_600_000_000
WAITS_MS: Final = tuple(
    minutes * 60_000 for minutes in (1, 5, 15, 60, 4 * 60, 12 * 60, 24 * 60, 3 * 24 * 60, 7 * 24 * 60)
)
"""The upper ends of the lengths of time from delivery to the first open that are told apart; the last has none."""

MOST_DOMAINS: Final = 5000
"""Domains of a broadcast with counters of their own, those that it met first; all others share one."""

REACHED: Final = frozenset({Status.SENT, Status.DELIVERED, Status.OPENED})
ENDED: Final = frozenset({Status.BOUNCED, Status.FAILED})
MEASURES: Final = (*COUNTS, "trackable", "fetched", "fetched_only", "prefetched")
"""The columns of `broadcast_count` that count."""

_PLACES: Final = {status: place for place, status in enumerate(Status)}
_PLACE: Final = {name: place for place, name in enumerate(MEASURES)}
Standing = tuple[Any, ...]
"""What of a recipient is counted: two that are equal count alike."""


def hour_of(recipient_id: int) -> int:
    """Return the hour in which a recipient was accepted, in hours since the epoch."""
    return (recipient_id >> 10) // HOUR_US


def standing(row: Recipient) -> Standing:
    """Return how a recipient stands: status, fetched, prefetched, hour of the first open, how long it waited, why."""
    status = row.status
    if status in ENDED:
        return status, False, False, None, None, row.category or ""
    if status not in REACHED:
        return status, False, False, None, None, None
    fetched, prefetched = row.machine_hits > 0, bool(row.prefetched)
    if status is not Status.OPENED or row.first_open_ms is None:
        return status, fetched, prefetched, None, None, None
    delivered_ms = row.first_open_ms if row.delivered_ms is None else row.delivered_ms
    return status, fetched, prefetched, row.first_open_ms // 3_600_000, _wait(row.first_open_ms - delivered_ms), None


def _wait(waited_ms: int) -> int:
    return next((place for place, end in enumerate(WAITS_MS) if waited_ms < end), len(WAITS_MS))


def _trackable(status: Status, *, tracked: bool) -> bool:
    """Return whether an open would be seen; one that was seen proves it."""
    return status is Status.OPENED or (tracked and status in REACHED)


def _measures(stands: Standing, *, tracked: bool) -> Iterator[int]:
    """Yield the places in MEASURES of what a recipient counts for."""
    status, fetched, prefetched, *_ = stands
    yield _PLACES[status]
    if _trackable(status, tracked=tracked):
        yield _PLACE["trackable"]
        if fetched:
            yield _PLACE["fetched"]
            if status is not Status.OPENED:
                yield _PLACE["fetched_only"]
        if prefetched:
            yield _PLACE["prefetched"]


def _shares(stands: Standing, domain: str, *, tracked: bool) -> Iterator[tuple[str, str]]:
    """Yield (what, key) of the shares that a recipient is part of, the domain's whole left out."""
    status, _, _, hour, wait, why = stands
    if _trackable(status, tracked=tracked):
        yield "trackable", domain
        if status is Status.OPENED:
            yield "opened", domain
    if hour is not None:
        yield "hour", str(hour)
        yield "waited", str(wait)
    if status in ENDED:
        yield "failed", domain
        yield "why", f"{status}:{why}"


@dataclass(frozen=True, slots=True)
class Whose:
    """What a recipient is counted under."""

    user: str | None
    broadcast_id: int | None
    tracked: bool
    domain: str


_STATUS_SETS: Final = ",".join(f"{name}={name}+excluded.{name}" for name in COUNTS)
_HOUR: Final = Rows.insert("hour_count", f"hour,{','.join(COUNTS)}", f"ON CONFLICT (hour) DO UPDATE SET {_STATUS_SETS}")
_USER_HOUR: Final = Rows.insert(
    "user_hour_count", f"user,hour,{','.join(COUNTS)}", f"ON CONFLICT (user,hour) DO UPDATE SET {_STATUS_SETS}"
)
_BROADCAST: Final = Rows.insert(
    "broadcast_count",
    f"broadcast_id,hour,{','.join(MEASURES)}",
    f"ON CONFLICT (broadcast_id,hour) DO UPDATE SET {','.join(f'{name}={name}+excluded.{name}' for name in MEASURES)}",
)
_SHARE: Final = Rows.insert(
    "broadcast_share",
    "broadcast_id,what,key,recipients",
    "ON CONFLICT (broadcast_id,what,key) DO UPDATE SET recipients=recipients+excluded.recipients",
)
_LISTED: Final = (
    "SELECT json_group_array(s.key) FROM json_each(?) v CROSS JOIN broadcast_share s"
    " ON s.broadcast_id=? AND s.what='domain' AND s.key=v.value"
)
_INVALID: Final = Rows.insert(
    "invalid_address",
    "user,address,at_ms,code,enhanced,diagnostic,category,recipient_id",
    "ON CONFLICT (user,address) DO UPDATE SET at_ms=excluded.at_ms,code=excluded.code,enhanced=excluded.enhanced,"
    "diagnostic=excluded.diagnostic,category=excluded.category,recipient_id=excluded.recipient_id"
    " WHERE excluded.at_ms>=invalid_address.at_ms",
)
_BY_DOMAIN: Final = frozenset({"domain", "trackable", "opened", "failed"})
InvalidAddress = tuple[str, str, int, int | None, str | None, str, str | None, int]
"""A row of invalid_address."""


class Tally:
    """What one transaction has counted so far."""

    def __init__(self) -> None:
        """Begin with nothing."""
        self.hours: defaultdict[tuple[int, str | None, Status], int] = defaultdict(int)
        """By hour, user and status: how many more; for what is counted by nothing else."""
        self._broadcasts: dict[tuple[int, int], list[int]] = {}
        self._shares: defaultdict[tuple[int, str, str], int] = defaultdict(int)
        self._invalid: list[InvalidAddress] = []

    def accepted(self, recipient_id: int, whose: Whose, status: Status) -> None:
        """Count a new recipient of a broadcast."""
        if whose.broadcast_id is not None:
            self._shares[whose.broadcast_id, "domain", whose.domain] += 1
            self._broadcast(recipient_id, whose, (status, False, False, None, None, None), 1)

    def moved(self, recipient_id: int, whose: Whose, before: Standing, after: Standing) -> None:
        """Count a recipient that stands otherwise now."""
        if before[0] is not after[0]:
            hour = hour_of(recipient_id)
            self.hours[hour, whose.user, before[0]] -= 1
            self.hours[hour, whose.user, after[0]] += 1
        if whose.broadcast_id is not None:
            self._broadcast(recipient_id, whose, before, -1)
            self._broadcast(recipient_id, whose, after, 1)

    def invalid(self, found: Iterable[InvalidAddress]) -> None:
        """Note addresses that a server called invalid."""
        self._invalid += found

    def _broadcast(self, recipient_id: int, whose: Whose, stands: Standing, change: int) -> None:
        key = (whose.broadcast_id or 0, hour_of(recipient_id))
        counts = self._broadcasts.get(key)
        if counts is None:
            counts = self._broadcasts[key] = [0] * len(MEASURES)
        for place in _measures(stands, tracked=whose.tracked):
            counts[place] += change
        for what, share in _shares(stands, whose.domain, tracked=whose.tracked):
            self._shares[key[0], what, share] += change

    def write(self, connection: sqlite3.Connection) -> None:
        """Write it; nothing where nothing was counted."""
        if self.hours:
            self._write_hours(connection)
        if self._broadcasts:
            rows = [(*key, *counts) for key, counts in self._broadcasts.items() if any(counts)]
            _BROADCAST.run(connection, rows)
            _SHARE.run(connection, self._share_rows(connection))
        if self._invalid:
            # One statement must not meet an address twice: the last word counts.
            newest = {(row[0], row[1].lower()): row for row in sorted(self._invalid, key=lambda row: row[2])}
            _INVALID.run(connection, list(newest.values()))

    def _write_hours(self, connection: sqlite3.Connection) -> None:
        hours: dict[int, list[int]] = {}
        users: dict[tuple[str, int], list[int]] = {}
        for (hour, user, status), change in self.hours.items():
            if change:
                place = _PLACES[status]
                hours.setdefault(hour, [0] * len(COUNTS))[place] += change
                if user is not None:
                    users.setdefault((user, hour), [0] * len(COUNTS))[place] += change
        _HOUR.run(connection, [(hour, *counts) for hour, counts in hours.items()])
        if users:
            _USER_HOUR.run(connection, [(*key, *counts) for key, counts in users.items()])

    def _share_rows(self, connection: sqlite3.Connection) -> list[tuple[Any, ...]]:
        alone = {
            broadcast_id: self._listed(connection, broadcast_id) for broadcast_id in {key[0] for key in self._shares}
        }
        rows: defaultdict[tuple[int, str, str], int] = defaultdict(int)
        for (broadcast_id, what, key), change in self._shares.items():
            shared = what in _BY_DOMAIN and clean(key) not in alone[broadcast_id]
            rows[broadcast_id, what, "" if shared else clean(key)] += change
        return [(*key, change) for key, change in rows.items() if change]

    def _listed(self, connection: sqlite3.Connection, broadcast_id: int) -> set[str]:
        """Return which of a broadcast's domains have counters of their own; new ones get them while there is room."""
        met = {clean(key) for of, what, key in self._shares if of == broadcast_id and what in _BY_DOMAIN}
        if not met:
            return met
        listed = set(json.loads(connection.execute(_LISTED, (json.dumps(list(met)), broadcast_id)).fetchone()[0]))
        new = [
            clean(key)
            for of, what, key in self._shares
            if of == broadcast_id and what == "domain" and clean(key) not in listed
        ]
        if new:
            (had,) = connection.execute("SELECT domains FROM broadcast WHERE id=?", (broadcast_id,)).fetchone()
            added = new[: max(0, MOST_DOMAINS - had)]
            if added:
                sql = "UPDATE broadcast SET domains=domains+? WHERE id=?"
                connection.execute(sql, (len(added), broadcast_id))
            listed.update(added)
        return listed


def invalid_of(row: Recipient, user: str | None, address: str) -> InvalidAddress:
    """Return what a recipient that Failed says of its address."""
    at_ms = ms_of(row.id) if row.last_attempt_ms is None else row.last_attempt_ms
    return user or "", address, at_ms, row.code, row.enhanced, row.diagnostic, row.category, row.id


def pending(status: Status) -> Standing:
    """Return how a recipient stands that the queue still serves."""
    return status, False, False, None, None, None
