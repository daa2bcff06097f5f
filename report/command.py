"""What the command line asks of the Email Log: each function opens the store, prints, and closes it.

Rules: nothing here knows about options or exit codes; everything goes to `out`; nothing is printed
where nothing is known. A reader that goes away (a broken pipe, as of `| head`) ends the output quietly.
All of them raise StoreMissingError (a sentence for people) where there is no store yet.
"""

from enum import StrEnum
from pathlib import Path
from typing import TextIO

from storage.model import LogFilter


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
    raise NotImplementedError


async def print_timeline(state_dir: Path, subject: str, form: Form, *, out: TextIO) -> int:
    """Print the whole timeline of what `subject` names; return how many recipients that were (0: unknown).

    `subject` is a queue id (all its recipients), or a recipient's address (its newest messages
    first, at most TIMELINES_AT_MOST of them). Form.CSV is refused with ValueError.
    """
    raise NotImplementedError


async def print_queue(state_dir: Path, wanted: LogFilter, form: Form, *, limit: int | None, out: TextIO) -> int:
    """Print the recipients that the queue still has to serve (`wanted.pending_only` is implied); return how many."""
    raise NotImplementedError


async def print_queue_count(state_dir: Path, wanted: LogFilter, form: Form, *, out: TextIO) -> int:
    """Print how many recipients wait, by status and by recipient domain; return how many in all.

    Form.CSV is refused with ValueError.
    """
    raise NotImplementedError


async def find_pending(state_dir: Path, subject: str) -> list[int]:
    """Return the ids of the pending recipients that `subject` names, for hold, release, flush and remove.

    `subject` is a queue id, an address, or "@domain"; [] where none waits under that name.
    """
    raise NotImplementedError
