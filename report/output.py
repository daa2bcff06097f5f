"""Where rows of the Email Log go: one writer a form, each in constant memory.

Rule: a writer is given rows with their timelines (None: not asked for) and writes them; it fetches nothing.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, TextIO

from report.rows import as_object, csv_header, csv_line, json_line
from storage.model import LogRow, TimelineEntry

Told = tuple[LogRow, Sequence[TimelineEntry] | None]
"""A row and its timeline, where that was asked for."""


class Writer(Protocol):
    """Writes rows in one form."""

    def write(self, told: Sequence[Told]) -> None:
        """Write some more rows; the first call, also one without rows, begins."""


@dataclass(slots=True)
class JsonWriter:
    """JSON Lines."""

    out: TextIO

    def write(self, told: Sequence[Told]) -> None:
        """Write a line a row."""
        self.out.writelines(json_line(as_object(row, timeline)) for row, timeline in told)


@dataclass(slots=True)
class CsvWriter:
    """CSV with a header."""

    out: TextIO
    events: bool
    _begun: bool = False

    def write(self, told: Sequence[Told]) -> None:
        """Write a line a row, below the header."""
        if not self._begun:
            self._begun = True
            self.out.write(csv_header(events=self.events))
        self.out.writelines(csv_line(row, timeline) for row, timeline in told)
