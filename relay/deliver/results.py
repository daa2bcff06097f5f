"""What attempts came to: judged, dated, stored, logged.

Rule: a result is never lost while the process lives. Where the store cannot take it, it is offered again
until it can, and meanwhile nothing new is tried: what we could not write down would be sent twice.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, Final, TypeVar

from relay.bounce.classify import VERSION
from relay.deliver.reply import spell
from relay.deliver.retry import DOUBT_WAITS, RetryPolicy, expired, next_attempt
from relay.deliver.verdict import category_of, judge
from storage.kv import kv
from storage.model import Attempt, Job, Phase, Reply, Result, Settled, queue_id
from storage.status import Event
from storage.store import Store, StoreFailedError, StoreFullError

_AGAIN_SECONDS: Final = 1.0
_FINAL: Final = frozenset({Event.BOUNCE, Event.FAIL})

T = TypeVar("T")

_log = logging.getLogger("telltale.deliver")


class Results:
    """Takes attempts and leases given back, and brings them into the store."""

    def __init__(
        self,
        store: Store,
        policy: RetryPolicy,
        *,
        chance: Callable[[], float],
        now_ms: Callable[[], int],
        done: Callable[[Job], None],
        warn_after_ms: int = 0,
    ) -> None:
        """`chance` gives 0 … 1; `done` is called for each job that the store has taken back.

        Of what is still deferred `warn_after_ms` after its message came, the sender is told; 0: of nothing.
        """
        self._store = store
        self._policy = policy
        self._chance = chance
        self._now_ms = now_ms
        self._done = done
        self._warn_after_ms = warn_after_ms
        self._under_way: set[asyncio.Future[Any]] = set()
        self._unstored = 0
        self._back: dict[int, list[Job]] = {}
        self.recovered: Callable[[], None] | None = None
        """Called when the store takes results again."""

    @property
    def troubled(self) -> bool:
        """Whether results wait for a store that does not take them: nothing should be tried now."""
        return self._unstored > 0

    def attempted(
        self, job: Job, attempt: Attempt, *, final_hop: bool, not_before_ms: int = 0, soft: bool = False
    ) -> None:
        """Settle an attempt: its verdict, and for a deferral when to try again or that the time is up.

        `soft`: a rule of the site takes its 5xx for a deferral.
        """
        event = judge(attempt.reply, attempt.phase, final_hop=final_hop, host=attempt.mx).event
        if soft and event in _FINAL:
            event = Event.DEFER
        due_ms: int | None = None
        if event is Event.DEFER:
            spread = 2 * self._chance() - 1
            failures = job.attempts + 1 + (DOUBT_WAITS if attempt.in_doubt else 0)
            due_ms = next_attempt(failures, self._now_ms(), job.expires_ms, self._policy, spread)
            if due_ms is None:
                event, attempt = Event.BOUNCE, replace(attempt, reply=expired(attempt.reply))
            else:
                due_ms = min(max(due_ms, not_before_ms), job.expires_ms)
        self._settle(Result(job, _categorised(attempt), event, due_ms, self._warn_ms(job, due_ms)))

    def _warn_ms(self, job: Job, due_ms: int | None) -> int | None:
        """Return when to tell the sender of a delay: where it lasts beyond the next attempt's time."""
        if due_ms is None or not self._warn_after_ms:
            return None
        warn_ms = job.message.received_ms + self._warn_after_ms
        return warn_ms if due_ms >= warn_ms else None

    def give_back(self, jobs: Sequence[Job], due_ms: int, last: Reply | None = None) -> None:
        """Give leases back without an attempt, due again at `due_ms`.

        One whose time is up is Bounced instead, with `last`, the reply that kept it from being tried; give
        None where nothing did, but we stop.
        """
        now_ms = self._now_ms()
        for job in jobs:
            if last is not None and job.expires_ms <= now_ms:
                attempt = Attempt(now_ms, 0, Phase.CONNECT, expired(last))
                self._settle(Result(job, _categorised(attempt), Event.BOUNCE))
            else:
                due = due_ms if last is None else min(due_ms, job.expires_ms)
                self._put_back(job, due)

    def _put_back(self, job: Job, due_ms: int) -> None:
        if not self._back:
            # What is given back within one turn of the loop goes in one verb.
            asyncio.get_running_loop().call_soon(self._send_back)
        self._back.setdefault(due_ms, []).append(job)

    def _send_back(self) -> None:
        for due_ms, jobs in self._back.items():
            self._begin(self._postpone(jobs, due_ms))
        self._back = {}

    async def drain(self, seconds: float) -> None:
        """Wait until the store has taken all, for so long at most."""
        if self._back:
            self._send_back()
        loop = asyncio.get_running_loop()
        ends = loop.time() + seconds
        while self._under_way and (left := ends - loop.time()) > 0:
            # What the store does not take is under way again, as a task.
            await asyncio.wait(self._under_way, timeout=left)
        if self._under_way:
            # The store takes nothing: leases expire, and what was sent may be sent again.
            _log.error(kv(event="results-not-stored", verbs=len(self._under_way)))
        for waiting in self._under_way:
            waiting.cancel()

    def _begin(self, coroutine: Coroutine[None, None, None]) -> None:
        task = asyncio.get_running_loop().create_task(coroutine)
        self._under_way.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._under_way.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            _tell_bug(error)

    def _settle(self, result: Result) -> None:
        # No task: one a message would cost more than all else here.
        settling = self._store.settle(result)
        self._under_way.add(settling)
        settling.add_done_callback(partial(self._settled, result))

    def _settled(self, result: Result, settling: asyncio.Future[Settled]) -> None:
        self._under_way.discard(settling)
        error = None if settling.cancelled() else settling.exception()
        if isinstance(error, StoreFullError | StoreFailedError):
            self._begin(self._settle_again(result, error))
            return
        self._done(result.job)
        if error is not None:
            _tell_bug(error)
        elif not settling.cancelled():
            _tell(result, settling.result())

    async def _settle_again(self, result: Result, error: Exception) -> None:
        try:
            settled = await self._again(lambda: self._store.settle(result), error)
        finally:
            self._done(result.job)
        _tell(result, settled)

    async def _postpone(self, jobs: Sequence[Job], due_ms: int) -> None:
        try:
            await self._store.postpone(jobs, due_ms, self._warn_after_ms)
        except (StoreFullError, StoreFailedError) as error:
            await self._again(lambda: self._store.postpone(jobs, due_ms, self._warn_after_ms), error)
        finally:
            for job in jobs:
                self._done(job)

    async def _again(self, verb: Callable[[], Awaitable[T]], error: Exception) -> T:
        """Offer what the store did not take until it does."""
        _log.error(kv(event="store-does-not-take-results", error=error))
        self._unstored += 1
        try:
            while True:
                await asyncio.sleep(_AGAIN_SECONDS)
                try:
                    return await verb()
                except (StoreFullError, StoreFailedError) as again:
                    _log.debug(kv(event="store-does-not-take-results", error=again))
        finally:
            self._unstored -= 1
            if not self._unstored and self.recovered is not None:
                self.recovered()


def _categorised(attempt: Attempt) -> Attempt:
    category = category_of(attempt.reply, attempt.phase, attempt.mx)
    return attempt if category is None else replace(attempt, category=category.value, rules=VERSION)


def _tell_bug(error: BaseException) -> None:
    # A bug of ours; the lease expires, and the recipient is tried again.
    _log.error(kv(event="result-not-stored"), exc_info=error)


def _tell(result: Result, settled: Settled) -> None:
    """Write the one line of a result."""
    job, attempt = result.job, result.attempt
    ended_ms = attempt.at_ms + attempt.duration_ms
    line = kv(
        queue_id=queue_id(job.message.id),
        to=job.address,
        mx=_server(attempt),
        delay=f"{max(ended_ms - job.message.received_ms, 0) / 1000:.2f}",
        phase=attempt.phase.value,
        status=settled.status.value,
        category=attempt.category,
        reply=spell(attempt.reply),
        tls=attempt.tls,
        source=attempt.source,
        in_doubt="yes" if attempt.in_doubt else None,
    )
    if settled.accepted:
        _log.info(line)
    else:
        # Another holds the lease, or the recipient is gone: the attempt is kept as a fact, nothing moved.
        _log.warning("%s lease=lost", line)


def _server(attempt: Attempt) -> str | None:
    if attempt.mx is None or attempt.address is None:
        return attempt.mx
    return f"{attempt.mx}[{attempt.address}]"
