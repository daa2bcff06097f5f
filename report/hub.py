"""Those who follow the log, and the one who looks whether something happened.

Rules: the store is asked some times a second by one task for all, and only while somebody follows; followers are
bounded in number, in all and for each user, and one that does not read holds up nobody but itself.
"""

import asyncio
import logging
import sqlite3
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from storage.model import Changes
from storage.reader import Reader

LOOK_SECONDS: Final = 0.4
MOST_FOLLOWERS: Final = 300
MOST_OF_ONE: Final = 12
_REST_SECONDS: Final = 5.0

_log = logging.getLogger("telltale.report")


class Hub:
    """Tells followers of changes."""

    def __init__(self, reader: Reader) -> None:
        """Take a reader of the hub's own."""
        self.reader = reader
        self.closed = False
        self._followers: Counter[str] = Counter()
        self._changed = asyncio.Condition()
        self._serial = 0
        self._last: Changes | None = None
        self._watch: asyncio.Task[None] | None = None

    @contextmanager
    def place(self, user: str) -> Iterator[bool]:
        """Be a follower for a block; False: there are too many, or too many of this user."""
        if self.closed or self._followers.total() >= MOST_FOLLOWERS or self._followers[user] >= MOST_OF_ONE:
            yield False
            return
        self._followers[user] += 1
        if self._watch is None:
            self._watch = asyncio.create_task(self._look())
        try:
            yield True
        finally:
            self._followers[user] -= 1
            self._followers += Counter()  # forgets who has none
            if not self._followers and self._watch is not None:
                self._watch.cancel()
                self._watch = None

    async def changes(self, since: int, seconds: float) -> Changes | None:
        """Return what happened after the serial `since`, as soon as it did; None after `seconds`, or at the end."""
        async with self._changed:
            try:
                async with asyncio.timeout(seconds):
                    await self._changed.wait_for(lambda: self.closed or self._serial > since)
            except TimeoutError:
                return None
        if self.closed:
            return None
        last = self._last
        if last is None or last.since != since:
            last = self._last = await self.reader.changes(since)
        return last

    async def close(self) -> None:
        """Let all followers go."""
        self.closed = True
        async with self._changed:
            self._changed.notify_all()

    async def _look(self) -> None:
        while True:
            try:
                serial = await self.reader.serial()
            except sqlite3.Error:
                _log.exception("the log could not be followed; that is tried again")
                await asyncio.sleep(_REST_SECONDS)
                continue
            if serial != self._serial:
                async with self._changed:
                    self._serial = serial
                    self._changed.notify_all()
            await asyncio.sleep(LOOK_SECONDS)
