"""Whom a broadcast was sent to already: what makes a recipient Duplicate, decided in the transaction that accepts it.

Rule: exact at any concurrency and after any crash, since the ledger is written with the recipients or not at all. A
message whose broadcast does not count (or that has none) costs nothing here.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from storage.model import NewRecipient
from storage.statements import Rows, clean
from storage.status import Event, Status, advance
from storage.transaction import Transaction

if TYPE_CHECKING:
    from storage.queue_verbs import Acceptance

HOUR_MS: Final = 3_600_000
_ENTER: Final = Rows.insert(
    "broadcast_ledger", "broadcast_id,key,recipient_id", "ON CONFLICT DO NOTHING RETURNING recipient_id"
)
_FIND: Final = "SELECT id, used_ms FROM broadcast WHERE owner=? AND name=?"
_MAKE: Final = "INSERT INTO broadcast (id, owner, name, type, created_ms, used_ms) VALUES (?,?,?,?,?,?)"
_USE: Final = "UPDATE broadcast SET used_ms=? WHERE id=?"
_WHY: Final = 'the address was met before in the broadcast "{}"'


def entered(transaction: Transaction, wanted: Sequence["Acceptance"]) -> list["Acceptance"]:
    """Enter those that would be sent into the ledgers of their broadcasts; who was there before is Duplicate now."""
    rows = []
    for acceptance in wanted:
        if acceptance.once and acceptance.message.broadcast:
            unsent = [new for new in acceptance.recipients if new.status is Status.UNSENT]
            broadcast_id = found(transaction, acceptance) if unsent else 0
            rows += [(broadcast_id, _key(new.address), new.id) for new in unsent]
    if not rows:
        return list(wanted)
    fresh = {row[0] for row in _ENTER.returned(transaction.connection, rows)}
    duplicate = {row[2] for row in rows} - fresh
    return [_without(acceptance, duplicate) for acceptance in wanted] if duplicate else list(wanted)


def found(transaction: Transaction, acceptance: "Acceptance") -> int:
    """Return the id of a message's broadcast, made where it is new, and note when it was used."""
    message = acceptance.message
    return broadcast_of(
        transaction, message.user or "", message.broadcast or "", message.broadcast_type or "", message.received_ms
    )


def broadcast_of(transaction: Transaction, owner: str, name: str, type_: str, now_ms: int) -> int:
    """Return the id of the broadcast of this owner and name; its type is that of the first message."""
    connection, key = transaction.connection, (clean(owner), clean(name))
    row = connection.execute(_FIND, key).fetchone()
    if row is None:
        id_ = transaction.ids.next()
        connection.execute(_MAKE, (id_, *key, clean(type_), now_ms, now_ms))
        return id_
    broadcast_id: int = row[0]
    if now_ms >= row[1] + HOUR_MS:
        connection.execute(_USE, (now_ms, broadcast_id))
    return broadcast_id


def _without(acceptance: "Acceptance", duplicate: set[int]) -> "Acceptance":
    recipients = [_duplicate(new, acceptance) if new.id in duplicate else new for new in acceptance.recipients]
    return replace(acceptance, recipients=recipients)


def _duplicate(new: NewRecipient, acceptance: "Acceptance") -> NewRecipient:
    why = _WHY.format(acceptance.message.broadcast)
    return replace(new, status=advance(new.status, Event.DUPLICATE), diagnostic=why)


def _key(address: str) -> str:
    return address
