"""Imports a file of addresses to block: one a line, or CSV with a header.

Rule: in constant memory; a line that cannot be meant is told, and the others are read.
"""

import io
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from storage.blocklist import BlockedList
from storage.contact_rows import Bad
from storage.people import Blocked, Source
from storage.typed import MAX_REASON_CHARS, NotMeant, blockable
from telltale import file_import
from telltale.address_file import ms_of, rows
from telltale.file_import import Outcome, Report, Told


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


@dataclass(frozen=True, slots=True)
class Wanted:
    """A file that is to be imported, and what is said of all that it names."""

    path: Path | None
    """None: standard input."""
    actor: str
    """Who does it."""
    reason: str = ""
    """Instead of what the file says."""
    ends_ms: int | None = None
    """As `reason`."""
    report: Path | None = None


async def run(wanted: Wanted, blocked: BlockedList, now_ms: int, told: Told, outcome: Outcome | None = None) -> Outcome:
    """Block what a file names, from where `outcome` ends: "added", "known" (on the list, or past), "bad".

    Raises FailureError where it cannot be read.
    """
    outcome = outcome or Outcome()

    async def put(named: list[Named]) -> tuple[Counter[str], list[Bad]]:
        entries = [_entry(wanted, one, now_ms) for one in named]
        added = await blocked.add([one for one in entries if not _past(one, now_ms)], wanted.actor)
        return Counter({"added": added, "known": len(named) - added}), []

    with ExitStack() as open_files:
        report = Report(wanted.report, open_files, outcome.report_bytes)
        source = file_import.Source(file_import.opened(wanted.path, open_files))
        text = io.TextIOWrapper(source.buffered, "utf-8-sig", "replace", newline="")
        await file_import.store(read(text), put, outcome, report, lambda so_far: told(source, so_far))
    return outcome


def _entry(wanted: Wanted, one: Named, now_ms: int) -> Blocked:
    said = wanted.reason or one.reason[:MAX_REASON_CHARS]
    since = now_ms if one.created_ms is None else min(one.created_ms, now_ms)
    ends = one.expires_ms if wanted.ends_ms is None else wanted.ends_ms
    return Blocked(one.address, one.source or Source.IMPORT, since, said, one.category, ends)


def _past(entry: Blocked, now_ms: int) -> bool:
    return entry.expires_ms is not None and entry.expires_ms <= now_ms


def read(text: TextIO) -> Iterator[Named | Bad]:
    """Yield whom a text names, and what in it cannot be meant."""
    for row in rows(text):
        named = row if isinstance(row, Bad) else _named(row.address, row.cells)
        yield Bad(row.line, "", named.why) if isinstance(named, NotMeant) else named


def _named(address: str, cells: Mapping[str, str]) -> Named | NotMeant:
    found = blockable(address)
    if isinstance(found, NotMeant):
        return found
    expires_ms, created_ms = (ms_of(cells.get(name, "")) for name in ("expires", "created"))
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
