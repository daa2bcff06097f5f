"""The report server as a whole: sockets in front, a reader of the store behind.

Rule: it only reads, and it may start before the relay has made the store.
"""

import logging
import socket
from contextlib import AsyncExitStack
from typing import Final

from aiohttp import web

from report.settings import ReportSettings
from report.web import Site
from storage.kv import kv
from storage.reader import Reader, StoreMissingError
from storage.settings import Endpoint, ServerSettings

_KEEP_ALIVE_SECONDS: Final = 30.0
_SHUTDOWN_SECONDS: Final = 5.0

_log = logging.getLogger("telltale.report")


class ReportServer:
    """Serves the pages of the Email Log."""

    def __init__(self, settings: ReportSettings, server: ServerSettings) -> None:
        """Take the configuration; nothing is opened before `start`."""
        self._settings = settings
        self._server = server
        self._site = Site(self._opened_reader, _hostname(server))
        self._reader: Reader | None = None
        self._runner: web.AppRunner | None = None
        self._listening: dict[Endpoint, web.TCPSite] = {}
        self._opened = AsyncExitStack()

    @property
    def addresses(self) -> tuple[Endpoint, ...]:
        """The endpoints that are listened on, with the ports that the system chose."""
        return () if self._runner is None else tuple(Endpoint(*name[:2]) for name in self._runner.addresses)

    async def start(self) -> None:
        """Listen; raises OSError where a socket cannot be had."""
        async with AsyncExitStack() as opened:
            runner = web.AppRunner(
                self._site.application(),
                access_log=None,
                keepalive_timeout=_KEEP_ALIVE_SECONDS,
                shutdown_timeout=_SHUTDOWN_SECONDS,
            )
            await runner.setup()
            opened.push_async_callback(self._close_reader)
            opened.push_async_callback(runner.cleanup)
            await self._listen(runner)
            self._runner = runner
            self._opened = opened.pop_all()
        _log.info(kv(event="listening", on=",".join(map(str, self.addresses))))

    async def reload(self, settings: ReportSettings, server: ServerSettings) -> None:
        """Take a new configuration: sockets are opened and closed as listed; a new `state_dir` takes a restart.

        Raises OSError where a new socket cannot be had; what was listened on before still is.
        """
        if server.state_dir != self._server.state_dir:
            _log.warning(kv(event="state_dir unchanged", why="a new state_dir takes a restart"))
        self._settings = settings
        self._site.hostname = _hostname(server)
        if self._runner is not None:
            await self._listen(self._runner)

    async def drain(self) -> None:
        """Stop listening, finish the answers under way, close the store."""
        await self._opened.aclose()

    async def _listen(self, runner: web.AppRunner) -> None:
        wanted = self._settings.listen
        for endpoint in wanted:
            if endpoint not in self._listening:
                site = web.TCPSite(runner, endpoint.host or None, endpoint.port, reuse_port=False)
                await site.start()
                self._listening[endpoint] = site
        for endpoint in [endpoint for endpoint in self._listening if endpoint not in wanted]:
            await self._listening.pop(endpoint).stop()

    async def _opened_reader(self) -> Reader | None:
        if self._reader is None:
            try:
                reader = await Reader.open(self._server.state_dir)
            except StoreMissingError:
                return None
            if self._reader is not None:
                await reader.close()  # another request was first
            else:
                self._reader = reader
        return self._reader

    async def _close_reader(self) -> None:
        if self._reader is not None:
            await self._reader.close()
            self._reader = None


def _hostname(server: ServerSettings) -> str:
    return server.hostname or socket.gethostname()
