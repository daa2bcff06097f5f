"""What the command line asks of the Email Log: each function opens the store, prints, and closes it.

Rules: nothing here knows about options or exit codes; everything goes to `out`; nothing is printed
where nothing is known. A reader that goes away (a broken pipe, as of `| head`) ends the output quietly.
All of them raise StoreMissingError (a sentence for people) where there is no store yet.
"""

import asyncio
import contextlib
import io
import os
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from pathlib import Path
from typing import Final, TextIO

from report import queue, sites
from report.output import CsvWriter, JsonWriter, Writer
from report.rows import as_object, json_line
from report.show import print_story
from report.table import TableWriter, console
from storage.model import LogFilter, LogRow, TimelineEntry, message_id_of
from storage.reader import Reader

TIMELINES_AT_MOST: Final = 100
# Rows that are fetched, laid out and written at once.
_BATCH: Final = 200
_FOLLOW_SECONDS: Final = 0.5


class Form(StrEnum):
    """How rows are printed."""

    TABLE = "table"
    """For people: coloured where `out` is a terminal."""
    JSON = "json"
    """JSON Lines, one object a row."""
    CSV = "csv"
    """RFC 4180 with a header line."""


async def print_log(
    state_dir: Path,
    wanted: LogFilter,
    form: Form,
    *,
    limit: int | None,
    events: bool,
    follow: bool,
    out: TextIO,
) -> int:
    """Print the Email Log's rows that match, newest first, and return how many there were.

    `limit` None means all, streamed in constant memory. `events` adds each row's timeline (JSON and
    CSV: the field `events`; table: lines below the row). `follow` prints the last `limit` rows oldest
    first and then rows as they change, until cancelled (Ctrl-C cancels the task: that is no error).
    """
    async with _opened(state_dir) as reader:
        printer = _Printer(reader, _writer(form, out, events=events), out, events=events)
        with _quiet(out):
            if follow:
                await _follow(reader, wanted, printer, limit)
            else:
                async for rows in _batches(reader, wanted, limit):
                    await printer.print(rows)
        return printer.printed


async def print_timeline(state_dir: Path, subject: str, form: Form, *, out: TextIO) -> int:
    """Print the whole timeline of what `subject` names; return how many recipients that were (0: unknown).

    `subject` is a queue id (all its recipients), or a recipient's address (its newest messages
    first, at most TIMELINES_AT_MOST of them). Form.CSV is refused with ValueError.
    """
    _refuse_csv(form)
    async with _opened(state_dir) as reader:
        rows = await reader.log(_named(subject), limit=TIMELINES_AT_MOST)
        with _quiet(out):
            for number, row in enumerate(rows):
                timeline = await reader.timeline(row.recipient_id)
                if form is Form.JSON:
                    out.write(json_line(as_object(row, timeline)))
                    continue
                if number:
                    out.write("\n")
                print_story(console(out), row, timeline, _now_ms(), None)
        return len(rows)


async def print_queue(state_dir: Path, wanted: LogFilter, form: Form, *, limit: int | None, out: TextIO) -> int:
    """Print the recipients that the queue still has to serve (`wanted.pending_only` is implied); return how many.

    Form.CSV is refused with ValueError.
    """
    _refuse_csv(form)
    printed = 0
    async with _opened(state_dir) as reader:
        with _quiet(out):
            async for rows in _batches(reader, replace(wanted, pending_only=True), limit):
                if form is Form.JSON:
                    out.writelines(json_line(queue.as_object(row)) for row in rows)
                else:
                    queue.print_rows(console(out), rows, _now_ms(), None, header=not printed)
                printed += len(rows)
    return printed


async def print_queue_count(state_dir: Path, wanted: LogFilter, form: Form, *, out: TextIO) -> int:
    """Print how many recipients wait, by status and by recipient domain; return how many in all.

    Form.CSV is refused with ValueError.
    """
    _refuse_csv(form)
    counted = queue.QueueCount()
    async with _opened(state_dir) as reader:
        async for row in reader.stream(replace(wanted, pending_only=True)):
            counted.add(row)
    with _quiet(out):
        if form is Form.JSON:
            out.write(json_line(counted.as_object()))
        else:
            queue.print_count(console(out), counted)
    return counted.total


async def print_sites(state_dir: Path, form: Form, *, limit: int | None, out: TextIO) -> int:
    """Print the sites that are delivered to, those with most recipients first; return how many there are.

    Form.CSV is refused with ValueError.
    """
    _refuse_csv(form)
    async with _opened(state_dir) as reader:
        now = await sites.sites_now(state_dir, reader)
    rows = now.rows[:limit]
    with _quiet(out):
        if form is Form.JSON:
            out.writelines(json_line(sites.as_object(row)) for row in rows)
        else:
            sites.print_sites(console(out), now, rows, _now_ms(), None)
    return len(now.rows)


async def find_pending(state_dir: Path, subject: str) -> list[int]:
    """Return the ids of the pending recipients that `subject` names, for hold, release, flush and remove.

    `subject` is a queue id, an address, or "@domain"; [] where none waits under that name.
    """
    if "@" not in subject and message_id_of(subject) is None:
        return []  # a part of an address would name more than was meant
    async with _opened(state_dir) as reader:
        wanted = replace(_named(subject), pending_only=True)
        return [row.recipient_id async for row in reader.stream(wanted)]


def _named(subject: str) -> LogFilter:
    if message_id_of(subject) is not None:
        return LogFilter(queue_id=subject)
    return LogFilter(recipient=subject)


def _writer(form: Form, out: TextIO, *, events: bool) -> Writer:
    if form is Form.TABLE:
        return TableWriter(console(out), _now_ms)
    return CsvWriter(out, events) if form is Form.CSV else JsonWriter(out)


@dataclass(slots=True)
class _Printer:
    """Fetches what is asked for beside the rows, writes them, and counts them."""

    reader: Reader
    writer: Writer
    out: TextIO
    events: bool
    printed: int = field(default=0, init=False)

    async def print(self, rows: Sequence[LogRow]) -> None:
        self.writer.write([(row, await self._timeline(row)) for row in rows])
        self.out.flush()
        self.printed += len(rows)

    async def _timeline(self, row: LogRow) -> Sequence[TimelineEntry] | None:
        return await self.reader.timeline(row.recipient_id) if self.events else None


async def _follow(reader: Reader, wanted: LogFilter, printer: _Printer, limit: int | None) -> None:
    # The serial is asked first: what changes between the two questions is then seen, twice at worst.
    serial, _ = await reader.changed(wanted, 0)
    shown = await reader.log(wanted, limit=_BATCH if limit is None else limit)
    await printer.print(shown[::-1])
    while True:
        await asyncio.sleep(_FOLLOW_SECONDS)
        serial, rows = await reader.changed(wanted, serial)
        fresh = [row for row in reversed(rows) if row not in shown]
        if fresh:
            await printer.print(fresh)
            shown = []


async def _batches(reader: Reader, wanted: LogFilter, limit: int | None) -> AsyncIterator[list[LogRow]]:
    """Yield all rows that match, or the newest `limit`, some at a time; one empty batch where there are none."""
    left, before_id = limit, None
    rows: list[LogRow] = []
    while left is None or left > 0:
        rows = await reader.log(wanted, limit=_BATCH if left is None else min(_BATCH, left), before_id=before_id)
        if rows or before_id is None:
            yield rows
        if len(rows) < _BATCH:
            break
        before_id = rows[-1].recipient_id
        left = None if left is None else left - len(rows)


@contextlib.asynccontextmanager
async def _opened(state_dir: Path) -> AsyncIterator[Reader]:
    reader = await Reader.open(state_dir)
    try:
        yield reader
    finally:
        await reader.close()


@contextlib.contextmanager
def _quiet(out: TextIO) -> Iterator[None]:
    """Let a reader that goes away end the output, and no character that its encoding lacks break it."""
    if isinstance(out, io.TextIOWrapper):
        out.reconfigure(errors="backslashreplace")
    try:
        yield
        out.flush()
    except BrokenPipeError:
        # What is still buffered would break again when the interpreter flushes it at its end.
        with contextlib.suppress(io.UnsupportedOperation), open(os.devnull, "w") as nothing:  # noqa: PTH123 - no Path needed
            os.dup2(nothing.fileno(), out.fileno())


def _refuse_csv(form: Form) -> None:
    if form is Form.CSV:
        raise ValueError("only the log itself is printed as CSV")


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
