"""A page of the Email Log, found within a bounded time however long the log is.

Rules: what an index does not answer is looked for in windows of the log, each twice as wide as the one before,
until the page is full or the time is up; then the page says how far it came, and the next one goes on there.
Rows come in one order in both directions, so that no row is met twice or never.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from storage.logquery import Bounds, Query, Search, log_row
from storage.model import LogFilter, LogPage, LogRow
from storage.wordpage import Ask, AskInTime, Patience, Span, by_words
from storage.wordquery import WordSearch
from storage.wordtext import words_of

_FIRST_STEP: Final = 2
# A step may take twice as long as the one before.
_GROWTH: Final = 2
_PAST_ALL: Final = (1 << 63) - 1


@dataclass(frozen=True, slots=True)
class Wanted:
    """What page is asked for; times in seconds."""

    filter: LogFilter
    limit: int
    before_id: int | None = None
    """Older than this row: its recipient id."""
    after_id: int | None = None
    """Newer than this row; the rows nearest to it."""
    below: int | None = None
    """Where an earlier look for older rows came to an end (`LogPage.reached`)."""
    above: int | None = None
    """The same of one for newer rows."""
    seconds: float = 0.05
    """How long may be looked, about."""

    @property
    def newest_first(self) -> bool:
        """Whether it is looked from new to old."""
        return self.after_id is None and self.above is None


class Pager:
    """Finds one page."""

    def __init__(self, ask: Ask, in_time: AskInTime, clock: Callable[[], float], wanted: Wanted) -> None:
        """Take what asks the database, what does so within some seconds, and a clock that gives seconds."""
        self._ask = ask
        self._in_time = in_time
        self._clock = clock
        self._wanted = wanted
        self._newest_first = wanted.newest_first
        self._began = clock()

    async def page(self) -> LogPage:
        """Return the page."""
        if self._wanted.filter.words is not None:
            return await self._by_words(self._wanted.filter.words)
        search = self._search()
        if search.by_stretch:
            rows, reached = await self._by_stretch(search)
        elif search.by_index:
            rows, reached = await self._rows(search.pages(self._more)), None
        else:
            rows, reached = await self._by_window()
        rows = self._sorted(rows)
        return LogPage(rows[: self._wanted.limit], len(rows) > self._wanted.limit, reached, self._newest_first)

    @property
    def _more(self) -> int:
        """One row more than is shown: whether there is one is what tells of another page."""
        return self._wanted.limit + 1

    def _search(self, low: int | None = None, high: int | None = None) -> Search:
        at = self._wanted
        low = at.above if low is None else low
        high = at.below if high is None else high
        return Search(at.filter, Bounds(at.before_id, at.after_id, low, high, self._newest_first))

    async def _rows(self, queries: Sequence[Query]) -> list[LogRow]:
        return [log_row(row) for query in queries for row in await self._ask(query)]

    def _sorted(self, rows: Sequence[LogRow]) -> list[LogRow]:
        known = {row.recipient_id: row for row in rows}
        order = Search.order_of(self._wanted.filter)
        return sorted(known.values(), key=order, reverse=self._newest_first)

    def _time_is_up(self, last_step: float) -> bool:
        return self._clock() - self._began + _GROWTH * last_step > self._wanted.seconds

    async def _by_words(self, words: str) -> LogPage:
        if not words_of(words):
            return LogPage([], more=False, reached=None, newest_first=True)
        at = self._wanted
        search = WordSearch(at.filter, Bounds(at.before_id, high=at.below))
        span = Span(*await self._span(Search(at.filter), 0, _PAST_ALL))
        patience = Patience(self._clock, at.seconds)
        rows, reached = await by_words(self._ask, self._in_time, search, span, self._more, patience)
        return LogPage(rows[: at.limit], len(rows) > at.limit, reached, newest_first=True)

    async def _by_window(self) -> tuple[list[LogRow], int | None]:
        """Look through windows that the stretches' first ids bound, from the page's beginning on."""
        low, high = self._wanted.above or 0, self._wanted.below or _PAST_ALL
        if self._search().is_named:
            low, high = await self._span(self._search(), low, high)
        edges = [edge for (edge,) in await self._ask(self._search(low, high).edges()) if low < edge < high]
        points = [high, *reversed(edges), low] if self._newest_first else [low, *edges, high]
        found: list[LogRow] = []
        near, step = 0, _FIRST_STEP
        while True:
            began = self._clock()
            far = min(near + step, len(points) - 1)
            window = self._search(*sorted((points[near], points[far])))
            found += await self._rows(window.pages(self._more))
            if far == len(points) - 1 or len(found) >= self._more:
                return found, None
            if self._time_is_up(self._clock() - began):
                return found, points[far]
            near, step = far, step * 2

    async def _span(self, search: Search, low: int, high: int) -> tuple[int, int]:
        """Return between which of some ids rows may be: of a name that is known and of a time, those of stretches."""
        # Who has rows in no stretch yet sends now: there is nothing to be passed over. These are asked for first:
        # entered into a stretch meanwhile, they are in one that is met.
        if not search.is_narrow or await self._ask(search.fresh(1)):
            return low, high
        stretches = await self._ask(search.stretches())
        last = max((last_id for _, _, last_id in stretches), default=low)
        # A message's id is below those of its recipients, by as much as it has recipients.
        first = low if search.is_queue else min((first_id for _, first_id, _ in stretches), default=low)
        return max(low, first), max(low, min(high, last + 1))

    async def _by_stretch(self, search: Search) -> tuple[list[LogRow], int | None]:
        """Look through stretches, the nearest first, until no other can hold a row of the page."""
        # What is fresh goes first: entered into a stretch meanwhile, it is met twice and not never.
        found = await self._rows([search.fresh(self._more)])
        stretches = list(await self._ask(search.stretches()))
        if not self._newest_first:
            stretches.sort(key=lambda stretch: stretch[1])
        start, step = 0, _FIRST_STEP
        while start < len(stretches):
            began = self._clock()
            some = [number for number, _, _ in stretches[start : start + step]]
            found = self._sorted(found + await self._rows([search.within(some, self._more)]))[: self._more]
            start, step = start + step, step * 2
            if start >= len(stretches):
                break
            # All rows on this side of it are known.
            edge = stretches[start][2] if self._newest_first else stretches[start][1]
            if len(found) == self._more and self._is_before(found[-1].recipient_id, edge):
                break
            if self._time_is_up(self._clock() - began):
                return [row for row in found if self._is_before(row.recipient_id, edge)], edge + self._newest_first
        return found, None

    def _is_before(self, recipient_id: int, edge: int) -> bool:
        return recipient_id > edge if self._newest_first else recipient_id < edge
