"""The store's verbs of the Blocked Email list, as `Store.blocked`: each one is one transaction."""

from collections.abc import Sequence

from storage import blocked_verbs
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
