"""The HTTP wire of the report server, on aiohttp: routes, who may take them, headers, errors.

Rules: a page is sent to who asks for this server by a name of its own: a foreign page whose name was pointed
at a loopback address (DNS rebinding) gets nothing. Every route names what its visitor must be allowed, and
that is asked here, before the page is called.
"""

import ipaddress
import json
import logging
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import replace
from http import HTTPStatus
from typing import Final
from urllib.parse import quote

from aiohttp import hdrs, web

from report import api, html, sessions
from report.asked import Asked, Route
from report.desk import Desk
from report.forms import MAX_BYTES
from report.pages import ROUTES
from report.problem import JSON, ProblemError

_HEADERS: Final = {
    "Content-Security-Policy": "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self';"
    " img-src 'self' data:; frame-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "same-origin",
    "Server": "Telltale",
    "X-Content-Type-Options": "nosniff",
}
_FOR_EVER: Final = "public, max-age=31536000, immutable"
_Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

_log = logging.getLogger("telltale.report")


class Site:
    """The pages, on a desk."""

    def __init__(self, desk: Desk) -> None:
        """Take what the pages work with."""
        self._desk = desk

    def application(self) -> web.Application:
        """Return the application to be served."""
        made = web.Application(middlewares=[self._problems, self._own_names], client_max_size=MAX_BYTES)
        base = self._desk.base.path
        made.router.add_get("/healthz", self._health)
        made.router.add_get(f"{base}/static/{{version}}/{{name}}", self._file)
        self._add(made, ROUTES)
        self._add(made, api.ROUTES)
        made.on_response_prepare.append(_add_headers)
        return made

    def _add(self, made: web.Application, routes: Iterable[Route]) -> None:
        for route in routes:
            resource = self._desk.base.path + route.path
            made.router.add_route(route.method, resource, self._entered(route))

    def _entered(self, route: Route) -> _Handler:
        async def enter(request: web.Request) -> web.StreamResponse:
            asked = Asked(request, self._desk)
            asked = replace(asked, key=sessions.key_of(asked))
            asked = replace(asked, visitor=await sessions.visitor_of(asked))
            refusal = _refused(asked, route)
            return refusal or await route.handler(asked)

        return enter

    async def _file(self, request: web.Request) -> web.Response:
        found = self._desk.static.get(request.match_info["name"])
        if found is None:
            raise ProblemError(HTTPStatus.NOT_FOUND, "There is no such file.")
        return web.Response(
            body=found[0], content_type=found[1], charset="utf-8", headers={hdrs.CACHE_CONTROL: _FOR_EVER}
        )

    async def _health(self, _request: web.Request) -> web.Response:
        await self._desk.reader.status_counts()
        return web.Response(text=json.dumps({"status": "ok", "store": True}), content_type="application/json")

    @web.middleware
    async def _problems(self, request: web.Request, handler: _Handler) -> web.StreamResponse:
        try:
            return await handler(request)
        except ProblemError as error:
            return self._told(request, error)
        except web.HTTPException as error:
            allowed = {"Allow": error.headers["Allow"]} if "Allow" in error.headers else {}
            return self._told(request, ProblemError(HTTPStatus(error.status), error.reason, headers=allowed))
        except ConnectionError:
            raise  # who asked is gone
        except Exception:  # noqa: BLE001 - whatever it is, the client gets a problem and the log the cause
            _log.exception("a page could not be made")
            detail = "The page could not be made; the log says why."
            return self._told(request, ProblemError(HTTPStatus.INTERNAL_SERVER_ERROR, detail))

    def _told(self, request: web.Request, problem: ProblemError) -> web.Response:
        asked = Asked(request, self._desk)
        if asked.wants_html and problem.status is not HTTPStatus.MISDIRECTED_REQUEST:
            answer = html.page(asked, "problem.html", {"problem": problem}, status=problem.status)
        else:
            answer = web.Response(status=problem.status, text=problem.as_json(), content_type=JSON)
        answer.headers.update(problem.headers)
        return answer

    @web.middleware
    async def _own_names(self, request: web.Request, handler: _Handler) -> web.StreamResponse:
        try:
            name = (request.url.host or "").lower()
        except ValueError:  # a Host that is none
            name = ""
        own = ("localhost", self._desk.hostname.lower(), self._desk.base.hostname)
        if name in own or _is_address(name):
            return await handler(request)
        detail = "This server answers to addresses, to localhost and to server.hostname of its configuration."
        raise ProblemError(HTTPStatus.MISDIRECTED_REQUEST, detail)


def _refused(asked: Asked, route: Route) -> web.Response | None:
    """Return where to log in, or None: the visitor may go on. Raises ProblemError where there is no other way."""
    if route.needs is None:
        return None
    visitor = asked.visitor
    if visitor is None or (visitor.session is None and not route.tokens):
        if asked.request.method == hdrs.METH_GET and asked.wants_html:
            path = asked.request.raw_path.removeprefix(asked.desk.base.path)
            return html.see_other(asked, "/login" if path == "/" else f"/login?next={quote(path, safe='')}")
        return _unauthorized(asked)
    if not visitor.may(route.needs):
        detail = f"{visitor.user} may not do this: it takes {route.needs.value}."
        raise ProblemError(HTTPStatus.FORBIDDEN, detail)
    return None


def _unauthorized(asked: Asked) -> web.Response:
    asked = replace(asked, visitor=None)
    raise ProblemError(HTTPStatus.UNAUTHORIZED, "Log in first.", headers={"WWW-Authenticate": "Bearer"})


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


async def _add_headers(_request: web.BaseRequest, response: web.StreamResponse) -> None:
    for name, value in _HEADERS.items():
        response.headers.setdefault(name, value)
    response.headers["Server"] = "Telltale"
    response.headers.setdefault(hdrs.CACHE_CONTROL, "no-store")
