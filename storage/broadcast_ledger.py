"""Whom a broadcast was sent to already: what makes a recipient Duplicate, decided in the transaction that accepts it.

Rule: exact at any concurrency and after any crash, since the ledger is written with the recipients or not at all. A
message whose broadcast does not count (or that has none) costs nothing here.
"""

from collections.abc import Iterable, Sequence
from typing import Final

from storage.address import address_key
from storage.model import Message, NewRecipient
from storage.recipient import Recipient
from storage.statements import Keys, Rows, clean
from storage.transaction import Transaction

HOUR_MS: Final = 3_600_000
_ENTER: Final = Rows.insert(
    "broadcast_ledger", "broadcast_id,key,recipient_id", "ON CONFLICT DO NOTHING RETURNING recipient_id"
)
_FIND: Final = "SELECT id, used_ms, from_header FROM broadcast WHERE owner=? AND name=?"
_MAKE: Final = "INSERT INTO broadcast (id, owner, name, type, created_ms, used_ms) VALUES (?,?,?,?,?,?)"
_USE: Final = "UPDATE broadcast SET used_ms=? WHERE id=?"
_TELL: Final = "UPDATE broadcast SET from_header=?, subject=? WHERE id=?"
_ENTERED: Final = Keys(
    "SELECT json_group_array(json_array(r.id, r.address, b.id)) FROM recipient r JOIN message m ON m.id = r.message_id"
    " JOIN broadcast b ON b.owner = ifnull(m.user, '') AND b.name = m.broadcast WHERE r.id IN ({})"
)
_FORGET: Final = "DELETE FROM broadcast_ledger WHERE broadcast_id = ? AND key = ? AND recipient_id = ?"
MET: Final = (
    "SELECT l.key FROM broadcast b JOIN broadcast_ledger l ON l.broadcast_id = b.id"
    " WHERE b.owner = :owner AND b.name = :name AND l.key IN (SELECT value FROM json_each(:keys))"
)
"""Which of some keys were entered for a broadcast."""


def met_before(transaction: Transaction, wanted: Sequence[tuple[Message, Sequence[NewRecipient]]]) -> dict[int, str]:
    """Enter recipients of messages into the ledgers of their broadcasts; return who was there before, and in which."""
    fold = transaction.policy.contacts.fold_local_part
    rows: list[tuple[int, str, int]] = []
    before: dict[int, str] = {}
    for message, recipients in wanted:
        if message.broadcast and recipients:
            broadcast_id = found(transaction, message)
            rows += [(broadcast_id, address_key(new.address, fold=fold), new.id) for new in recipients]
            before |= dict.fromkeys([new.id for new in recipients], message.broadcast)
    for (fresh,) in _ENTER.returned(transaction.connection, rows):
        del before[fresh]
    return before


def forget_unsent(transaction: Transaction, rows: Iterable[Recipient]) -> None:
    """Take those of the recipients out of the ledgers whom nothing was sent to: the next time they get it."""
    never_tried = [row.id for row in rows if not row.attempts and not row.losses]
    fold = transaction.policy.contacts.fold_local_part
    for id_, address, broadcast_id in _ENTERED.read(transaction.connection, never_tried) if never_tried else ():
        transaction.connection.execute(_FORGET, (broadcast_id, clean(address_key(address, fold=fold)), id_))


def found(transaction: Transaction, message: Message) -> int:
    """Return the id of a message's broadcast, made where it is new, and note when it was used."""
    owner, name = clean(message.user or ""), clean(message.broadcast or "")
    known = transaction.broadcast_ids.get((owner, name))
    if known is not None:
        return known
    id_, from_header = _found(transaction, owner, name, message.broadcast_type or "", message.received_ms)
    if not from_header:
        values = (clean(message.from_header) or clean(message.sender) or "<>", clean(message.subject), id_)
        transaction.connection.execute(_TELL, values)
    return id_


def broadcast_of(transaction: Transaction, owner: str, name: str, type_: str, now_ms: int) -> int:
    """Return the id of the broadcast of this owner and name; its type is that of the first message."""
    return _found(transaction, clean(owner), clean(name), type_, now_ms)[0]


def _found(transaction: Transaction, owner: str, name: str, type_: str, now_ms: int) -> tuple[int, str]:
    """Return the id and the From field of its first message, "" where it had none yet."""
    connection = transaction.connection
    id_, used_ms, from_header = connection.execute(_FIND, (owner, name)).fetchone() or (None, now_ms, "")
    if id_ is None:
        id_ = transaction.ids.next()
        connection.execute(_MAKE, (id_, owner, name, clean(type_), now_ms, now_ms))
    elif now_ms >= used_ms + HOUR_MS:
        connection.execute(_USE, (now_ms, id_))
    transaction.broadcast_ids[owner, name] = id_
    return id_, from_header
