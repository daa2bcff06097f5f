"""A request as pages see it: who asks, by which address, and what may be shown.

Rule: pages learn who is asking here and nowhere else. Where a page stands behind a scope, the visitor is known
and has it before the page is called.
"""

from collections.abc import Awaitable, Callable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass, replace
from functools import cached_property
from http import HTTPStatus
from typing import Final
from urllib.parse import urlencode

from aiohttp import hdrs, web

from report.desk import Desk
from report.problem import ProblemError
from storage.access import SCOPES, Scope, Visitor
from storage.forwarded import origin, parse_address, within
from storage.model import LogFilter

API: Final = "/api/v1"
"""Where programs ask, below the base path."""
REQUEST: Final[ContextVar[str]] = ContextVar("request", default="")
"""The name of the request that is answered, in its answer and in the log."""
_AGENT_CHARS: Final = 200
_REALM: Final = 'Bearer realm="telltale"'


@dataclass(frozen=True)
class Asked:
    """One request."""

    request: web.Request
    desk: Desk
    visitor: Visitor | None = None
    key: str = ""
    """The secret that the browser's cookie holds, which its forms are bound to; "" where there is none."""

    @property
    def who(self) -> Visitor:
        """Who asks; for pages behind a scope."""
        if self.visitor is None:
            raise self.unknown()
        return self.visitor

    def unknown(self) -> ProblemError:
        """Return what is told to those whom we do not know, as RFC 6750, 3 has it."""
        detail, challenge = "Log in first.", _REALM
        if hdrs.AUTHORIZATION in self.request.headers:
            detail = "This token is not known here, or its time is over; `telltale token list` names all."
            challenge += ', error="invalid_token"'
        elif self.is_api:
            detail = "The API takes API tokens: Authorization: Bearer tt_…; `telltale token add` makes one."
        return ProblemError(HTTPStatus.UNAUTHORIZED, detail, headers={hdrs.WWW_AUTHENTICATE: challenge})

    def forbidden(self, needs: Scope) -> ProblemError:
        """Return what is told to those who may not do what takes this scope."""
        who = self.who
        detail = f"{who.user} may not do this: it takes {needs.value}."
        if who.session is not None:
            return ProblemError(HTTPStatus.FORBIDDEN, detail)
        if needs in SCOPES[who.role]:
            detail = f"This token may not do this: it takes the scope {needs.value}."
        challenge = f'{_REALM}, error="insufficient_scope", scope="{needs.value}"'
        return ProblemError(HTTPStatus.FORBIDDEN, detail, headers={hdrs.WWW_AUTHENTICATE: challenge})

    def seen(self, wanted: LogFilter) -> LogFilter:
        """Return what of `wanted` the visitor may see: a sender sees own mail only."""
        return wanted if self.who.own is None else replace(wanted, user=self.who.own)

    def url(self, path: str, query: Mapping[str, str] | tuple[tuple[str, str], ...] = ()) -> str:
        """Return the address of one of our pages, for links and redirects."""
        return f"{self.desk.base.path}{path}" + (f"?{urlencode(query)}" if query else "")

    @cached_property
    def client(self) -> str:
        """The network address of who asks, behind trusted proxies."""
        hops = ",".join(self.request.headers.getall("X-Forwarded-For", ())).split(",")
        found = origin(self.request.remote or "", [hop for hop in hops if hop], self.desk.settings.trusted_proxies)
        return str(found or self.request.remote or "")

    @property
    def agent(self) -> str:
        """The User-Agent, cut."""
        return self.request.headers.get(hdrs.USER_AGENT, "")[:_AGENT_CHARS]

    @cached_property
    def secure(self) -> bool:
        """Whether the browser speaks https: to us, to a trusted proxy, or by `base_url`."""
        if self.request.secure or self.desk.base.scheme == "https":
            return True
        peer = parse_address(self.request.remote or "")
        trusted = peer is not None and within(peer, self.desk.settings.trusted_proxies)
        return trusted and self.request.headers.get("X-Forwarded-Proto", "").strip().lower() == "https"

    @cached_property
    def is_api(self) -> bool:
        """Whether an operation of the API is meant."""
        return self.request.path.startswith(f"{self.desk.base.path}{API}/")

    @property
    def wants_html(self) -> bool:
        """Whether it is a browser that shows what it gets to somebody."""
        return not self.is_api and "text/html" in self.request.headers.get(hdrs.ACCEPT, "")


Handler = Callable[[Asked], Awaitable[web.StreamResponse]]


@dataclass(frozen=True, slots=True)
class Route:
    """One way into the server."""

    method: str
    path: str
    """As aiohttp's router reads it, below the base path."""
    handler: Handler
    needs: Scope | None
    """What the visitor must be allowed; None: anybody may ask."""
    tokens: bool = False
    """Whether programs with an API token may ask; else only browsers with a session."""


@dataclass(frozen=True, slots=True)
class NavItem:
    """An entry of the pages' navigation."""

    path: str
    title: str
    needs: Scope
