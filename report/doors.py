"""The connections of the report server: so many in all, and of one client; whoever is one too many is told so.

Rules: who is let in has a place until the connection ends, and one that brings no request loses it by the server's
time-out. Connections of a trusted proxy are many clients': they count in all alone, and the proxy bounds its own.
"""

import asyncio
import json
import logging
import time
from collections.abc import Callable
from http import HTTPStatus
from typing import ClassVar, Final, cast

from aiohttp import web

from report.problem import JSON, ProblemError
from report.settings import ReportSettings
from storage.forwarded import parse_address, within
from storage.kv import kv
from storage.logins import client_of

_PROBLEM: Final = ProblemError(HTTPStatus.SERVICE_UNAVAILABLE, "There are too many connections; try again in a moment.")
_BODY: Final = json.dumps(_PROBLEM.as_object("")).encode()
_FULL: Final = (
    b"HTTP/1.1 503 Service Unavailable\r\n"
    b"Content-Type: %b\r\nContent-Length: %d\r\nRetry-After: 5\r\nConnection: close\r\n\r\n%b"
) % (JSON.encode(), len(_BODY), _BODY)


_TELL_SECONDS: Final = 60.0

_log = logging.getLogger("telltale.report")


class BoundedSite(web.TCPSite):
    """A listening socket whose connections are bounded."""

    def __init__(self, runner: web.AppRunner, host: str | None, port: int, at: Callable[[], ReportSettings]) -> None:
        """Listen on an address when started; `at` tells the settings in force."""
        super().__init__(runner, host, port)
        self._at = at

    async def start(self) -> None:
        """Listen; raises OSError."""
        await web.BaseSite.start(self)
        server = cast("web.Server", self._runner.server)
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: _Door(server, self._at), self._host, self._port)


class _Door(asyncio.Protocol):
    """One who comes in, or does not."""

    told_at: ClassVar[float] = -_TELL_SECONDS

    def __init__(self, server: web.Server, at: Callable[[], ReportSettings]) -> None:
        self._server = server
        self._at = at

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Give the connection to the server where there is room."""
        made = cast("asyncio.Transport", transport)
        if not self._has_room(made):
            self._tell(_peer(made))
            made.write(_FULL)
            made.close()
            return
        connection = self._server()
        made.set_protocol(connection)
        connection.connection_made(made)

    def _has_room(self, transport: asyncio.Transport) -> bool:
        settings, inside = self._at(), self._server.connections
        if len(inside) >= settings.max_connections:
            return False
        address = parse_address(_peer(transport))
        if len(inside) < settings.max_connections_per_client or address is None:
            return True
        if within(address, settings.trusted_proxies):
            return True
        client = client_of(str(address))
        same = sum(client_of(_peer(one.transport)) == client for one in inside if one.transport is not None)
        return same < settings.max_connections_per_client

    @classmethod
    def _tell(cls, client: str) -> None:
        """Log that somebody is turned away, now and then: who floods us shall not flood the log."""
        now = time.monotonic()
        if now - cls.told_at >= _TELL_SECONDS:
            cls.told_at = now
            _log.warning(kv(event="too-many-connections", client=client, see="max_connections in [report]"))


def _peer(transport: asyncio.BaseTransport) -> str:
    return str((transport.get_extra_info("peername") or ("",))[0])
