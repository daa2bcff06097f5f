"""The verbs of broadcasts.

Rule: a recipient that leaves is taken out of the queue only where nobody is trying it at the moment.
"""

import json
from collections.abc import Sequence
from typing import Final

from storage.address import address_key, type_key
from storage.broadcast_ledger import forget_unsent
from storage.model import TimelineKind
from storage.people import ALL_TYPES
from storage.recipient import Recipient, withdraw
from storage.statements import clean
from storage.transaction import Transaction, event_values

_OF_TYPES: Final = (
    "SELECT json_group_array(json_array(r.id, r.address, m.broadcast_type)) FROM json_each(?) AS wanted"
    " CROSS JOIN recipient r ON r.id = wanted.value CROSS JOIN message m ON m.id = r.message_id"
    " WHERE m.broadcast_type IS NOT NULL"
)
_WHY: Final = "unsubscribed before it was sent"


def withdraw_all(transaction: Transaction, wanted: Sequence[tuple[str, str, Sequence[int], int]]) -> list[int]:
    """Take what waits for an address that unsubscribed out of the queue: (address, type, recipient ids, now).

    The answers are how many are No Email Selected now, or Bounced, where tries have failed before.
    """
    return [_withdraw(transaction, *one) for one in wanted]


def _withdraw(transaction: Transaction, address: str, type_: str, recipient_ids: Sequence[int], now_ms: int) -> int:
    # As the admission of new ones compares: without the letter case of A-Z.
    key = address_key(address, fold=True)
    found = transaction.connection.execute(_OF_TYPES, (json.dumps(list(recipient_ids)),)).fetchone()
    ids = [
        id_
        for id_, theirs, their_type in json.loads(found[0])
        if address_key(theirs, fold=True) == key and (type_ == ALL_TYPES or type_key(their_type) == type_key(type_))
    ]
    rows: dict[int, Recipient] = transaction.load(ids)
    changed = [row for row in rows.values() if withdraw(row, _WHY)]
    transaction.write_events(
        [event_values(row, transaction.ids.next(), now_ms, TimelineKind.QUEUE, _WHY) for row in changed]
    )
    forget_unsent(transaction, changed)
    transaction.save(rows, changed)
    return len(changed)


def undo(transaction: Transaction, wanted: Sequence[tuple[str, str]]) -> list[bool]:
    """Take back the unsubscription of an address from exactly this type, or from ALL_TYPES as one."""
    sql = "DELETE FROM unsubscribed WHERE address = ? AND type = ?"
    values = [
        (clean(address_key(address)), type_ if type_ == ALL_TYPES else type_key(type_)) for address, type_ in wanted
    ]
    return [transaction.connection.execute(sql, one).rowcount > 0 for one in values]
