"""Pages of what takes its time: told of news while it goes on, and at its end.

Rule: a page that follows a job hears that there is news, at most once a second, and loads itself anew; at the end of
the job it does so once more. Without scripts it is loaded anew by itself.
"""

import asyncio
import time
from collections.abc import Callable
from typing import Final

from aiohttp import web

from report.asked import Asked
from report.jobs import Job
from report.pages.live import is_the_same, streamed, write

SHORT_SECONDS: Final = 1.5
"""What is over after this needs no page of its progress."""
_NEWS_SECONDS: Final = 1.0
_BEAT_SECONDS: Final = 15.0


async def follow(asked: Asked, find: Callable[[], Job | None]) -> web.StreamResponse:
    """Send an event for each news of a job until it is over, the browser goes away, or the server does."""
    return await streamed(asked, lambda answer: _follow(asked, answer, find))


async def _follow(asked: Asked, answer: web.StreamResponse, find: Callable[[], Job | None]) -> None:
    serial = asked.request.query.get("since", "")
    said = time.monotonic()
    while not asked.desk.hub.closed and asked.request.transport is not None:
        job = find()
        now = "0" if job is None else str(job.serial)
        if now == serial == "0":  # somebody else is at it, in another process: look again now and then
            await asyncio.sleep(2 * _NEWS_SECONDS)
            serial = ""
        if now != serial:
            await write(answer, f"id: {now}\nevent: change\ndata: {{}}\n\n")
            serial = now
        elif time.monotonic() - said >= _BEAT_SECONDS:
            if not await is_the_same(asked):
                return
            await write(answer, ": still here\n\n")
            said = time.monotonic()
        if job is None:
            await asyncio.sleep(_NEWS_SECONDS)  # the page loads itself anew meanwhile, and follows nothing then
            return
        await job.wait(_NEWS_SECONDS)
