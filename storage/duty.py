"""What a sender is to be told: the words of duties, and which ones an attempt or a report makes.

Rule: pure. The null sender is told nothing, ever (RFC 5321, 4.5.5), and NOTIFY is obeyed (RFC 3461, 4.1).
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from storage.model import Job, Message, Reply, Report, Result
from storage.status import Event, Status


class DutyKind(StrEnum):
    """What is to be told; but for the last, the Action of RFC 3464, 2.3.3."""

    FAILED = "failed"
    DELAYED = "delayed"
    DELIVERED = "delivered"
    RELAYED = "relayed"
    EXPANDED = "expanded"
    FORWARD = "forward"
    """No report: a mail that came to the recipient's return path, such as an auto-reply."""


@dataclass(frozen=True, slots=True)
class Owed:
    """A duty as it is written."""

    message_id: int
    recipient_id: int
    kind: DutyKind
    due_ms: int | None = None
    """When to tell; None: soon, with what others of the message fail meanwhile."""
    reported: bool = False
    """The reply is that of a report, not the one that the recipient's row holds."""
    dsn_id: int | None = None


@dataclass(frozen=True, slots=True)
class Duty:
    """A duty with what is known of its recipient now."""

    id: int
    kind: DutyKind
    recipient_id: int
    address: str
    orcpt: str | None
    status: Status
    attempts: int
    last_attempt_ms: int | None
    expires_ms: int
    reply: Reply | None
    """None where nobody has said anything."""
    category: str | None
    mx: str | None
    dsn_id: int | None
    often: bool = False
    """Of a FORWARD: whether its sender was told of this recipient as often as may be."""


@dataclass(frozen=True, slots=True)
class Group:
    """Duties of one kind to tell of one message."""

    message: Message
    kind: DutyKind
    duties: tuple[Duty, ...]


@dataclass(frozen=True, slots=True)
class Digest:
    """Duties of one sender that are told of together."""

    sender: str
    broadcast: str
    """"" for messages of no broadcast."""
    first_ms: int
    """Since when one waits."""
    last_ms: int | None
    """When the sender had the last digest of this broadcast; None: there was none."""
    complete: bool
    """Whether one was sent when all recipients of the broadcast were done."""


@dataclass(frozen=True, slots=True)
class Collected:
    """A duty that waits for its digest."""

    id: int
    kind: DutyKind
    address: str
    subject: str
    user: str | None
    at_ms: int
    """When it began to wait."""
    reply: Reply | None
    category: str | None


FAILURES: Final = frozenset({Event.BOUNCE, Event.FAIL})
_SUCCESSES: Final = {
    "delivered": DutyKind.DELIVERED,
    "relayed": DutyKind.RELAYED,
    "expanded": DutyKind.EXPANDED,
}


def wants(notify: str | None, word: str) -> bool:
    """Return whether a recipient's NOTIFY asks for this; without one, for FAILURE and DELAY (RFC 3461, 4.1)."""
    return word != "SUCCESS" if notify is None else word in notify.split(",")


def of_result(result: Result) -> DutyKind | None:
    """Return what an attempt makes a duty; None, without looking far, for nearly all of them."""
    job = result.job
    if not job.message.sender:
        return None
    if result.event is Event.DEFER:
        return DutyKind.DELAYED if result.warn_ms is not None and wants(job.notify, "DELAY") else None
    if result.event in FAILURES:
        return DutyKind.FAILED if wants(job.notify, "FAILURE") else None
    # RFC 3461, 5.2.2: a next hop that was not asked for reports gives none, so what we know is told here.
    asked = job.notify is not None and wants(job.notify, "SUCCESS")
    return DutyKind.RELAYED if asked and not result.attempt.dsn_passed else None


def of_wait(job: Job, due_ms: int, warn_after_ms: int) -> Owed | None:
    """Return what is owed of a recipient that waits until `due_ms` untried, such as for a site that rests.

    RFC 3461, 6.2: that it is late is told whatever keeps it. `warn_after_ms` after its message came; 0: never.
    """
    message = job.message
    warn_ms = message.received_ms + warn_after_ms
    if not warn_after_ms or due_ms < warn_ms or not message.sender or not wants(job.notify, "DELAY"):
        return None
    return Owed(message.id, job.recipient_id, DutyKind.DELAYED, warn_ms)


def of_report(report: Report, notify: str | None) -> DutyKind | None:
    """Return what a report of a next hop makes a duty, failures aside; only one that is proven does."""
    if not report.proven:
        return None
    if report.event is Event.DEFER:
        return DutyKind.DELAYED if wants(notify, "DELAY") else None
    return _SUCCESSES.get(report.action or "") if wants(notify, "SUCCESS") else None
