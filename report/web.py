"""The HTTP wire of the report server, on aiohttp: routes, who may take them, headers, errors.

Rules: a page is sent to who asks for this server by a name of its own: a foreign page whose name was pointed
at a loopback address (DNS rebinding) gets nothing. Every route names what its visitor must be allowed, and
that is asked here, before the page is called.
"""

import ipaddress
import json
import logging
import secrets
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import replace
from http import HTTPStatus
from typing import Final
from urllib.parse import quote

from aiohttp import hdrs, web

from report import api, html, sessions
from report.asked import API, REQUEST, Asked, Route
from report.desk import Desk
from report.forms import MAX_BYTES
from report.pages import ROUTES
from report.problem import JSON, ProblemError
from storage.access import Visitor
from storage.kv import kv

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
        made = web.Application(middlewares=[self._named, self._problems, self._own_names], client_max_size=MAX_BYTES)
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
            if route.tokens and route.method == hdrs.METH_GET:
                made.router.add_head(resource, self._entered(route))

    def _entered(self, route: Route) -> _Handler:
        async def enter(request: web.Request) -> web.StreamResponse:
            asked = Asked(request, self._desk)
            asked = replace(asked, key=sessions.key_of(asked))
            asked = replace(asked, visitor=await sessions.visitor_of(asked))
            refusal = _refused(asked, route)
            try:
                return refusal or await route.handler(asked)
            except ProblemError as problem:
                if route.tokens and asked.visitor is not None:
                    _tell(asked, asked.visitor, problem)
                raise

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
    async def _named(self, request: web.Request, handler: _Handler) -> web.StreamResponse:
        REQUEST.set(secrets.token_hex(8))
        return await handler(request)

    @web.middleware
    async def _problems(self, request: web.Request, handler: _Handler) -> web.StreamResponse:
        try:
            return await handler(request)
        except ProblemError as error:
            return self._told(request, error)
        except web.HTTPException as error:
            return self._not_here(request, error)
        except web.RequestPayloadError:
            detail = "The body came damaged: what its Content-Encoding or Transfer-Encoding says is not what it is."
            return self._told(request, ProblemError(HTTPStatus.BAD_REQUEST, detail))
        except ConnectionError:
            raise  # who asked is gone
        except Exception:  # noqa: BLE001 - whatever it is, the client gets a problem and the log the cause
            _log.exception(kv(event="failed", request=REQUEST.get(), method=request.method, path=request.path))
            detail = f"This could not be done, by a fault of ours; the log says why, at request={REQUEST.get()}."
            return self._told(request, ProblemError(HTTPStatus.INTERNAL_SERVER_ERROR, detail))

    def _not_here(self, request: web.Request, error: web.HTTPException) -> web.Response:
        """Return what is told of an address or a method that there is not."""
        detail, headers = f"{error.reason}.", dict[str, str]()
        if isinstance(error, web.HTTPMethodNotAllowed):
            headers[hdrs.ALLOW] = allow = ", ".join(sorted({*error.allowed_methods, hdrs.METH_OPTIONS}))
            if request.method == hdrs.METH_OPTIONS:
                return web.Response(status=HTTPStatus.NO_CONTENT, headers=headers)
            detail = f"{request.method[:20]} is nothing that can be done here; there are {allow}."
        elif isinstance(error, web.HTTPNotFound):
            detail = "There is nothing at this address."
            if Asked(request, self._desk).is_api:
                detail = f"There is no such operation; {self._desk.base.path}{API}/docs lists all."
        return self._told(request, ProblemError(HTTPStatus(error.status), detail, headers=headers))

    def _told(self, request: web.Request, problem: ProblemError) -> web.Response:
        asked = Asked(request, self._desk)
        if asked.wants_html and problem.status is not HTTPStatus.MISDIRECTED_REQUEST:
            answer = html.page(asked, "problem.html", {"problem": problem}, status=problem.status)
        else:
            answer = web.Response(status=problem.status, text=problem.as_json(REQUEST.get()), content_type=JSON)
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
        raise asked.unknown()
    if not visitor.may(route.needs):
        raise asked.forbidden(route.needs)
    return None


def _tell(asked: Asked, visitor: Visitor, problem: ProblemError) -> None:
    """Log what was refused to somebody whom we know, so that the one and the operator speak of the same."""
    request = asked.request
    told = kv(
        event="refused",
        request=REQUEST.get(),
        status=problem.status.value,
        user=visitor.user,
        method=request.method,
        path=request.path,
        why=problem.detail,
    )
    _log.info(told)


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


async def _add_headers(_request: web.BaseRequest, response: web.StreamResponse) -> None:
    response.headers["X-Request-Id"] = REQUEST.get()
    for name, value in _HEADERS.items():
        response.headers.setdefault(name, value)
    response.headers["Server"] = "Telltale"
    response.headers.setdefault(hdrs.CACHE_CONTROL, "no-store")
