"""Broadcasts as JSON objects: what `telltale broadcast … --json` prints.

Rule: pure; times are ISO 8601 with a zone, statuses are spelled as in the Email Log.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from storage.broadcast_model import Run
from storage.contact_forms import iso
from storage.status import Status

if TYPE_CHECKING:
    from telltale.broadcast_send import PreFlight, Wanted


def run_object(run: Run) -> dict[str, Any]:
    """Return a run, and what was decided on its recipients when they came into the queue."""
    return {
        "name": run.name,
        "type": run.type,
        "state": str(run.state),
        "from": run.sender,
        "subject": run.subject,
        "recipients": run.total,
        "done": run.done,
        "decided": {
            str(Status.UNSENT): run.unsent,
            str(Status.BLOCKED): run.blocked,
            str(Status.DUPLICATE): run.duplicate,
            str(Status.NO_EMAIL_SELECTED): run.no_email_selected,
        },
        "per_hour": run.per_hour,
        "note": run.note or None,
        "created": iso(run.created_ms),
        "begins": _iso(run.start_ms),
        "started": _iso(run.started_ms),
        "ended": _iso(run.ended_ms),
    }


def shown_object(run: Run, statuses: Mapping[Status, int], waiting: int) -> dict[str, Any]:
    """Return a run with what its recipients are now."""
    now = {str(status): statuses[status] for status in Status if status in statuses}
    return {**run_object(run), "waiting": waiting, "statuses": now}


def pre_flight_object(wanted: "Wanted", found: "PreFlight") -> dict[str, Any]:
    """Return what a pre-flight counted."""
    return {
        "name": wanted.name,
        "type": wanted.type,
        "from": wanted.sender,
        "subject": wanted.subject,
        "recipients": found.total,
        "counts": {str(status): count for status, count in found.counts.items()},
        "invalid": found.bad,
        "invalid_lines": [{"line": bad.line, "column": bad.column or None, "why": bad.why} for bad in found.first_bad],
        "without_address": found.without_address,
        "missing": [
            {"field": missing.field, "recipients": missing.count, "first": list(missing.first)}
            for missing in found.missing
        ],
    }


def _iso(at_ms: int | None) -> str | None:
    return None if at_ms is None else iso(at_ms)
