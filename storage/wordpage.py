"""A page of the Email Log by words, newest first, within a bounded time.

Rules: messages that hold all words and addresses that do are met from new to old, in two streams; a row counts as
soon as no row that is newer can still come. Rows are ordered by message and recipient, both of which rise with time.
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from storage.logquery import Query, WordSearch, log_row
from storage.model import LogRow, message_id_of

Ask = Callable[[Query], Awaitable[Sequence[tuple[Any, ...]]]]

_FIRST_STEP: Final = 16
# A statement asks for the rows of so many messages at most: each of them is a query of its own in it.
_MOST_MESSAGES: Final = 128


@dataclass(slots=True)
class _Stream:
    """Ids that match, from new to old."""

    next: Callable[[int, int], Query]
    """The query for ids below one, so many."""
    rows: Callable[[Sequence[int]], Query]
    below: int
    """All ids from here on are known."""
    found: list[LogRow] = field(default_factory=list)

    async def step(self, ask: Ask, count: int) -> None:
        ids = [id_ for (id_,) in await ask(self.next(self.below, count))]
        if ids:
            self.found += [log_row(row) for row in await ask(self.rows(ids))]
        self.below = ids[-1] if len(ids) == count else 0


def _order(row: LogRow) -> tuple[int, int]:
    return message_id_of(row.queue_id) or 0, row.recipient_id


async def by_words(
    ask: Ask, search: WordSearch, more: int, is_time_up: Callable[[float], bool], clock: Callable[[], float]
) -> tuple[list[LogRow], int | None]:
    """Return the newest `more` rows, and the message id below which it was not looked, where the time was up."""
    fresh = [log_row(row) for query in search.unentered(more) for row in await ask(query)]
    ((first_message, first_recipient),) = await ask(search.start())
    messages = _Stream(search.messages, lambda ids: search.of_messages(ids, more), first_message)
    addresses = _Stream(search.addresses, search.of_recipients, first_recipient)
    step = _FIRST_STEP
    while True:
        began = clock()
        for stream in (messages, addresses):
            if stream.below:
                await stream.step(ask, min(step, _MOST_MESSAGES) if stream is messages else step)
        bound = max(messages.below, addresses.below)
        known = {_order(row): row for row in (*fresh, *messages.found, *addresses.found)}
        rows = [known[key] for key in sorted(known, reverse=True) if key[0] >= bound]
        if not bound or len(rows) >= more:
            return rows, None
        if bound < first_message and is_time_up(clock() - began):
            return rows, bound
        step *= 2
