"""The page of the report server: what it shows, and its HTML.

Rules: no clock, no store, no network; every text is escaped by the template engine; the page runs no script.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import tzinfo
from typing import Final

from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape

from report.why import why
from report.words import rfc3339, short_time
from storage.model import LogRow
from storage.reason import plain
from storage.status import Status

ROWS: Final = 50

_pages: Final = Environment(
    loader=PackageLoader("report"), autoescape=select_autoescape(), undefined=StrictUndefined, trim_blocks=True
)


@dataclass(frozen=True, slots=True)
class _Row:
    """A row as the page shows it."""

    recipient: str
    subject: str
    attempts: int
    at: str | None
    when: str
    status: Status
    why: str


def index(counts: Mapping[Status, int] | None, rows: Sequence[LogRow], now_ms: int, zone: tzinfo | None) -> str:
    """Return the HTML of the page; `counts` None: there is no store yet."""
    listed = None if counts is None else [(status, counts.get(status, 0)) for status in Status]
    shown = [_row(row, now_ms, zone) for row in rows]
    return _pages.get_template("index.html").render(counts=listed, rows=shown)


def _row(row: LogRow, now_ms: int, zone: tzinfo | None) -> _Row:
    return _Row(
        recipient=plain(row.recipient),
        subject=plain(row.subject),
        attempts=row.attempts,
        at=rfc3339(row.last_attempt_ms),
        when=short_time(row.last_attempt_ms, now_ms, zone),
        status=row.status,
        why=why(row),
    )
