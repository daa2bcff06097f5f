"""The Email Log as a file: exactly what a page's filters show, all of it, as CSV or JSON Lines.

Rules: streamed, in constant memory; from a reader of its own, so that no page waits for it; a few at a time.
"""

import asyncio
import io
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from http import HTTPStatus
from typing import Final

from aiohttp import web

from report.asked import Asked, Route
from report.output import CsvWriter, JsonWriter
from report.pages.log import question
from report.problem import ProblemError
from storage.access import Scope
from storage.model import LogFilter, LogRow
from storage.reader import Reader

AT_ONCE: Final = 4
MOST_OF_ONE: Final = 2
"""Of one user, who may be slow to read."""
_BATCH: Final = 500
_FIRST_BATCH: Final = 20
_WRITE_SECONDS: Final = 60.0
_running = asyncio.Semaphore(AT_ONCE)
_of_users: Counter[str] = Counter()


async def export(asked: Asked) -> web.StreamResponse:
    """Send the rows."""
    asks = question(asked)
    if asks.wrong:
        raise ProblemError(HTTPStatus.BAD_REQUEST, " ".join(asks.wrong))
    form, wanted = asked.request.match_info["form"], asked.seen(asks.filter)
    name = "email-log.csv" if form == "csv" else "email-log.jsonl"
    return await sent(asked, name, _parts(asked, wanted, form))


async def sent(asked: Asked, name: str, parts: AsyncGenerator[str]) -> web.StreamResponse:
    """Send a file part by part; raises ProblemError where too many are being sent.

    Who goes away, or does not read, ends it: what was opened for it is closed at once.
    """
    user = asked.who.user
    if _running.locked() or _of_users[user] >= MOST_OF_ONE:
        detail = "Others are being exported; try again in a while."
        raise ProblemError(HTTPStatus.SERVICE_UNAVAILABLE, detail, headers={"Retry-After": "30"})
    kind = "text/csv; charset=utf-8" if name.endswith(".csv") else "application/jsonl; charset=utf-8"
    headers = {"Content-Type": kind, "Content-Disposition": f'attachment; filename="{name}"'}
    answer = web.StreamResponse(headers=headers)
    async with _running, aclosing(parts):
        _of_users[user] += 1
        try:
            await answer.prepare(asked.request)
            async for part in parts:
                await _write(answer, part)
            await answer.write_eof()
        except ConnectionError:
            pass
        except TimeoutError:
            # Closed in the middle: it is not taken for the whole.
            if asked.request.transport is not None:
                asked.request.transport.abort()
        finally:
            _of_users[user] -= 1
    return answer


async def _parts(asked: Asked, wanted: LogFilter, form: str) -> AsyncGenerator[str]:
    out = io.StringIO()
    writer = CsvWriter(out, events=False) if form == "csv" else JsonWriter(out)
    writer.write([])
    async with asked.desk.own_reader() as reader:
        async for rows in batches(reader, wanted):
            writer.write([(row, None) for row in rows])
            yield out.getvalue()
            out.seek(0)
            out.truncate()
    yield out.getvalue()


async def in_parts(lines: AsyncIterator[str]) -> AsyncIterator[str]:
    """Yield lines of a file some hundred at a time."""
    some: list[str] = []
    async for one in lines:
        some.append(one)
        if len(some) == _BATCH:
            yield "".join(some)
            some = []
    yield "".join(some)


async def _write(answer: web.StreamResponse, part: str) -> None:
    """Send a part; who does not read gives the place to others (TimeoutError)."""
    if part:
        async with asyncio.timeout(_WRITE_SECONDS):
            await answer.write(part.encode())


async def batches(reader: Reader, wanted: LogFilter) -> AsyncIterator[list[LogRow]]:
    """Yield all rows that match, some hundred at a time, and a few at first: that it comes is seen at once."""
    rows: list[LogRow] = []
    most = _FIRST_BATCH
    async for row in reader.stream(wanted):
        rows.append(row)
        if len(rows) == most:
            yield rows
            rows, most = [], _BATCH
    if rows:
        yield rows


ROUTES: Final = (Route("GET", "/log.{form:csv|jsonl}", export, Scope.LOG_READ, tokens=True),)
