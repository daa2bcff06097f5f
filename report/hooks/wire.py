"""The wire of webhooks, on aiohttp: a signed POST to an address that was looked at.

Rules: a name is resolved here, every address is looked at, and those are connected to: no second answer of the DNS
comes between (rebinding). No redirect is followed, no proxy of the environment used, no cookie kept. What the endpoint
says is read to some bytes, and a call ends in its time.
"""

import asyncio
import errno
import os
import socket
import time
from dataclasses import dataclass, field, replace
from typing import Final

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from yarl import URL

from report.hooks.signing import headers
from report.hooks.target import may_reach
from storage.reach import is_public

_TAKEN: Final = range(200, 300)
GONE: Final = 410
_MOST_SAID: Final = 200


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of a call."""

    status: int
    """0: there was no answer."""
    words: str
    duration_ms: int = field(default=0, compare=False)

    @property
    def taken(self) -> bool:
        """Whether the endpoint has it."""
        return self.status in _TAKEN


class _Forbidden(OSError):  # noqa: N818 - aiohttp wants an OSError
    """All addresses of a host are private."""


class _Looked(AbstractResolver):
    """Resolves names by the system, and leaves out what may not be connected to."""

    def __init__(self, *, allow_private: bool) -> None:
        self._allow_private = allow_private

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        loop = asyncio.get_running_loop()
        infos = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM, family=family)
        found: list[ResolveResult] = [
            ResolveResult(
                hostname=host,
                host=str(address[0]),
                port=port,
                family=kind,
                proto=proto,
                flags=socket.AI_NUMERICHOST | socket.AI_NUMERICSERV,
            )
            for kind, _, proto, _, address in infos
            if self._allow_private or is_public(str(address[0]))
        ]
        if not found:
            why = f"{host} has private addresses only; [webhooks] allow_private = true allows those"
            raise _Forbidden(errno.EACCES, why)
        return found

    async def close(self) -> None:
        """Nothing is held."""


class Wire:
    """Calls endpoints; `close` it in the end."""

    def __init__(self, *, allow_private: bool, timeout_seconds: float, most: int = 40) -> None:
        """Hold at most `most` connections."""
        self._allow_private = allow_private
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(
                resolver=_Looked(allow_private=allow_private), use_dns_cache=False, limit=most
            ),
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(total=timeout_seconds),
            headers={"User-Agent": "Telltale", "Content-Type": "application/json"},
            auto_decompress=False,
            trust_env=False,
        )

    async def post(self, url: str, secrets: tuple[str, ...], id_: str, body: bytes) -> Answer:
        """Send a message, signed with each secret; whatever goes wrong is an answer."""
        began = time.monotonic()
        answer = await self._post(url, secrets, id_, body)
        return replace(answer, duration_ms=round((time.monotonic() - began) * 1000))

    async def _post(self, url: str, secrets: tuple[str, ...], id_: str, body: bytes) -> Answer:
        target = URL(url)
        if not self._allow_private and not may_reach(target.raw_host or ""):
            return Answer(0, "the address is private")
        signed = headers(secrets, id_, int(time.time()), body)
        try:
            async with self._session.post(target, data=body, headers=signed, allow_redirects=False) as answer:
                said = (await answer.content.read(_MOST_SAID)).decode("utf-8", "replace")
                return Answer(answer.status, f"{answer.status} {_line(said)}".strip())
        except TimeoutError:
            return Answer(0, "no answer in time")
        except (aiohttp.ClientError, OSError, ValueError, RuntimeError) as error:  # the last: it was closed meanwhile
            return Answer(0, _line(_why(error)))

    async def close(self) -> None:
        """Hang up."""
        await self._session.close()


def _why(error: Exception) -> str:
    """Return what went wrong, in plain words."""
    match error:
        case aiohttp.ClientConnectorCertificateError():
            reason = error.certificate_error
            return f"its certificate is not valid: {getattr(reason, 'verify_message', '') or reason}"
        case aiohttp.ClientConnectorSSLError():
            return f"no TLS connection: {getattr(error.os_error, 'reason', '') or error.os_error}"
        case aiohttp.ClientConnectorDNSError() if not isinstance(error.os_error, _Forbidden):
            return f"the name {error.host} leads to no address"
        case aiohttp.ClientConnectorError() if number := error.os_error.errno:
            forbidden = isinstance(error.os_error, _Forbidden)
            return f"no connection: {error.os_error.strerror if forbidden else os.strerror(number)}"
        case aiohttp.ServerDisconnectedError():
            return "it hung up without an answer"
    return str(error) or type(error).__name__


def _line(text: str) -> str:
    return "".join(char if char.isprintable() else " " for char in text)[:_MOST_SAID]
