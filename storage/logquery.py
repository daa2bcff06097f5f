"""The Email Log's questions as SQL: which rows a filter wants, in which order, by which index.

Rule: no database here; what people typed is only ever a parameter.
"""

from dataclasses import dataclass, field
from typing import Any, Final

from storage.model import LogFilter, LogRow, message_id_of, queue_id
from storage.recipient import NEVER
from storage.status import Status

COLUMNS: Final = (
    "r.id, r.message_id, m.received_ms, r.address, m.sender, m.subject, m.broadcast, r.status, r.attempts,"
    " r.last_attempt_ms, r.due_ms, r.lease, r.code, r.enhanced, r.diagnostic, r.mx, r.opens, r.machine_hits,"
    " r.first_open_ms, m.untracked_reason, r.late, m.size"
)
FROM: Final = " FROM recipient r JOIN message m ON m.id = r.message_id"


def log_row(values: tuple[Any, ...]) -> LogRow:
    """Return the LogRow of a row of COLUMNS."""
    (
        id_,
        message_id,
        received_ms,
        address,
        sender,
        subject,
        broadcast,
        status,
        attempts,
        last_attempt_ms,
        due_ms,
        lease,
        code,
        enhanced,
        diagnostic,
        mx,
        opens,
        machine_hits,
        first_open_ms,
        untracked_reason,
        late,
        size,
    ) = values
    return LogRow(
        queue_id=queue_id(message_id),
        recipient_id=id_,
        received_ms=received_ms,
        recipient=address,
        sender=sender,
        subject=subject,
        broadcast=broadcast,
        status=Status(status),
        attempts=attempts,
        last_attempt_ms=last_attempt_ms,
        # Under a lease `due_ms` is when the lease expires: a try runs now, no next one is known.
        next_attempt_ms=due_ms if lease is None and due_ms != NEVER else None,
        code=code,
        enhanced_status=enhanced,
        diagnostic=diagnostic,
        mx=mx,
        opens=opens,
        machine_hits=machine_hits,
        first_open_ms=first_open_ms,
        tracked=untracked_reason is None,
        untracked_reason=untracked_reason,
        held=due_ms == NEVER,
        late=late,
        size=size,
    )


@dataclass(slots=True)
class Where:
    """Conditions joined by AND, with their parameters."""

    terms: list[str] = field(default_factory=list)
    values: list[Any] = field(default_factory=list)

    def add(self, term: str, *values: Any) -> None:
        """Ask for one more condition."""
        self.terms.append(term)
        self.values += values

    def __str__(self) -> str:
        return " WHERE " + " AND ".join(self.terms) if self.terms else ""


def where(wanted: LogFilter) -> Where:
    """Return the conditions of a filter on `recipient r` and `message m`."""
    made = Where()
    if wanted.statuses:
        made.add(f"r.status IN ({','.join('?' * len(wanted.statuses))})", *wanted.statuses)
    if wanted.recipient is not None:
        _add_address(made, wanted.recipient, "r.address", "r.domain")
    if wanted.sender is not None:
        _add_address(made, wanted.sender, "m.sender", "m.sender_domain")
    if wanted.since_ms is not None:
        made.add("m.received_ms >= ?", wanted.since_ms)
    if wanted.until_ms is not None:
        made.add("m.received_ms < ?", wanted.until_ms)
    if wanted.queue_id is not None:
        # No id is negative: a text that cannot be a queue id finds nothing.
        id_ = message_id_of(wanted.queue_id)
        made.add("r.message_id = ?", -1 if id_ is None else id_)
    if wanted.pending_only:
        made.add("r.due_ms IS NOT NULL")
    return made


def _add_address(made: Where, text: str, address: str, domain: str) -> None:
    """Ask for an address ("a@b"), a domain ("@b") or a part of an address."""
    local, at, host = text.rpartition("@")
    if not at:
        made.add(f"{address} LIKE ? ESCAPE '\\'", f"%{_escaped(text)}%")
        return
    made.add(f"{domain} = ?", host.lower())
    if local:
        made.add(f"{address} = ? COLLATE NOCASE", text)


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
