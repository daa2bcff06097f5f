"""Imports a file of contacts: reads it in constant memory, stores it some thousand at a time, tells what was left out.

Rule: an import that was broken off is simply run again: what is stored already is not changed by it.
"""

import asyncio
import io
import itertools
import os
import stat
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, Final, TextIO

from storage.contact_rows import Bad, Good, UnreadableError, read_csv, read_json, sniffed
from storage.contacts import Contacts
from storage.people import Stored
from storage.table import line
from telltale.errors import FailureError, UsageError

AT_ONCE: Final = 4000
"""Contacts of one transaction: it takes some 200 ms, after which other writers have their turn."""

_HEAD_BYTES: Final = 1 << 16
_TOLD: Final = 20


@dataclass(frozen=True, slots=True)
class Wanted:
    """How a file is meant."""

    path: Path | None
    """None: standard input."""
    form: str | None = None
    """csv or json; None: by what the file is named or begins with."""
    encoding: str | None = None
    delimiter: str | None = None
    mapping: Mapping[str, str] = field(default_factory=dict)
    lists: Sequence[str] = ()
    report: Path | None = None

    @property
    def name(self) -> str:
        """What to call it in a sentence."""
        return "standard input" if self.path is None else str(self.path)


@dataclass(slots=True)
class Outcome:
    """What came of an import."""

    counted: Counter[str] = field(default_factory=Counter)
    """Contacts by Stored, and "bad" ones."""
    first_bad: list[Bad] = field(default_factory=list)


Progress = Callable[[int], None]
"""Takes how many bytes of the file were read so far."""


class Reading:
    """An open file and its records."""

    def __init__(self, wanted: Wanted, raw: BinaryIO) -> None:
        """Look at the beginning and decide; raises UsageError."""
        self._raw = raw
        self.size = _size(raw)
        counted = _Counted(raw)
        buffered = io.BufferedReader(counted, _HEAD_BYTES)
        head = buffered.peek(_HEAD_BYTES)
        self._counted = counted
        try:
            text = io.TextIOWrapper(buffered, _encoding(wanted, head), "surrogateescape", newline="")
        except LookupError:
            raise UsageError(f'--encoding "{wanted.encoding}" is not known; try utf-8, latin-1 or cp1252') from None
        self.records = self._records(wanted, text, head)

    @property
    def bytes_read(self) -> int:
        """How many were read so far."""
        return self._counted.bytes

    @staticmethod
    def _records(wanted: Wanted, text: TextIO, head: bytes) -> Iterator[Good | Bad]:
        if _is_json(wanted, head):
            return read_json(text, wanted.lists)
        head_line = text.readline(_HEAD_BYTES)
        delimiter = {"tab": "\t", "\\t": "\t"}.get(wanted.delimiter or "", wanted.delimiter) or sniffed(head_line)
        if len(delimiter) != 1:
            raise UsageError(f'--delimiter "{wanted.delimiter}" is not one character: say ",", ";", "|" or "tab"')
        return read_csv(itertools.chain([head_line], text), delimiter, wanted.mapping, wanted.lists)


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


def _encoding(wanted: Wanted, head: bytes) -> str:
    if wanted.encoding:
        return wanted.encoding
    return "utf-16" if head[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"


def _is_json(wanted: Wanted, head: bytes) -> bool:
    if wanted.form:
        return wanted.form == "json"
    if wanted.path is not None and wanted.path.suffix.lower() in {".json", ".jsonl", ".ndjson", ".csv", ".tsv", ".txt"}:
        return "json" in wanted.path.suffix.lower()
    return head.lstrip(b"\xef\xbb\xbf \t\r\n")[:1] in (b"[", b"{")


async def run(wanted: Wanted, contacts: Contacts, now_ms: int, progress: Callable[["Reading"], Progress]) -> Outcome:
    """Import a file; raises FailureError or UsageError where it cannot be read as contacts at all."""
    outcome = Outcome()
    with ExitStack() as open_files:
        report = reporting(wanted.report, open_files)
        raw = sys.stdin.buffer if wanted.path is None else open_files.enter_context(_opened(wanted.path))
        try:
            reading = Reading(wanted, raw)
            tell = progress(reading)
            waiting: tuple[list[Good], asyncio.Task[list[Stored | str]]] | None = None
            for good, bad in _batches(reading.records):
                # The next ones are read while these are stored.
                stored = asyncio.ensure_future(contacts.put([one.contact for one in good], now_ms))
                await asyncio.sleep(0)
                _note(outcome, bad, report)
                if waiting:
                    await _settle(outcome, *waiting, report)
                waiting = good, stored
                tell(reading.bytes_read)
            if waiting:
                await _settle(outcome, *waiting, report)
        except UnreadableError as error:
            raise UsageError(f"{wanted.name}: {error}") from None
        except UnicodeError as error:
            raise FailureError(f"{wanted.name}: cannot be read: {error}") from None
    return outcome


def _opened(path: Path) -> BinaryIO:
    try:
        return path.open("rb", buffering=0)
    except OSError as error:
        raise FailureError(f"{path}: cannot be read: {(error.strerror or str(error)).lower()}") from None


def reporting(path: Path | None, open_files: ExitStack) -> Callable[[Bad], object] | None:
    """Return what writes a bad line to a report, a CSV file that is open as long as `open_files`; None: there is none.

    Raises FailureError.
    """
    if path is None:
        return None
    try:
        file = open_files.enter_context(path.open("w", encoding="utf-8", newline=""))
    except OSError as error:
        raise FailureError(f"{path}: cannot be written: {(error.strerror or str(error)).lower()}") from None
    file.write(line(["line", "column", "why"]))
    return lambda bad: file.write(line([str(bad.line), bad.column, bad.why]))


def _batches(records: Iterator[Good | Bad]) -> Iterator[tuple[list[Good], list[Bad]]]:
    while some := list(itertools.islice(records, AT_ONCE)):
        yield [one for one in some if isinstance(one, Good)], [one for one in some if isinstance(one, Bad)]


async def _settle(
    outcome: Outcome,
    good: Sequence[Good],
    stored: "asyncio.Task[list[Stored | str]]",
    report: Callable[[Bad], object] | None,
) -> None:
    refused = []
    for one, answer in zip(good, await stored, strict=True):
        if isinstance(answer, Stored):
            outcome.counted[answer] += 1
        else:
            refused.append(Bad(one.line, "email", answer))
    _note(outcome, refused, report)


def _note(outcome: Outcome, bad: Sequence[Bad], report: Callable[[Bad], object] | None) -> None:
    outcome.counted["bad"] += len(bad)
    outcome.first_bad += bad[: _TOLD - len(outcome.first_bad)]
    if report:
        for one in bad:
            report(one)
