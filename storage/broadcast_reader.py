"""Questions about broadcasts, as `Reader.broadcasts`: reads only."""

import json
from collections.abc import Awaitable, Callable
from typing import Any, Final

from storage.address import address_key
from storage.broadcast_model import Subscription
from storage.logquery import Query
from storage.statements import clean

_SUBSCRIPTION: Final = (
    "SELECT r.address, m.broadcast_type, m.from_header FROM recipient r JOIN message m ON m.id = r.message_id"
    " WHERE r.id = ? AND m.broadcast_type IS NOT NULL"
)
_LEFT: Final = "SELECT json_group_array(type) FROM unsubscribed WHERE address = ?"


class BroadcastReader:
    """Asks one store, by the reader that it belongs to."""

    def __init__(self, ask: Callable[[Query], Awaitable[list[Any]]]) -> None:
        """Take what answers a query."""
        self._ask = ask

    async def subscription(self, recipient_id: int) -> Subscription | None:
        """Return what the link in a recipient's copy stands for; None where it is unknown (any more)."""
        found = await self._ask(Query(_SUBSCRIPTION, (recipient_id,)))
        if not found:
            return None
        address, type_, sender = found[0]
        ((left,),) = await self._ask(Query(_LEFT, (clean(address_key(address)),)))
        return Subscription(recipient_id, address, type_, sender, frozenset(json.loads(left)))
