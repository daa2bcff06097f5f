"""Delivery: takes recipients from acceptance and from the store, and brings each to its site.

Rules: memory is bounded, and no site takes all of it; the store is asked for work when there is room, at
once where something falls due, and once a second for what other processes left; a lease never runs out
under a recipient that is being delivered; nothing is lost at the end: what is not done is given back.
"""

import asyncio
import logging
import random
import socket
import time
from collections.abc import Callable, Sequence
from typing import Final

from relay.deliver.binding import trouble_with
from relay.deliver.client import Timeouts
from relay.deliver.connect import Dialer
from relay.deliver.contents import Contents
from relay.deliver.copy import Copy
from relay.deliver.copy_room import CopyRoom
from relay.deliver.dns import Resolver
from relay.deliver.https import Https
from relay.deliver.limits import Limits
from relay.deliver.means import Compose, Entry, Means
from relay.deliver.places import Places
from relay.deliver.recall import Recall
from relay.deliver.reply import ours
from relay.deliver.results import Results
from relay.deliver.retry import RetryPolicy, losing
from relay.deliver.settings import DeliverySettings, DnsSettings, RetrySettings
from relay.deliver.shape import ALONE, Share
from relay.deliver.shaping import Shaping, shipped
from relay.deliver.sts_policies import StsPolicies
from relay.deliver.tally import Tally
from relay.deliver.telling import Telling
from relay.deliver.tls import TlsClient
from relay.deliver.watchdog import Seen, Watchdog
from storage.kv import kv
from storage.model import Job
from storage.settings import ServerSettings
from storage.store import Store, StoreFailedError, StoreFullError

__all__ = ["Copy", "Delivery"]

# What other processes left in the store is found within this.
_LOOK_SECONDS: Final = 1.0
_RECOVER_SECONDS: Final = 5.0
# Claims are worth their transaction from some dozens on.
_CLAIMED_AT_ONCE: Final = 500
_WORTH_A_CLAIM: Final = 64
# A lease has 15 minutes and the reply after the dot may take 10: it is renewed before that gets tight, and
# who waits longer than this is given back, since another process may have a connection.
_WATCH_SECONDS: Final = 20.0
_RENEW_AFTER_SECONDS: Final = 200.0
_WAIT_SECONDS: Final = 300.0
# A provider that other workers serve may have thousands of domains; what is not skipped is claimed and given back.
_SKIPPED_DOMAINS: Final = 5000
# So long a recipient whose life is over may still wait for its last try: no site rests longer, but by a rule's word.
_LAST_TRY_MS: Final = 3_600_000
# What servers have said is worth some time beyond any grace: what is not written down is sent again.
_SETTLE_SECONDS: Final = 5.0

_log = logging.getLogger("telltale.deliver")


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


class Delivery:
    """The delivering half of a relay process."""

    def __init__(
        self,
        store: Store,
        compose: Compose,
        settings: DeliverySettings,
        dns: DnsSettings,
        retry: RetrySettings,
        server: ServerSettings,
        *,
        timeouts: Timeouts | None = None,
        copy_room: CopyRoom | None = None,
        shaping: Shaping | None = None,
        share: Share = ALONE,
        warn_after_ms: int = 0,
        https: Https | None = None,
        tls_reports: bool = False,
        chance: Callable[[], float] = random.random,
        clock: Callable[[], float] = time.monotonic,
        now_ms: Callable[[], int] = _now_ms,
    ) -> None:
        """Take the store, how copies are made, and the settings; nothing runs before `start`.

        `shaping` has the limits of sites (default: as shipped), `share` says which worker of how many this is.
        `warn_after_ms` is when senders are told of a delay; 0: never.
        """
        self._store = store
        self._now_ms = now_ms
        self._clock = clock
        self._most = settings.max_queue_in_memory
        self._worth = max(1, min(_WORTH_A_CLAIM, self._most // 8))
        self._held = 0
        self._draining = False
        self._rejected = False
        self._wake_below = -1
        """How few recipients in memory are the time to claim more."""
        self._wake = asyncio.Event()
        # The first claims.
        self._loops: list[asyncio.Task[None]] = []
        self._contents = Contents(store.content)
        policy = RetryPolicy(tuple(seconds * 1000 for seconds in retry.schedule))
        self._results = Results(
            store, policy, chance=chance, now_ms=now_ms, done=self._leave, warn_after_ms=warn_after_ms
        )
        self._results.recovered = self._resume
        self._wait = losing(policy, chance)
        self._watchdog = Watchdog(store, self._wait)
        self._skipped: list[str] = []
        self._busy = False
        self._began = clock()
        self._addresses = [(name, address) for name, source in settings.sources.items() for address in source.addresses]
        self._resolver = Resolver(dns, clock)
        name = server.hostname or socket.getfqdn()
        timeouts = timeouts or Timeouts()
        dialer = Dialer(self._resolver, TlsClient(clock), ehlo_name=name, timeouts=timeouts, chance=chance, clock=clock)
        self._tally = Tally(store, now_ms)
        means = Means(
            dialer,
            self._contents,
            compose,
            self._results,
            Limits(share, settings.max_connections, settings.max_connections_per_site),
            copy_room or CopyRoom(),
            policy,
            self._tally,
            clock,
            now_ms,
        )
        self._https = https or Https(self._resolver, allow_private=settings.allow_private_destinations)
        self._sts = StsPolicies(store, self._resolver, self._https.policy, now_ms)
        self._telling = Telling(server.state_dir, store.owner_id, store.next_id(), share.index)
        own_names = frozenset({name.lower().rstrip(".")})
        self._places = Places(
            settings, self._resolver, self._sts, means, own_names, shaping or shipped(), reports=tls_reports
        )
        self._recall = Recall(store, self._places, self._results, clock)

    # What the rest of the relay calls.

    def room(self) -> int:
        """Return how many recipients may be leased to be delivered from memory."""
        return 0 if self._draining or self._results.troubled else max(0, self._most - self._held)

    def submit(self, jobs: Sequence[Job]) -> None:
        """Deliver recipients that are leased to this process; returns at once."""
        leased_at = self._clock()
        for job in jobs:
            self._held += 1
            self._take_in(Entry(self._contents.enter(job), leased_at))

    def flush_hint(self) -> None:
        """Forget what sites' troubles were and look for work now: an operator has flushed the queue."""
        for site in self._places.sites():
            site.forget_trouble()
        self._wake.set()

    async def refresh_policies(self) -> None:
        """Fetch MTA-STS policies anew before their time is over; enough in one process, now and then."""
        await self._sts.refresh()

    def reload(self, settings: DeliverySettings) -> None:
        """Take over routes, the port and the TLS policy; who is due is claimed by another delivery from now on."""
        for task in self._loops[:1]:
            task.cancel()
        self._places.reload(settings)

    async def audit(self) -> None:
        """Look over a part of the queue for recipients that nobody owns; one process of a host does."""
        if self._results.troubled:
            # Leases run out, since they cannot be renewed: who has them goes on with them.
            return
        now_ms = self._now_ms()
        # What expired while we were down gets its last try before it is ended without one.
        over_ms = now_ms - _LAST_TRY_MS if self._clock() - self._began > _LAST_TRY_MS / 1000 else 0
        try:
            jobs = await self._watchdog.step(now_ms, Seen(self._skipped, self._busy, self.room(), over_ms))
        except (StoreFailedError, StoreFullError) as error:
            _log.error(kv(event="no-audit", error=error))
            return
        for job in jobs:
            if job.expires_ms < over_ms:
                self._held += 1
                self._results.give_back([self._contents.enter(job)], now_ms, self._places.last_of(job))
            else:
                self.submit([job])

    async def start(self) -> None:
        """Give back what dead processes held, and begin to look for work."""
        for source, address in self._addresses:
            if trouble := trouble_with(address):
                _log.error(kv(event="source-unusable", source=source, address=address, reason=trouble))
        await self._recover()
        await self._telling.start()
        self._loops = [asyncio.create_task(self._claim_for_ever()), asyncio.create_task(self._watch_for_ever())]

    async def drain(self, grace_seconds: float) -> None:
        """Try nothing new, let transactions end within the grace, give back the rest."""
        self._draining = True
        for task in self._loops:
            task.cancel()
        await asyncio.gather(*self._loops, return_exceptions=True)
        ends = self._clock() + grace_seconds
        self._results.give_back([entry.job for entry in self._places.stop()], self._now_ms())
        sites = self._places.sites()
        for site in sites:
            site.stop()
        await asyncio.gather(*(site.drain(max(0.0, ends - self._clock())) for site in sites))
        await self._results.drain(max(grace_seconds, _SETTLE_SECONDS))
        await self._tally.flush()
        await self._sts.close()
        await self._https.close()
        await self._telling.stop()
        await self._resolver.close()

    # In and out of memory.

    def _take_in(self, entry: Entry) -> None:
        if self._draining:
            self._results.give_back([entry.job], self._now_ms())
            return
        if entry.job.losses > 1 and entry.job.expires_ms <= self._now_ms():
            why = ours("4.3.0", f"the relay process that tried it ended each time, {entry.job.losses} times")
            self._results.give_back([entry.job], self._now_ms(), why)
            return
        load = self._places.load_of(entry.job)
        # No site may hold more than what is free for all others: a slow one fills half of the memory, a
        # second one half of the rest, and so on, and there is always room for those that are quick.
        if load > 0 and load >= self._most - self._held:
            self._rejected = True
            self._results.give_back([entry.job], self._now_ms(), self._places.last_of(entry.job))
            return
        self._places.put(entry)

    def _leave(self, job: Job) -> None:
        """Let a recipient go that the store has taken back."""
        self._held -= 1
        self._contents.leave(job)
        if self._held <= self._wake_below or self._places.eased():
            self._wake_below = -1
            self._wake.set()

    def _resume(self) -> None:
        for site in self._places.sites():
            site.pump()
        self._wake.set()

    # The loops.

    async def _claim_for_ever(self) -> None:
        while True:
            self._wake.clear()
            try:
                more = await self._claim()
                seconds = 0.0 if more else await self._seconds_to_next()
            except (StoreFailedError, StoreFullError) as error:
                _log.error(kv(event="no-claim", error=error))
                seconds = _LOOK_SECONDS
            if seconds:
                await self._rest(seconds)

    async def _claim(self) -> bool:
        """Claim due recipients as far as there is room; True where there is probably more to claim at once."""
        room = self.room()
        self._busy = room < self._worth
        if self._busy:
            self._wake_below = max(0, self._held - self._worth)
            return False
        # A site that holds less than a quarter of the room can take three eighths more, and still holds less
        # than is left for all others (see `_take_in`).
        limit = min(max(1, room * 3 // 8), _CLAIMED_AT_ONCE)
        self._skipped = self._places.domains_to_skip(max(1, room // 4), _SKIPPED_DOMAINS)
        self._rejected = False
        jobs = await self._store.claim(self._now_ms(), limit, self._skipped, self._wait)
        self.submit(jobs)
        self._busy = len(jobs) == limit
        return self._busy and not self._rejected

    async def _seconds_to_next(self) -> float:
        due_ms = await self._store.next_due_ms()
        if due_ms is None or due_ms <= self._now_ms():
            # Due and not claimed: it is skipped for now, or there is no room.
            return _LOOK_SECONDS
        return min(_LOOK_SECONDS, max((due_ms - self._now_ms()) / 1000, 0.001))

    async def _rest(self, seconds: float) -> None:
        timer = asyncio.get_running_loop().call_later(seconds, self._wake.set)
        await self._wake.wait()
        timer.cancel()

    async def _watch_for_ever(self) -> None:
        """Each second what is cheap, now and then the leases."""
        recover_at, watch_at = self._clock() + _RECOVER_SECONDS, self._clock() + _WATCH_SECONDS
        while True:
            await asyncio.sleep(_LOOK_SECONDS)
            now = self._clock()
            self._places.tidy()
            await self._recall.look(self._now_ms())
            await self._telling.tell(self._places.sites())
            if now >= recover_at:
                recover_at = now + _RECOVER_SECONDS
                await self._recover()
            if now >= watch_at:
                watch_at = now + _WATCH_SECONDS
                await self._tally.flush()
                await self._watch_leases(now)
                self._places.forget()

    async def _recover(self) -> None:
        try:
            recovered = await self._store.recover(self._now_ms(), self._wait)
        except (StoreFailedError, StoreFullError) as error:
            _log.error(kv(event="no-recovery", error=error))
            return
        if recovered:
            _log.info(kv(event="recovered", recipients=recovered))
            self._wake.set()

    async def _watch_leases(self, now: float) -> None:
        """Renew the leases of what is being delivered for long, give back what has waited for long."""
        under_way: list[Entry] = []
        for site in self._places.sites():
            overdue = [entry.job for entry in site.overdue(now - _WAIT_SECONDS)]
            self._results.give_back(overdue, self._now_ms(), site.last)
            under_way += site.under_way(now - _RENEW_AFTER_SECONDS)
        if not under_way:
            return
        try:
            await self._store.renew([entry.job for entry in under_way], self._now_ms())
        except (StoreFailedError, StoreFullError) as error:
            _log.error(kv(event="leases-not-renewed", error=error))
            return
        for entry in under_way:
            entry.leased_at = now
