"""Questions about webhooks, as `Reader.webhooks`."""

import json
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from typing import Any, Final

from storage.feed import EventType, Place
from storage.logquery import Query
from storage.statements import clean
from storage.webhook_model import Former, HookAttempt, HookChange, Retry, Waiting, Webhook

_HOOK: Final = (
    "SELECT id, url, secret, types, user, created_ms, serial, place, failing_ms, stopped_ms, note, taken_ms, next_ms,"
    " former FROM webhook"
)
_DUE: Final = (
    "SELECT serial, place, due_ms, tries FROM webhook_retry WHERE webhook = ? AND due_ms <= ? ORDER BY due_ms LIMIT ?"
)
# For each endpoint: how many retries, the first of them, and when the first transaction behind its place was.
_WAITING: Final = (
    "SELECT w.value, (SELECT count(*) FROM webhook_retry r WHERE r.webhook = w.value),"
    " (SELECT min(due_ms) FROM webhook_retry r WHERE r.webhook = w.value),"
    " (SELECT at_ms FROM change c WHERE c.serial >= h.serial AND (c.facts IS NOT NULL OR c.accepted IS NOT NULL)"
    " ORDER BY c.serial LIMIT 1)"
    " FROM json_each(?) w JOIN webhook h ON h.id = w.value"
)
_ATTEMPTS: Final = (
    "SELECT a.at_ms, a.duration_ms, a.type, a.serial, a.place, a.recipient_id, a.status, a.words, a.tries, a.next_ms,"
    " r.address FROM webhook_attempt a LEFT JOIN recipient r ON r.id = a.recipient_id"
    " WHERE a.webhook = ? AND a.taken <= ? ORDER BY a.id DESC LIMIT ?"
)
# Ids are microseconds << 10 (storage/owners.py).
_LAST: Final = (
    "SELECT max(ifnull((SELECT max(id) FROM webhook_attempt), 0),"
    " ifnull((SELECT max(id) FROM webhook_change), 0)) >> 10"
)
_CHANGES: Final = "SELECT at_ms, change, actor FROM webhook_change WHERE webhook = ? ORDER BY id DESC LIMIT ?"


class WebhookReader:
    """Reads webhooks by somebody's connection."""

    def __init__(self, ask: Callable[[Query], Awaitable[list[Any]]]) -> None:
        """Take what answers a query."""
        self._ask = ask

    async def all(self, user: str | None = None) -> list[Webhook]:
        """Return all endpoints, the oldest first; `user`: those that are told of this user's mail alone."""
        rows = await self._ask(Query(f"{_HOOK} ORDER BY created_ms, id"))
        return [hook for hook in map(_hook, rows) if user is None or hook.user == user]

    async def one(self, id_: str) -> Webhook | None:
        """Return an endpoint; None where there is none of this id."""
        found = await self._ask(Query(f"{_HOOK} WHERE id = ?", (clean(id_),)))
        return _hook(found[0]) if found else None

    async def due(self, id_: str, now_ms: int, limit: int) -> list[Retry]:
        """Return what is to be tried again now, the longest due first."""
        rows = await self._ask(Query(_DUE, (id_, now_ms, limit)))
        return [Retry(Place(serial, index), due_ms, tries) for serial, index, due_ms, tries in rows]

    async def waiting(self, ids: Sequence[str]) -> list[Waiting]:
        """Return what each endpoint was not told yet; nothing for one that is not there (any more)."""
        rows = await self._ask(Query(_WAITING, (json.dumps([clean(id_) for id_ in ids]),)))
        found = {id_: Waiting(*rest) for id_, *rest in rows}
        return [found.get(id_, Waiting()) for id_ in ids]

    async def attempts(self, id_: str, limit: int, *, failed: bool = False) -> list[HookAttempt]:
        """Return the last calls of an endpoint that are kept, the newest first; `failed`: those that were not taken."""
        rows = await self._ask(Query(_ATTEMPTS, (clean(id_), 0 if failed else 1, limit)))
        return [_attempt(row) for row in rows]

    async def serial(self) -> int:
        """Return a number that is another one when something was sent to an endpoint, or ordered."""
        ((serial,),) = await self._ask(Query(_LAST))
        return int(serial)

    async def changes(self, id_: str, limit: int) -> list[HookChange]:
        """Return what was ordered by whom, the newest first."""
        return [HookChange(*row) for row in await self._ask(Query(_CHANGES, (clean(id_), limit)))]


def _hook(row: tuple[Any, ...]) -> Webhook:
    id_, url, secret, types, user, created_ms, serial, index, *rest, former = row
    # A type that only a newer version knows is sent by none.
    known = frozenset(EventType(text) for text in json.loads(types) if text in set(EventType))
    hook = Webhook(id_, url, secret, known, user, created_ms, Place(serial, index), *rest)
    return replace(hook, former=tuple(Former(*one) for one in json.loads(former))) if former != "[]" else hook


def _attempt(row: tuple[Any, ...]) -> HookAttempt:
    at_ms, duration_ms, type_, serial, index, *rest = row
    return HookAttempt(at_ms, duration_ms, type_, None if serial is None else Place(serial, index), *rest)
