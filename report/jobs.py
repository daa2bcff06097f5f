"""What takes its time, beside the pages: each job in a thread, told of while it goes on, and ended when asked.

Rules: one user never has all places; who finds none waits. Their threads are their own, so that whatever else needs one
has one. What a job leaves behind it keeps itself, on disk: one that is ended here, or with the process, is found there
as it was.
"""

import asyncio
import logging
import threading
import time
from collections import defaultdict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final, TypeVar

from storage.kv import kv
from storage.turn import Turn

AT_ONCE: Final = 3
OF_ONE: Final = 2
_CLOSE_SECONDS: Final = 20.0

T = TypeVar("T")

_log = logging.getLogger("telltale.report")


class StoppedError(Exception):
    """A job is to end, with what was done so far kept."""


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a job is."""

    what: str = "Waiting for its turn"
    done: int = 0
    of: int | None = None
    """None: nobody knows."""
    left_seconds: float | None = None
    """How long it takes from here, if it goes on as it did; None: nobody knows."""

    @property
    def share(self) -> float | None:
        """How much of it is done, of 1."""
        return min(1.0, self.done / self.of) if self.of else None


class Job:
    """One job; told of from its thread, looked at from the event loop."""

    def __init__(self, user: str) -> None:
        """Begin with nothing done."""
        self.user = user
        self.progress = Progress()
        self.serial = 1
        """Grows with what is told."""
        self.over = asyncio.Event()
        self.waiting: asyncio.Task[None] | None = None
        """What waits for its turn."""
        self._stopping = threading.Event()
        self._since = ("", 0.0, 0)

    def stop(self) -> None:
        """Let it end, where it tells next, or before it begins."""
        self._stopping.set()
        if self.waiting is not None:
            self.waiting.cancel()

    @property
    def stopping(self) -> bool:
        """Whether it is to end."""
        return self._stopping.is_set()

    def tell(self, what: str, done: int = 0, of: int | None = None) -> None:
        """Say how far it is; raises StoppedError where it is to end."""
        if self.stopping:
            raise StoppedError
        now = time.monotonic()
        if self._since[0] != what:
            self._since = what, now, done
        _, began, at = self._since
        left = (now - began) * (of - done) / (done - at) if of is not None and done > at else None
        self.progress = Progress(what, done, of, left)
        self.serial += 1

    async def wait(self, seconds: float) -> bool:
        """Wait for its end, so long at most; return whether it is over."""
        try:
            async with asyncio.timeout(seconds):
                await self.over.wait()
        except TimeoutError:
            return False
        return True


class Jobs:
    """All jobs of a server."""

    def __init__(self) -> None:
        """Begin with none."""
        self._jobs: dict[str, Job] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._room = asyncio.Semaphore(AT_ONCE)
        self._of_user: defaultdict[str, asyncio.Semaphore] = defaultdict(lambda: asyncio.Semaphore(OF_ONE))
        self._threads = ThreadPoolExecutor(AT_ONCE, "job")

    def find(self, id_: str) -> Job | None:
        """Return a job that waits or is at work."""
        return self._jobs.get(id_)

    def start(
        self,
        id_: str,
        user: str,
        work: Callable[[Job], T],
        turn: Turn | None = None,
        then: Callable[[T], object] = lambda _: None,
    ) -> Job:
        """Do `work` in a thread when there is room, and `then` here with what it returned.

        `turn` is given back as soon as nothing is done any more. There must be no job of this id.
        """
        job = self._jobs[id_] = Job(user)
        job.waiting = asyncio.create_task(self._run(id_, job, work, turn, then))
        self._tasks.add(job.waiting)
        job.waiting.add_done_callback(self._tasks.discard)
        return job

    async def _run(
        self, id_: str, job: Job, work: Callable[[Job], T], turn: Turn | None, then: Callable[[T], object]
    ) -> None:
        def worked() -> T:
            try:
                return work(job)
            finally:
                if turn is not None:
                    turn.give()

        try:
            async with self._of_user[job.user], self._room:
                job.waiting = None
                then(await asyncio.get_running_loop().run_in_executor(self._threads, worked))
        except StoppedError:
            _log.info(kv(event="job-stopped", id=id_, user=job.user))
        except Exception:  # noqa: BLE001 - whatever it is, its page says that it ended, and the log why
            _log.exception(kv(event="job-failed", id=id_, user=job.user))
        finally:
            if job.waiting is not None and turn is not None:
                turn.give()
            del self._jobs[id_]
            job.over.set()

    async def close(self) -> None:
        """Let all end where they are, and wait for that some seconds."""
        for job in list(self._jobs.values()):
            job.stop()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=_CLOSE_SECONDS)
        self._threads.shutdown(wait=False, cancel_futures=True)
