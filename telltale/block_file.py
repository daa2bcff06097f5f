"""Reads files of addresses to block: one a line, or CSV with a header.

Rule: in constant memory; a line that cannot be meant is told, and the others are read.
"""

import csv
import itertools
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final, TextIO

from storage.contact_rows import sniffed
from storage.people import Source
from storage.table import text_of
from storage.typed import NotMeant, blockable
from telltale.errors import FailureError

_HEADERS: Final = ("address", "email", "e-mail", "recipient")
_HEAD_CHARS: Final = 1 << 16


@dataclass(frozen=True, slots=True)
class Named:
    """Whom a line names."""

    address: str
    reason: str = ""
    category: str | None = None
    expires_ms: int | None = None
    source: Source | None = None
    """None: what the file says is none of ours, or nothing."""
    created_ms: int | None = None


def read(file: str, bad: list[tuple[int, str]]) -> Iterator[Named]:
    """Yield whom a file ("-": standard input) names; what cannot be meant is added to `bad` as (line, why)."""
    with ExitStack() as open_files:
        if file == "-":
            text: TextIO = sys.stdin
        else:
            try:
                text = open_files.enter_context(Path(file).open(encoding="utf-8-sig", errors="replace", newline=""))
            except OSError as error:
                raise FailureError(f"{file}: cannot be read: {(error.strerror or str(error)).lower()}") from None
        yield from _read(text, bad)


def _read(text: TextIO, bad: list[tuple[int, str]]) -> Iterator[Named]:
    head = text.readline(_HEAD_CHARS)
    delimiter = sniffed(head)
    names = [name.strip().lower() for name in next(csv.reader([head], delimiter=delimiter), [])]
    at = next((names.index(name) for name in _HEADERS if name in names), None)
    if at is None:
        yield from _lines(itertools.chain([head], text), bad)
        return
    reader = csv.reader(text, delimiter=delimiter)
    while True:
        try:
            row = next(reader, None)
        except csv.Error as error:
            bad.append((reader.line_num + 1, f"cannot be read: {error}"))
            continue
        if row is None:
            return
        if any(cell.strip() for cell in row):
            cells = dict(zip(names, [text_of(cell.strip()) for cell in row], strict=False))
            named = _named(cells.get(names[at], ""), cells)
            if isinstance(named, Named):
                yield named
            else:
                bad.append((reader.line_num + 1, named.why))


def _lines(lines: Iterator[str], bad: list[tuple[int, str]]) -> Iterator[Named]:
    for number, line in enumerate(lines, 1):
        text = line.strip()
        if not text or text.startswith("#"):
            continue
        found = blockable(text)
        if isinstance(found, str):
            yield Named(found)
        else:
            bad.append((number, found.why))


def _named(address: str, cells: dict[str, str]) -> Named | NotMeant:
    found = blockable(address)
    if isinstance(found, NotMeant):
        return found
    expires_ms, created_ms = (_time(cells.get(name, "")) for name in ("expires", "created"))
    for name, time in (("expires", expires_ms), ("created", created_ms)):
        if time is None and cells.get(name):
            return NotMeant(f'{name} "{cells[name][:40]}" is no ISO time')
    reason = "".join(char for char in cells.get("reason", "") if char.isprintable())
    source = cells.get("source", "").lower()
    return Named(
        found,
        reason,
        cells.get("category") or None,
        expires_ms,
        Source(source) if source in set(Source) else None,
        created_ms,
    )


def _time(text: str) -> int | None:
    try:
        return int(datetime.fromisoformat(text).timestamp() * 1000)
    except (ValueError, OverflowError, OSError):
        return None
