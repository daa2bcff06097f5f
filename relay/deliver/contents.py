"""Contents of the messages that wait in memory, each held once, within a bound of bytes.

Rule: a content stays while a recipient of its message is in memory and there is room; what finds no room
is read from the store when its turn comes. Those that came first keep their room: they go first.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Final

from storage.model import Job

MOST_BYTES: Final = 128 * 1024 * 1024


class _Held:
    __slots__ = ("content", "recipients")

    def __init__(self) -> None:
        self.content: bytes | None = None
        self.recipients = 0


class Contents:
    """What `read` gives for a message's id, kept while it is wanted."""

    def __init__(self, read: Callable[[int], Awaitable[bytes | None]], most_bytes: int = MOST_BYTES) -> None:
        """Take `Store.content`, and the bytes to hold at most."""
        self._read = read
        self._most_bytes = most_bytes
        self._bytes = 0
        self._held: dict[int, _Held] = {}
        self._reading: dict[int, asyncio.Task[bytes | None]] = {}
        # The content read last, which its other recipients ask for next; beyond the bound by one message.
        self._last: tuple[int, bytes] = (-1, b"")

    def enter(self, job: Job) -> Job:
        """Count a recipient in; returns the job, without its content where that found no room."""
        held = self._held.get(job.message.id)
        if held is None:
            held = self._held[job.message.id] = _Held()
        held.recipients += 1
        if job.content is not None and not self._keep(held, job.content):
            return replace(job, content=None)
        return job

    def leave(self, job: Job) -> None:
        """Count a recipient out; with the last one the content goes."""
        held = self._held[job.message.id]
        held.recipients -= 1
        if not held.recipients:
            del self._held[job.message.id]
            self._bytes -= len(held.content or b"")
            if self._last[0] == job.message.id:
                self._last = (-1, b"")

    def at_hand(self, job: Job) -> bytes | None:
        """Return the content where it is in memory."""
        if job.content is not None:
            return job.content
        held = self._held.get(job.message.id)
        if held is not None and held.content is not None:
            return held.content
        return self._last[1] if self._last[0] == job.message.id else None

    async def get(self, job: Job) -> bytes | None:
        """Return the content, read if need be; None where the store has none. Raises what reading raises."""
        content = self.at_hand(job)
        if content is not None:
            return content
        task = self._reading.get(job.message.id)
        if task is None:
            task = self._reading[job.message.id] = asyncio.create_task(self._load(job.message.id))
        return await asyncio.shield(task)

    async def _load(self, message_id: int) -> bytes | None:
        try:
            content = await self._read(message_id)
        finally:
            del self._reading[message_id]
        held = self._held.get(message_id)
        if content is not None and held is not None and not self._keep(held, content):
            self._last = (message_id, content)
        return content

    def _keep(self, held: _Held, content: bytes) -> bool:
        if held.content is None:
            if self._bytes + len(content) > self._most_bytes:
                return False
            held.content = content
            self._bytes += len(content)
        return True
