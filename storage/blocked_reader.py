"""Questions about the Blocked Email list, as `Reader.blocked`."""

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, Final

from storage import blocked_query
from storage.address import address_key
from storage.blocked_query import BlockedFilter
from storage.logquery import Query
from storage.people import Blocked, BlockedChange, Source
from storage.statements import clean

_PAGE: Final = 1000


class BlockedReader:
    """Reads the list by somebody's connection."""

    def __init__(self, ask: Callable[[Query], Awaitable[list[Any]]]) -> None:
        """Take what answers a query."""
        self._ask = ask

    async def page(self, wanted: BlockedFilter, *, limit: int, before_id: int | None = None) -> list[Blocked]:
        """Return entries with ids below `before_id`, newest first; those that expired stay until they are purged."""
        common = bool(wanted.text) and len(await self._ask(blocked_query.some(wanted))) == blocked_query.MOST_SORTED
        rows = await self._ask(blocked_query.entries(wanted, limit=limit, before_id=before_id, met=common))
        return [blocked_query.entry(row) for row in rows]

    async def stream(self, wanted: BlockedFilter) -> AsyncIterator[Blocked]:
        """Yield all entries that match, newest first, in constant memory."""
        page = await self.page(wanted, limit=_PAGE)
        while page:
            for entry in page:
                yield entry
            page = await self.page(wanted, limit=_PAGE, before_id=page[-1].id)

    async def count(self, wanted: BlockedFilter) -> int:
        """Return how many entries match."""
        where, values = blocked_query.conditions(wanted)
        ((found,),) = await self._ask(Query(f"SELECT count(*) FROM blocked b WHERE {where}", tuple(values)))  # noqa: S608
        return int(found)

    async def find(self, address: str, now_ms: int) -> list[Blocked]:
        """Return what blocks an address now: its own entries, and its domain's."""
        key = clean(address_key(address))
        values = (key, f"@{key.rpartition('@')[2]}", now_ms)
        return [blocked_query.entry(row) for row in await self._ask(Query(_FIND, values))]

    async def history(self, address: str, *, limit: int = _PAGE) -> list[BlockedChange]:
        """Return what was done about an address (or "@example.org"), newest first."""
        rows = await self._ask(Query(_HISTORY, (clean(address_key(address)), limit)))
        return [_change(*row) for row in rows]


_FIND: Final = (
    f"SELECT {blocked_query.COLUMNS} FROM blocked b WHERE b.address IN (?, ?)"  # noqa: S608
    " AND (b.expires_ms IS NULL OR b.expires_ms > ?) ORDER BY b.id DESC"
)
_HISTORY: Final = (
    "SELECT at_ms, change, address, source, category, reason, actor, recipient_id FROM blocked_change"
    " WHERE address = ? ORDER BY id DESC LIMIT ?"
)


def _change(at_ms: int, change: str, address: str, source: str, *rest: Any) -> BlockedChange:
    return BlockedChange(at_ms, change, address, Source(source), *rest)
