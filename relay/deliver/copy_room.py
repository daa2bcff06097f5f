"""The bytes that copies under way may hold in memory, shared by the sites of a process.

Rules: small copies are free, since the bound on connections bounds them too; large ones wait for room, a
moment only. No site may hold more than what it leaves free for the others, so that servers that take their
content slowly, or never, do not keep large mail from those that are quick.
"""

import asyncio
from collections import Counter
from collections.abc import Hashable
from typing import Final

MOST_BYTES: Final = 256 * 1024 * 1024
# 500 connections with such copies hold half as much.
FREE_BYTES: Final = 256 * 1024


class CopyRoom:
    """Counts bytes of large copies."""

    def __init__(self, most_bytes: int = MOST_BYTES, free_bytes: int = FREE_BYTES) -> None:
        """Take how many bytes there may be, and up to which size a copy is not counted."""
        self._most_bytes = most_bytes
        self._free_bytes = free_bytes
        self._bytes = 0
        self._of_site: Counter[Hashable] = Counter()
        self._waiting: dict[asyncio.Future[None], tuple[Hashable, int]] = {}

    def has_free(self, size: int) -> bool:
        """Return whether a copy of this size is not counted: neither taken nor given."""
        return size <= self._free_bytes

    async def take(self, site: Hashable, size: int, seconds: float) -> bool:
        """Count a copy of `size` bytes in; False, and nothing counted, where there is no room within `seconds`."""
        if self.has_free(size):
            return True
        if self._fits(site, size):
            self._count(site, size)
            return True
        granted: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting[granted] = (site, size)
        try:
            await asyncio.wait([granted], timeout=seconds)
        except asyncio.CancelledError:
            if granted.done():
                self.give(site, size)
            raise
        finally:
            self._waiting.pop(granted, None)
        return granted.done()

    def give(self, site: Hashable, size: int) -> None:
        """Count a copy out; who waits and fits now goes on, the first first."""
        if size <= self._free_bytes:
            return
        self._count(site, -size)
        for granted, wanted in list(self._waiting.items()):
            if self._fits(*wanted):
                self._count(*wanted)
                del self._waiting[granted]
                granted.set_result(None)

    def _fits(self, site: Hashable, size: int) -> bool:
        # A message that is larger than all the room travels alone.
        free = self._most_bytes - self._bytes - size
        held = self._of_site[site]
        return not self._bytes or (free >= 0 and (not held or held + size <= free))

    def _count(self, site: Hashable, size: int) -> None:
        self._bytes += size
        self._of_site[site] += size
        if not self._of_site[site]:
            del self._of_site[site]
