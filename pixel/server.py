"""The pixel server as a whole: sockets in front, the store behind, hits in between.

Rules: once `start` returns, images are served; `drain` returns when every hit that was taken is committed,
or its loss is logged.
"""

import asyncio
import logging
import os
import time
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

from pixel.crowd import Crowd
from pixel.judge import Rules
from pixel.recorder import Counts, Policy, Recorder
from pixel.settings import PixelSettings
from pixel.unsubscribe import UnsubscribePages
from pixel.web import Handler, Listener
from storage import people
from storage.kv import kv
from storage.reader import Reader
from storage.secret import load_secret
from storage.settings import Endpoint, ServerSettings
from storage.store import Store
from storage.token import Purpose, TokenBox
from storage.tracking import TrackingSettings
from storage.unsubscribe_link import UnsubscribeBox

DRAIN_SECONDS: Final = 10.0
# Mail clients fetch a broadcast's images in bursts.
_BACKLOG: Final = 2048
_CROWD_KEY_BYTES: Final = 32

_log = logging.getLogger("telltale.pixel")


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


@dataclass(frozen=True, slots=True)
class _Running:
    """What lives between `start` and `drain`."""

    recorder: Recorder
    handler: Handler
    listener: Listener


class PixelServer:
    """Serves images and records their hits."""

    def __init__(
        self, settings: PixelSettings, tracking: TrackingSettings, server: ServerSettings, policy: people.Policy
    ) -> None:
        """Take the configuration; nothing is opened before `start`."""
        self._settings = settings
        self._tracking = tracking
        self._server = server
        self._people_policy = policy
        self._store: Store | None = None
        self._opened = AsyncExitStack()
        self._sockets: dict[Endpoint, asyncio.Server] = {}
        self._running: _Running | None = None

    @property
    def addresses(self) -> tuple[Endpoint, ...]:
        """The endpoints that are listened on, with the ports that the system chose."""
        return tuple(
            Endpoint(*socket.getsockname()[:2]) for server in self._sockets.values() for socket in server.sockets
        )

    @property
    def counts(self) -> Counts:
        """What became of the hits since the start."""
        return Counts() if self._running is None else self._running.recorder.counts

    async def start(self) -> None:
        """Open the store and listen; raises OSError where a socket or the state directory cannot be had."""
        async with AsyncExitStack() as opened:
            key = load_secret(self._server.state_dir)
            store = self._store = await Store.open(self._server.state_dir, self._people_policy)
            opened.push_async_callback(store.close)
            reader = await Reader.open(self._server.state_dir)
            opened.push_async_callback(reader.close)
            recorder = Recorder(
                reader.hit_facts, store.record_hits, self._policy(), Crowd(os.urandom(_CROWD_KEY_BYTES))
            )
            recorder.start()
            opened.push_async_callback(recorder.drain, DRAIN_SECONDS)
            tokens = TokenBox(key, Purpose.PIXEL)
            pages = UnsubscribePages(UnsubscribeBox(key), store, reader, _now_ms)
            handler = Handler(tokens, recorder.take, lambda: recorder.failing, base_path=self._base_path(), pages=pages)
            listener = Listener(handler)
            opened.push_async_callback(self._close_connections, listener)
            opened.callback(self._close_sockets)
            await self._listen(listener)
            self._running = _Running(recorder, handler, listener)
            self._opened = opened.pop_all()
        _log.info(kv(event="listening", on=",".join(map(str, self.addresses))))

    async def reload(
        self, settings: PixelSettings, tracking: TrackingSettings, server: ServerSettings, policy: people.Policy
    ) -> None:
        """Take a new configuration: rules and proxies at once, sockets opened and closed as listed.

        A new `state_dir` takes a restart. Raises OSError where a new socket cannot be had; what was
        listened on before is then still listened on.
        """
        if server.state_dir != self._server.state_dir:
            _log.warning(kv(event="state_dir unchanged", why="a new state_dir takes a restart"))
        self._settings, self._tracking, self._people_policy = settings, tracking, policy
        if self._store is not None:
            self._store.set_policy(policy)
        if self._running is not None:
            self._running.recorder.policy = self._policy()
            self._running.handler.base_path = self._base_path()
            await self._listen(self._running.listener)

    async def drain(self) -> None:
        """Stop listening, end the connections, commit what was taken, close the store."""
        await self._opened.aclose()

    def _policy(self) -> Policy:
        return Policy(
            Rules(scanner_ms=self._tracking.scanner_seconds * 1000),
            self._settings.trusted_proxies,
            self._tracking.keep_addresses,
        )

    def _base_path(self) -> str:
        return urlsplit(self._tracking.base_url).path.rstrip("/")

    async def _listen(self, listener: Listener) -> None:
        """Open the sockets that are wanted and not there, then close those that are there and not wanted."""
        loop = asyncio.get_running_loop()
        wanted = self._settings.listen
        for endpoint in wanted:
            if endpoint not in self._sockets:
                self._sockets[endpoint] = await loop.create_server(
                    listener, endpoint.host or None, endpoint.port, backlog=_BACKLOG, reuse_port=False
                )
        for endpoint in [endpoint for endpoint in self._sockets if endpoint not in wanted]:
            self._sockets.pop(endpoint).close()

    def _close_sockets(self) -> None:
        for server in self._sockets.values():
            server.close()
        self._sockets.clear()

    @staticmethod
    async def _close_connections(listener: Listener) -> None:
        listener.pre_shutdown()
        await listener.shutdown(timeout=1.0)
