"""Questions about broadcasts, as `Reader.broadcasts`: reads only."""
# ruff: noqa: S608 - SQL is put together from words of this program only; values are parameters

import json
from collections.abc import Awaitable, Callable
from typing import Any, Final

from storage.address import address_key
from storage.broadcast_model import Hold, Listed, Run, RunState, Subscription
from storage.logquery import RECIPIENTS_OF_M, Query
from storage.people import BY_LINK
from storage.statements import clean
from storage.status import Status

_PAST_ALL: Final = (1 << 63) - 1
_SUBSCRIPTION: Final = (
    "SELECT r.address, m.broadcast_type, m.from_header FROM recipient r JOIN message m ON m.id = r.message_id"
    " WHERE r.id = ? AND m.broadcast_type IS NOT NULL"
)
_LEFT: Final = "SELECT json_group_array(json_array(type, source)) FROM unsubscribed WHERE address = ?"

_RUN: Final = (
    "SELECT r.id, r.broadcast_id, b.owner, b.name, r.type, r.state, r.created_ms, r.start_ms, r.started_ms, r.ended_ms,"
    " r.sender, r.subject, r.personal, r.per_hour, r.chunks, r.total, r.done_chunks, r.done, r.unsent, r.blocked,"
    " r.duplicate, r.no_email_selected, r.note, r.first_message"
    " FROM broadcast_run r JOIN broadcast b ON b.id = r.broadcast_id"
)
_TO_DO: Final = (
    f"{_RUN} WHERE r.state IN ('draft', 'scheduled', 'sending', 'paused')"
    " AND (r.state = 'sending' OR (r.state = 'scheduled' AND r.start_ms <= ?)) ORDER BY r.id"
)
_WAITING: Final = (
    "SELECT count(*), min(b.message_id) FROM broadcast_run_message b"
    " CROSS JOIN recipient r INDEXED BY recipient_pending ON r.message_id = b.message_id"
    f" WHERE b.message_id >= ? AND b.run_id = ? AND r.due_ms IS NOT NULL AND r.status = '{Status.UNSENT}'"
)
_WOULD_GO: Final = (
    "SELECT r.domain, count(*) FILTER (WHERE r.lease IS NOT NULL OR r.due_ms <= ?), min(b.message_id)"
    " FROM broadcast_run_message b CROSS JOIN recipient r INDEXED BY recipient_pending ON r.message_id = b.message_id"
    f" WHERE b.message_id >= ? AND b.run_id = ? AND r.due_ms IS NOT NULL AND r.status = '{Status.UNSENT}'"
    " GROUP BY r.domain"
)
_STATUSES: Final = (
    "SELECT r.status, count(*) FROM broadcast_run_message b CROSS JOIN message m ON m.id = b.message_id"
    f" CROSS JOIN recipient r ON {RECIPIENTS_OF_M} WHERE b.message_id >= ? AND b.run_id = ? GROUP BY r.status"
)


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
        return Subscription(recipient_id, address, type_, sender, *await self.left(address))

    async def left(self, address: str) -> tuple[frozenset[str], frozenset[str]]:
        """Return what an address unsubscribed from (types of broadcasts, or ALL_TYPES), and what of it by no link."""
        ((found,),) = await self._ask(Query(_LEFT, (clean(address_key(address)),)))
        left: list[tuple[str, str]] = json.loads(found)
        return frozenset(type_ for type_, _ in left), frozenset(type_ for type_, source in left if source != BY_LINK)

    async def runs(self, limit: int, *, owner: str | None = None, before_id: int | None = None) -> list[Run]:
        """Return the newest runs (of an owner, with ids below `before_id`), the newest first."""
        own = "" if owner is None else " AND b.owner = ?"
        values = (_PAST_ALL if before_id is None else before_id, *(() if owner is None else (clean(owner),)), limit)
        query = Query(f"{_RUN} WHERE r.id < ?{own} ORDER BY r.id DESC LIMIT ?", values)
        return [_run(row) for row in await self._ask(query)]

    async def run(self, run_id: int) -> Run | None:
        """Return a run; None where there is none of this id."""
        found = await self._ask(Query(f"{_RUN} WHERE r.id = ?", (run_id,)))
        return _run(found[0]) if found else None

    async def runs_named(self, name: str) -> list[Run]:
        """Return the runs of the broadcasts of this name, the newest first."""
        found = await self._ask(Query(f"{_RUN} WHERE b.name = ? ORDER BY r.id DESC", (clean(name),)))
        return [_run(row) for row in found]

    async def to_do(self, now_ms: int) -> list[Run]:
        """Return the runs that are being sent, or are to begin by now, the oldest first."""
        return [_run(row) for row in await self._ask(Query(_TO_DO, (now_ms,)))]

    async def template(self, run_id: int) -> bytes:
        """Return a run's template."""
        ((template,),) = await self._ask(Query("SELECT template FROM broadcast_run WHERE id = ?", (run_id,)))
        return bytes(template)

    async def chunk(self, run_id: int, number: int) -> list[Listed] | None:
        """Return the recipients of a chunk; None where it is done (or never was)."""
        sql = "SELECT recipients FROM broadcast_chunk WHERE run_id = ? AND number = ?"
        found = await self._ask(Query(sql, (run_id, number)))
        return [_listed(*one) for one in json.loads(found[0][0])] if found else None

    async def waiting(self, run_id: int, from_message: int) -> tuple[int, int | None]:
        """Return how many recipients of a run are Unsent in the queue, and the lowest id of their messages.

        Only messages from `from_message` on are looked at.
        """
        ((count, lowest),) = await self._ask(Query(_WAITING, (from_message, run_id)))
        return count, lowest

    async def would_go(self, run_id: int, from_message: int, now_ms: int) -> tuple[dict[str, int], int | None]:
        """Return as `waiting` does, but by domain, and without counting who is due later: a site rests, or is held."""
        found = await self._ask(Query(_WOULD_GO, (now_ms, from_message, run_id)))
        lowest = min([message_id for _, _, message_id in found], default=None)
        return {domain: count for domain, count, _ in found if count}, lowest

    async def statuses(self, run: Run) -> dict[Status, int]:
        """Return how many of a run's recipients are in each status; looks at all of them."""
        if run.first_message is None:
            return {}
        found = await self._ask(Query(_STATUSES, (run.first_message, run.id)))
        return {Status(status): count for status, count in found}


def _listed(address: str, name: str, fields: dict[str, str], hold: int = 0) -> Listed:
    return Listed(address, name, fields, Hold(hold))


def _run(row: tuple[Any, ...]) -> Run:
    values = list(row)
    values[5], values[12] = RunState(values[5]), bool(values[12])
    return Run(*values)
