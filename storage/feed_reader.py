"""Questions about events in their order, as `Reader.feed`.

Rule: an answer is bounded in entries that it looks at, whoever wants however few of them.
"""
# ruff: noqa: S608 - SQL is put together from words of this program only; values are parameters

import json
from collections.abc import Awaitable, Callable, Sequence
from struct import unpack
from typing import Any, Final

from storage import timeline
from storage.feed import Fact, FeedEvent, FeedPage, Place, facts_of, type_of
from storage.logquery import Query
from storage.model import LogFilter, LogRow, TimelineEntry, TimelineKind
from storage.status import Event, Status

MOST_EVENTS: Final = 500
_TRANSACTIONS: Final = 64
_PAIRS: Final = "json_each(?) p CROSS JOIN {0} f ON f.recipient_id = json_extract(p.value, '$[0]')"
_ON_ID: Final = " AND f.id = json_extract(p.value, '$[1]')"
_ATTEMPTS: Final = f"SELECT f.recipient_id, NULL, {timeline.ATTEMPT} FROM {_PAIRS.format('attempt')}{_ON_ID}"
_EVENTS: Final = f"SELECT f.recipient_id, f.event, {timeline.EVENT} FROM {_PAIRS.format('event')}{_ON_ID}"
_CHANGES: Final = "SELECT serial, at_ms, accepted, facts FROM change WHERE serial >= ? ORDER BY serial LIMIT ?"
_ENDS: Final = "SELECT (SELECT min(serial) FROM change), (SELECT max(serial) FROM change)"
_AT: Final = "SELECT at_ms FROM change WHERE serial = ?"

Ask = Callable[[Query], Awaitable[list[Any]]]
Among = Callable[[Sequence[int], LogFilter], Awaitable[list[LogRow]]]


class FeedReader:
    """Reads events by somebody's connection."""

    def __init__(self, ask: Ask, among: Among) -> None:
        """Take what answers a query, and what gives rows of the log."""
        self._ask = ask
        self._among = among

    async def end(self) -> Place:
        """Return the place behind all that happened."""
        ((_, last),) = await self._ask(Query(_ENDS))
        return Place(last + 1, 0)

    async def since(self, at_ms: int) -> Place:
        """Return the place of the first event of that time or later; the first that is kept, where it was before."""
        ((low, last),) = await self._ask(Query(_ENDS))
        high = last + 1
        while low < high:
            middle = (low + high) // 2
            found = await self._ask(Query(_AT, (middle,)))
            if found and found[0][0] >= at_ms:
                high = middle
            else:
                low = middle + 1
        return Place(low, 0)

    async def page(self, after: Place, wanted: LogFilter, limit: int = MOST_EVENTS) -> FeedPage:
        """Return events from a place on, those of recipients that `wanted` knows; some `limit` are looked at."""
        ((first, last),) = await self._ask(Query(_ENDS))
        if after.serial < first or after.serial > last + 1:
            return FeedPage((), Place(first if after.serial < first else last + 1, 0), more=True, torn=True)
        facts, next_, more = await self._facts(after, min(limit, MOST_EVENTS))
        return FeedPage(await self._told(facts, wanted), next_, more)

    async def some(self, places: Sequence[Place], wanted: LogFilter) -> list[FeedEvent]:
        """Return the events of these places; those that are not kept any more are left out."""
        facts = []
        for place in places:
            for serial, at_ms, accepted, packed in await self._ask(Query(_CHANGES, (place.serial, 1))):
                if serial == place.serial:
                    facts += [fact for fact in _entries(serial, at_ms, accepted, packed) if fact.place == place]
        return await self._told(facts, wanted)

    async def _facts(self, after: Place, limit: int) -> tuple[list[Fact], Place, bool]:
        found: list[Fact] = []
        rows = await self._ask(Query(_CHANGES, (after.serial, _TRANSACTIONS)))
        next_ = after
        for serial, at_ms, accepted, packed in rows:
            entries = _entries(serial, at_ms, accepted, packed)
            fresh = [fact for fact in entries if fact.place >= after]
            taken = fresh[: limit - len(found)]
            found += taken
            if len(taken) < len(fresh):
                return found, fresh[len(taken)].place, True
            next_ = Place(serial + 1, 0)
        return found, next_, len(rows) == _TRANSACTIONS

    async def _told(self, facts: Sequence[Fact], wanted: LogFilter) -> list[FeedEvent]:
        rows = {row.recipient_id: row for row in await self._rows(facts, wanted)}
        pairs = json.dumps([(fact.recipient_id, fact.id) for fact in facts if fact.id and fact.recipient_id in rows])
        known: dict[tuple[int, int], tuple[TimelineEntry, Event | None]] = {}
        for recipient_id, _, *values in await self._ask(Query(_ATTEMPTS, (pairs,))):
            known[recipient_id, values[1]] = timeline.attempt_entries(tuple(values))[0], None
        for recipient_id, event, *values in await self._ask(Query(_EVENTS, (pairs,))):
            known[recipient_id, values[1]] = timeline.event_entry(tuple(values)), Event(event) if event else None
        told = []
        for fact in facts:
            row = rows.get(fact.recipient_id)
            entry, event = (_accepted(fact, row), None) if row and not fact.id else known.get(_key(fact), (None, None))
            if row is not None and entry is not None:
                told.append(FeedEvent(fact.place, type_of(entry, event), row, entry))
        return told

    async def _rows(self, facts: Sequence[Fact], wanted: LogFilter) -> list[LogRow]:
        return await self._among(list({fact.recipient_id for fact in facts}), wanted) if facts else []


def _entries(serial: int, at_ms: int, accepted: str | None, packed: bytes | None) -> list[Fact]:
    pairs = unpack(f"<{len(packed) // 8}q", packed) if packed else ()
    return list(facts_of(serial, at_ms, json.loads(accepted) if accepted else (), pairs))


def _key(fact: Fact) -> tuple[int, int]:
    return fact.recipient_id, fact.id


def _accepted(fact: Fact, row: LogRow) -> TimelineEntry:
    why = row.diagnostic if fact.admitted is row.status is not Status.UNSENT else ""
    return TimelineEntry(row.received_ms, TimelineKind.ACCEPTED, why or "accepted", fact.admitted)
