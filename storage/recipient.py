"""What a recipient's row becomes by an attempt, a hit, a report or an operator.

Rule: no clock, no database; the status moves only by `advance`. The store reads rows, lets this file
judge them, and writes them, all in one transaction.
"""

from dataclasses import dataclass
from typing import Final

from storage.model import OPENING, Hit, HitKind, Reply, Report, Result
from storage.status import PENDING, TABLE, Event, Status, advance

NEVER: Final = 1 << 62
"""`due_ms` of a held recipient: pending, and due at the end of time."""

_LATE_CHARS: Final = 500
_FINAL_REPORTS: Final = frozenset({Event.BOUNCE, Event.FAIL})
_TAKEN: Final = frozenset({Event.DELIVER, Event.HAND_OVER})


@dataclass(slots=True)
class Recipient:
    """The part of a recipient's row that changes, with its columns' names and order."""

    id: int
    message_id: int
    status: Status
    attempts: int
    due_ms: int | None
    lease: int | None
    last_attempt_ms: int | None
    code: int | None
    enhanced: str | None
    diagnostic: str
    category: str | None
    mx: str | None
    mx_address: str | None
    delivered_ms: int | None
    in_doubt_ms: int | None
    opens: int
    machine_hits: int
    first_open_ms: int | None
    late: str
    losses: int
    """Leases that were lost: their process died, or did not come back to them."""
    expires_ms: int
    """Never changes."""
    prefetched: int = 0
    """1: a mail client or provider fetched the image ahead."""

    @property
    def pending(self) -> bool:
        """Whether the queue still has to serve it."""
        return self.due_ms is not None

    @property
    def held(self) -> bool:
        """Whether an operator keeps it from being tried."""
        return self.due_ms == NEVER


def settle(row: Recipient, result: Result) -> bool:
    """Apply an attempt's result; False, and nothing moves, where the lease is not the present one."""
    if row.lease is None or row.lease != result.job.lease:
        return False
    attempt = result.attempt
    row.attempts += 1
    row.last_attempt_ms = attempt.at_ms
    _tell(row, attempt.reply, attempt.category, attempt.mx)
    row.mx_address = attempt.address
    ended_ms = attempt.at_ms + attempt.duration_ms
    row.in_doubt_ms = ended_ms if attempt.in_doubt else None
    if result.event in _TAKEN:
        row.delivered_ms = ended_ms
    _move(row, result.event)
    if row.opens:
        _settle_doubt(row)
    row.lease = None
    if row.pending and not row.held:
        row.due_ms = result.next_attempt_ms
    return True


def check(result: Result) -> None:
    """Raise ValueError unless `next_attempt_ms` is set exactly where the event is DEFER."""
    if (result.event is Event.DEFER) != (result.next_attempt_ms is not None):
        raise ValueError(f"next_attempt_ms is set exactly with a deferral, not with {result.event}")


def hit(row: Recipient, hit_: Hit) -> bool:
    """Count a hit and move the status by an open; False where no copy can exist, so the hit is dropped."""
    if Event.OPEN not in TABLE[row.status]:
        return False
    if hit_.kind not in OPENING:
        row.machine_hits += 1
        row.prefetched |= hit_.kind is HitKind.PREFETCH
        return True
    row.opens += 1
    row.first_open_ms = hit_.at_ms if row.first_open_ms is None else min(row.first_open_ms, hit_.at_ms)
    _move(row, Event.OPEN)
    _settle_doubt(row)
    return True


def report(row: Recipient, report_: Report, at_ms: int) -> bool:
    """Apply a DSN's report or a complaint; False where no copy can exist, or nobody can tell that it is true.

    Then it is only kept beside the status.
    """
    if not TABLE[row.status] or (row.pending and not report_.proven):
        return False
    if report_.event is None:
        return True
    before = row.status
    _move(row, report_.event)
    if row.status is not before:
        _tell(row, report_.reply, report_.category, report_.remote_mta or row.mx)
        if report_.event in _TAKEN and row.delivered_ms is None:
            row.delivered_ms = at_ms
    elif report_.event in _FINAL_REPORTS and row.status in {Status.DELIVERED, Status.OPENED} and not row.late:
        row.late = _late(report_.reply)
    return True


def block(row: Recipient, now_ms: int, why: str) -> bool:
    """End a due recipient whose address is on the Blocked Email list; False where it is not due (any more)."""
    if row.due_ms is None or row.due_ms > now_ms:
        return False
    _move(row, Event.BLOCK)
    row.code, row.enhanced, row.category = None, None, None
    row.diagnostic = why
    return True


def decline(row: Recipient, now_ms: int, why: str) -> bool:
    """End a due recipient whose owner takes no such mail (any more); False where it is not due (any more).

    What was tried before cannot be said not to have been sent: it ends as Bounced.
    """
    if row.due_ms is None or row.due_ms > now_ms:
        return False
    _move(row, Event.NO_EMAIL if row.status is Status.UNSENT else Event.BOUNCE)
    row.diagnostic = why
    row.category = None
    return True


def lose(row: Recipient, now_ms: int, wait_ms: int) -> bool:
    """End a lease whose holder will not answer, and count it; a held recipient stays held.

    It is due after a wait, but not after the end of its life.
    """
    if row.due_ms is None or row.lease is None:
        return False
    row.losses += 1
    row.lease = None
    if not row.held:
        row.due_ms = min(now_ms + wait_ms, max(row.expires_ms, now_ms))
    return True


def claim(row: Recipient, now_ms: int, lease: int, lease_ms: int) -> bool:
    """Lease a due recipient; False where it is not due (any more), or leased."""
    if row.due_ms is None or row.due_ms > now_ms or row.lease is not None:
        return False
    row.lease = lease
    row.due_ms = now_ms + lease_ms
    return True


def give_back(row: Recipient, due_ms: int) -> bool:
    """End the lease of a pending recipient without an attempt; a held one stays held."""
    if row.due_ms is None or row.lease is None:
        return False
    row.lease = None
    if not row.held:
        row.due_ms = due_ms
    return True


def renew_lease(row: Recipient, until_ms: int) -> bool:
    """Let the lease of a pending recipient last longer; a held one stays held."""
    if row.due_ms is None or row.lease is None or row.held:
        return False
    row.due_ms = until_ms
    return True


def hold(row: Recipient) -> bool:
    """Keep a pending recipient from being tried; a try that runs may end."""
    if not row.pending or row.held:
        return False
    row.due_ms = NEVER
    return True


def release(row: Recipient, now_ms: int, lease_ms: int) -> bool:
    """Undo `hold`: due at once, or when the lease of a try that runs has had its time."""
    if not row.held:
        return False
    row.due_ms = now_ms if row.lease is None else now_ms + lease_ms
    return True


def flush(row: Recipient, now_ms: int) -> bool:
    """Make a pending, unleased, unheld recipient due at once."""
    if row.due_ms is None or row.held or row.lease is not None or row.due_ms <= now_ms:
        return False
    row.due_ms = now_ms
    return True


def remove(row: Recipient, now_ms: int, why: str) -> bool:
    """End a pending recipient as Bounced, unless a lease that has not expired is on it."""
    if row.due_ms is None or (row.lease is not None and row.due_ms > now_ms):
        return False
    _move(row, Event.BOUNCE)
    _tell(row, Reply(0, None, why), None, row.mx)
    return True


def withdraw(row: Recipient, why: str) -> bool:
    """End a pending recipient whom nobody tries now, since its owner wants no such mail.

    What was tried before cannot be said not to have been sent: it ends as Bounced.
    """
    if not row.pending or row.lease is not None:
        return False
    _move(row, Event.NO_EMAIL if row.status is Status.UNSENT else Event.BOUNCE)
    row.diagnostic = why
    row.category = None
    return True


def _move(row: Recipient, event: Event) -> None:
    """Move the status by the table, then by an open that was kept; what is done leaves the queue."""
    row.status = advance(row.status, event)
    if row.opens and row.status in {Status.SENT, Status.DELIVERED}:
        row.status = advance(row.status, Event.OPEN)
    if row.status not in PENDING:
        row.due_ms = None
        row.lease = None


def _settle_doubt(row: Recipient) -> None:
    """Where the last attempt was in doubt and somebody opened the copy: the server had it after all."""
    if row.status is Status.SOFT_BOUNCED and row.in_doubt_ms is not None:
        row.delivered_ms = row.in_doubt_ms
        _move(row, Event.DELIVER)


def _tell(row: Recipient, reply: Reply, category: str | None, mx: str | None) -> None:
    row.code = reply.code
    row.enhanced = reply.enhanced
    row.diagnostic = reply.text
    row.category = category
    row.mx = mx


def _late(reply: Reply) -> str:
    words = [reply.enhanced or (str(reply.code) if reply.code else ""), reply.text]
    return f"bounced later: {' '.join(word for word in words if word)}"[:_LATE_CHARS].rstrip()
