"""The report server as a whole: sockets in front, the store and a reader of it behind.

Rule: what is in the queue it never touches; a broadcast is handed to the relay as the command line does it.
"""

import asyncio
import logging
import socket
import time
from contextlib import AsyncExitStack, suppress
from dataclasses import replace
from typing import Final

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

from report.desk import Desk
from report.doors import BoundedSite
from report.given import Given
from report.hooks.sender import Sender
from report.hub import Hub
from report.web import Site
from storage.kv import kv
from storage.posting import Mailing
from storage.reader import Reader
from storage.settings import Endpoint, ServerSettings
from storage.store import Store, StoreFailedError, StoreFullError

# The envelope of a raw message by the API, of up to 150 recipients, is in its address.
_LINE_BYTES: Final = 64 * 1024
_KEEP_ALIVE_SECONDS: Final = 30.0
_SHUTDOWN_SECONDS: Final = 5.0
# Some 8 ms of the write lock at a time, and most of the time none.
_WORDS_AT_ONCE: Final = 1024
_WORDS_REST_SECONDS: Final = 0.03
_WORDS_IDLE_SECONDS: Final = 3.0
_FORGET_SECONDS: Final = 3600.0

_log = logging.getLogger("telltale.report")
_wire_log = logging.getLogger("telltale.report.wire")


def _is_ours(record: logging.LogRecord) -> bool:
    """Whether a record tells of more than a request that is none, which every scan of the port brings."""
    return not (record.exc_info and isinstance(record.exc_info[1], HttpProcessingError | web.RequestPayloadError))


_wire_log.addFilter(_is_ours)


class ReportServer:
    """Serves the pages of the Email Log."""

    def __init__(self, given: Given) -> None:
        """Take what the front door gives; nothing is opened before `start`."""
        self._given = given
        self._desk: Desk | None = None
        self._runner: web.AppRunner | None = None
        self._listening: dict[Endpoint, BoundedSite] = {}
        self._opened = AsyncExitStack()

    @property
    def addresses(self) -> tuple[Endpoint, ...]:
        """The endpoints that are listened on, with the ports that the system chose."""
        return () if self._runner is None else tuple(Endpoint(*name[:2]) for name in self._runner.addresses)

    async def start(self) -> None:
        """Open the store and listen; raises OSError where a socket or the state directory cannot be had."""
        async with AsyncExitStack() as opened:
            store = await Store.open(self._given.server.state_dir, self._given.policy)
            opened.push_async_callback(store.close)
            reader, words, followed, told = [await self._reader(opened) for _ in range(4)]
            hub = Hub(followed)
            entering = asyncio.create_task(_enter_words(store))
            opened.push_async_callback(_ended, entering)
            given = self._given
            mailing = await _mailing(given, store)
            self._desk = Desk.made(store, reader, words, hub, _hostname(given.server), given)
            self._desk.mailing = mailing
            self._sender = Sender(store, told, given.webhooks, given.server.state_dir)
            opened.push_async_callback(self._sender.stop)
            runner = web.AppRunner(
                Site(self._desk).application(),
                access_log=None,
                logger=_wire_log,
                keepalive_timeout=_KEEP_ALIVE_SECONDS,
                shutdown_timeout=_SHUTDOWN_SECONDS,
                max_line_size=_LINE_BYTES,
            )
            await runner.setup()
            opened.push_async_callback(self._desk.jobs.close)
            opened.push_async_callback(_ended, asyncio.create_task(_forget_files(self._desk)))
            opened.push_async_callback(runner.cleanup)
            opened.push_async_callback(hub.close)
            await self._listen(runner)
            self._sender.start()
            self._runner = runner
            self._opened = opened.pop_all()
        _log.info(kv(event="listening", on=",".join(map(str, self.addresses))))

    async def _reader(self, opened: AsyncExitStack) -> Reader:
        reader = await Reader.open(self._given.server.state_dir)
        opened.push_async_callback(reader.close)
        return reader

    async def reload(self, given: Given) -> None:
        """Take a new configuration: sockets are opened and closed as listed; a new `state_dir` takes a restart.

        Raises OSError where a new socket cannot be had; what was listened on before still is.
        """
        state_dir = self._given.server.state_dir
        if given.server.state_dir != state_dir:
            _log.warning(kv(event="state_dir unchanged", why="a new state_dir takes a restart"))
            given = replace(given, server=given.server.model_copy(update={"state_dir": state_dir}))
        self._given = given
        if self._desk is not None and self._runner is not None:
            self._desk.mailing = await _mailing(given, self._desk.store)
            self._desk.store.set_policy(given.policy)
            self._desk.settings, self._desk.hostname = given.settings, _hostname(given.server)
            self._desk.handed, self._desk.webhooks = given.handed, given.webhooks
            await self._sender.reload(given.webhooks)
            await self._listen(self._runner)

    async def drain(self) -> None:
        """Stop listening, finish the answers under way, close the store."""
        await self._opened.aclose()

    async def _listen(self, runner: web.AppRunner) -> None:
        wanted = self._given.settings.listen
        for endpoint in wanted:
            if endpoint not in self._listening:
                site = BoundedSite(runner, endpoint.host or None, endpoint.port, lambda: self._given.settings)
                await site.start()
                self._listening[endpoint] = site
        for endpoint in [endpoint for endpoint in self._listening if endpoint not in wanted]:
            await self._listening.pop(endpoint).stop()


async def _mailing(given: Given, store: Store) -> Mailing | None:
    return None if given.mailing is None else await asyncio.to_thread(given.mailing, store)


async def _enter_words(store: Store) -> None:
    """Make what came in findable by its words, whenever there is more of it; a little at a time, since others write."""
    while True:
        try:
            entered = await store.enter_words(_WORDS_AT_ONCE)
        except (StoreFailedError, StoreFullError):
            _log.exception("words could not be entered")
            entered = 0
        await asyncio.sleep(_WORDS_REST_SECONDS if entered == _WORDS_AT_ONCE else _WORDS_IDLE_SECONDS)


async def _forget_files(desk: Desk) -> None:
    """Remove what people uploaded a day ago, and what came of it, whoever comes or does not."""
    while True:
        for kept in (desk.drafts, desk.imports):
            try:
                await asyncio.to_thread(kept.purge, time.time())
            except OSError:
                _log.exception("old files could not be removed; that is tried again")
        await asyncio.sleep(_FORGET_SECONDS)


async def _ended(task: asyncio.Task[None]) -> None:
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task


def _hostname(server: ServerSettings) -> str:
    return server.hostname or socket.gethostname()
