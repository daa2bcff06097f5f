"""Plots as templates draw them: columns of stacked parts, with an axis that ends at a round number.

Rules: pure. A plot is drawn on the server, as SVG: it needs no script, obeys the page's colours, and its numbers
stand in a table below it for who cannot see it. Widths and heights are in the plot's own units; it stretches.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

STEP: Final = 10
"""Units from one column to the next."""
_WIDE: Final = 8
HEIGHT: Final = 100
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

    x: int
    y: float
    width: int
    height: float
    css: str


@dataclass(frozen=True, slots=True)
class Plot:
    """Columns with what they are about."""

    id: str
    title: str
    first: str
    """The head of the table's first column."""
    parts: tuple[Part, ...]
    columns: tuple[Column, ...]

    @property
    def width(self) -> int:
        """Of all of it."""
        return STEP * len(self.columns)

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
        """Return what column `at` looks like."""
        made, below = [], 0
        for part, value in zip(self.parts, self.columns[at].values, strict=True):
            if value > 0:
                height = value / self.top * HEIGHT
                y = HEIGHT - below / self.top * HEIGHT - height
                made.append(Rect(at * STEP + 1, round(y, 3), _WIDE, round(height, 3), part.css))
                below += value
        return made

    def told(self, at: int) -> str:
        """Return a column in words: "14:00: 12 Delivered, 3 Bounced"."""
        column = self.columns[at]
        named = zip(self.parts, column.values, strict=True)
        words = [f"{value:,} {part.name}" for part, value in named if value]
        return f"{column.title}: {', '.join(words) or 'none'}"

    def labels(self) -> list[str]:
        """Return what stands below the axis: each column's label where there is room for all, else some, evenly."""
        labels = [column.label for column in self.columns]
        if len(labels) <= _MOST_LABELS + 5:
            return labels
        every = -(-len(labels) // _MOST_LABELS)
        return labels[::every]


def round_top(most: int) -> int:
    """Return a round number that is not below `most`: a digit and noughts, and even, so that half of it is whole."""
    top = 1
    while True:
        for times in (1, 2, 3, 4, 5, 6, 8):
            if most <= times * top and (times * top) % 2 == 0:
                return times * top
        top *= 10


def plot(id_: str, title: str, first: str, parts: Sequence[Part], columns: Iterable[Column]) -> Plot:
    """Put a plot together."""
    return Plot(id_, title, first, tuple(parts), tuple(columns))
