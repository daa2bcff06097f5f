"""The store's verbs of the Blocked Email list, as `Store.blocked`: each one is one transaction."""

from collections.abc import Sequence

from storage import blocked_verbs
from storage.blocked_query import BlockedFilter
from storage.lane import Lane
from storage.people import Blocked


class BlockedList:
    """The Blocked Email list: nothing is sent to who is on it."""

    def __init__(self, writer: Lane) -> None:
        """Write by the store's own lane."""
        self._writer = writer

    async def add(self, entries: Sequence[Blocked], actor: str) -> int:
        """Put addresses on the list; return how many entries are new. `actor`: who does it.

        An address has one entry for each source. One that is there already gives way to one that lasts longer.
        """
        return await self._writer.call(blocked_verbs.add, (entries, actor))

    async def remove(self, addresses: Sequence[str], actor: str, now_ms: int) -> int:
        """Take addresses off the list, whatever they were on it for; return how many were."""
        return await self._writer.call(blocked_verbs.remove, (addresses, actor, now_ms))

    async def undo(self, incident: BlockedFilter, actor: str, now_ms: int, limit: int = 1000) -> int:
        """Take some of the entries off that `incident` wants; return how many, 0 when none is left."""
        return await self._writer.call(blocked_verbs.undo, (incident, limit, actor, now_ms))

    async def purge(self, now_ms: int, since_ms: int, limit: int = 1000) -> int:
        """Take expired entries off, and forget changes of before `since_ms` and bounces that count no more.

        A step of bounded size: returns how many rows went, 0 when none is left.
        """
        return await self._writer.call(blocked_verbs.expire, (now_ms, since_ms, limit))
