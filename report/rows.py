"""The rows of the Email Log for programs: JSON Lines and CSV.

Rules: pure; the names are those that other programs rely on; an object is one line of ASCII, so that no
character of a subject can end it; no cell of a CSV is a formula to a spreadsheet.
"""

import json
from collections.abc import Sequence
from typing import Any, Final

from report.words import rfc3339
from storage import table
from storage.model import LogRow, TimelineEntry, queue_id

COLUMNS: Final = (
    "queue_id",
    "recipient",
    "sender",
    "subject",
    "broadcast",
    "status",
    "attempts",
    "last_attempt",
    "next_attempt",
    "code",
    "enhanced_status",
    "diagnostic",
    "mx",
    "opens",
    "first_open",
    "tracked",
    "untracked_reason",
    "category",
)
EVENTS_COLUMN: Final = "events"


def as_object(row: LogRow, events: Sequence[TimelineEntry] | None = None) -> dict[str, Any]:
    """Return the row as an object in the order of COLUMNS; with `events` where they are given."""
    made: dict[str, Any] = {
        "queue_id": row.queue_id,
        "recipient": row.recipient,
        "sender": row.sender,
        "subject": row.subject,
        "broadcast": row.broadcast,
        "status": row.status.value,
        "attempts": row.attempts,
        "last_attempt": rfc3339(row.last_attempt_ms),
        "next_attempt": rfc3339(row.next_attempt_ms),
        "code": row.code or None,
        "enhanced_status": row.enhanced_status,
        "diagnostic": row.diagnostic or None,
        "mx": row.mx,
        "opens": row.opens,
        "first_open": rfc3339(row.first_open_ms),
        "tracked": row.tracked,
        "untracked_reason": row.untracked_reason,
        "category": row.category,
    }
    if events is not None:
        made[EVENTS_COLUMN] = [event_object(entry) for entry in events]
    return made


def event_object(entry: TimelineEntry) -> dict[str, Any]:
    """Return an entry of a timeline as an object."""
    reply = entry.reply
    return {
        "at": rfc3339(entry.at_ms),
        "kind": entry.kind.value,
        "text": entry.text,
        "status": entry.status and entry.status.value,
        "phase": entry.phase and entry.phase.value,
        "code": (reply.code or None) if reply else None,
        "enhanced_status": reply.enhanced if reply else None,
        "reply": reply.text if reply else None,
        "mx": entry.mx,
        "address": entry.address,
        "tls": entry.tls,
        "duration_ms": entry.duration_ms,
        "hit": entry.hit and entry.hit.value,
        "category": entry.category,
        "bounce": None if entry.dsn_id is None else queue_id(entry.dsn_id),
        "source": entry.source,
    }


def json_line(made: object) -> str:
    """Return an object as a line of JSON Lines."""
    return json.dumps(made, separators=(", ", ": ")) + "\n"


def csv_header(*, events: bool) -> str:
    """Return the header line."""
    return _csv_line([*COLUMNS, EVENTS_COLUMN] if events else COLUMNS)


def csv_line(row: LogRow, events: Sequence[TimelineEntry] | None = None) -> str:
    """Return a row as a line of RFC 4180; the events, where given, as JSON in a cell."""
    made = as_object(row, events)
    if events is not None:
        made[EVENTS_COLUMN] = json.dumps(made[EVENTS_COLUMN])
    return _csv_line([_cell(value) for value in made.values()])


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)


def _csv_line(cells: Sequence[str]) -> str:
    return table.line(cells, "\r\n")
