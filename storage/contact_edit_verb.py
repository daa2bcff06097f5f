"""The verb that gives a contact exactly the addresses that somebody wrote into its form.

Rules: all of it is done or nothing; an address of another contact is never taken; positions stay without gaps, since
mail goes to position 0 where no address takes its type.
"""

import json
from collections.abc import Sequence
from typing import Final

from storage import contact_verbs
from storage.address import address_key, type_key
from storage.people import ALL_TYPES, NewAddress, NewContact, Stored
from storage.statements import clean
from storage.transaction import Transaction

_KNOWN: Final = "SELECT 1 FROM contact WHERE id = ?"
_TAKEN: Final = "SELECT address FROM contact_address WHERE address = ? AND contact_id <> ?"
_KEY_TAKEN: Final = "SELECT 1 FROM contact WHERE key = ? AND id <> ?"
_STORED: Final = "SELECT address, types FROM contact_address WHERE contact_id = ? ORDER BY position"
_FORGET: Final = "DELETE FROM contact_address WHERE contact_id = ?"
_WRITE: Final = "INSERT INTO contact_address (contact_id, position, address, domain, types) VALUES (?, ?, ?, ?, ?)"

Edit = tuple[int, NewContact, int]
"""Id of the contact, what it is to be, now. Of `types`, None means all here."""


def edit(transaction: Transaction, wanted: Sequence[Edit]) -> list[Stored | str]:
    """Make contacts what forms say; a text says why one stays as it is."""
    return [_edit(transaction, *one) for one in wanted]


def _edit(transaction: Transaction, id_: int, new: NewContact, now_ms: int) -> Stored | str:
    fold = transaction.policy.contacts.fold_local_part
    addresses = {clean(address_key(one.address, fold=fold)): one for one in new.addresses}
    wrong = _refusal(transaction, id_, new.key, addresses, fold=fold)
    if wrong:
        return wrong
    rows = [(clean(address_key(one.address)), _types(one)) for one in addresses.values()]
    run = transaction.connection.execute
    changed = rows != run(_STORED, (id_,)).fetchall()
    if changed:
        run(_FORGET, (id_,))
        for position, (address, types) in enumerate(rows):
            run(_WRITE, (id_, position, address, address.rpartition("@")[2], types))
        run("UPDATE contact SET updated_ms = ? WHERE id = ?", (now_ms, id_))
        transaction.place.stamp.renew()
    ((stored,),) = contact_verbs.put(transaction, [([new], now_ms)])
    return Stored.UPDATED if changed and isinstance(stored, Stored) else stored


def _refusal(
    transaction: Transaction, id_: int, key: str | None, addresses: dict[str, NewAddress], *, fold: bool
) -> str | None:
    """Return why it cannot be, before anything is written."""
    run = transaction.connection.execute
    if run(_KNOWN, (id_,)).fetchone() is None:
        return "there is no such contact any more"
    if not addresses:
        return "there is no address"
    if key is not None and run(_KEY_TAKEN, (clean(key), id_)).fetchone():
        return f'another contact has the key "{key}"'
    for folded, one in addresses.items():
        others = [clean(address_key(address, fold=fold)) for (address,) in run(_TAKEN, (folded, id_))]
        if folded in others:
            return f"{one.address} is an address of another contact"
    return None


def _types(one: NewAddress) -> str | None:
    if one.types is None or ALL_TYPES in one.types:
        return None
    return json.dumps(sorted({clean(type_key(each)) for each in one.types}))
