"""A site: the servers that serve a set of domains, the recipients that wait for them, and our connections.

Rules: a site's trouble stays in the site. As long as no connection of it lives, one is tried at a time, so
that a dead site costs one connection; each that comes to life lets one more be opened. Where a connection
cannot be had, all who waited for it have been tried, and each of them gets that attempt; who comes while the
site rests is given back without one.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Collection
from dataclasses import replace
from typing import Final

from relay.deliver.attempt import attempted, was_stale
from relay.deliver.connect import Connection, Failure
from relay.deliver.connections import Connections
from relay.deliver.destination import Destination
from relay.deliver.means import Entry, Means
from relay.deliver.pace import Pace
from relay.deliver.reply import ours, spell
from relay.deliver.shape import Shape
from relay.deliver.standing import Heard, Standing
from relay.deliver.verdict import judge, refused_by_policy
from storage.kv import kv
from storage.model import Attempt, Job, Reply
from storage.status import Event

# Postfix's smtp_connection_reuse_time_limit.
MOST_AGE_SECONDS: Final = 300.0
# Connections that one recipient may break before that is its attempt: Postfix's smtp_mx_session_limit.
MOST_SESSIONS: Final = 2
# Messages after which a connection ends where other sites wait for its slot: enough to be worth its opening.
_YIELDS_AFTER: Final = 20
# Used connections in a row that may turn out to be gone under one recipient.
_MOST_STALE: Final = 5
# How long a large copy may keep its connection waiting for room in memory, and when it is tried again then.
_ROOM_SECONDS: Final = 5.0
_NO_ROOM_MS: Final = 10_000
# When a recipient that other workers' connections serve is due for them: they look once a second.
_ELSEWHERE_MS: Final = 1000

_log = logging.getLogger("telltale.deliver")


class Site:
    """One site's recipients and connections."""

    def __init__(self, destination: Destination, shape: Shape, means: Means) -> None:
        """Take where to deliver to and within which limits; connections are opened as recipients come."""
        self.destination = destination
        self.shape = shape
        self.domains: set[str] = set()
        """Whose mail comes here; kept by `places.py`."""
        self._means = means
        self._waiting: deque[Entry] = deque()
        self._under_way: dict[Entry, Connection | None] = {}
        allowance = means.limits.of(destination, shape)
        self._connections = Connections(allowance.slots, self._ended)
        pace = Pace(allowance.connections, shape.first_connections, allowance.bucket)
        self.standing = Standing(shape, pace, means.policy)
        self._backoff, self._pace = self.standing.backoff, self.standing.pace
        self._alarm: asyncio.TimerHandle | None = None
        self._draining = False

    # What the scheduler asks.

    @property
    def load(self) -> int:
        """How many recipients are in memory for this site."""
        return len(self._waiting) + len(self._under_way)

    @property
    def ready(self) -> int:
        """How many of them wait for a connection."""
        return len(self._waiting)

    @property
    def connections(self) -> int:
        """How many are open, or being opened or closed."""
        return self._connections.count

    @property
    def unused(self) -> bool:
        """Whether nothing of this site is worth keeping: no work, no connection, no trouble of late."""
        return not (self._waiting or self.connections or self._backoff.troubled(self._means.clock()))

    @property
    def resting(self) -> bool:
        """Whether the site's last connection failed not long ago."""
        return self._backoff.resting(self._means.clock())

    @property
    def elsewhere(self) -> bool:
        """Whether other workers have the site's connections."""
        return self._pace.elsewhere

    @property
    def last(self) -> Reply:
        """What keeps its recipients waiting, or did last."""
        if not self.resting and self._pace.wait(self._means.clock()):
            return ours("4.4.5", f"our own limit of messages to this site ({self.shape.rate}) keeps it waiting")
        return self.standing.last

    def now(self) -> float:
        """Return the clock that its pace goes by."""
        return self._means.clock()

    def rest_ends_ms(self) -> int:
        """Return when the site may be tried again, as a time of day."""
        return self._means.now_ms() + max(0, round((self._backoff.rests_until - self._means.clock()) * 1000))

    def forget_trouble(self) -> None:
        """Try again at once what rests."""
        self.standing.forget()

    def put(self, entry: Entry) -> None:
        """Take a recipient: to a connection that is idle, or to wait for one."""
        if self.elsewhere:
            self._means.results.give_back([entry.job], self._means.now_ms() + _ELSEWHERE_MS)
        elif self.resting or self._draining:
            due_ms = self._means.now_ms() if self._draining else self.rest_ends_ms()
            self._means.results.give_back([entry.job], due_ms, None if self._draining else self.standing.last)
        else:
            self._waiting.append(entry)
            self.pump()

    def pump(self) -> None:
        """Give who waits to idle connections, and open more as far as bounds allow."""
        while self._connections.has_idle and (entry := self._next()) is not None:
            self._connections.serve(entry)
        now = self._means.clock()
        while self._may_open(now) and self._connections.begin(self.pump, self._run, suspect=self._backoff.failures > 0):
            pass
        if self._waiting:
            self._set_alarm(now)

    def _set_alarm(self, now: float) -> None:
        """Come back when the rate allows a message, where that is what it waits for.

        `now` is when it did not allow one: a moment later it may, and nobody would come back.
        """
        if self._alarm is None and (seconds := self._pace.wait(now)):
            self._alarm = asyncio.get_running_loop().call_later(seconds, self._ring)

    def _ring(self) -> None:
        self._alarm = None
        self.pump()

    def overdue(self, leased_before: float) -> list[Entry]:
        """Take out and return recipients that have waited here since before a time."""
        old = [entry for entry in self._waiting if entry.leased_at < leased_before]
        if old:
            self._waiting = deque(entry for entry in self._waiting if entry.leased_at >= leased_before)
        return old

    def waiting(self) -> list[Job]:
        """Return who waits here."""
        return [entry.job for entry in self._waiting]

    def take_out(self, recipient_ids: Collection[int]) -> list[Job]:
        """Take out and return those of the recipients that wait here."""
        taken = [entry.job for entry in self._waiting if entry.job.recipient_id in recipient_ids]
        if taken:
            self._waiting = deque(entry for entry in self._waiting if entry.job.recipient_id not in recipient_ids)
        return taken

    def under_way(self, leased_before: float) -> list[Entry]:
        """Return recipients being delivered whose lease began before a time."""
        return [entry for entry in self._under_way if entry.leased_at < leased_before]

    # Its end.

    def stop(self) -> None:
        """Begin nothing new: give back who waits, end connections that are not used."""
        self._draining = True
        self._means.results.give_back([entry.job for entry in self.take_all()], self._means.now_ms())
        if self._alarm is not None:
            self._alarm.cancel()
        self._connections.stop()

    async def drain(self, seconds: float) -> None:
        """After `stop`: let what is under way end within `seconds`, then break it."""
        await self._connections.drain(seconds)

    # Connections.

    def _may_open(self, now: float) -> bool:
        opening, live = self._connections.opening, len(self._connections.live)
        if len(self._waiting) <= opening:
            return False
        return (
            opening < max(1, live)
            and self.connections < self._pace.connections(now)
            and opening < self._pace.ready(now)
            and not (live and self._backoff.refuses_more(now))
            and not self._means.results.troubled
            and not self._draining
        )

    def _ended(self, error: BaseException | None) -> None:
        if error is not None:
            # A bug of ours must stop neither the site nor, by trying on and on, the worker.
            _log.error(kv(event="connection-task-failed", site=self.destination.name), exc_info=error)
            self._rest()
        self.pump()

    async def _run(self) -> None:
        """Have one connection, from dialing to its end."""
        began_ms, began = self._means.now_ms(), self._means.clock()
        without_six = self._backoff.leaves_six(began)
        dialing = self._means.dialer.dial(self.destination, self._avoided(), without_six=without_six)
        dialed = await self._connections.dialed(dialing)
        if isinstance(dialed, Failure):
            self._not_reached(dialed, began_ms, began)
            return
        try:
            await self._serve(dialed)
        finally:
            await self._connections.leave(dialed)

    def _avoided(self) -> frozenset[str]:
        return self._backoff.avoided(self._means.clock())

    def _not_reached(self, failure: Failure, began_ms: int, began: float) -> None:
        """Settle who waited for the connection that no host gave us."""
        self.standing.last = failure.reply
        self._means.tally.failed(failure.mishaps, (entry.job for entry in self._waiting))
        now = self._means.clock()
        suspended = self._hear(failure.reply).suspends
        if self._connections.live and not suspended:
            # Others of ours are served: the site has enough of us for now.
            self._backoff.refuse_more(now)
            self._pace.window.fail()
            return
        if self._connections.opening and not suspended:
            return
        if not failure.final and not suspended:
            self.standing.rest(now)
        for entry in self.take_all():
            # Its attempt begins when it joined those who waited.
            since = max(began, entry.leased_at)
            at_ms, duration_ms = began_ms + round((since - began) * 1000), round((now - since) * 1000)
            attempt = Attempt(at_ms, duration_ms, failure.phase, failure.reply, failure.host, failure.address)
            if entry.over_six is not None:
                self._backoff.return_to_six(now)
            self._settle(entry, entry.over_six or replace(attempt, source=failure.source))

    def take_all(self) -> list[Entry]:
        """Take out and return all that wait here."""
        entries, self._waiting = list(self._waiting), deque()
        return entries

    # Recipients on a connection.

    async def _serve(self, connection: Connection) -> None:
        """Deliver one recipient after the other, until the connection or the work is at its end."""
        if not self._usable(connection):
            return
        entry = self._next()
        # Who waits besides the first may have a further connection, now that one lives.
        self.pump()
        while entry is not None or not self._draining:
            if entry is None and (entry := await self._connections.next(connection)) is None:
                return
            await self._deliver(entry, connection)
            if not self._usable(connection):
                return
            entry = self._next()

    def _usable(self, connection: Connection) -> bool:
        return (
            connection.session.alive
            and not connection.spent
            and connection.used < self.shape.messages_per_connection
            and not (connection.used >= _YIELDS_AFTER and self._connections.wanted)
            and len(self._connections.live) <= self._pace.connections(self._means.clock())
            and self._means.clock() - connection.born < MOST_AGE_SECONDS
            and not (connection.other_four and self._backoff.leaves_six(self._means.clock()))
            and (
                connection.served
                or connection.host not in self._backoff.avoided(self._means.clock())
                or not self._others()
            )
        )

    def _next(self) -> Entry | None:
        if not self._waiting or self._means.results.troubled:
            return None
        now = self._means.clock()
        if not self._pace.take(now):
            self._set_alarm(now)
            return None
        entry = self._waiting.popleft()
        self._under_way[entry] = None
        return entry

    async def _deliver(self, entry: Entry, connection: Connection) -> None:
        """One attempt of one recipient, to its settling; none where its copy finds no room."""
        self._under_way[entry] = connection
        room, size = self._means.copy_room, entry.job.message.size
        if not (room.has_free(size) or await room.take(self, size, _ROOM_SECONDS)):
            del self._under_way[entry]
            why = ours("4.3.1", "large messages under way fill our memory")
            self._means.results.give_back([entry.job], self._means.now_ms() + _NO_ROOM_MS, why)
            return
        try:
            await self._attempt(entry, connection)
        finally:
            room.give(self, size)

    async def _attempt(self, entry: Entry, connection: Connection) -> None:
        try:
            attempt = await attempted(self._means, entry.job, connection, self.destination.delivered_on)
        except BaseException:
            self._means.results.give_back([entry.job], self.rest_ends_ms())
            raise
        finally:
            del self._under_way[entry]
        if attempt.mx is None:
            self._settle(entry, attempt)
        else:
            self._conclude(entry, connection, attempt)

    def _conclude(self, entry: Entry, connection: Connection, attempt: Attempt) -> None:
        """Settle the attempt, or try again at once where that costs nobody anything."""
        if self._draining and attempt.reply.code == 0 and not attempt.in_doubt:
            self._means.results.give_back([entry.job], self._means.now_ms())
            return
        verdict = judge(attempt.reply, attempt.phase, final_hop=self.destination.confirms)
        if verdict.event is Event.BOUNCE and self._goes_over_four(entry, connection, attempt):
            return
        heard = self._hear(attempt.reply)
        if not verdict.other_host:
            connection.served = True
            self.standing.learn(attempt.reply, len(self._connections.live))
            if heard.suspends:
                self._clear(attempt.reply)
            self._settle(entry, attempt, soft=heard.soft)
            return
        connection.spent = True
        self.standing.last = attempt.reply
        stale = was_stale(connection, attempt)
        dead = not stale and self._pace.window.fail()
        if not self.resting and self._again(entry, connection, stale=stale):
            entry.sessions += 1
            self._waiting.appendleft(entry)
            return
        if heard.suspends:
            self._clear(attempt.reply)
        elif not self.resting and (dead or (not connection.served and len(self._connections.live) == 1)):
            self._rest()
        if stale and self.resting:
            self._means.results.give_back([entry.job], self.rest_ends_ms(), attempt.reply)
            return
        self._settle(entry, attempt)

    def _hear(self, reply: Reply) -> Heard:
        """Do what the rules of the site say about a reply."""
        heard = self.standing.hear(reply, self._means.clock(), self._means.now_ms())
        if heard.news and heard.rule is not None:
            rule, site = f"{self.shape.name}.{heard.rule.name}", self.destination.name
            done, seconds = ",".join(sorted(heard.rule.actions)), heard.rule.seconds
            _log.warning(kv(event="site-rule", site=site, rule=rule, actions=done, seconds=seconds, reply=spell(reply)))
        return heard

    def _clear(self, why: Reply) -> None:
        """Give back who waits: the site is suspended."""
        self.standing.last = why
        self._means.results.give_back([e.job for e in self.take_all()], self.rest_ends_ms(), why)

    def _rest(self) -> None:
        """Leave the site alone for a while; who waits comes back then."""
        self.standing.rest(self._means.clock())
        self._clear(self.standing.last)

    def _goes_over_four(self, entry: Entry, connection: Connection, attempt: Attempt) -> bool:
        """Send a recipient over IPv4 within the same attempt, once, where policy refused it over IPv6.

        Who comes after it goes over IPv4 at once, unless that is refused, too.
        """
        if not refused_by_policy(attempt.reply, attempt.phase):
            return False
        now = self._means.clock()
        if entry.over_six is not None:
            self._backoff.return_to_six(now)
            return False
        if not connection.other_four or self._draining or not self._backoff.leave_six(now):
            return False
        entry.over_six = attempt
        self._connections.close_idle()
        self._waiting.appendleft(entry)
        return True

    def _again(self, entry: Entry, connection: Connection, *, stale: bool) -> bool:
        """Whether the recipient goes to another connection within the same attempt.

        A fresh connection that breaks sends us to another host, if there is one.
        """
        if stale:
            return entry.sessions < _MOST_STALE
        self._backoff.avoid(connection.host, self._means.clock())
        return self._others() and entry.sessions + 1 < MOST_SESSIONS

    def _others(self) -> bool:
        """Whether there are hosts that are not to be avoided."""
        avoided = self._avoided()
        return any(host not in avoided for group in self.destination.hosts.groups for host in group)

    def _settle(self, entry: Entry, attempt: Attempt, *, soft: bool = False) -> None:
        self._means.results.attempted(
            entry.job,
            attempt,
            final_hop=self.destination.confirms,
            not_before_ms=self.rest_ends_ms() if self.resting else 0,
            soft=soft,
        )
