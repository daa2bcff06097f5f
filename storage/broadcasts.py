"""The store's verbs of broadcasts, as `Store.broadcasts`: each is one transaction, and returns after its commit."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from functools import partial

from storage import broadcast_run_verbs, broadcast_verbs
from storage.broadcast_model import Chunk, NewRun, RunOrder
from storage.broadcast_run_verbs import ChunkSent
from storage.lane import Lane
from storage.large import LARGE_BYTES
from storage.model import Job
from storage.queue_verbs import Acceptance

Sent = list[Job] | None
Storing = Callable[[Acceptance, Callable[[Acceptance], Awaitable[Sent]]], Awaitable[Sent]]
"""Calls the verb with the acceptance, its content written to a file before where it is large."""


class Broadcasts:
    """Broadcasts, and who leaves them."""

    def __init__(self, writer: Lane, storing: Storing) -> None:
        """Write by the store's own lane; `storing` brings large content to files."""
        self._writer = writer
        self._storing = storing

    async def withdraw(self, address: str, broadcast_type: str, recipient_ids: Sequence[int], now_ms: int) -> int:
        """Take those of the recipients that are of the address and type out of the queue; return how many.

        An Unsent one becomes No Email Selected, a Soft Bounced one Bounced; one that is being tried goes on.
        """
        return await self._writer.call(broadcast_verbs.withdraw_all, (address, broadcast_type, recipient_ids, now_ms))

    async def undo_unsubscribe(self, address: str, broadcast_type: str) -> bool:
        """Take back the unsubscription from exactly this type (or ALL_TYPES as one); False where there is none."""
        return await self._writer.call(broadcast_verbs.undo, (address, broadcast_type))

    async def create(self, run: NewRun, now_ms: int) -> int:
        """Make a draft and return its id; its recipients are added by `add`, and `start` lets it go."""
        return await self._writer.call(broadcast_run_verbs.create, (run, now_ms), len(run.template))

    async def add(self, run_id: int, chunks: Sequence[Chunk]) -> None:
        """Add recipients to a draft; chunks are numbered from 0 on, over all calls."""
        weight = sum(len(chunk.recipients) for chunk in chunks)
        await self._writer.call(broadcast_run_verbs.add_chunks, (run_id, chunks), weight)

    async def start(self, run_id: int, start_ms: int | None, now_ms: int) -> bool:
        """Let a draft go, now (None) or then; False where it is none (any more)."""
        return await self._writer.call(broadcast_run_verbs.start, (run_id, start_ms, now_ms))

    async def begin(self, run_id: int, now_ms: int) -> bool:
        """Begin a scheduled run whose time has come; False where it was paused, cancelled or begun."""
        return await self._writer.call(broadcast_run_verbs.begin, (run_id, now_ms))

    async def order(self, run_id: int, order: RunOrder, now_ms: int, note: str = "") -> bool:
        """Pause, resume or cancel a run; False where its state does not allow that."""
        return await self._writer.call(broadcast_run_verbs.order, (run_id, order, now_ms, note))

    async def send(self, chunk: ChunkSent) -> Sent:
        """Accept a chunk's messages and take it off, in one transaction; return the leased jobs.

        None, and nothing was accepted, where the run goes on no more, or another has sent this chunk.
        """
        for at, acceptance in enumerate(chunk.messages):
            if acceptance.file is None and len(acceptance.content) > LARGE_BYTES:
                return await self._storing(acceptance, partial(self._send_with, chunk, at))
        weight = sum(len(acceptance.content) for acceptance in chunk.messages if acceptance.file is None)
        return await self._writer.call(broadcast_run_verbs.send, chunk, weight)

    async def _send_with(self, chunk: ChunkSent, at: int, acceptance: Acceptance) -> Sent:
        return await self.send(replace(chunk, messages=[*chunk.messages[:at], acceptance, *chunk.messages[at + 1 :]]))

    async def sweep(self, now_ms: int) -> int:
        """Cancel drafts older than a day, and delete some of the recipients that cancelled runs left; 0 at the end."""
        return await self._writer.call(broadcast_run_verbs.sweep, now_ms)
