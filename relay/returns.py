"""What comes back to a signed return path: stored as it came, then understood, then applied.

Rule: the 250 of a bounce message means that it is in the store; what it says is worked out after, and
again after a crash, since a bounce message waits in the store until its reports are settled.
"""

import asyncio
import logging
import time
from typing import Final

from relay.bounce.apply import reports_for
from relay.bounce.parse import parse
from storage.kv import kv
from storage.reader import Reader
from storage.store import Store
from storage.token import TokenBox

# Bounce messages parsed at once; each holds its bytes and a thread while it is read.
_PARSED_AT_ONCE: Final = 4
_WAITING_AT_START: Final = 1000

_log = logging.getLogger("telltale.bounce")


class Returns:
    """Takes bounce messages for the listener and settles them in the background."""

    def __init__(self, store: Store, reader: Reader, returns: TokenBox) -> None:
        """Work on `store`; `returns` opens the local parts of return paths."""
        self._store = store
        self._reader = reader
        self._box = returns
        self._slots = asyncio.Semaphore(_PARSED_AT_ONCE)
        self._under_way: set[asyncio.Task[None]] = set()

    def open(self, local_part: str) -> int | None:
        """Return the recipient whose return path has this local part, None where it is not ours."""
        return self._box.open(local_part)

    async def take(self, raw: bytes, recipient_id: int, sender: str) -> None:
        """Store a bounce message; when this returns, answer 250."""
        dsn_id = await self._store.accept_dsn(raw, recipient_id, sender, time.time_ns() // 1_000_000)
        self._begin(dsn_id, recipient_id, raw)

    async def resume(self) -> None:
        """Settle what an earlier process stored and did not come to."""
        for dsn_id, recipient_id, raw in await self._store.waiting_dsns(_WAITING_AT_START):
            self._begin(dsn_id, recipient_id, raw)

    async def drain(self) -> None:
        """Wait until all that was taken is settled."""
        while self._under_way:
            await asyncio.wait(self._under_way)

    def _begin(self, dsn_id: int, recipient_id: int | None, raw: bytes) -> None:
        task = asyncio.create_task(self._settle(dsn_id, recipient_id, raw))
        self._under_way.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._under_way.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            # It stays in the store as waiting, and the next start takes it up again.
            _log.error(kv(event="bounce-message-not-settled", error=repr(error)))

    async def _settle(self, dsn_id: int, recipient_id: int | None, raw: bytes) -> None:
        known = await self._reader.message_of(recipient_id) if recipient_id is not None else None
        address = known[1] if known else None
        async with self._slots:
            parsed = await asyncio.to_thread(parse, raw, address)
        reports = reports_for(parsed, recipient_id, address) if known and recipient_id is not None else []
        settled = await self._store.settle_dsn(dsn_id, reports, parsed.kind)
        for report, now in zip(reports, settled, strict=True):
            reply = f"{report.reply.code or ''} {report.reply.enhanced or ''} {report.reply.text}"
            _log.info(
                kv(event="report", to=address, kind=parsed.kind, says=report.event, status=now.status, reply=reply)
            )
        if not reports:
            _log.info(kv(event="no-report", to=address, kind=parsed.kind))
