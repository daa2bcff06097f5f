"""Fetches MTA-STS policies and delivers TLS reports over HTTPS; the only file of delivery that knows aiohttp.

Rules: addresses come from our own resolver, and none that is private is connected to, since strangers name the
hosts; nothing is followed elsewhere; sizes and times are bounded; whatever happens comes back as a value.
"""

import ipaddress
import socket
import ssl
from collections.abc import Callable
from typing import Any, Final
from urllib.parse import urlsplit

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult

from relay.deliver.dns import Resolver
from relay.deliver.sts import MAX_POLICY_BYTES
from storage.reach import is_public

# RFC 8461, 3.3 suggests a minute; mail waits for it.
_POLICY_SECONDS: Final = 30.0
# Reports are not waited for.
_REPORT_SECONDS: Final = 60.0
_CONNECTIONS: Final = 200
_PORT: Final = 443
_OK: Final = 200
_TAKEN: Final = frozenset({200, 201, 202, 204})


class _Addresses(AbstractResolver):
    """aiohttp's questions, asked of our resolver."""

    def __init__(self, resolver: Resolver, allowed: Callable[[str], bool]) -> None:
        self._resolver = resolver
        self._allowed = allowed

    async def resolve(
        self,
        host: str,
        port: int = 0,
        family: socket.AddressFamily = socket.AF_UNSPEC,  # noqa: ARG002 - both, whatever is asked for
    ) -> list[ResolveResult]:
        """Return the addresses that may be connected to; raises OSError where there is none."""
        answer = await self._resolver.addresses(host.lower().rstrip("."))
        allowed = [address for address in answer.addresses if self._allowed(address)]
        if not allowed:
            raise OSError(f"{host} has private addresses only" if answer.addresses else f"{host} has no address")
        return [_result(host, address, port) for address in allowed]

    async def close(self) -> None:
        """Nothing is held."""


def _result(host: str, address: str, port: int) -> ResolveResult:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    return ResolveResult(hostname=host, host=address, port=port, family=family, proto=0, flags=socket.AI_NUMERICHOST)


class Https:
    """Our HTTPS client."""

    def __init__(
        self,
        resolver: Resolver,
        *,
        allow_private: bool,
        port: int = _PORT,
    ) -> None:
        """`allow_private`: whether private addresses may be connected to; `port` is that of policy hosts."""
        self._resolver = resolver
        self._allow_private = allow_private
        self._port = port
        self._session: aiohttp.ClientSession | None = None
        self._closed = False

    async def policy(self, domain: str) -> bytes | str:
        """Fetch the text of a domain's MTA-STS policy (RFC 8461, 3.3), or return why there is none."""
        url = f"https://mta-sts.{domain}:{self._port}/.well-known/mta-sts.txt"
        try:
            async with self._client().get(
                url, allow_redirects=False, timeout=aiohttp.ClientTimeout(_POLICY_SECONDS)
            ) as answer:
                return await _policy_of(answer)
        except (aiohttp.ClientError, OSError, ValueError) as error:  # TimeoutError is an OSError
            return _why(error)

    async def post(self, url: str, content: bytes, kind: str) -> str | None:
        """POST a report to a https: URL; return why that failed, None where it was taken."""
        host = urlsplit(url).hostname or ""
        if not self._may_name(host):
            return f"{host} is a private address"
        try:
            async with self._client().post(
                url,
                data=content,
                headers={"Content-Type": kind},
                allow_redirects=False,
                timeout=aiohttp.ClientTimeout(_REPORT_SECONDS),
            ) as answer:
                return None if answer.status in _TAKEN else f"HTTP status {answer.status}"
        except (aiohttp.ClientError, OSError, ValueError) as error:
            return _why(error)

    async def close(self) -> None:
        """Close its connections."""
        self._closed = True
        if self._session is not None:
            await self._session.close()

    def _client(self) -> aiohttp.ClientSession:
        if self._closed:
            raise ConnectionAbortedError("we are about to end")
        # Made when first needed: reading the system's certificates takes some 30 ms.
        if self._session is None:
            connector = aiohttp.TCPConnector(
                resolver=_Addresses(self._resolver, self._may_name),
                ssl=ssl.create_default_context(),
                limit=_CONNECTIONS,
                use_dns_cache=False,
                force_close=True,
            )
            self._session = aiohttp.ClientSession(
                connector=connector,
                cookie_jar=aiohttp.DummyCookieJar(),
                auto_decompress=False,
                headers={"User-Agent": "telltale", "Accept-Encoding": "identity"},
            )
        return self._session

    def _may_name(self, host: str) -> bool:
        """Return whether a host may be connected to: a name is judged by its addresses, later."""
        try:
            ipaddress.ip_address(host)
        except ValueError:
            return True
        return self._allow_private or is_public(host)


async def _policy_of(answer: aiohttp.ClientResponse) -> bytes | str:
    # RFC 8461, 3.3: redirects are not followed, and any other status is no policy.
    if answer.status != _OK:
        return f"HTTP status {answer.status}"
    # RFC 8461, 3.2: a server where anybody may put files could otherwise be made to publish one.
    if answer.content_type != "text/plain":
        return f"its type is {answer.content_type[:100]}, not text/plain"
    content = b""
    async for block in answer.content.iter_chunked(16384):
        content += block
        if len(content) > MAX_POLICY_BYTES:
            return "it is too large"
    return content


def _why(error: Exception) -> str:
    if isinstance(error, TimeoutError):
        return "timed out"
    cause: Any = getattr(error, "certificate_error", None) or getattr(error, "os_error", None) or error
    return " ".join(str(cause).split())[:200] or type(error).__name__
