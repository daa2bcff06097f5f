"""The HTTP wire of the pixel server, on aiohttp's low-level server: no router, one handler.

Rules: every path under the images' prefix gets the one answer; a hit is taken only from a GET with a
token of ours. What a client sends is bounded in bytes and in time, and what it does not read costs it
the connection.
"""

import logging
import time
from collections.abc import Callable
from email.utils import formatdate
from http import HTTPStatus
from typing import Any, Final, cast

from aiohttp import hdrs, web
from aiohttp.abc import AbstractStreamWriter

from pixel.answer import (
    BAD_REQUEST,
    BROKEN,
    FAILING,
    HEALTHY,
    IMAGE_ANSWER,
    NOT_FOUND,
    ROOT_ANSWER,
    Answer,
)
from pixel.fetch import AGENT_CHARS, FORWARDED_CHARS, Fetch
from pixel.unsubscribe import UnsubscribePages
from storage.token import TokenBox
from storage.tracking import PATH_PREFIX, PATH_SUFFIX, UNSUBSCRIBE_PREFIX

# An idle connection, and one whose request does not come to an end, is closed after this.
KEEP_ALIVE_SECONDS: Final = 30.0
CONNECTIONS: Final = 10_000
# The path of an image has 33 bytes; the rest is for a query that somebody's link rewriting added.
_LINE_BYTES: Final = 4096
_FIELD_BYTES: Final = 8190
# Between two answers: what large_client_header_buffers of nginx lets through.
_REQUEST_BYTES: Final = 32 * 1024
_LINGER_SECONDS: Final = 2.0

# Fetch standard; Chrome before it; Safari; Firefox.
_PURPOSES: Final = ("Sec-Purpose", "Purpose", "X-Purpose", "X-Moz")

_log = logging.getLogger("telltale.pixel")


class _Dates:
    """The Date header, made anew once a second."""

    def __init__(self) -> None:
        self._second = 0
        self._date = ""

    def now(self) -> str:
        second = int(time.time())
        if second != self._second:
            self._second = second
            self._date = formatdate(second, usegmt=True)
        return self._date


_dates = _Dates()


class _Response(web.StreamResponse):
    """An answer of ours, written in one piece.

    It holds nothing of a request, so that one object answers them all.
    """

    def __init__(self, answer: Answer, *, keep_alive: bool) -> None:
        super().__init__(status=answer.status.value)
        self._answer = answer
        self._stays = keep_alive
        self._date = ""
        self._whole = self._head = b""

    @property
    def keep_alive(self) -> bool | None:
        return self._stays

    async def prepare(self, request: web.BaseRequest) -> AbstractStreamWriter | None:
        transport = request.transport
        if transport is None:
            return None
        if request.protocol.writing_paused:
            # Many kilobytes of small answers were not read: nobody reads them.
            transport.abort()
            return None
        self._write_out(_dates.now())
        transport.write(self._head if request.method == hdrs.METH_HEAD else self._whole)
        cast("Connection", request.protocol).answered()
        return None

    async def write_eof(self, data: bytes = b"") -> None:
        """Nothing is left to write."""

    def _write_out(self, date: str) -> None:
        if date != self._date:
            self._date = date
            self._whole = self._answer.wire(date, head=False, keep_alive=self._stays)
            self._head = self._answer.wire(date, head=True, keep_alive=self._stays)


class _Responses:
    """An answer for connections that stay and for those that end."""

    def __init__(self, answer: Answer) -> None:
        self._stay = _Response(answer, keep_alive=True)
        self.end = _Response(answer, keep_alive=False)

    def to(self, request: web.BaseRequest) -> web.StreamResponse:
        return self._stay if request.keep_alive else self.end


_IMAGE = _Responses(IMAGE_ANSWER)
_ROOT = _Responses(ROOT_ANSWER)
_HEALTHY = _Responses(HEALTHY)
_FAILING = _Responses(FAILING)
_NOT_FOUND = _Responses(NOT_FOUND)
_BAD_REQUEST = _Responses(BAD_REQUEST)
_BROKEN = _Responses(BROKEN)


class Handler:
    """Answers requests and passes hits on."""

    def __init__(
        self,
        tokens: TokenBox,
        take: Callable[[Fetch], object],
        failing: Callable[[], bool],
        *,
        base_path: str = "",
        pages: UnsubscribePages | None = None,
        clock_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
    ) -> None:
        """Take the box of pixel tokens, what takes a hit, and what `/healthz` asks.

        `base_path`: the path of `tracking.base_url`, for a reverse proxy that passes it on. `pages`: what answers
        those who unsubscribe.
        """
        self._tokens = tokens
        self._take = take
        self._failing = failing
        self._clock_ms = clock_ms
        self._pages = pages
        self.base_path = base_path

    async def __call__(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer one request."""
        path = self._path(request)
        if not path.startswith(PATH_PREFIX):
            if self._pages is not None and path.startswith(UNSUBSCRIBE_PREFIX):
                answer = await self._pages.answer(path[len(UNSUBSCRIBE_PREFIX) :], request)
                return _Responses(answer).to(request)
            return self._beside(path).to(request)
        if request.method == hdrs.METH_GET:
            token = path[len(PATH_PREFIX) :].lower().removesuffix(PATH_SUFFIX)
            recipient_id = self._tokens.open(token)
            # Made for a forged token too, so that its answer takes as long.
            fetch = self._fetch(recipient_id or 0, request)
            if recipient_id is not None:
                self._take(fetch)
        return _IMAGE.to(request)

    def _path(self, request: web.BaseRequest) -> str:
        path = request.raw_path
        # A whole URL (RFC 9112, 3.2.2) or an escaped path is left to the library.
        path = request.path if "%" in path or not path.startswith("/") else path.partition("?")[0]
        if self.base_path and path.startswith((self.base_path + PATH_PREFIX, self.base_path + UNSUBSCRIBE_PREFIX)):
            return path[len(self.base_path) :]
        return path

    def _fetch(self, recipient_id: int, request: web.BaseRequest) -> Fetch:
        headers = request.headers
        return Fetch(
            recipient_id=recipient_id,
            at_ms=self._clock_ms(),
            peer=request.remote or "",
            forwarded_for=",".join(headers.getall("X-Forwarded-For", ()))[-FORWARDED_CHARS:],
            forwarded=",".join(headers.getall(hdrs.FORWARDED, ()))[-FORWARDED_CHARS:],
            agent=headers.get(hdrs.USER_AGENT, "")[:AGENT_CHARS],
            has_referer=hdrs.REFERER in headers,
            purpose=",".join([headers[name][:AGENT_CHARS] for name in _PURPOSES if name in headers]),
        )

    def _beside(self, path: str) -> _Responses:
        """Return what is answered outside the images' prefix."""
        if path == "/":
            return _ROOT
        if path == "/healthz":
            return _FAILING if self._failing() else _HEALTHY
        return _NOT_FOUND


class Connection(web.RequestHandler):
    """One client's connection, bounded in the bytes that a request may have."""

    __slots__ = ("_listener", "_since_answer")

    def __init__(self, listener: "Listener", **options: Any) -> None:
        super().__init__(listener, **options)
        self._listener = listener
        self._since_answer = 0

    def connection_made(self, transport: Any) -> None:
        """Take the connection, or close it where there are too many."""
        super().connection_made(transport)
        self._listener.open_connections += 1
        if self._listener.open_connections > CONNECTIONS:
            self.force_close()

    def connection_lost(self, exc: BaseException | None) -> None:
        """Forget the connection."""
        self._listener.open_connections -= 1
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Read on, or close where the bytes lead to no request."""
        self._since_answer += len(data)
        if self._since_answer > _REQUEST_BYTES:
            self.force_close()
            return
        super().data_received(data)

    def answered(self) -> None:
        """Begin to count for the next request."""
        self._since_answer = 0

    def handle_error(
        self,
        request: web.BaseRequest,  # noqa: ARG002 - the library's signature
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """Answer what could not be read or was our own fault, and end the connection.

        The library's own would log the client's address and a traceback for every scan of the port.
        """
        if status < HTTPStatus.INTERNAL_SERVER_ERROR:
            _log.debug("a request could not be read: %s", message)
            return _BAD_REQUEST.end
        _log.error("a request could not be answered", exc_info=exc)
        return _BROKEN.end


class Listener(web.Server):
    """Makes a connection of ours for each client; given to `loop.create_server`."""

    def __init__(self, handler: Handler) -> None:
        super().__init__(handler)
        self.open_connections = 0

    def __call__(self) -> Connection:
        """Return the protocol of a new connection."""
        return Connection(
            self,
            loop=self._loop,
            access_log=None,
            keepalive_timeout=KEEP_ALIVE_SECONDS,
            lingering_time=_LINGER_SECONDS,
            max_line_size=_LINE_BYTES,
            max_field_size=_FIELD_BYTES,
        )
