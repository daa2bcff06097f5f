"""Runs the broadcasts of `telltale broadcast send`: gives their messages to the queue, a chunk at a time.

Rules: one process of the host does it, and another takes over where that dies; what a chunk comes to is stored in one
transaction with the chunk's end, so that it goes on exactly where it was; and no more than `ahead` recipients of a run
come into the queue in some minutes and wait there, so that it does not fill with what cannot go out yet.
"""

import asyncio
import logging
import os
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Final, Protocol

from relay.broadcast.grammar import TemplateError
from relay.broadcast.letter import Contact, Letter
from relay.broadcast.pace import Pace
from storage.broadcast_model import Run, RunOrder, RunState
from storage.broadcast_run_verbs import ChunkSent
from storage.commit import StoreFailedError, StoreFullError
from storage.kv import kv
from storage.model import Job, Message, NewRecipient, Reply
from storage.owners import lowest_id_at
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

Ready = tuple[Message, bytes, Sequence[NewRecipient]]
"""A message as the store takes it."""
Prepare = Callable[[str, Sequence[str], bytes, int], Awaitable[Ready | Reply]]
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
    """Recipients of a run that may wait in the queue."""
    lifetime_ms: int
    """How long a recipient lives in the queue."""
    processes: int
    """How many relay processes share the work."""


class _Refused(Exception):  # noqa: N818 - not an error of ours: the run is paused, and says why
    """A message cannot be made."""


class _Sending:
    """A run that this process sends."""

    def __init__(self, run: Run, letter: Letter) -> None:
        self.letter = letter
        self.pace = Pace(run.per_hour)
        self.from_message = run.first_message or 0
        self.look_again_at = 0.0
        self.room = 0
        """How many more recipients may go into the queue, as known."""


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
        sending = self._sending[run.id] = _Sending(run, letter)
        return sending

    async def _chunks(self, run: Run, sending: _Sending) -> float:
        for number in range(run.done_chunks, min(run.done_chunks + _CHUNKS_A_TURN, run.chunks)):
            if self._stopping.is_set():
                break
            if wait := sending.pace.wait(self._clock()):
                return min(wait, _LOOK_SECONDS)
            if sending.room <= 0 and not await self._found_room(run, sending):
                return _BUSY_SECONDS
            contacts = await self._reader.broadcasts.chunk(run.id, number)
            if contacts is None or not await self._sent(run, sending, number, contacts):
                return _BUSY_SECONDS  # paused, cancelled, or sent by another
        return 0.0 if run.done_chunks + _CHUNKS_A_TURN < run.chunks else _BUSY_SECONDS

    async def _found_room(self, run: Run, sending: _Sending) -> bool:
        began = self._clock()
        if began < sending.look_again_at:
            return False
        recent = lowest_id_at(self._now_ms() - _HELD_UP_MS)
        waiting, lowest = await self._reader.broadcasts.waiting(run.id, max(recent, sending.from_message))
        ended = self._clock()
        sending.look_again_at = ended + max(_BUSY_SECONDS, _WAITING_SHARE * (ended - began))
        if lowest is not None:
            sending.from_message = lowest
        sending.room = self._settings.ahead - waiting
        return sending.room > 0

    async def _sent(
        self, run: Run, sending: _Sending, number: int, contacts: Sequence[tuple[str, str, dict[str, str]]]
    ) -> bool:
        now_ms = self._now_ms()
        # Other processes find theirs in the store; so each has its share.
        mine = number % self._settings.processes == 0 and self._delivery.room() >= len(contacts)
        messages = [
            Acceptance(
                replace(message, broadcast=run.name, broadcast_type=run.type, user=run.owner or None),
                content,
                None,
                recipients,
                self._settings.lifetime_ms,
                leased=mine,
                once=True,
            )
            for message, content, recipients in await self._made(run, sending.letter, contacts, now_ms)
        ]
        jobs = await self._store.broadcasts.send(ChunkSent(run.id, number, len(contacts), now_ms, messages))
        if jobs is None:
            return False
        sending.room -= len(contacts)
        sending.pace.sent(len(contacts), self._clock())
        self._delivery.submit(jobs)
        return True

    async def _made(
        self, run: Run, letter: Letter, contacts: Sequence[tuple[str, str, dict[str, str]]], now_ms: int
    ) -> list[Ready]:
        """Make the messages of a chunk: one for all, or one each."""
        made: list[Ready] = []
        if not letter.personal:
            # An address in other scripts needs a server that takes such (RFC 6531); the others' must not.
            plain = [address for address, _, _ in contacts if address.isascii()]
            others = [address for address, _, _ in contacts if not address.isascii()]
            return [await self._one(run, some, letter.shared(), now_ms) for some in (plain, others) if some]
        for at, (address, name, fields) in enumerate(contacts):
            content = letter.personal_copy(Contact(address, name, fields))
            made.append(await self._one(run, [address], content, now_ms))
            if at % _COPIES_A_TURN == _COPIES_A_TURN - 1:
                await asyncio.sleep(0)
        return made

    async def _one(self, run: Run, addresses: Sequence[str], content: bytes, now_ms: int) -> Ready:
        ready = await self._prepare(run.sender, addresses, content, now_ms)
        if isinstance(ready, Reply):
            raise _Refused(ready.text)
        return ready


def processes(workers: int) -> int:
    """Return how many relay processes there are, by `server.workers`."""
    return workers or os.cpu_count() or 1
