"""Statements over many rows at once, and text that SQLite takes.

Rules: few steps: each step of a statement lets go of the interpreter lock and waits for it again, which
under a busy event loop costs up to `sys.getswitchinterval()`; so a group of verbs runs some ten
statements over all its rows, never one a row, and rows that are read come back as one JSON text. And
all text passes here: surrogates, which SQLite refuses, and NUL, which it cuts at, become U+FFFD.
"""
# ruff: noqa: S608 - SQL is put together from words of this program only; values are parameters

import json
import re
import sqlite3
from collections.abc import Iterable, Sequence
from functools import cache
from itertools import chain
from typing import Any, Final

# Statements are prepared for these numbers of rows, and filled up with rows that do nothing: a group is
# one step a statement, and some two hundred prepared statements serve all sizes of groups.
_SIZES: Final = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64)
_SIZE_FOR: Final = tuple(next(size for size in _SIZES if size >= rows) for rows in range(_SIZES[-1] + 1))
_FILLER: Final = -1
_UNCLEAN: Final = re.compile("[\x00\ud800-\udfff]")

Row = Sequence[Any]


class Rows:
    """A statement over rows of parameters; `{}` in its SQL stands for `VALUES (?,?),(?,?)`.

    Its first column is never -1, and the statement passes over rows where it is.
    """

    def __init__(self, sql: str) -> None:
        self._form = cache(lambda row, size: sql.format(f"VALUES {','.join([row] * size)}"))

    @classmethod
    def insert(cls, table: str, columns: str, conflict: str = "") -> "Rows":
        """Return the statement that inserts into `columns` of `table`."""
        return cls(f"INSERT INTO {table} ({columns}) SELECT * FROM ({{}}) WHERE column1 <> {_FILLER} {conflict}")

    def run(self, connection: sqlite3.Connection, rows: Sequence[Row]) -> int:
        """Execute for all rows; return how many rows of the table changed."""
        changed = 0
        for start in range(0, len(rows), _SIZES[-1]):
            part = rows[start : start + _SIZES[-1]]
            row, values = _bound(part)
            changed += connection.execute(self._form(row, _SIZE_FOR[len(part)]), values).rowcount
        return changed

    def returned(self, connection: sqlite3.Connection, rows: Sequence[Row]) -> list[Any]:
        """Execute for all rows; return the rows of RETURNING."""
        found: list[Any] = []
        for start in range(0, len(rows), _SIZES[-1]):
            part = rows[start : start + _SIZES[-1]]
            row, values = _bound(part)
            found += connection.execute(self._form(row, _SIZE_FOR[len(part)]), values).fetchall()
        return found


class Keys:
    """A statement over any number of keys; `{}` in its SQL stands for `?,?`, and a key met twice is met once."""

    def __init__(self, sql: str) -> None:
        self._form = cache(lambda size: sql.format(",".join("?" * size)))

    def run(self, connection: sqlite3.Connection, keys: Sequence[Any]) -> None:
        """Execute for all keys."""
        for part in self._parts(keys):
            connection.execute(self._form(len(part)), part)

    def read(self, connection: sqlite3.Connection, keys: Sequence[Any]) -> list[Any]:
        """Execute a query that answers with one JSON array; return the elements for all keys."""
        found: list[Any] = []
        for part in self._parts(keys):
            found += json.loads(connection.execute(self._form(len(part)), part).fetchone()[0])
        return found

    @staticmethod
    def _parts(keys: Sequence[Any]) -> Iterable[Sequence[Any]]:
        for start in range(0, len(keys), _SIZES[-1]):
            part = list(keys[start : start + _SIZES[-1]])
            yield part + part[-1:] * (_SIZE_FOR[len(part)] - len(part))


def _bound(rows: Sequence[Row]) -> tuple[str, list[Any]]:
    """Return the form of one row and the parameters of all.

    A column that is None in all rows is written as NULL: sqlite3 takes ten times as long to bind None
    (and any type that is not exactly int, float or str) as to bind a number.
    """
    marks: list[str] = []
    bound: list[Sequence[Any]] = []
    for column in zip(*rows, strict=True):
        first = column[0]
        if type(first) is int:
            bound.append(column)
        elif first is None and column.count(None) == len(column):
            marks.append("NULL")
            continue
        else:
            bound.append(_clean_column(column))
        marks.append("?")
    values = list(chain.from_iterable(zip(*bound, strict=True)))
    values += [_FILLER] * (len(bound) * (_SIZE_FOR[len(rows)] - len(rows)))
    return f"({','.join(marks)})", values


def _clean_column(column: tuple[Any, ...]) -> Sequence[Any]:
    """Return a column with clean text: all of it is looked at in one go, since nearly all of it is clean."""
    texts = [value for value in column if value is not None] if None in column else column
    if not isinstance(texts[0], str):
        return column
    whole = "".join(texts)
    if whole.isascii() and "\x00" not in whole:
        # An enum's member is bound as slowly as None: make it the plain text that it is.
        return column if type(texts[0]) is str or texts is not column else list(map(str, column))
    return [None if value is None else clean(value) for value in column]


def clean(text: str) -> str:
    """Return `text` without what SQLite would refuse or cut at."""
    # Nearly all text is plain, which is seen at a tenth of what the expression costs.
    return text if text.isascii() and "\x00" not in text else _UNCLEAN.sub("\ufffd", text)
