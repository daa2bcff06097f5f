"""Runs the broadcasts of `telltale broadcast send`: gives their messages to the queue, a chunk at a time.

Rules: one process of the host does it, and another takes over where that dies; what a chunk comes to is stored in one
transaction with the chunk's end, so that it goes on exactly where it was; and no more than `ahead` recipients of a run
come into the queue in some minutes and wait there (relay/broadcast/room.py), so that it does not fill with what cannot
go out yet. Who may not come now makes a new chunk at the end of the list.
"""

import asyncio
import json
import logging
import os
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from itertools import compress
from typing import Final, Protocol

from relay.broadcast.grammar import TemplateError
from relay.broadcast.letter import Contact, Letter
from relay.broadcast.pace import Pace
from relay.broadcast.room import Room
from storage.broadcast_model import Hold, Listed, Run, RunOrder, RunState
from storage.broadcast_run_verbs import ChunkSent
from storage.commit import StoreFailedError, StoreFullError
from storage.kv import kv
from storage.model import Job, Reply
from storage.owners import lowest_id_at
from storage.posting import Mail
from storage.queue_verbs import Acceptance
from storage.reader import Reader
from storage.store import Store
from storage.turn import Turn

# A start by the command line is seen within this; asking is one look into a small index.
_LOOK_SECONDS: Final = 0.5
_BUSY_SECONDS: Final = 0.1
_SWEEP_SECONDS: Final = 60.0
# Copies made between two turns of the event loop, some tenths of a millisecond each.
_COPIES_A_TURN: Final = 8
_CHUNKS_A_TURN: Final = 8
# Who waits longer than this waits for a site that rests or is slow, and must not hold up the others of the list.
_HELD_UP_MS: Final = 5 * 60 * 1000
# Looking through what waits takes no more than this share of the time.
_WAITING_SHARE: Final = 10
TURN_FILE: Final = "broadcast.lock"

_log = logging.getLogger("telltale.broadcast")

Prepare = Callable[[str, Sequence[str], bytes, int], Awaitable[Mail | Reply]]
"""Makes a message to be stored, of MAIL FROM, recipients, content and the time; a Reply says why there is none."""


class Delivery(Protocol):
    """Where accepted recipients go at once."""

    def room(self) -> int:
        """Return how many recipients may still be leased from memory."""

    def submit(self, jobs: Sequence[Job]) -> None:
        """Deliver these."""


@dataclass(frozen=True, slots=True)
class RunnerSettings:
    """What steers a runner."""

    ahead: int
    """Recipients of a run that may wait in the queue, of one domain half as many."""
    lifetime_ms: int
    """How long a recipient lives in the queue."""
    processes: int
    """How many relay processes share the work."""


class _Refused(Exception):  # noqa: N818 - not an error of ours: the run is paused, and says why
    """A message cannot be made."""


class _Sending:
    """A run that this process sends."""

    def __init__(self, run: Run, letter: Letter, ahead: int) -> None:
        self.letter = letter
        self.pace = Pace(run.per_hour)
        self.from_message = run.first_message or 0
        self.look_again_at = 0.0
        self.room = Room(ahead, run.chunks - run.done_chunks)


@dataclass(slots=True)
class _Made:
    """What is made of some recipients."""

    messages: list[Acceptance] = field(default_factory=list)
    unfit: dict[int, str] = field(default_factory=dict)


class Runner:
    """The runner of one relay process."""

    def __init__(
        self,
        store: Store,
        reader: Reader,
        prepare: Prepare,
        delivery: Delivery,
        turn: Turn,
        settings: RunnerSettings,
        *,
        clock: Callable[[], float] = time.monotonic,
        now_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
    ) -> None:
        """Take the store, how messages are made and where they go; nothing runs before `start`."""
        self._store = store
        self._reader = reader
        self._prepare = prepare
        self._delivery = delivery
        self._turn = turn
        self._settings = settings
        self._clock = clock
        self._now_ms = now_ms
        self._sending: dict[int, _Sending] = {}
        self._sweep_at = 0.0
        self._stopping = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to look for runs."""
        self._task = asyncio.create_task(self._run_for_ever())

    async def stop(self) -> None:
        """End between two chunks, so that what was leased is delivered, and let another process go on."""
        self._stopping.set()
        if self._task is not None:
            await self._task
        self._turn.give()

    async def _run_for_ever(self) -> None:
        while not self._stopping.is_set():
            seconds = _LOOK_SECONDS
            try:
                if self._turn.take():
                    seconds = await self.step()
            except (StoreFailedError, StoreFullError, OSError) as error:
                _log.error(kv(event="broadcast-waits", reason=error))
            except Exception:  # noqa: BLE001 - a bug in one run must not end all broadcasts for good
                _log.exception(kv(event="broadcast-waits"))
            with suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), max(seconds, 0.001))

    async def step(self) -> float:
        """Send some of each run that is to be sent; return in how many seconds to come again."""
        runs = await self._reader.broadcasts.to_do(self._now_ms())
        for gone in self._sending.keys() - {run.id for run in runs}:
            del self._sending[gone]
        seconds = _LOOK_SECONDS
        for run in runs:
            seconds = min(seconds, await self._some_or_told(run))
        if self._clock() >= self._sweep_at:
            self._sweep_at = self._clock() + _SWEEP_SECONDS
            while await self._store.broadcasts.sweep(self._now_ms()):
                continue
        return seconds

    async def _some_or_told(self, run: Run) -> float:
        try:
            return await self._some(run)
        except (StoreFailedError, StoreFullError, OSError):
            raise
        except Exception as error:  # noqa: BLE001 - a bug in one run must not hold up the others, nor come back for ever
            _log.exception(kv(event="broadcast-paused", name=run.name))
            note = f"our bug: {type(error).__name__}; the log of the relay says more"
            await self._store.broadcasts.order(run.id, RunOrder.PAUSE, self._now_ms(), note)
            return _LOOK_SECONDS

    async def _some(self, run: Run) -> float:
        if run.state is RunState.SCHEDULED and not await self._store.broadcasts.begin(run.id, self._now_ms()):
            return _BUSY_SECONDS
        try:
            sending = self._sending.get(run.id) or await self._taken_up(run)
            return await self._chunks(run, sending)
        except (TemplateError, _Refused) as error:
            _log.error(kv(event="broadcast-paused", name=run.name, reason=error))
            await self._store.broadcasts.order(run.id, RunOrder.PAUSE, self._now_ms(), str(error))
            return _LOOK_SECONDS

    async def _taken_up(self, run: Run) -> _Sending:
        # `email` reads it, and takes its time: off the event loop.
        letter = await asyncio.to_thread(Letter, await self._reader.broadcasts.template(run.id))
        _log.info(kv(event="broadcast", name=run.name, done=run.done, total=run.total))
        sending = self._sending[run.id] = _Sending(run, letter, self._settings.ahead)
        return sending

    async def _chunks(self, run: Run, sending: _Sending) -> float:
        chunks, fruitless = run.chunks, True
        for number in range(run.done_chunks, min(run.done_chunks + _CHUNKS_A_TURN, run.chunks)):
            if self._stopping.is_set():
                break
            if wait := sending.pace.wait(self._clock()):
                return min(wait, _LOOK_SECONDS)
            if sending.room.to_count and self._clock() >= sending.look_again_at:
                await self._count(run, sending)
            if sending.room.closed:
                return _BUSY_SECONDS
            listed = await self._reader.broadcasts.chunk(run.id, number)
            if listed is None:
                return _BUSY_SECONDS  # paused, cancelled, or sent by another
            now, later = _parted(listed, sending.room)
            if not await self._sent(run, sending, number, now, later):
                return _BUSY_SECONDS
            chunks += 1 if later else 0
            fruitless = fruitless and not now
            sending.room.went({_domain(one) for one in later}, chunks - number - 1)
        # A list that is gone through for nothing leaves the store to others.
        return 0.0 if run.done_chunks + _CHUNKS_A_TURN < chunks and not fruitless else _BUSY_SECONDS

    async def _count(self, run: Run, sending: _Sending) -> None:
        began, now_ms = self._clock(), self._now_ms()
        recent = max(lowest_id_at(now_ms - _HELD_UP_MS), sending.from_message)
        waiting, lowest = await self._reader.broadcasts.would_go(run.id, recent, now_ms)
        ended = self._clock()
        sending.look_again_at = ended + max(_BUSY_SECONDS, _WAITING_SHARE * (ended - began))
        if lowest is not None:
            sending.from_message = lowest
        sending.room.counted(waiting)

    async def _sent(
        self, run: Run, sending: _Sending, number: int, now: Sequence[Listed], later: Sequence[Listed]
    ) -> bool:
        now_ms = self._now_ms()
        # Other processes find theirs in the store; so each has its share.
        mine = number % self._settings.processes == 0 and self._delivery.room() >= len(now)
        made = await self._made(run, sending.letter, now, now_ms, leased=mine)
        rest = json.dumps(later, ensure_ascii=False).encode() if later else b""
        chunk = ChunkSent(run.id, number, len(now), now_ms, made.messages, made.unfit, rest)
        jobs = await self._store.broadcasts.send(chunk)
        if jobs is None:
            return False
        sending.pace.sent(len(now), self._clock())
        self._delivery.submit(jobs)
        return True

    async def _made(self, run: Run, letter: Letter, listed: Sequence[Listed], now_ms: int, *, leased: bool) -> _Made:
        """Make the messages of a chunk: one for all, or one each."""
        made = _Made()
        if not letter.personal:
            # An address in other scripts needs a server that takes such (RFC 6531); the others' must not.
            plain = [one for one in listed if one.address.isascii()]
            others = [one for one in listed if not one.address.isascii()]
            for some in filter(None, (plain, others)):
                made.messages.append(await self._message(run, some, letter.shared(), now_ms, leased=leased))
            return made
        for at, one in enumerate(listed):
            contact = Contact(one.address, one.name, one.fields)
            try:
                content, why = letter.personal_copy(contact), None
            except TemplateError as error:
                if one.hold is Hold.NO:
                    raise
                content, why = letter.placeholder(contact), str(error)
            message = await self._message(run, [one], content, now_ms, leased=leased and why is None)
            made.messages.append(message)
            if why is not None:
                made.unfit[message.recipients[0].id] = why
            if at % _COPIES_A_TURN == _COPIES_A_TURN - 1:
                await asyncio.sleep(0)
        return made

    async def _message(
        self, run: Run, listed: Sequence[Listed], content: bytes, now_ms: int, *, leased: bool
    ) -> Acceptance:
        ready = await self._prepare(run.sender, [one.address for one in listed], content, now_ms)
        if isinstance(ready, Reply):
            raise _Refused(ready.text)
        return Acceptance(
            replace(ready.message, broadcast=run.name, broadcast_type=run.type, user=run.owner or None),
            ready.content,
            None,
            ready.recipients,
            self._settings.lifetime_ms,
            leased=leased,
            once=True,
            declined=[new.id for new, one in zip(ready.recipients, listed, strict=True) if one.hold is Hold.CHOICE],
        )


def _parted(listed: Sequence[Listed], room: Room) -> tuple[list[Listed], list[Listed]]:
    """Return who may come into the queue now, and who later."""
    may = room.choose([_domain(one) for one in listed])
    return list(compress(listed, may)), [one for one, now in zip(listed, may, strict=True) if not now]


def _domain(one: Listed) -> str:
    return one.address.rpartition("@")[2]


def processes(workers: int) -> int:
    """Return how many relay processes there are, by `server.workers`."""
    return workers or os.cpu_count() or 1
