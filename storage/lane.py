"""A thread that serves verbs in groups, so that everything that waits shares one commit.

Rules: a verb's future is resolved after the commit of its group, all of them with one wake-up of the
event loop; a verb that raises fails alone; a task that stops waiting does not stop its verb.
See docs/decisions/0001-one-writer-thread.md.
"""

import asyncio
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from typing import Any, Final, Protocol, TypeVar

_MOST_VERBS: Final = 256
_MOST_WEIGHT: Final = 8 << 20

A = TypeVar("A")
R = TypeVar("R")


@dataclass(slots=True)
class Call:
    """One verb that somebody waits for; `answer` or `error` is set once it is served."""

    verb: Callable[..., Sequence[Any]]
    """Takes what the lane serves with, and the arguments of all calls of the group; returns their answers."""
    argument: Any
    weight: int
    """Bytes that it writes, about; a group ends where it would get too heavy."""
    future: asyncio.Future[Any]
    answer: Any = None
    error: BaseException | None = None


class Service(Protocol):
    """What a lane runs in its thread."""

    def ready(self) -> None:
        """Wait until `serve` need not wait for others: what is called meanwhile is served, too. Must not raise."""

    def serve(self, calls: Sequence[Call]) -> None:
        """Set `answer` or `error` of each call; must not raise."""

    def close(self) -> None:
        """Release what it holds."""


class Lane:
    """The thread and its queue.

    Verbs are handed over once a turn of the event loop, after all callbacks that were ready: so that
    what one turn asks for shares a commit, and the thread, which needs the interpreter lock at each
    step, mostly works while the loop waits for its sockets.
    """

    def __init__(self, name: str, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._turn: list[Call] = []
        self._queue: SimpleQueue[list[Call] | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._service: Service | None = None
        self._closed = False

    def start(self, service: Service) -> None:
        """Begin to serve; `service` is used by the thread alone from now on."""
        self._service = service
        self._thread.start()

    def call(
        self, verb: Callable[[Any, Sequence[A]], Sequence[R]], argument: A, weight: int = 0
    ) -> "asyncio.Future[R]":
        """Queue a verb; the future has its answer after the commit."""
        if self._closed:
            raise RuntimeError("the store is closed")
        future: asyncio.Future[R] = self._loop.create_future()
        if not self._turn:
            self._loop.call_soon(self._hand_over)
        self._turn.append(Call(verb, argument, weight, future))
        return future

    def _hand_over(self) -> None:
        if self._turn:
            self._queue.put(self._turn)
            self._turn = []

    async def close(self) -> None:
        """Serve what waits, then end the thread."""
        if not self._closed:
            self._closed = True
            self._hand_over()
            self._queue.put(None)
            await self._loop.run_in_executor(None, self._thread.join)

    def _run(self) -> None:
        service = self._service
        assert service is not None  # noqa: S101 - start() sets it before the thread begins
        open_ = True
        while open_:
            calls, open_ = self._waiting(service)
            for group in _groups(calls):
                service.serve(group)
                self._answer(group)
        service.close()

    def _waiting(self, service: Service) -> tuple[list[Call], bool]:
        """Wait for calls and take all there are once they can be served; False at the end of the lane."""
        calls: list[Call] = []
        turn = self._queue.get()
        if turn is not None:
            service.ready()
        while turn is not None:
            calls += turn
            try:
                turn = self._queue.get_nowait()
            except Empty:
                return calls, True
        return calls, False

    def _answer(self, calls: Sequence[Call]) -> None:
        try:
            self._loop.call_soon_threadsafe(_resolve, calls)
        except RuntimeError:
            # The loop is closed: nobody waits any more, and what was committed stays committed.
            return


def _groups(calls: Sequence[Call]) -> Iterator[Sequence[Call]]:
    """Yield the calls in groups that one transaction may hold."""
    start = weight = 0
    for end, call in enumerate(calls):
        if end - start == _MOST_VERBS or (end > start and weight + call.weight > _MOST_WEIGHT):
            yield calls[start:end]
            start, weight = end, 0
        weight += call.weight
    if start < len(calls):
        yield calls[start:]


def _resolve(calls: Sequence[Call]) -> None:
    for call in calls:
        if call.future.done():
            continue  # its task was cancelled
        if call.error is None:
            call.future.set_result(call.answer)
        else:
            call.future.set_exception(call.error)
