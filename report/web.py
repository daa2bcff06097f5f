"""The HTTP wire of the report server, on aiohttp: routes, headers, errors as JSON problems.

Rules: read only. A page is sent to who asks for this server by a name of its own: a foreign page whose
name was pointed at a loopback address (DNS rebinding) gets nothing.
"""

import ipaddress
import json
import logging
import time
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from importlib.resources import files
from typing import Final

from aiohttp import web

from report import page
from storage.model import LogFilter
from storage.reader import Reader

_HEADERS: Final = {
    "Content-Security-Policy": "default-src 'none'; style-src 'self'; base-uri 'none'; form-action 'none';"
    " frame-ancestors 'none'",
    "Cache-Control": "no-store",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "Server": "Telltale",
    "X-Content-Type-Options": "nosniff",
}
_Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

_log = logging.getLogger("telltale.report")


class Site:
    """The pages, on a reader that is asked for anew at each request."""

    def __init__(self, reader: Callable[[], Awaitable[Reader | None]], hostname: str) -> None:
        """Take what gives the reader (None: no store yet) and the server's own name."""
        self._reader = reader
        self.hostname = hostname
        self._style = files("report").joinpath("static/style.css").read_text("utf-8")

    def application(self) -> web.Application:
        """Return the application to be served."""
        made = web.Application(middlewares=[self._problems, self._own_names])
        made.router.add_get("/", self._index)
        made.router.add_get("/style.css", self._css)
        made.router.add_get("/healthz", self._health)
        made.on_response_prepare.append(_add_headers)
        return made

    async def _index(self, _request: web.Request) -> web.Response:
        reader = await self._reader()
        counts = None if reader is None else await reader.status_counts()
        rows = [] if reader is None else await reader.log(LogFilter(), limit=page.ROWS)
        html = page.index(counts, rows, time.time_ns() // 1_000_000, None)
        return web.Response(text=html, content_type="text/html")

    async def _css(self, _request: web.Request) -> web.Response:
        return web.Response(text=self._style, content_type="text/css")

    async def _health(self, _request: web.Request) -> web.Response:
        reader = await self._reader()
        if reader is not None:
            await reader.status_counts()
        return web.json_response({"status": "ok", "store": reader is not None})

    @web.middleware
    async def _problems(self, request: web.Request, handler: _Handler) -> web.StreamResponse:
        try:
            return await handler(request)
        except web.HTTPException as error:
            allowed = {"Allow": error.headers["Allow"]} if "Allow" in error.headers else {}
            return _problem(HTTPStatus(error.status), error.reason, allowed)
        except Exception:  # noqa: BLE001 - whatever it is, the client gets a problem and the log the cause
            _log.exception("a page could not be made")
            return _problem(HTTPStatus.INTERNAL_SERVER_ERROR, "The page could not be made; the log says why.")

    @web.middleware
    async def _own_names(self, request: web.Request, handler: _Handler) -> web.StreamResponse:
        name = (request.url.host or "").lower()
        if name in ("localhost", self.hostname.lower()) or _is_address(name):
            return await handler(request)
        detail = "This server answers to addresses, to localhost and to server.hostname of its configuration."
        return _problem(HTTPStatus.MISDIRECTED_REQUEST, detail)


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _problem(status: HTTPStatus, detail: str, headers: dict[str, str] | None = None) -> web.Response:
    """Return an error as a JSON problem (RFC 9457)."""
    body = {"type": "about:blank", "title": status.phrase, "status": status.value, "detail": detail}
    return web.Response(status=status, text=json.dumps(body), content_type="application/problem+json", headers=headers)


async def _add_headers(_request: web.BaseRequest, response: web.StreamResponse) -> None:
    response.headers.update(_HEADERS)
