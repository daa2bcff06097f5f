"""A page of the Email Log by words, newest first, within a bounded time.

Rules: messages that hold all words and addresses that do are met from new to old, in two streams; a row counts as
soon as no row that is newer can still come. Rows are ordered by message and recipient, both of which rise with time.
A stream is what the full-text tables list. Where they do not answer soon (a beginning that very many words have, words
that many rows have and few together), rows are met one by one instead: pages fill soon, or say how far they came.
"""

import json
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from storage.logquery import Query, log_row
from storage.model import LogRow, message_id_of
from storage.wordquery import WordSearch

Ask = Callable[[Query], Awaitable[Sequence[tuple[Any, ...]]]]
AskInTime = Callable[[Query, float], Awaitable[Sequence[tuple[Any, ...]] | None]]
"""Asks within some seconds; None: they were not enough."""

_FIRST_STEP: Final = 16
_GROWTH: Final = 2
# A statement asks for the rows of so many messages at most: each of them is a query of its own in it.
_MOST_MESSAGES: Final = 128
# Rows that are met one by one for each that would be listed; some 2 µs each.
_MET: Final = 64
_MOST_MET: Final = 1 << 16
# How long a page may ask the full-text tables, in all.
_LISTED_SECONDS: Final = 0.02


@dataclass(frozen=True, slots=True)
class Span:
    """Between which ids of recipients rows may be, `high` outside."""

    low: int
    high: int


class Patience:
    """How a page spends its time: some on the tables at most, and, where that was in vain, its own besides."""

    def __init__(self, clock: Callable[[], float], seconds: float) -> None:
        """Take a clock that gives seconds, and how many a page has."""
        self._clock = clock
        self._until = clock() + seconds
        self._step_began = clock()
        self._for_tables = _LISTED_SECONDS

    def begin_step(self) -> None:
        """Note that a step begins."""
        self._step_began = self._clock()

    async def ask(self, in_time: AskInTime, query: Query) -> Sequence[tuple[Any, ...]] | None:
        """Ask the tables, as long as they have time."""
        if self._for_tables <= 0:
            return None
        began = self._clock()
        found = await in_time(query, self._for_tables)
        spent = self._clock() - began
        self._for_tables -= spent
        if found is None:
            self._until += spent
            self._step_began += spent
        return found

    def is_up(self) -> bool:
        """Whether another step, twice as long as this one, would take too long."""
        now = self._clock()
        return now + _GROWTH * (now - self._step_began) > self._until


@dataclass(slots=True)
class _Stream:
    """Ids that match, from new to old."""

    listed: Callable[[int, int], Query]
    """The query for ids below one, so many, by the full-text tables."""
    met: Callable[[int, int], Query]
    """The same among so many rows, without them."""
    rows: Callable[[Sequence[int]], Query]
    below: int
    """All ids from here on are known; 0: all."""
    low: int
    """There are none below this one."""
    most: int
    """As many may be found at once among what is met."""
    full: int | None = None
    """As many rows at most come at once, in their order; None: all of them do."""
    is_listed: bool = True
    found: list[LogRow] = field(default_factory=list)

    async def step(self, ask: Ask, in_time: AskInTime, patience: Patience, count: int) -> None:
        ids = await self._listed(in_time, patience, count) if self.is_listed else None
        if ids is None:
            self.is_listed = False
            ids = await self._met(ask, count)
        if ids:
            rows = [log_row(row) for row in await ask(self.rows(ids))]
            self.found += rows
            if len(rows) == self.full:
                self.below = _order(rows[-1])[0]  # there may be more: of its last message, and of those before
        if self.below <= self.low:
            self.below = 0

    async def _listed(self, in_time: AskInTime, patience: Patience, count: int) -> list[int] | None:
        found = await patience.ask(in_time, self.listed(self.below, count))
        if found is None:
            return None
        ids = [id_ for (id_,) in found]
        self.below = ids[-1] if len(ids) == count else 0
        return ids

    async def _met(self, ask: Ask, count: int) -> list[int]:
        many = min(count * _MET, _MOST_MET)
        ((met, last, found),) = await ask(self.met(self.below, many))
        most = max(count, self.most)
        ids = sorted(json.loads(found), reverse=True)[:most]
        if len(ids) == most:
            self.below = ids[-1]
        else:
            self.below = last if met == many else 0
        return ids


def _order(row: LogRow) -> tuple[int, int]:
    return message_id_of(row.queue_id) or 0, row.recipient_id


async def by_words(
    ask: Ask, in_time: AskInTime, search: WordSearch, span: Span, more: int, patience: Patience
) -> tuple[list[LogRow], int | None]:
    """Return the newest `more` rows, and the message id below which it was not looked, where the time was up."""
    fresh = [log_row(row) for query in search.unentered(more) for row in await ask(query)]
    ((first_message, first_recipient, lowest),) = await ask(search.start(span.low))
    top, below = min(first_message, span.high), min(first_recipient, span.high)
    of_messages, most = (lambda ids: search.of_messages(ids, more)), min(more, _MOST_MESSAGES)
    messages = _Stream(search.messages, search.messages_met, of_messages, top, lowest, most, more)
    addresses = _Stream(search.addresses, search.addresses_met, search.of_recipients, below, span.low, more)
    step = _FIRST_STEP
    while True:
        patience.begin_step()
        for stream in (messages, addresses):
            if stream.below:
                count = min(step, _MOST_MESSAGES) if stream is messages else step
                await stream.step(ask, in_time, patience, count)
        bound = max(messages.below, addresses.below)
        known = {_order(row): row for row in (*fresh, *messages.found, *addresses.found)}
        rows = [known[key] for key in sorted(known, reverse=True) if key[0] >= bound]
        if not bound or len(rows) >= more:
            return rows, None
        if bound < top and patience.is_up():
            return rows, bound
        step *= 2
