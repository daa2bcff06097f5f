"""Live updates: server-sent events of what changes on a page that somebody has open.

Rules: an event tells of rows that the page shows, how many new ones match its filters, and the counts; its id is the
store's serial, so that who was away goes on where they stopped. What one event may hold is bounded, however much
happened.
"""

import asyncio
import json
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Final

from aiohttp import web

from report import sessions
from report.asked import Asked, Route
from report.html import fragment
from report.pages.log import question, shown
from report.problem import ProblemError
from storage.access import Scope
from storage.model import Changes, LogFilter, message_id_of, queue_id

_MOST_SHOWN: Final = 200
# Of more new rows than this, it is only said that there are more.
_MOST_MATCHED: Final = 200
# Nobody tells that a browser went away; its place is free again after a look, and a line each beat keeps proxies.
_LOOK_SECONDS: Final = 1.0
_BEATS: Final = 15
# A page that is made anew is not made more often than this.
_WHOLE_SECONDS: Final = 1.5
_WRITE_SECONDS: Final = 20.0
_HEADERS: Final = {"Content-Type": "text/event-stream", "X-Accel-Buffering": "no"}


@dataclass(frozen=True, slots=True)
class _View:
    """What one open page shows."""

    wanted: LogFilter
    ids: frozenset[int]
    told_of_new: bool
    whole: bool
    """It shows numbers of all mail: it is told that something changed, now and then, and loads itself anew."""


async def live(asked: Asked) -> web.StreamResponse:
    """Send events until the browser goes away, its session ends, or the server does."""
    view, serial = _view(asked), serial_of(asked)
    return await streamed(asked, lambda answer: _follow(asked, answer, view, serial))


async def streamed(asked: Asked, tell: Callable[[web.StreamResponse], Awaitable[None]]) -> web.StreamResponse:
    """Answer with a stream of events that `tell` writes, as long as there is a place for one more that follows."""
    with asked.desk.hub.place(asked.who.user) as placed:
        if not placed:
            detail = "Too many pages follow something; close some."
            raise ProblemError(HTTPStatus.SERVICE_UNAVAILABLE, detail, headers={"Retry-After": "30"})
        answer = web.StreamResponse(headers=_HEADERS)
        await answer.prepare(asked.request)
        with suppress(ConnectionError, TimeoutError):
            await write(answer, "retry: 2000\n\n")
            await tell(answer)
        return answer


def _view(asked: Asked) -> _View:
    asks = question(asked)
    codes = asked.request.query.getall("id", [])[:_MOST_SHOWN]
    ids = frozenset(id_ for code in codes if (id_ := message_id_of(code)) is not None)
    query = asked.request.query
    return _View(asked.seen(asks.filter), ids, "first" in query, "whole" in query)


def serial_of(asked: Asked) -> int:
    """Return how far a page has been told."""
    given = asked.request.headers.get("Last-Event-ID") or asked.request.query.get("since", "")
    if not given.isascii() or not given.isdecimal() or len(given) > 18:  # noqa: PLR2004 - what surely fits
        raise ProblemError(HTTPStatus.BAD_REQUEST, "Expected since=… as the page has it.")
    return int(given)


async def _follow(asked: Asked, answer: web.StreamResponse, view: _View, serial: int) -> None:
    looked = time.monotonic()
    while not asked.desk.hub.closed:
        changes = await _awaited(asked, serial)
        # However much happens: who may see less than before, or nothing any more, is not told further.
        if changes is None or time.monotonic() - looked >= _BEATS * _LOOK_SECONDS:
            if asked.request.transport is None or not await is_the_same(asked):
                return
            looked = time.monotonic()
        if changes is None:
            await write(answer, ": still here\n\n")
            continue
        serial = changes.serial
        if view.whole:
            # What happens while it waits is told with the rest; what comes after is told next.
            await asyncio.sleep(_WHOLE_SECONDS)
            serial = await asked.desk.hub.reader.serial()
            await write(answer, f"id: {serial}\nevent: change\ndata: {{}}\n\n")
            continue
        if changes.torn:
            await write(answer, f"id: {serial}\nevent: anew\ndata: {{}}\n\n")
        elif told := await _told(asked, view, changes):
            await write(answer, f"id: {serial}\nevent: change\ndata: {json.dumps(told)}\n\n")


async def is_the_same(asked: Asked) -> bool:
    """Return whether who asked may still see what they saw."""
    now = await sessions.visitor_of(asked, noted=False)
    return now is not None and (now.user, now.role) == (asked.who.user, asked.who.role)


async def _awaited(asked: Asked, serial: int) -> Changes | None:
    """Wait for changes as long as the browser is there, for one beat at most."""
    for _ in range(_BEATS):
        changes = await asked.desk.hub.changes(serial, _LOOK_SECONDS)
        if changes is not None or asked.request.transport is None or asked.desk.hub.closed:
            return changes
    return None


async def write(answer: web.StreamResponse, text: str) -> None:
    """Send a piece of a stream; raises TimeoutError where the browser does not read."""
    async with asyncio.timeout(_WRITE_SECONDS):
        await answer.write(text.encode())


async def _told(asked: Asked, view: _View, changes: Changes) -> Mapping[str, Any]:
    """Return what an event says; empty where nothing of it concerns this page."""
    reader, told = asked.desk.hub.reader, dict[str, Any]()
    met = [id_ for id_ in changes.touched if id_ in view.ids]
    if met:
        rows = await reader.among(met, asked.seen(LogFilter()))
        told["rows"] = {queue_id(row.recipient_id): fragment(asked, "row.html", {"shown": shown(row)}) for row in rows}
    if view.told_of_new and changes.accepted:
        some = changes.accepted[-_MOST_MATCHED:]
        told["fresh"] = len(await reader.among(some, view.wanted))
        told["many"] = len(some) < len(changes.accepted)
    if view.told_of_new and asked.who.own is None and changes.touched:
        told["counts"] = {status.value: number for status, number in (await reader.status_counts()).items()}
    return told


ROUTES: Final = (Route("GET", "/live", live, Scope.LOG_READ),)
