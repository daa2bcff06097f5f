"""Questions about webhooks, as `Reader.webhooks`."""

import json
from collections.abc import Awaitable, Callable
from typing import Any, Final

from storage.feed import EventType, Place
from storage.logquery import Query
from storage.statements import clean
from storage.webhook_model import Retry, Webhook

_HOOK: Final = (
    "SELECT id, url, secret, types, user, created_ms, serial, place, failing_ms, stopped_ms, note FROM webhook"
)
_DUE: Final = (
    "SELECT serial, place, due_ms, tries FROM webhook_retry WHERE webhook = ? AND due_ms <= ? ORDER BY due_ms LIMIT ?"
)


class WebhookReader:
    """Reads webhooks by somebody's connection."""

    def __init__(self, ask: Callable[[Query], Awaitable[list[Any]]]) -> None:
        """Take what answers a query."""
        self._ask = ask

    async def all(self) -> list[Webhook]:
        """Return all endpoints, the oldest first."""
        return [_hook(row) for row in await self._ask(Query(f"{_HOOK} ORDER BY created_ms, id"))]

    async def one(self, id_: str) -> Webhook | None:
        """Return an endpoint; None where there is none of this id."""
        found = await self._ask(Query(f"{_HOOK} WHERE id = ?", (clean(id_),)))
        return _hook(found[0]) if found else None

    async def due(self, id_: str, now_ms: int, limit: int) -> list[Retry]:
        """Return what is to be tried again now, the longest due first."""
        rows = await self._ask(Query(_DUE, (id_, now_ms, limit)))
        return [Retry(Place(serial, index), due_ms, tries) for serial, index, due_ms, tries in rows]

    async def waiting(self, id_: str) -> int:
        """Return how many events wait to be tried again."""
        ((count,),) = await self._ask(Query("SELECT count(*) FROM webhook_retry WHERE webhook = ?", (clean(id_),)))
        return int(count)


def _hook(row: tuple[Any, ...]) -> Webhook:
    id_, url, secret, types, user, created_ms, serial, index, *rest = row
    # A type that only a newer version knows is sent by none.
    known = frozenset(EventType(text) for text in json.loads(types) if text in set(EventType))
    return Webhook(id_, url, secret, known, user, created_ms, Place(serial, index), *rest)
