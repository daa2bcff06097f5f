"""The store's verbs of contacts, as `Store.contacts`: each is one transaction, and returns after its commit."""

from collections.abc import Sequence

from storage import contact_edit_verb, contact_verbs, unsubscribe_verbs
from storage.lane import Lane
from storage.people import NewContact, Stored, Unsubscription


class Contacts:
    """Contacts, their lists, and what addresses do not want."""

    def __init__(self, writer: Lane) -> None:
        """Write by the store's own lane."""
        self._writer = writer

    async def put(self, contacts: Sequence[NewContact], now_ms: int) -> list[Stored | str]:
        """Add or update contacts, all in one transaction; the answers are what became of each.

        A text in its place says why one was left out, such as an address that is another contact's.
        """
        return await self._writer.call(contact_verbs.put, (contacts, now_ms))

    async def edit(self, contact_id: int, contact: NewContact, now_ms: int) -> Stored | str:
        """Make a contact what a form says, with exactly these addresses; a text says why it stays as it is."""
        return await self._writer.call(contact_edit_verb.edit, (contact_id, contact, now_ms))

    async def remove(self, contact_ids: Sequence[int]) -> int:
        """Remove contacts, from their lists too; return how many. What they unsubscribed from stays known."""
        return await self._writer.call(contact_verbs.remove, contact_ids)

    async def leave_list(self, name: str, contact_ids: Sequence[int]) -> int:
        """Take contacts from a list; return how many were on it."""
        return await self._writer.call(contact_verbs.leave_list, (name, contact_ids))

    async def remove_list(self, name: str) -> bool:
        """Remove a list, not its contacts; False where there is none."""
        return await self._writer.call(contact_verbs.remove_list, name)

    async def unsubscribe(self, wanted: Sequence[Unsubscription]) -> int:
        """Keep broadcasts of a type from addresses; return how many took them till now."""
        return await self._writer.call(unsubscribe_verbs.unsubscribe, wanted)

    async def resubscribe(self, address: str, broadcast_type: str) -> bool:
        """Take an unsubscription back (ALL_TYPES: all of the address); False where there is none."""
        return await self._writer.call(unsubscribe_verbs.resubscribe, (address, broadcast_type))
