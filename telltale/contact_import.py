"""Imports a file of contacts: what it is, what its columns are, and its records on the way to the store."""

import csv
import io
import itertools
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, Final

from storage.contact_rows import Bad, Good, UnreadableError, numbered, read_csv, read_json, sniffed
from storage.contacts import Contacts
from storage.csv_rows import CsvRows, lines_of
from storage.people import Stored
from storage.table import text_of
from telltale.errors import FailureError, UsageError
from telltale.file_import import HEAD_BYTES, Outcome, Report, Source, Told, opened, store

_JSON: Final = frozenset({".json", ".jsonl", ".ndjson"})
_TEXT: Final = frozenset({".csv", ".tsv", ".txt"})
_LOOKED_AT: Final = 20


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
    headless: bool = False
    """Whether a CSV file has no header line: its columns are 1, 2 …, as `mapping` knows them."""
    lists: Sequence[str] = ()
    report: Path | None = None

    @property
    def name(self) -> str:
        """What to call it in a sentence."""
        return "standard input" if self.path is None else str(self.path)


class Reading(Source):
    """An open file and its records."""

    def __init__(self, wanted: Wanted, raw: BinaryIO) -> None:
        """Look at the beginning and decide; raises UsageError."""
        super().__init__(raw)
        head = self.buffered.peek(HEAD_BYTES)
        try:
            text = io.TextIOWrapper(self.buffered, _encoding(wanted, head), "surrogateescape", newline="")
        except LookupError:
            raise UsageError(f'--encoding "{wanted.encoding}" is not known; try utf-8, latin-1 or cp1252') from None
        self._wanted, self._text = wanted, text
        self.json = _is_json(wanted, head)
        """Whether it is JSON; else it is CSV."""

    @property
    def records(self) -> Iterator[Good | Bad]:
        """The records, once."""
        if self.json:
            return read_json(self._text, self._wanted.lists)
        lines, delimiter = self._lines()
        wanted = self._wanted
        return read_csv(lines, delimiter, wanted.mapping, wanted.lists, header_line=0 if wanted.headless else 1)

    @property
    def rows(self) -> Iterator[list[str]]:
        """The rows of a CSV file as they are, instead of its records; may raise csv.Error."""
        lines, delimiter = self._lines()
        return ([text_of(cell.strip()) for cell in row] for row in CsvRows(lines, delimiter))

    def _lines(self) -> tuple[Iterator[str], str]:
        head_line, asked = self._text.readline(HEAD_BYTES), self._wanted.delimiter
        delimiter = {"tab": "\t", "\\t": "\t"}.get(asked or "", asked) or sniffed(head_line)
        if len(delimiter) != 1:
            raise UsageError(f'--delimiter "{asked}" is not one character: say ",", ";", "|" or "tab"')
        lines = [head_line]
        if self._wanted.headless:
            lines.insert(0, delimiter.join(numbered(next(CsvRows(lines, delimiter), []))) + "\n")
        return itertools.chain(lines, lines_of(self._text)), delimiter


@dataclass(frozen=True, slots=True)
class Head:
    """How a CSV file begins."""

    header: list[str]
    rows: list[list[str]]


def look(wanted: Wanted) -> Head | None:
    """Return how a CSV file begins, None of JSON; raises FailureError where it cannot be read."""
    with ExitStack() as open_files:
        try:
            reading = Reading(wanted, opened(wanted.path, open_files))
            found = [] if reading.json else list(itertools.islice(reading.rows, 1 + _LOOKED_AT))
        except csv.Error as error:
            raise FailureError(f"{wanted.name}: cannot be read: {error}") from None
        except UnicodeError as error:
            raise FailureError(f"{wanted.name}: cannot be read: {error}") from None
    if reading.json:
        return None
    return Head(found[0] if found else [], [row for row in found[1:] if any(row)])


def _encoding(wanted: Wanted, head: bytes) -> str:
    if wanted.encoding:
        return wanted.encoding
    return "utf-16" if head[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"


def _is_json(wanted: Wanted, head: bytes) -> bool:
    if wanted.form:
        return wanted.form == "json"
    if wanted.path is not None and wanted.path.suffix.lower() in _JSON | _TEXT:
        return wanted.path.suffix.lower() in _JSON
    return head.lstrip(b"\xef\xbb\xbf \t\r\n")[:1] in (b"[", b"{")


async def run(wanted: Wanted, contacts: Contacts, now_ms: int, told: Told, outcome: Outcome | None = None) -> Outcome:
    """Import a file, from where `outcome` ends; raises FailureError or UsageError where it is no file of contacts."""
    outcome = outcome or Outcome()

    async def put(good: list[Good]) -> tuple[Counter[str], list[Bad]]:
        answers = await contacts.put([one.contact for one in good], now_ms)
        both = list(zip(good, answers, strict=True))
        refused = [Bad(one.line, "email", answer) for one, answer in both if not isinstance(answer, Stored)]
        return Counter(answer for answer in answers if isinstance(answer, Stored)), refused

    with ExitStack() as open_files:
        report = Report(wanted.report, open_files, outcome.report_bytes)
        raw = opened(wanted.path, open_files)
        try:
            reading = Reading(wanted, raw)
            await store(reading.records, put, outcome, report, lambda so_far: told(reading, so_far))
        except UnreadableError as error:
            raise UsageError(f"{wanted.name}: {error}") from None
        except UnicodeError as error:
            raise FailureError(f"{wanted.name}: cannot be read: {error}") from None
    return outcome
