"""The store's verbs of broadcasts, as `Store.broadcasts`: each is one transaction, and returns after its commit."""

from collections.abc import Sequence

from storage import broadcast_verbs
from storage.lane import Lane


class Broadcasts:
    """Broadcasts, and who leaves them."""

    def __init__(self, writer: Lane) -> None:
        """Write by the store's own lane."""
        self._writer = writer

    async def withdraw(self, address: str, broadcast_type: str, recipient_ids: Sequence[int], now_ms: int) -> int:
        """Take those of the recipients that are of the address and type out of the queue; return how many.

        An Unsent one becomes No Email Selected, a Soft Bounced one Bounced; one that is being tried goes on.
        """
        return await self._writer.call(broadcast_verbs.withdraw_all, (address, broadcast_type, recipient_ids, now_ms))

    async def undo_unsubscribe(self, address: str, broadcast_type: str) -> bool:
        """Take back the unsubscription from exactly this type (or ALL_TYPES as one); False where there is none."""
        return await self._writer.call(broadcast_verbs.undo, (address, broadcast_type))
