"""Sends events to webhooks: one process of the host does, the first that takes the turn.

Rules: at least once: how far an endpoint was told is written after it took an event, or with what is to be tried again,
in one transaction. An endpoint that takes nothing is called less and less often, holds up no other, and is stopped in
the end; what waits meanwhile waits in the store. Memory is bounded by some events an endpoint.
"""

import asyncio
import logging
import random
import sqlite3
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

from report.api.events import event_of
from report.hooks.signing import wait_ms
from report.hooks.wire import GONE, Answer, Wire
from report.settings import WebhookSettings
from storage.feed import FeedEvent, FeedPage, Place
from storage.kv import kv
from storage.model import LogFilter
from storage.reader import Reader
from storage.store import Store, StoreFailedError, StoreFullError
from storage.turn import Turn
from storage.webhook_model import HookAttempt, Retry, Told, Webhook

TURN_FILE: Final = "webhooks.lock"
_LOOK_SECONDS: Final = 0.5
_AT_ONCE: Final = 50
_CALLS_OF_ONE: Final = 5
_RETRIES_AT_ONCE: Final = 20
_FIRST_REST: Final = 5.0
_LONGEST_REST: Final = 300.0

_log = logging.getLogger("telltale.webhooks")


@dataclass(slots=True)
class _Course:
    """How it goes with an endpoint, in memory."""

    failures: int = 0
    """Rounds in a row of which nothing was taken."""
    known: bool = False
    """Whether the store knows that it fails."""
    rest_until: float = 0.0
    calls: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(_CALLS_OF_ONE))


@dataclass(frozen=True, slots=True)
class _Call:
    """One call of an endpoint."""

    event: FeedEvent
    tries: int
    """Made of it before."""
    at_ms: int
    answer: Answer


class Sender:
    """The sender of one report server."""

    def __init__(
        self,
        store: Store,
        reader: Reader,
        settings: WebhookSettings,
        state_dir: Path,
        *,
        now_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
        clock: Callable[[], float] = time.monotonic,
        chance: Callable[[], float] = random.random,
    ) -> None:
        """Take the store, a reader of its own, and the settings; nothing runs before `start`."""
        self._store = store
        self._reader = reader
        self._settings = settings
        self._turn = Turn(state_dir / TURN_FILE)
        self._now_ms = now_ms
        self._clock = clock
        self._chance = chance
        self._wire = _wire(settings)
        self._courses: dict[str, _Course] = {}
        self._busy: dict[str, asyncio.Task[None]] = {}
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to send."""
        self._task = asyncio.create_task(self._send_for_ever())

    async def stop(self) -> None:
        """End; what is under way is sent again later."""
        tasks = [task for task in (self._task, *self._busy.values()) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._wire.close()
        self._turn.give()

    async def reload(self, settings: WebhookSettings) -> None:
        """Take other settings."""
        if settings != self._settings:
            old, self._wire, self._settings = self._wire, _wire(settings), settings
            await old.close()

    async def _send_for_ever(self) -> None:
        while True:
            try:
                if self._turn.take():
                    await self._look()
            except (StoreFailedError, StoreFullError, sqlite3.Error, OSError) as error:
                _log.warning(kv(event="webhooks-wait", reason=error))
            except Exception:  # noqa: BLE001 - a bug with one endpoint must not end all webhooks
                _log.exception(kv(event="webhooks-wait"))
            await asyncio.sleep(_LOOK_SECONDS)

    async def _look(self) -> None:
        """Begin a round with each endpoint that is in none."""
        hooks = {hook.id: hook for hook in await self._reader.webhooks.all() if hook.active}
        self._courses = {id_: self._courses.get(id_) or _Course() for id_ in hooks}
        for id_, task in list(self._busy.items()):
            if id_ not in hooks:
                task.cancel()  # it was stopped or removed meanwhile
            if task.done():
                del self._busy[id_]
                if not task.cancelled() and (error := task.exception()):
                    _log.error(kv(event="webhook-waits", webhook=id_), exc_info=error)
        for id_, hook in hooks.items():
            if id_ not in self._busy:
                self._busy[id_] = asyncio.create_task(self._rounds(hook))

    async def _rounds(self, hook: Webhook) -> None:
        """Send an endpoint what there is for it."""
        with suppress(StoreFailedError, StoreFullError):
            more = True
            while more:
                more = await self._round(hook)
                again = await self._reader.webhooks.one(hook.id)
                if again is None or not again.active:
                    return
                hook = again

    async def _round(self, hook: Webhook) -> bool:
        """Send some events; return whether there are more to be sent now."""
        course, wanted = self._courses[hook.id], LogFilter(user=hook.user)
        if course.known and hook.failing_ms is None:
            course.failures, course.rest_until = 0, 0.0  # somebody enabled or changed it: it is called at once
        retries = await self._reader.webhooks.due(hook.id, self._now_ms(), _RETRIES_AT_ONCE)
        known = {event.place: event for event in await self._reader.feed.some([one.place for one in retries], wanted)}
        resting = self._clock() < course.rest_until
        page = FeedPage((), hook.place, more=False)
        if not resting:
            page = await self._reader.feed.page(hook.place, wanted)
        fresh = [event for event in page.events if not hook.types or event.type in hook.types]
        # One is enough to see whether it takes anything again.
        most = 1 if course.failures else _AT_ONCE
        if len(fresh) > most:
            page, fresh = FeedPage(page.events, fresh[most].place, more=True), fresh[:most]
        wanted_calls = [(known[one.place], one.tries) for one in retries if one.place in known]
        wanted_calls += [(event, 0) for event in fresh]
        calls = await asyncio.gather(*[self._call(hook, course, event, tries) for event, tries in wanted_calls])
        gone = [one.place for one in retries if one.place not in known]
        await self._write(hook, page, calls, gone)
        return not resting and page.more and not (fresh and course.failures)

    async def _call(self, hook: Webhook, course: _Course, event: FeedEvent, tries: int) -> _Call:
        async with course.calls:
            body, at_ms = event_of(event).model_dump_json().encode(), self._now_ms()
            return _Call(event, tries, at_ms, await self._wire.post(hook.url, hook.secrets(at_ms), event.id, body))

    async def _write(self, hook: Webhook, page: FeedPage, came: Sequence[_Call], gone: Sequence[Place]) -> None:
        if not came and not gone and page.next == hook.place:
            return
        now_ms, course = self._now_ms(), self._courses[hook.id]
        failing_ms, next_ms, note = hook.failing_ms, hook.next_ms, hook.note
        if any(call.answer.taken for call in came):
            course.failures, failing_ms, next_ms, note = 0, None, None, ""
        elif came:
            course.failures += 1
            rest = min(_FIRST_REST * 2 ** (course.failures - 1), _LONGEST_REST)
            course.rest_until = self._clock() + rest
            failing_ms, next_ms = failing_ms or now_ms, now_ms + int(rest * 1000)
        later, over = self._again(hook, came, now_ms)
        note = next((call.answer.words for call in reversed(came) if not call.answer.taken), note)
        if page.torn:
            note = "was away for so long that some events are not kept any more"
        stopped_ms, note = self._stopped(hook, [call.answer for call in came], failing_ms, now_ms, note)
        taken_ms = max((call.at_ms for call in came if call.answer.taken), default=None)
        told = Told(hook.id, hook.place, page.next, failing_ms, note, later, [*over, *gone], stopped_ms, taken_ms)
        await self._store.webhooks.tell(replace(told, next_ms=next_ms, attempts=_attempts(came, later)))
        course.known = failing_ms is not None

    def _again(self, hook: Webhook, came: Sequence[_Call], now_ms: int) -> tuple[list[Retry], list[Place]]:
        """Return which events are to be sent again, and which retries came to an end."""
        later, over = list[Retry](), list[Place]()
        for call in came:
            wait = None if call.answer.taken else wait_ms(call.tries + 1, self._chance())
            if wait is not None:
                later.append(Retry(call.event.place, now_ms + wait, call.tries + 1))
            elif call.tries:
                over.append(call.event.place)
            if wait is None and not call.answer.taken:
                reason = call.answer.words
                _log.warning(kv(event="webhook-given-up", webhook=hook.id, id=call.event.id, reason=reason))
        return later, over

    def _stopped(
        self, hook: Webhook, answers: Sequence[Answer], failing_ms: int | None, now_ms: int, note: str
    ) -> tuple[int | None, str]:
        """Return when the endpoint is stopped (None: it is not), and the note."""
        if any(answer.status == GONE for answer in answers):
            why = f"stopped: it says that it is gone for good ({note})"
        elif failing_ms is not None and now_ms - failing_ms >= self._settings.stop_after * 1000:
            why = f"stopped: it took nothing for {(now_ms - failing_ms) // 3_600_000} hours ({note})"
        else:
            return None, note
        _log.warning(kv(event="webhook-stopped", webhook=hook.id, reason=why))
        return now_ms, why


def _attempts(calls: Sequence[_Call], later: Sequence[Retry]) -> list[HookAttempt]:
    """Return what people are shown of calls, in the order in which they were made."""
    again = {retry.place: retry.due_ms for retry in later}
    return [
        HookAttempt(
            call.at_ms,
            call.answer.duration_ms,
            call.event.type,
            call.event.place,
            call.event.row.recipient_id,
            call.answer.status,
            call.answer.words,
            call.tries + 1,
            again.get(call.event.place),
        )
        for call in sorted(calls, key=lambda call: call.at_ms)
    ]


def _wire(settings: WebhookSettings) -> Wire:
    return Wire(allow_private=settings.allow_private, timeout_seconds=settings.timeout)
