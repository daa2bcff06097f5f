"""A site's connections: which are being opened, which serve, which are idle, and which say goodbye.

Rule: who is begun has a slot until it is gone, however it ends; and none stays idle for long.
"""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from functools import partial
from typing import Any, Final

from relay.deliver.connect import Connection, Failure
from relay.deliver.means import Entry
from relay.deliver.slots import SlotsWithin

# Postfix's smtp_connection_cache_time_limit is 2 s; servers give an idle client minutes, but each is a slot.
IDLE_SECONDS: Final = 5.0


class Connections:
    """The connections of one site, each a task from dialing to its end."""

    def __init__(self, slots: SlotsWithin, ended: Callable[[BaseException | None], None]) -> None:
        """Take their slots; `ended` is called when one is gone, with the error that ended it: a bug of ours."""
        self.live: set[Connection] = set()
        """Those that serve, or are idle."""
        self._slots = slots
        self._on_end = ended
        # With whether it is a suspect's.
        self._tasks: dict[asyncio.Task[None], bool] = {}
        self._dialing: set[asyncio.Task[None]] = set()
        # With the loop's time at which each goes; the one that goes first is first.
        self._idle: dict[asyncio.Future[Entry | None], float] = {}
        # One for all, set for the first: connections come to be idle after every message, and time out hardly ever.
        self._timer: asyncio.TimerHandle | None = None
        self._leaving: set[Connection] = set()

    @property
    def count(self) -> int:
        """How many there are; those that say QUIT are still connections to the server that counts them."""
        return len(self._tasks)

    @property
    def opening(self) -> int:
        """How many are being opened."""
        return len(self._dialing)

    @property
    def has_idle(self) -> bool:
        """Whether one waits for a recipient."""
        return bool(self._idle)

    @property
    def wanted(self) -> bool:
        """Whether other sites wait for a connection of ours to end."""
        return self._slots.wanted(besides=self)

    # Their beginning and end.

    def begin(self, retry: Callable[[], None], life: Callable[[], Coroutine[Any, Any, None]], *, suspect: bool) -> bool:
        """Begin one where there is a slot for it; else `retry` is called when there may be one."""
        if not self._slots.take(self, retry, suspect=suspect):
            return False
        task = asyncio.get_running_loop().create_task(life())
        self._tasks[task] = suspect
        self._dialing.add(task)
        task.add_done_callback(self._ended)
        return True

    async def dialed(self, dialing: Awaitable[Connection | Failure]) -> Connection | Failure:
        """Wait for what dialing comes to, in the connection's own task."""
        opened = await dialing
        task = asyncio.current_task()
        if task is not None:
            self._dialing.discard(task)
        if isinstance(opened, Connection):
            self.live.add(opened)
            if task is not None and self._tasks[task]:
                self._tasks[task] = False
                self._slots.trust()
        return opened

    async def leave(self, connection: Connection) -> None:
        """Say QUIT; the slot is free when the connection is gone."""
        self.live.discard(connection)
        session = connection.session
        if session.alive:
            gone = asyncio.get_running_loop().create_future()
            session.on_end = lambda: gone.set_result(None)
            session.close()
            self._leaving.add(connection)
            await gone
            self._leaving.discard(connection)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._dialing.discard(task)
        self._slots.give(suspect=self._tasks.pop(task))
        self._on_end(None if task.cancelled() else task.exception())

    # Idle ones.

    async def next(self, connection: Connection) -> Entry | None:
        """Be idle until `serve` has a recipient; None when it is time to close."""
        loop = asyncio.get_running_loop()
        ready: asyncio.Future[Entry | None] = loop.create_future()
        leave = partial(self._let_go, ready)
        self._idle[ready] = until = loop.time() + IDLE_SECONDS
        connection.session.on_end = leave
        self._slots.idles(ready, leave)
        if self._timer is None:
            self._timer = loop.call_at(until, self._let_go_late)
        try:
            return await ready
        finally:
            connection.session.on_end = None
            self._slots.works(ready)

    def _let_go(self, ready: asyncio.Future[Entry | None]) -> None:
        if self._idle.pop(ready, None) is not None:
            ready.set_result(None)

    def _let_go_late(self) -> None:
        """Let those go that have been idle for long."""
        self._timer, loop = None, asyncio.get_running_loop()
        for ready, until in list(self._idle.items()):
            if until > loop.time():
                self._timer = loop.call_at(until, self._let_go_late)
                return
            self._let_go(ready)

    def serve(self, entry: Entry) -> None:
        """Give a recipient to an idle one: the one used last, so that those beyond need go away."""
        ready, _ = self._idle.popitem()
        ready.set_result(entry)

    def close_idle(self) -> None:
        """Let those go that are idle."""
        for ready in list(self._idle):
            self._let_go(ready)

    # The end of the site.

    def stop(self) -> None:
        """Give up what is being opened, and let go what is idle."""
        for task in self._dialing:
            task.cancel()
        self.close_idle()

    async def drain(self, seconds: float) -> None:
        """Let what is under way end within `seconds`, then break it."""
        if self._tasks and seconds > 0:
            await asyncio.wait(self._tasks, timeout=seconds)
        for connection in [*self.live, *self._leaving]:
            connection.session.abort()
        if self._tasks:
            await asyncio.wait(self._tasks)
