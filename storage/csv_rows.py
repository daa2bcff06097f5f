"""The rows of a CSV text (RFC 4180), each of a bounded length.

Rules: pure, and in constant memory. `csv.reader` by itself holds a row of any length, and an empty cell takes it 17
times the byte that it is.
"""

import csv
from collections.abc import Iterable, Iterator
from typing import Final, Self, TextIO

MAX_ROW_CHARS: Final = 1 << 20


def lines_of(text: TextIO) -> Iterator[str]:
    """Return the lines of a file; one that is too long for a row comes in pieces."""
    return iter(lambda: text.readline(MAX_ROW_CHARS + 1), "")


class _Lines:
    """The lines that `csv.reader` asks for."""

    def __init__(self, text: Iterable[str]) -> None:
        self._text = iter(text)
        self.held = 0
        """Characters of the present row."""

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> str:
        line = next(self._text)
        self.held += len(line)
        if self.held > MAX_ROW_CHARS:
            while line and not line.endswith(("\n", "\r")):
                line = next(self._text, "")
            raise csv.Error(f"a row has at most {MAX_ROW_CHARS} characters")
        return line


class CsvRows:
    """Rows, one after the other; one that cannot be read raises csv.Error, and the next one can be asked for."""

    def __init__(self, text: Iterable[str], delimiter: str) -> None:
        """Read the lines of a text."""
        self._lines = _Lines(text)
        self._reader = csv.reader(self._lines, delimiter=delimiter)

    @property
    def line_num(self) -> int:
        """How many lines were read."""
        return self._reader.line_num

    def __iter__(self) -> Self:
        """Return itself."""
        return self

    def __next__(self) -> list[str]:
        """Return the next row."""
        self._lines.held = 0
        return next(self._reader)
