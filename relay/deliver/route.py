"""Static routes: which domains go to a smarthost instead of their MX hosts.

Rule: pure. What cannot be understood is a RouteError with one sentence for the person who wrote it.
"""

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Self
from urllib.parse import SplitResult, unquote, urlsplit

from relay.deliver.patterns import Patterns, a_labels

_DEFAULT_PORTS: Final = {"smtp": 25, "smtps": 465}
_FORM: Final = 'write "smtp://host", "smtp://host:port" or "smtps://user:password@host:port"'


class RouteError(ValueError):
    """A route that cannot be understood; its text is a sentence for the operator."""


@dataclass(frozen=True, slots=True)
class Route:
    """A server that the operator chose for a set of domains."""

    host: str
    """A name or an address without brackets."""
    port: int
    implicit_tls: bool = False
    user: str | None = None
    password: str | None = field(default=None, repr=False)


class Routes:
    """The routes by domain pattern."""

    __slots__ = ("_patterns",)

    def __init__(self, patterns: Patterns[Route]) -> None:
        self._patterns = patterns

    @classmethod
    def parse(cls, patterns: Mapping[str, str]) -> Self:
        """Read `{pattern: url}`; raises RouteError or PatternError."""
        return cls(Patterns({pattern: parse_route(url) for pattern, url in patterns.items()}))

    def match(self, domain: str) -> Route | None:
        """Return the most specific route of `domain` (lower-case A-labels); None where its MX hosts serve it."""
        return self._patterns.match(domain)


def parse_route(url: str) -> Route:
    """Read `smtp[s]://[user:password@]host[:port]`, user and password percent-encoded; raises RouteError."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise RouteError(f"the route {_shown(url)} has a bad host or port: {_FORM}") from None
    if parts.scheme not in _DEFAULT_PORTS:
        raise RouteError(f"the route {_shown(url)} does not begin with smtp:// or smtps://: {_FORM}")
    if parts.path not in {"", "/"} or parts.query or parts.fragment:
        raise RouteError(f"the route {_shown(url)} has something after its host and port: {_FORM}")
    if port == 0:
        raise RouteError(f"the route {_shown(url)} has port 0, where no server can listen")
    user, password = _credentials(parts, url)
    host = _host(parts.hostname or "", url)
    return Route(host, port or _DEFAULT_PORTS[parts.scheme], parts.scheme == "smtps", user, password)


def _host(name: str, url: str) -> str:
    try:
        return str(ipaddress.ip_address(name))
    except ValueError:
        host = a_labels(name)
    if host is None:
        raise RouteError(f"the route {_shown(url)} names no host: {_FORM}")
    return host


def _credentials(parts: SplitResult, url: str) -> tuple[str | None, str | None]:
    if parts.username is None:
        return None, None
    user, password = unquote(parts.username), unquote(parts.password or "")
    if not user or not password:
        raise RouteError(f"the route {_shown(url)} has a user without a password or a password without a user: {_FORM}")
    # RFC 4616, 2: NUL separates the fields of AUTH PLAIN.
    if "\0" in user + password:
        raise RouteError(f"the route {_shown(url)} has a NUL in its user or password, which AUTH cannot carry")
    return user, password


def _shown(url: str) -> str:
    """Return a URL for an error's text, without its password."""
    head, at, tail = url.rpartition("@")
    # Whatever stands before "@" in a URL that is broken may be a password.
    scheme, slashes, _ = head.partition("://")
    return f'"{scheme if slashes else ""}{slashes}***{at}{tail}"' if at else f'"{url}"'
