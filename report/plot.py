"""Plots as templates draw them: columns of stacked parts, with an axis that ends at a round number.

Rules: pure. A plot is drawn on the server, as SVG: it needs no script, obeys the page's colours, and its numbers
stand in a table below it for who cannot see it. Places and sizes are in percent of its own, so that it stretches and
its patterns and letters do not.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

WHOLE: Final = 100.0
"""The width and the height of a plot."""
_FEW: Final = 10
_MOST_LABELS: Final = 7


@dataclass(frozen=True, slots=True)
class Part:
    """What the columns are made of, from the bottom up."""

    name: str
    css: str
    """Names its colour in style.css: "fill-…"."""


@dataclass(frozen=True, slots=True)
class Column:
    """One place on the axis."""

    label: str
    """Short, below the axis; not all of them are shown."""
    title: str
    """Of what time, in full."""
    values: tuple[int, ...]
    """One a part."""


@dataclass(frozen=True, slots=True)
class Rect:
    """A part of a column as it is drawn."""

    x: float
    y: float
    width: float
    height: float
    css: str


@dataclass(frozen=True, slots=True)
class Plot:
    """Columns with what they are about."""

    id: str
    title: str
    note: str
    """A sentence: what a column and its colours mean."""
    first: str
    """The head of the table's first column."""
    parts: tuple[Part, ...]
    columns: tuple[Column, ...]

    @property
    def step(self) -> float:
        """From one column to the next."""
        return WHOLE / len(self.columns)

    @property
    def top(self) -> int:
        """The number at the axis's end."""
        return round_top(max((sum(column.values) for column in self.columns), default=0))

    @property
    def totals(self) -> tuple[int, ...]:
        """How many there are of each part."""
        return tuple(sum(column.values[at] for column in self.columns) for at in range(len(self.parts)))

    @property
    def present(self) -> tuple[int, ...]:
        """Which of the parts there are any of."""
        return tuple(at for at, number in enumerate(self.totals) if number)

    def rects(self, at: int) -> list[Rect]:
        """Return what column `at` looks like: slim where there are few, since wide ones look like walls."""
        share = 0.5 if len(self.columns) <= _FEW else 0.8
        x, width = self.step * (at + (1 - share) / 2), self.step * share
        made, below = [], 0
        for part, value in zip(self.parts, self.columns[at].values, strict=True):
            if value > 0:
                height = value / self.top * WHOLE
                y = WHOLE - below / self.top * WHOLE - height
                made.append(Rect(round(x, 3), round(y, 3), round(width, 3), round(height, 3), part.css))
                below += value
        return made

    def told(self, at: int) -> str:
        """Return a column in words: "14:00: 12 Delivered, 3 Bounced"."""
        column = self.columns[at]
        named = zip(self.parts, column.values, strict=True)
        words = [f"{value:,} {part.name}" for part, value in named if value]
        return f"{column.title}: {', '.join(words) or 'none'}"

    @property
    def gist(self) -> str:
        """All of it in words: "1,234 in all, most at 14:00 (320)"."""
        sums = [sum(column.values) for column in self.columns]
        highest = sums.index(max(sums))
        return f"{sum(sums):,} in all, most: {self.columns[highest].title} ({sums[highest]:,})"

    def labels(self) -> list[tuple[float, str]]:
        """Return what stands below the axis, and where: each column's label where there is room, else some, evenly."""
        every = 1 if len(self.columns) <= _MOST_LABELS + 5 else -(-len(self.columns) // _MOST_LABELS)
        placed = [(round(self.step * (at + 0.5), 3), column.label) for at, column in enumerate(self.columns)]
        return placed[::every]


def round_top(most: int) -> int:
    """Return a round number that is not below `most`: a digit and noughts, and even, so that half of it is whole."""
    top = 1
    while True:
        for times in (1, 2, 3, 4, 5, 6, 8):
            if most <= times * top and (times * top) % 2 == 0:
                return times * top
        top *= 10


def plot(id_: str, title: str, note: str, first: str, parts: Sequence[Part], columns: Iterable[Column]) -> Plot:
    """Put a plot together."""
    return Plot(id_, title, note, first, tuple(parts), tuple(columns))
