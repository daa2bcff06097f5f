"""What an operator may tell the queue: hold, release, flush, remove; each is kept in the timeline."""

import json
from collections.abc import Sequence
from enum import StrEnum
from typing import Final

from storage.model import TimelineKind
from storage.queue_verbs import LEASE_MS
from storage.recipient import NEVER, Recipient, flush, hold, release, remove
from storage.transaction import Transaction, event_values

# Rows that one transaction of an operator's flush of everything moves.
_FLUSHED_AT_ONCE: Final = 2000


class Order(StrEnum):
    """What an operator may tell the queue to do with recipients."""

    HOLD = "hold"
    RELEASE = "release"
    FLUSH = "flush"
    REMOVE = "remove"
    DISCARD = "discard"
    """Remove, and do not tell the sender: a run of spam would only make more mail to the wrong people."""


_REMOVED: Final = "removed from the queue by the operator"
_TOLD: Final = {
    Order.HOLD: "held by the operator",
    Order.RELEASE: "released by the operator",
    Order.FLUSH: "made due at once by the operator",
    Order.REMOVE: _REMOVED,
    Order.DISCARD: f"{_REMOVED}; the sender is not told",
}


def _obey(order: Order, row: Recipient, now_ms: int) -> bool:
    match order:
        case Order.HOLD:
            return hold(row)
        case Order.RELEASE:
            return release(row, now_ms, LEASE_MS)
        case Order.FLUSH:
            return flush(row, now_ms)
        case Order.REMOVE | Order.DISCARD:
            return remove(row, now_ms, _REMOVED)


def operate(transaction: Transaction, wanted: Sequence[tuple[Order, Sequence[int], int]]) -> list[int]:
    """Apply operators' orders (order, recipient ids, now); the answers are how many recipients changed."""
    answers = []
    for order, recipient_ids, now_ms in wanted:
        rows = transaction.load(recipient_ids)
        changed = [row for row in rows.values() if _obey(order, row, now_ms)]
        transaction.write_events(
            [event_values(row, transaction.ids.next(), now_ms, TimelineKind.QUEUE, _TOLD[order]) for row in changed]
        )
        transaction.save(rows, changed, tell=order is not Order.DISCARD)
        answers.append(len(changed))
    return answers


_WAITING: Final = (
    "SELECT json_group_array(id) FROM (SELECT id FROM recipient"
    " WHERE due_ms IS NOT NULL AND due_ms > ? AND due_ms < ? AND lease IS NULL LIMIT ?)"
)


def flush_some(transaction: Transaction, wanted: Sequence[int]) -> list[int]:
    """Make some of all recipients that wait due at the times given; the answers are how many, 0 at the end."""
    answers = []
    for now_ms in wanted:
        found = transaction.connection.execute(_WAITING, (now_ms, NEVER, _FLUSHED_AT_ONCE)).fetchone()
        answers += operate(transaction, [(Order.FLUSH, json.loads(found[0]), now_ms)])
    return answers
