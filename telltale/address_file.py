"""Reads files of addresses: one a line, or CSV with a header that names the column.

Rule: a row at a time; what a row says beside its address is left to who asks, and what cannot be read at all is told.
"""

import csv
import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final, TextIO

from storage.contact_rows import Bad, sniffed
from storage.csv_rows import CsvRows, lines_of
from storage.table import text_of

_HEADERS: Final = ("address", "email", "e-mail", "email address", "recipient")
_HEAD_CHARS: Final = 1 << 16


@dataclass(frozen=True, slots=True)
class Row:
    """A row that names an address."""

    line: int
    address: str
    """As it is written."""
    cells: Mapping[str, str] = field(default_factory=dict)
    """By the headers, in lower case; none in a file of lines."""


def rows(text: TextIO) -> Iterator[Row | Bad]:
    """Yield the rows of a text that are not empty; lines that begin with "#" are comments where there is no header."""
    head = text.readline(_HEAD_CHARS)
    delimiter = sniffed(head)
    names = [name.strip().lower() for name in next(csv.reader([head], delimiter=delimiter), [])]
    at = next((name for name in _HEADERS if name in names), None)
    if at is None:
        yield from _lines(itertools.chain([head], text))
        return
    reader = CsvRows(lines_of(text), delimiter)
    while True:
        line = reader.line_num + 2  # the header is one, and what comes next another
        try:
            row = next(reader, None)
        except csv.Error as error:
            yield Bad(line, "", f"cannot be read: {error}")
            continue
        if row is None:
            return
        if any(cell.strip() for cell in row):
            cells = dict(zip(names, [text_of(cell.strip()) for cell in row], strict=False))
            yield Row(line, cells.get(at, ""), cells)


def _lines(lines: Iterator[str]) -> Iterator[Row]:
    for number, line in enumerate(lines, 1):
        text = line.strip()
        if text and not text.startswith("#"):
            yield Row(number, text)


def ms_of(cell: str) -> int | None:
    """Return an ISO time in milliseconds (without a zone: the machine's); None for what is none."""
    try:
        return int(datetime.fromisoformat(cell).timestamp() * 1000)
    except (ValueError, OverflowError, OSError):
        return None
