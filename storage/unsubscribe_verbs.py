"""The verbs of what addresses do not want any more."""

from collections.abc import Sequence
from typing import Final

from storage.address import address_key, type_key
from storage.people import ALL_TYPES, Unsubscription
from storage.statements import Rows, clean
from storage.transaction import Transaction

_INSERT: Final = Rows.insert("unsubscribed", "at_ms,address,type,source,recipient_id", "ON CONFLICT DO NOTHING")


def unsubscribe(transaction: Transaction, wanted: Sequence[Sequence[Unsubscription]]) -> list[int]:
    """Store unsubscriptions; an earlier one of the same address and type stays. The answers are how many are new."""
    answers = [_INSERT.run(transaction.connection, [_values(one) for one in some]) for some in wanted]
    transaction.place.stamp.renew()
    return answers


def _values(one: Unsubscription) -> tuple[int, str, str, str, int | None]:
    type_ = one.type if one.type == ALL_TYPES else type_key(one.type)
    return one.at_ms, address_key(one.address), type_, one.source, one.recipient_id


def resubscribe(transaction: Transaction, wanted: Sequence[tuple[str, str]]) -> list[bool]:
    """Delete unsubscriptions of (address, broadcast type, or ALL_TYPES); False where there is none."""
    sql = f"DELETE FROM unsubscribed WHERE address = ? AND (type = ? OR ? = '{ALL_TYPES}')"  # noqa: S608 - a constant
    return [
        transaction.connection.execute(sql, (clean(address_key(address)), type_key(type_), type_)).rowcount > 0
        for address, type_ in wanted
    ]
