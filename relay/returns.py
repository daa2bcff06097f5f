"""What comes back to a signed return path or to postmaster: stored as it came, then understood, then applied.

Rule: the 250 of a bounce message means that it is in the store; what it says is worked out after, and
again after a crash, since a bounce message waits in the store until its reports are settled.
"""

import asyncio
import logging
import time
from collections.abc import Coroutine, Sequence
from typing import Final

from relay.bounce.apply import reports_for
from relay.bounce.finding import Kind, Parsed
from relay.bounce.parse import parse
from relay.match import NOBODY, Match, match
from storage.kv import kv
from storage.model import Report, Settled, queue_id
from storage.reader import Reader
from storage.store import Store
from storage.token import TokenBox

# Bounce messages parsed at once; each holds its bytes and a thread while it is read.
_PARSED_AT_ONCE: Final = 4
_WAITING_AT_ONCE: Final = 8
# Taken and not settled yet, with their bytes in memory; what comes beyond waits in the store.
_HELD_AT_ONCE: Final = 8
# Of a bounce to postmaster, which anybody may send: what it reports stands before the message that it returns.
_MOST_UNPROVEN_BYTES: Final = 256 * 1024

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
        self._in_hand: set[int] = set()
        """Bounce messages that are being settled here."""
        self._behind = False
        """Whether some were left in the store since the last look at what waits there."""
        self._catching_up = False
        self._draining = False

    def open(self, local_part: str) -> int | None:
        """Return the recipient whose return path has this local part, None where it is not ours."""
        return self._box.open(local_part)

    async def take(self, raw: bytes, recipient_id: int | None, sender: str) -> bool:
        """Store a bounce message; when this returns True, answer 250. False: enough of such is kept.

        `recipient_id` is whose signed return path it came to; None: it came to postmaster, and then what
        is past its first 256 KiB is not kept.
        """
        kept = raw if recipient_id is not None else raw[:_MOST_UNPROVEN_BYTES]
        dsn_id = await self._store.accept_dsn(kept, recipient_id, sender, time.time_ns() // 1_000_000)
        if dsn_id is None:
            return False
        if len(self._in_hand) < _HELD_AT_ONCE:
            self._settle_soon(dsn_id, recipient_id, kept)
        else:
            self._behind = True
            await self.resume()
        return True

    async def resume(self) -> None:
        """Begin to settle what waits in the store: of an earlier process, or what came faster than it is understood."""
        if not self._catching_up:
            self._catching_up = True
            self._begin(self._catch_up())

    async def _catch_up(self) -> None:
        try:
            self._behind = True
            while self._behind and not self._draining:
                self._behind = False
                await self._settle_waiting()
        finally:
            self._catching_up = False

    async def _settle_waiting(self) -> None:
        # Some at a time: what waits may be more than the memory holds.
        after_id = 0
        while not self._draining and (waiting := await self._store.waiting_dsns(_WAITING_AT_ONCE, after_id)):
            for dsn_id, recipient_id, raw in waiting:
                self._settle_soon(dsn_id, recipient_id, raw)
            if others := self._under_way - {asyncio.current_task()}:
                await asyncio.wait(others)
            after_id = waiting[-1][0]

    async def drain(self) -> None:
        """Wait until all that is in hand is settled; what waits in the store is for the next start."""
        self._draining = True
        while self._under_way:
            await asyncio.wait(self._under_way)

    def _settle_soon(self, dsn_id: int, recipient_id: int | None, raw: bytes) -> None:
        if dsn_id not in self._in_hand:
            self._in_hand.add(dsn_id)
            self._begin(self._settled(dsn_id, recipient_id, raw))

    async def _settled(self, dsn_id: int, recipient_id: int | None, raw: bytes) -> None:
        try:
            await self._settle(dsn_id, recipient_id, raw)
        finally:
            self._in_hand.discard(dsn_id)

    def _begin(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.create_task(work)
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
        if recipient_id is None:
            found = await match(parsed, self._reader, self._box)
        else:
            # Where the recipient is known no more, nothing weaker than its signature shall speak for it.
            found = Match([(recipient_id, known[1])], proven=True, by="return path") if known else NOBODY
        reports = [report for one in found.recipients for report in reports_for(parsed, *one, proven=found.proven)]
        # A report that was understood makes one of ours; what was not is for a person to read.
        forward = not reports and parsed.kind is not Kind.COMPLAINT
        settled = await self._store.settle_dsn(dsn_id, reports, parsed.kind, forward=forward)
        _tell(dsn_id, parsed, found, reports, settled)


def _tell(dsn_id: int, parsed: Parsed, found: Match, reports: Sequence[Report], settled: Sequence[Settled]) -> None:
    """Write a line for each report, one at least."""
    read = {
        "bounce": queue_id(dsn_id),
        "kind": parsed.kind,
        "detector": parsed.detector or None,
        "matched": found.by,
        "troubles": "; ".join(parsed.troubles) or None,
    }
    addresses = dict(found.recipients)
    # Nothing is answered where another process settled it first.
    for report, now in zip(reports, settled, strict=False):
        # A person's complaint (category spam) is where the Blocked list takes the address from.
        reply = " ".join(str(word) for word in (report.reply.code, report.reply.enhanced, report.reply.text) if word)
        said = {
            "to": addresses[report.recipient_id],
            "says": report.event or "complaint",
            "category": report.category,
            "status": now.status,
            "again": None if now.accepted else "yes",
            "reply": reply,
        }
        _log.info(kv(event="report", **said, **read))
    if not settled:
        to = ",".join(addresses.values()) or None
        _log.info(kv(event="no-report", to=to, **read))
