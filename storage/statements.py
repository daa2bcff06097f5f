"""Statements over many rows at once.

Rule: few steps. Each step of a statement lets go of the interpreter lock and waits for it again, which
under a busy event loop costs up to `sys.getswitchinterval()`; so a group of verbs runs some ten
statements over all its rows, never one a row. Rows that are read come back as one JSON text for the
same reason.
"""

import json
import re
import sqlite3
from collections.abc import Iterable, Sequence
from functools import cache
from itertools import chain
from typing import Any, Final

_MOST_ROWS: Final = 64
_UNCLEAN: Final = re.compile("[\x00\ud800-\udfff]")

Row = Sequence[Any]


class MultiRow:
    """A statement whose `{}` stands for rows of parameters: `(?,?),(?,?)`, or for one column `?,?`.

    Rows are cut into powers of two, so that few forms of a statement are ever prepared.
    """

    def __init__(self, sql: str, columns: int) -> None:
        row = "?" if columns == 1 else f"({','.join('?' * columns)})"
        self._form = cache(lambda rows: sql.format(",".join([row] * rows)))

    def run(self, connection: sqlite3.Connection, rows: Sequence[Row]) -> int:
        """Execute for all rows; return how many rows of the table changed."""
        changed = 0
        for part in in_powers(rows):
            changed += connection.execute(self._form(len(part)), list(chain.from_iterable(part))).rowcount
        return changed

    def read(self, connection: sqlite3.Connection, rows: Sequence[Row]) -> list[list[Any]]:
        """Execute a query that answers with one JSON array; return the elements of all answers."""
        found: list[list[Any]] = []
        for part in in_powers(rows):
            answer = connection.execute(self._form(len(part)), list(chain.from_iterable(part))).fetchone()
            found += json.loads(answer[0])
        return found


def in_powers(rows: Sequence[Row]) -> Iterable[Sequence[Row]]:
    """Yield slices of `rows` whose lengths are powers of two, the longest first."""
    start, size = 0, _MOST_ROWS
    while start < len(rows):
        while size > len(rows) - start:
            size >>= 1
        yield rows[start : start + size]
        start += size


def clean(text: str) -> str:
    """Return `text` without what SQLite would refuse or cut at: surrogates and NUL become U+FFFD."""
    if text.isascii() and "\x00" not in text:
        return text
    return _UNCLEAN.sub("\ufffd", text)


def clean_or_none(text: str | None) -> str | None:
    """As `clean`; None stays None."""
    return None if text is None else clean(text)
