"""Importing a file, whatever is in it: read in constant memory, stored some thousand records at a time.

Rules: what is stored stays stored, however the import ends; one that was broken off goes on behind what is known to be
stored, or is simply run again: what is there already is not changed by it.
"""

import asyncio
import io
import itertools
import os
import stat
import sys
from collections import Counter, deque
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, Final, TypeVar

from storage.contact_rows import Bad
from storage.table import line
from telltale.errors import FailureError

AT_ONCE: Final = 4000
"""Records of one transaction: contacts take some 200 ms, after which other writers have their turn."""
HEAD_BYTES: Final = 1 << 16
MOST_REPORT_BYTES: Final = 256 << 20
"""Of a report: a line of two bytes that is left out takes some seventy there."""
_TOLD: Final = 20

T = TypeVar("T")


@dataclass(slots=True)
class Outcome:
    """What came of an import, so far."""

    counted: Counter[str] = field(default_factory=Counter)
    """Records by what became of them, and "bad" ones."""
    first_bad: list[Bad] = field(default_factory=list)
    records: int = 0
    """How many records this is of: where an import that was broken off goes on."""
    report_bytes: int = 0
    """How long the report is then."""


class Source:
    """A file that is read, and how far."""

    def __init__(self, raw: BinaryIO) -> None:
        """Take an open file, or a pipe."""
        self._counted = _Counted(raw)
        self.size = _size(raw)
        """In bytes; None: nobody knows."""
        self.buffered = io.BufferedReader(self._counted, HEAD_BYTES)

    @property
    def bytes_read(self) -> int:
        """How many were read so far."""
        return self._counted.bytes


Told = Callable[[Source, Outcome], object]
"""Is told how far an import is, now and then; what it raises ends the import."""


class _Counted(io.RawIOBase):
    """Counts what is read."""

    def __init__(self, raw: BinaryIO) -> None:
        self._raw = raw
        self.bytes = 0

    def readable(self) -> bool:
        """Return that it is for reading."""
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        """Read some."""
        read = self._raw.read(len(buffer))
        buffer[: len(read)] = read
        self.bytes += len(read)
        return len(read)


def _size(raw: BinaryIO) -> int | None:
    """Return the size of a file, None of what is none (a pipe)."""
    try:
        status = os.fstat(raw.fileno())
    except (OSError, io.UnsupportedOperation):
        return None
    return status.st_size if stat.S_ISREG(status.st_mode) else None


def opened(path: Path | None, open_files: ExitStack) -> BinaryIO:
    """Open a file for as long as `open_files`; None: standard input. Raises FailureError."""
    if path is None:
        return sys.stdin.buffer
    try:
        return open_files.enter_context(path.open("rb", buffering=0))
    except OSError as error:
        raise FailureError(f"{path}: cannot be read: {(error.strerror or str(error)).lower()}") from None


class Report:
    """A CSV file of what is left out, or none."""

    def __init__(self, path: Path | None, open_files: ExitStack, at: int = 0) -> None:
        """Open it as long as `open_files`, and go on at a place; 0: anew. Raises FailureError."""
        self._file: BinaryIO | None = None
        self._left = MOST_REPORT_BYTES - at
        if path is None:
            return
        try:
            self._file = open_files.enter_context(path.open("r+b" if at else "wb"))
        except OSError as error:
            raise FailureError(f"{path}: cannot be written: {(error.strerror or str(error)).lower()}") from None
        self._file.seek(at)
        self._file.truncate()
        if not at:
            self._write(["line", "column", "why"])

    def add(self, bad: Bad) -> None:
        """Write a line; where there are very many, it is said that there are more, and no further one is written."""
        if self._left > 0:
            self._write([str(bad.line), bad.column, bad.why])
            if self._left <= 0:
                self._write(["", "", "there is more that was left out: this report is full"])

    def written(self) -> int:
        """Return how long it is, all of which is with the system then."""
        if self._file is None:
            return 0
        self._file.flush()
        return self._file.tell()

    def _write(self, cells: Sequence[str]) -> None:
        if self._file is not None:
            self._left -= self._file.write(line(cells).encode("utf-8", "replace"))


async def store(
    records: Iterator[T | Bad],
    put: Callable[[list[T]], Awaitable[tuple[Counter[str], list[Bad]]]],
    outcome: Outcome,
    report: Report,
    told: Callable[[Outcome], object],
) -> None:
    """Store records, from where `outcome` ends; `put` returns what became of some of them, and which it left out."""
    _pass_over(records, outcome, told)
    waiting: tuple[int, list[Bad], asyncio.Task[tuple[Counter[str], list[Bad]]]] | None = None
    try:
        while some := list(itertools.islice(records, AT_ONCE)):
            good = [one for one in some if not isinstance(one, Bad)]
            # The next ones are read while these are stored.
            task = asyncio.ensure_future(put(good))
            before, waiting = waiting, (len(some), [one for one in some if isinstance(one, Bad)], task)
            await asyncio.sleep(0)
            if before:
                _settle(outcome, before[0], before[1], await before[2], report)
                told(outcome)
        if waiting:
            _settle(outcome, waiting[0], waiting[1], await waiting[2], report)
            told(outcome)
    finally:
        if waiting:
            await asyncio.gather(waiting[2], return_exceptions=True)


def _pass_over(records: Iterator[object], outcome: Outcome, told: Callable[[Outcome], object]) -> None:
    left = outcome.records
    while left:
        deque(itertools.islice(records, min(left, AT_ONCE)), maxlen=0)
        left -= min(left, AT_ONCE)
        told(outcome)


def _settle(
    outcome: Outcome, number: int, bad: list[Bad], stored: tuple[Counter[str], list[Bad]], report: Report
) -> None:
    counted, refused = stored
    left_out = sorted([*bad, *refused], key=lambda one: one.line)
    outcome.counted += counted
    outcome.counted["bad"] += len(left_out)
    outcome.first_bad += left_out[: _TOLD - len(outcome.first_bad)]
    outcome.records += number
    for one in left_out:
        report.add(one)
    outcome.report_bytes = report.written()
