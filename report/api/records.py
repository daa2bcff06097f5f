"""What the API tells of recipients: the names of the exports, with those that programs need besides.

Rule: made of `report.rows`, so that a file and an answer say the same.
"""

from collections.abc import Sequence
from typing import Any

from report.api.model import At, Given, time_of
from report.rows import as_object, event_object
from report.why import why
from storage.model import HitKind, LogRow, Phase, TimelineEntry, TimelineKind, queue_id
from storage.status import Status


class Recipient(Given):
    """A recipient: a row of the Email Log."""

    id: str
    queue_id: str
    received: At
    recipient: str
    sender: str
    subject: str
    broadcast: str | None
    status: Status
    why: str
    attempts: int
    last_attempt: At | None
    next_attempt: At | None
    code: int | None
    enhanced_status: str | None
    diagnostic: str | None
    mx: str | None
    opens: int
    machine_hits: int
    first_open: At | None
    tracked: bool
    untracked_reason: str | None
    category: str | None
    late: str | None


class Fact(Given):
    """One thing that happened to a recipient."""

    at: At
    kind: TimelineKind
    text: str
    status: Status | None
    phase: Phase | None
    code: int | None
    enhanced_status: str | None
    reply: str | None
    mx: str | None
    address: str | None
    tls: str | None
    duration_ms: int | None
    hit: HitKind | None
    category: str | None
    bounce: str | None
    source: str | None


class Story(Recipient):
    """A recipient with all that happened to it, the oldest first."""

    events: list[Fact]


def recipient_of(row: LogRow) -> Recipient:
    """Return a row as the API tells it."""
    return Recipient.model_validate(_values(row))


def story_of(row: LogRow, timeline: Sequence[TimelineEntry]) -> Story:
    """Return a row with its timeline."""
    return Story.model_validate(_values(row) | {"events": [fact_of(entry) for entry in timeline]})


def fact_of(entry: TimelineEntry) -> Fact:
    """Return an entry of a timeline."""
    return Fact.model_validate(event_object(entry))


def _values(row: LogRow) -> dict[str, Any]:
    more = {
        "id": queue_id(row.recipient_id),
        "received": time_of(row.received_ms),
        "why": why(row),
        "machine_hits": row.machine_hits,
        "late": row.late or None,
    }
    return as_object(row) | more
