"""Imports a file of who unsubscribed: from another host of ours, or from another service.

Rule: as `unsubscribed export` writes it, it is read back as the same.
"""

import io
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TextIO

from storage.address import Fault
from storage.broadcast_settings import parse_type
from storage.contact_rows import Bad, parsed
from storage.contacts import Contacts
from storage.people import ALL_TYPES, Unsubscription
from telltale import file_import
from telltale.address_file import Row, ms_of, rows
from telltale.file_import import Outcome, Report, Told

# As we call the time, and as other services do in their exports.
_TIMES: Final = ("at", "unsub_time", "unsubscribed_at", "unsubscribed at", "created", "created_at")
_SOURCE: Final = "import"
_MOST_SOURCE_CHARS: Final = 40


@dataclass(frozen=True, slots=True)
class Wanted:
    """A file that is to be imported."""

    path: Path | None
    """None: standard input."""
    type: str = ALL_TYPES
    """What is meant where the file says no type."""
    report: Path | None = None


async def run(wanted: Wanted, contacts: Contacts, now_ms: int, told: Told, outcome: Outcome | None = None) -> Outcome:
    """Note whom a file names, from where `outcome` ends: "added", "known" (noted before), "bad".

    Raises FailureError where it cannot be read.
    """
    outcome = outcome or Outcome()

    async def put(left: list[Unsubscription]) -> tuple[Counter[str], list[Bad]]:
        added = await contacts.unsubscribe(left)
        return Counter({"added": added, "known": len(left) - added}), []

    with ExitStack() as open_files:
        report = Report(wanted.report, open_files, outcome.report_bytes)
        source = file_import.Source(file_import.opened(wanted.path, open_files))
        text = io.TextIOWrapper(source.buffered, "utf-8-sig", "replace", newline="")
        await file_import.store(
            read(text, wanted.type, now_ms), put, outcome, report, lambda so_far: told(source, so_far)
        )
    return outcome


def read(text: TextIO, type_: str, now_ms: int) -> Iterator[Unsubscription | Bad]:
    """Yield what a text says, and what in it cannot be meant; `type_` is of who says none."""
    for row in rows(text):
        yield row if isinstance(row, Bad) else _left(row, type_, now_ms)


def _left(row: Row, type_: str, now_ms: int) -> Unsubscription | Bad:
    address = parsed(row.address)
    if isinstance(address, Fault):
        return Bad(row.line, "address", str(address))
    said = row.cells.get("type", "")
    if said and said != ALL_TYPES:
        try:
            type_ = parse_type(said)
        except ValueError as error:
            return Bad(row.line, "type", str(error))
    column = next((name for name in _TIMES if row.cells.get(name)), None)
    at_ms = now_ms if column is None else ms_of(row.cells[column])
    if at_ms is None:
        return Bad(row.line, column or "", f'"{row.cells[column or ""][:40]}" is no ISO time')
    source = "".join(char for char in row.cells.get("source", "") if char.isprintable())[:_MOST_SOURCE_CHARS]
    return Unsubscription(address, said if said == ALL_TYPES else type_, min(at_ms, now_ms), source or _SOURCE)
