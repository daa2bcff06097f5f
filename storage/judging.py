"""Questions about bounce messages and about what may be judged anew, as SQL, and their answers as values.

Rule: no database, no clock.
"""
# ruff: noqa: S608 - SQL is put together from words of this program only; values are parameters

from typing import Any, Final

from storage.model import Judged, Phase, Reply, TimelineKind, queue_id
from storage.status import Status

UNMATCHED: Final = "reports = 0 AND (kind IN ('dsn', 'complaint') OR (kind = 'none' AND recipient_id IS NULL))"
"""Bounce messages that speak of nobody that we know, in the words of their index (storage/sql)."""

DSN: Final = "SELECT id, received_ms, recipient_id, sender, kind, raw FROM dsn"

_RECIPIENT: Final = " JOIN recipient r ON r.id = f.recipient_id"
_PAGE: Final = " AND (f.recipient_id, f.id) > (?, ?) AND f.at_ms >= ? ORDER BY f.recipient_id, f.id LIMIT ?"
ATTEMPTS: Final = (
    "SELECT f.recipient_id, f.id, f.at_ms, r.address, r.message_id, r.status, f.code, f.enhanced, f.text, f.mx,"
    f" f.category, f.rules, f.phase FROM attempt f CROSS{_RECIPIENT} WHERE f.code / 100 <> 2{_PAGE}"
)
REPORTS: Final = (
    "SELECT f.recipient_id, f.id, f.at_ms, r.address, r.message_id, r.status, f.code, f.enhanced, f.reply, f.mx,"
    f" f.category, f.rules, f.kind, f.dsn_id FROM event f CROSS{_RECIPIENT}"
    f" WHERE f.kind IN ('report', 'complaint') AND f.dsn_id IS NOT NULL{_PAGE}"
)
"""Both are asked with (recipient id, fact id) of the last row before, the earliest time, and a limit."""


def attempt(row: tuple[Any, ...]) -> Judged:
    """Return a row of ATTEMPTS as a value."""
    return _judged(row[:12], TimelineKind.ATTEMPT, phase=Phase(row[12]))


def report(row: tuple[Any, ...]) -> Judged:
    """Return a row of REPORTS as a value."""
    return _judged(row[:12], TimelineKind(row[12]), dsn_id=row[13])


def _judged(
    row: tuple[Any, ...], kind: TimelineKind, *, phase: Phase | None = None, dsn_id: int | None = None
) -> Judged:
    recipient_id, id_, at_ms, address, message_id, status, code, enhanced, text, mx, category, rules = row
    return Judged(
        recipient_id=recipient_id,
        id=id_,
        kind=kind,
        at_ms=at_ms,
        recipient=address,
        queue_id=queue_id(message_id),
        status=Status(status),
        reply=Reply(code, enhanced, text),
        mx=mx,
        category=category,
        rules=rules,
        phase=phase,
        dsn_id=dsn_id,
    )
