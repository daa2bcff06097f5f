"""Hits on their way to the store: taken at once, judged and committed in groups.

Rules: taking a hit never waits; a hit that was taken is committed within a second, or it is counted and
logged as lost. What the store refuses is kept and tried again. The queue is bounded, and a full one
counts what it turns away.
"""

import asyncio
import contextlib
import logging
import time
from collections import deque
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from pixel.agents import mail_proxy
from pixel.crowd import Crowd
from pixel.fetch import Fetch, client_address
from pixel.judge import Rules, is_shared, judge
from storage.forwarded import Address
from storage.kv import kv
from storage.model import Hit, HitFacts
from storage.settings import Network

FLUSH_SECONDS: Final = 0.2
"""How long hits gather before a commit: half of it is what a hit waits, and the law grants a second."""
QUEUE_HITS: Final = 50_000
# Judging a group holds the event loop for some milliseconds; a larger one would delay answers.
_GROUP_HITS: Final = 250
_RETRY_FIRST_SECONDS: Final = 0.1
_RETRY_LAST_SECONDS: Final = 5.0
_LOG_SECONDS: Final = 60.0

_log = logging.getLogger("telltale.pixel")


@dataclass(frozen=True, slots=True)
class Policy:
    """What the configuration says on hits; replaced as a whole at a reload."""

    rules: Rules
    trusted_proxies: tuple[Network, ...] = ()
    keep_addresses: bool = False


@dataclass(slots=True)
class Counts:
    """What became of hits since the start, for metrics."""

    taken: int = 0
    committed: int = 0
    unknown: int = 0
    """Of recipients that the store does not know (any more)."""
    turned_away: int = 0
    """Because the queue was full."""
    lost: int = 0
    """Still uncommitted when the server had to stop."""
    store_errors: int = 0


class Recorder:
    """Takes hits and brings them to the store in the background."""

    def __init__(
        self,
        facts: Callable[[Collection[int]], Awaitable[Mapping[int, HitFacts]]],
        record: Callable[[Sequence[Hit]], Awaitable[None]],
        policy: Policy,
        crowd: Crowd,
        *,
        queue_hits: int = QUEUE_HITS,
        flush_seconds: float = FLUSH_SECONDS,
    ) -> None:
        """Take the store's two verbs (`Reader.hit_facts`, `Store.record_hits`) and what judging needs."""
        self.policy = policy
        self.counts = Counts()
        self._facts = facts
        self._record = record
        self._crowd = crowd
        self._queue_hits = queue_hits
        self._flush_seconds = flush_seconds
        self._waiting: deque[Fetch] = deque()
        self._in_hand = 0
        self._some = asyncio.Event()
        self._stopping = asyncio.Event()
        self._failing = False
        self._full_logged = float("-inf")
        self._task: asyncio.Task[None] | None = None

    @property
    def failing(self) -> bool:
        """Whether the store refused the last group, which is being tried again."""
        return self._failing

    def start(self) -> None:
        """Begin to record."""
        self._task = asyncio.create_task(self._run(), name="pixel recorder")

    def take(self, fetch: Fetch) -> bool:
        """Queue a hit; False where the queue is full and the hit is only counted. Never waits."""
        if len(self._waiting) + self._in_hand >= self._queue_hits:
            self._turn_away()
            return False
        self._waiting.append(fetch)
        self._some.set()
        self.counts.taken += 1
        return True

    async def drain(self, grace_seconds: float) -> None:
        """Commit what was taken and stop; what the store still refuses after the grace is logged as lost."""
        self._stopping.set()
        self._some.set()
        if self._task is not None:
            await asyncio.wait({self._task}, timeout=grace_seconds)
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
        lost = len(self._waiting) + self._in_hand
        if lost:
            self.counts.lost += lost
            _log.error(kv(event="hits lost", hits=lost, why="the store refused them until the server had to stop"))

    def _turn_away(self) -> None:
        self.counts.turned_away += 1
        now = time.monotonic()
        if now - self._full_logged >= _LOG_SECONDS:
            self._full_logged = now
            _log.warning(kv(event="hit queue full", waiting=len(self._waiting), turned_away=self.counts.turned_away))

    async def _run(self) -> None:
        while not (self._stopping.is_set() and not self._waiting):
            await self._some.wait()
            await self._pause(self._flush_seconds)
            while self._waiting:
                await self._commit(self._next_group())
            self._some.clear()

    async def _pause(self, seconds: float) -> None:
        """Wait, but not when the server is stopping."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._stopping.wait()

    def _next_group(self) -> list[Fetch]:
        group = [self._waiting.popleft() for _ in range(min(len(self._waiting), _GROUP_HITS))]
        self._in_hand = len(group)
        return group

    async def _commit(self, group: list[Fetch]) -> None:
        """Judge and store a group; a store that fails is asked again until it takes it."""
        delay = _RETRY_FIRST_SECONDS
        addresses = [client_address(fetch, self.policy.trusted_proxies) for fetch in group]
        self._note(group, addresses)
        while True:
            try:
                await self._store(group, addresses)
            except Exception as error:  # noqa: BLE001 - whatever the store raises, the hits are kept
                self.counts.store_errors += 1
                self._failing = True
                _log.warning(kv(event="hits not stored yet", hits=len(group), retry=delay, error=repr(error)))
                await asyncio.sleep(delay)
                delay = min(delay * 2, _RETRY_LAST_SECONDS)
            else:
                self._failing = False
                self._in_hand = 0
                return

    def _note(self, group: Sequence[Fetch], addresses: Sequence[Address | None]) -> None:
        """Look at the whole group first, so that the first of a gateway's fetches is judged by all of them."""
        for fetch, address in zip(group, addresses, strict=True):
            if address is not None and not is_shared(address) and mail_proxy(fetch.agent) is None:
                self._crowd.note(address, fetch.recipient_id, fetch.at_ms)

    async def _store(self, group: Sequence[Fetch], addresses: Sequence[Address | None]) -> None:
        facts = await self._facts({fetch.recipient_id for fetch in group})
        hits = [
            self._judged(fetch, address, facts[fetch.recipient_id])
            for fetch, address in zip(group, addresses, strict=True)
            if fetch.recipient_id in facts
        ]
        if hits:
            await self._record(hits)
        self.counts.committed += len(hits)
        self.counts.unknown += len(group) - len(hits)

    def _judged(self, fetch: Fetch, address: Address | None, facts: HitFacts) -> Hit:
        crowded = address is not None and self._crowd.gathered(address, fetch.at_ms)
        judgement = judge(fetch, address, facts, self.policy.rules, crowded=crowded)
        hit = Hit(fetch.recipient_id, fetch.at_ms, judgement.kind, judgement.why)
        if not self.policy.keep_addresses:
            return hit
        # Header bytes that are no UTF-8 arrive as surrogates, which no database takes.
        agent = fetch.agent.encode("utf-8", "replace").decode("utf-8")
        return replace(hit, address=None if address is None else str(address), agent=agent)
