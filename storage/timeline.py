"""A recipient's timeline, from the rows that keep its facts.

Rule: no database, no clock.
"""

from typing import Any, Final

from storage.model import HitKind, Phase, Reply, TimelineEntry, TimelineKind
from storage.status import Status

ACCEPTED: Final = (
    "SELECT m.received_ms, m.client, m.user, r.status, r.diagnostic FROM recipient r"
    " JOIN message m ON m.id = r.message_id WHERE r.id = ?"
)
ATTEMPT: Final = (
    "at_ms, f.id, phase, code, enhanced, text, mx, address, tls, duration_ms, in_doubt, status, category, source"
)
"""The columns of an attempt, `f`, that `attempt_entries` reads."""
EVENT: Final = "at_ms, f.id, kind, text, status, code, enhanced, reply, mx, hit, address, agent, category, dsn_id"
"""Those of an event, `f`, that `event_entry` reads."""
ATTEMPTS: Final = f"SELECT {ATTEMPT} FROM attempt f WHERE recipient_id = ? ORDER BY id"  # noqa: S608 - our own words
EVENTS: Final = f"SELECT {EVENT} FROM event f WHERE recipient_id = ? ORDER BY id"  # noqa: S608 - our own words
_SENT_NOTHING: Final = frozenset({Status.BLOCKED, Status.DUPLICATE, Status.NO_EMAIL_SELECTED})


def accepted_entry(row: tuple[Any, ...], *, tried: bool) -> TimelineEntry:
    """Return the first entry: how the message came, and what admission decided where nothing was sent."""
    received_ms, client, user, status, diagnostic = row
    after = Status(status)
    words = "accepted" + (f" from {client}" if client else "") + (f" (user {user})" if user else "")
    if after in _SENT_NOTHING and not tried:
        return TimelineEntry(received_ms, TimelineKind.ACCEPTED, f"{words}; {diagnostic or after}", after)
    return TimelineEntry(received_ms, TimelineKind.ACCEPTED, words, Status.UNSENT)


def attempt_entries(row: tuple[Any, ...]) -> list[TimelineEntry]:
    """Return the entry of an attempt, and one of the end of the queue's patience where it was the last."""
    at_ms, _, phase, code, enhanced, text, mx, address, tls, duration_ms, in_doubt, status, category, source = row
    reply = Reply(code, enhanced, text)
    after = Status(status)
    words = _said(reply) + (" (in doubt: the connection broke after the final dot)" if in_doubt else "")
    entry = TimelineEntry(
        at_ms,
        TimelineKind.ATTEMPT,
        words,
        after,
        phase=Phase(phase),
        reply=reply,
        mx=mx,
        address=address,
        tls=tls,
        duration_ms=duration_ms,
        category=category,
        source=source,
    )
    if after is Status.BOUNCED and _temporary(reply):
        gave_up = TimelineEntry(
            at_ms + duration_ms, TimelineKind.EXPIRED, "gave up: its time in the queue ended", after
        )
        return [entry, gave_up]
    return [entry]


def event_entry(row: tuple[Any, ...]) -> TimelineEntry:
    """Return the entry of a hit, a report or an operator's order."""
    at_ms, _, kind, text, status, code, enhanced, said, mx, hit, address, agent, category, dsn_id = row
    reply = None if said is None else Reply(code, enhanced, said)
    words = [text, _said(reply) if reply else "", agent or ""]
    return TimelineEntry(
        at_ms,
        TimelineKind(kind),
        "; ".join(word for word in words if word),
        Status(status),
        reply=reply,
        mx=mx,
        address=address,
        hit=HitKind(hit) if hit else None,
        category=category,
        dsn_id=dsn_id,
    )


def _said(reply: Reply) -> str:
    words = [str(reply.code) if reply.code else "", reply.enhanced or "", reply.text]
    return " ".join(word for word in words if word)


def _temporary(reply: Reply) -> bool:
    """Whether a reply speaks of a trouble that may pass (RFC 5321, 4.2.1; RFC 3463, 2)."""
    if reply.code:
        return reply.code // 100 == 4  # noqa: PLR2004 - the first digit of a transient negative reply
    return (reply.enhanced or "").startswith("4")
