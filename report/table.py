"""The Email Log as a table on a terminal, printed as the rows come.

Rules: memory does not grow with the rows: the first ones set the columns' widths, all others follow. Text
from elsewhere is shown, never obeyed: no markup, no control characters.
"""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import tzinfo
from types import MappingProxyType
from typing import Final, TextIO

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from report.output import Told
from report.show import entry_lines
from report.why import why
from report.words import short_time
from storage.model import LogRow
from storage.reason import plain
from storage.status import Status

NARROWEST: Final = 80
# Where nobody's eyes set the width (a pipe, a file), a row stays on one line in most cases.
_UNBOUNDED_WIDTH: Final = 200

STYLES: Final = MappingProxyType(
    {
        Status.UNSENT: "dim",
        Status.SOFT_BOUNCED: "yellow",
        Status.SENT: "cyan",
        Status.DELIVERED: "green",
        Status.OPENED: "bold green",
        Status.BOUNCED: "red",
        Status.FAILED: "bold red",
        Status.BLOCKED: "magenta",
        Status.DUPLICATE: "dim",
        Status.NO_EMAIL_SELECTED: "dim",
    }
)


class _Console(Console):
    """Leaves a broken pipe to the caller; the library's would end the process."""

    def on_broken_pipe(self) -> None:
        raise BrokenPipeError


def console(out: TextIO) -> Console:
    """Return a console on `out`: as wide as its terminal, coloured where it is one."""
    width = None if out.isatty() or "COLUMNS" in os.environ else _UNBOUNDED_WIDTH
    made = _Console(file=out, width=width, highlight=False, markup=False, emoji=False)
    made.width = max(made.width, NARROWEST)
    return made


@dataclass(frozen=True, slots=True)
class Widths:
    """Widths of the columns whose content differs."""

    recipient: int
    subject: int
    last_attempt: int
    results: int
    why: int


_ATTEMPTS: Final = 8  # its header's
_GAPS: Final = 5  # a blank between columns
_TIME, _TIME_FOLDED = 12, 8  # "23 Nov 14:05"; folded: "14:05:09"
_RESULTS, _RESULTS_FOLDED = 17, 12  # "No Email Selected"; folded: "Soft Bounced"
_WIDE: Final = 110
# What a column gets at least, and most of it when there is room.
_RECIPIENT: Final = (20, 48)
_SUBJECT: Final = (11, 48)
_WHY_LEAST: Final = 18
# A subject may have any length; one that is a page long would leave no other row on the screen.
_SUBJECT_LINES: Final = 3


def widths(total: int, rows: Sequence[LogRow]) -> Widths:
    """Return the columns' widths for a console of `total` columns (NARROWEST at least)."""
    time, results = (_TIME, _RESULTS) if total >= _WIDE else (_TIME_FOLDED, _RESULTS_FOLDED)
    room = total - _ATTEMPTS - _GAPS - time - results
    spare = room - _RECIPIENT[0] - _SUBJECT[0] - _WHY_LEAST
    recipient = min(_clamped([len(row.recipient) for row in rows], _RECIPIENT), _RECIPIENT[0] + spare // 2)
    spare -= recipient - _RECIPIENT[0]
    subject = min(_clamped([len(row.subject) for row in rows], _SUBJECT), _SUBJECT[0] + spare // 2)
    return Widths(recipient, subject, time, results, room - recipient - subject)


def _clamped(lengths: Sequence[int], bounds: tuple[int, int]) -> int:
    return max(bounds[0], min(bounds[1], max(lengths, default=0)))


@dataclass(slots=True)
class TableWriter:
    """Prints rows below one header, as they come."""

    console: Console
    clock_ms: Callable[[], int]
    zone: tzinfo | None = None
    _widths: Widths | None = field(default=None, init=False)

    def write(self, told: Sequence[Told]) -> None:
        """Print some rows, with their timelines below each where given; the first rows bring the header."""
        if not told:
            return
        header = self._widths is None
        size = self._widths = self._widths or widths(self.console.width, [row for row, _ in told])
        if all(timeline is None for _, timeline in told):
            self._print(self._table([row for row, _ in told], size, header=header))
            return
        for row, timeline in told:
            self._print(self._table([row], size, header=header))
            header = False
            for line in entry_lines(timeline or (), self.zone):
                self.console.print(Text("    ") + line, soft_wrap=True)

    def _print(self, made: Table) -> None:
        """Print without the blanks that fill up the last column."""
        with self.console.capture() as lines:
            self.console.print(made)
        self.console.file.writelines(f"{line.rstrip()}\n" for line in lines.get().splitlines())

    def _table(self, rows: Sequence[LogRow], size: Widths, *, header: bool) -> Table:
        made = Table(box=box.SIMPLE_HEAD, show_header=header, header_style="bold", show_edge=False, padding=0)
        made.add_column("Recipient", width=size.recipient, overflow="fold")
        made.add_column("Subject", width=size.subject, overflow="fold")
        made.add_column("Attempts", width=_ATTEMPTS, justify="right")
        made.add_column("Last Attempt", width=size.last_attempt)
        made.add_column("Delivery Results", width=size.results)
        made.add_column("Why", width=size.why, overflow="fold")
        now_ms = self.clock_ms()
        for row in rows:
            made.add_row(*self._cells(row, size, now_ms))
        return made

    def _cells(self, row: LogRow, size: Widths, now_ms: int) -> tuple[Text, ...]:
        subject = Text(plain(row.subject))
        # By columns, not characters: half of the world's letters are two columns wide.
        subject.truncate(_SUBJECT_LINES * size.subject - 1, overflow="ellipsis")
        return (
            Text(plain(row.recipient)),
            subject,
            Text(str(row.attempts)),
            Text(short_time(row.last_attempt_ms, now_ms, self.zone), style="dim"),
            Text(row.status.value, style=STYLES[row.status]),
            Text(self._why(row, now_ms)),
        )

    def _why(self, row: LogRow, now_ms: int) -> str:
        words = why(row)
        if row.status is Status.OPENED:
            return f"{words}, the first {short_time(row.first_open_ms, now_ms, self.zone)}"
        if row.next_attempt_ms is None or not row.attempts:
            return words
        return f"{words}; next try {short_time(row.next_attempt_ms, now_ms, self.zone)}"
