"""Reads the recipients of a broadcast from a CSV file, a line at a time.

Rules: the first line names the columns, one of them the address; a line that cannot be meant is told with its number
and passed over. Memory does not grow with the file.
"""

import csv
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, TextIO

from storage.address import Address, parse_mailbox
from storage.broadcast_audience import Entry
from telltale.errors import FailureError

_ADDRESS: Final = ("address", "email", "e-mail", "mail", "email address", "e-mail address")
_NAME: Final = "name"
_KEPT: Final = 5
_SAMPLE_CHARS: Final = 8192


@dataclass(frozen=True, slots=True)
class BadLine:
    """A line that was passed over."""

    line: int
    column: str
    why: str


@dataclass(slots=True)
class Recipients:
    """The recipients in one file; what was wrong is known at the end."""

    path: Path
    bad: int = 0
    first_bad: list[BadLine] = field(default_factory=list)

    def entries(self) -> Iterator[Entry]:
        """Yield who is named; raises FailureError where the file cannot be read as CSV."""
        try:
            with self.path.open(encoding="utf-8-sig", newline="") as file:
                yield from self._read(file)
        except OSError as error:
            raise FailureError(f"{self.path}: cannot be read: {(error.strerror or str(error)).lower()}") from None
        except UnicodeDecodeError as error:
            raise FailureError(f"{self.path}: is not UTF-8 text ({error.reason})") from None

    def _read(self, file: TextIO) -> Iterator[Entry]:
        head = file.readline(_SAMPLE_CHARS)
        delimiter = max(",;\t", key=head.count)
        file.seek(0)
        reader = csv.reader(file, delimiter=delimiter, strict=True)
        try:
            columns = [column.strip() for column in next(reader, [])]
            at = self._address_column(columns)
            for row in reader:
                if row and (entry := self._entry(row, columns, at, reader.line_num)):
                    yield entry
        except csv.Error as error:
            raise FailureError(f"{self.path}, line {reader.line_num}: is no CSV: {error}") from None

    def _address_column(self, columns: list[str]) -> int:
        lower = [column.lower() for column in columns]
        found = next((lower.index(name) for name in _ADDRESS if name in lower), None)
        if found is None:
            raise FailureError(
                f"{self.path}: its first line must name the columns, with one for the address: expected"
                f' "address" or "email", found {", ".join(columns) or "nothing"}'
            )
        return found

    def _entry(self, row: list[str], columns: list[str], at: int, line: int) -> Entry | None:
        if len(row) > len(columns):
            self._tell(line, "", f"has {len(row)} cells, but there are {len(columns)} columns")
            return None
        text = row[at].strip() if at < len(row) else ""
        address = parse_mailbox(text, utf8=True) if text.isprintable() else None
        if not isinstance(address, Address) or not address.domain:
            why = "is empty" if not text else f'"{text[:80]}" is no address: {address or "malformed address"}'
            self._tell(line, columns[at], why)
            return None
        cells = {column: cell.strip() for column, cell in zip(columns, row, strict=False) if column and cell.strip()}
        del cells[columns[at]]
        name = next((cells.pop(column) for column in list(cells) if column.lower() == _NAME), "")
        return Entry(str(address), name, cells)

    def _tell(self, line: int, column: str, why: str) -> None:
        self.bad += 1
        if len(self.first_bad) < _KEPT:
            self.first_bad.append(BadLine(line, column, why))
