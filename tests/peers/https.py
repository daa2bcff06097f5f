"""An HTTPS server on loopback, in the test's own loop: answers as it is told, and keeps what it was sent."""

import ssl
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Self

from aiohttp import web


@dataclass
class HttpsServer:
    """An async context manager; `answer` may be changed at any time."""

    tls: ssl.SSLContext
    answer: Callable[[web.Request], web.StreamResponse] = lambda _: web.Response(status=404)
    address: str = "127.0.0.1"
    port: int = 0
    asked: list[str] = field(default_factory=list)
    """Host and path of each request."""
    bodies: list[tuple[str, bytes]] = field(default_factory=list)
    """Content type and body of each POST."""

    def text(self, content: str, kind: str = "text/plain") -> None:
        """Answer with a text."""
        self.answer = lambda _: web.Response(text=content, content_type=kind)

    async def __aenter__(self) -> Self:
        server = web.Server(self._serve)
        self._runner = web.ServerRunner(server)
        await self._runner.setup()
        site = web.TCPSite(self._runner, self.address, self.port, ssl_context=self.tls)
        await site.start()
        self.port = self._runner.addresses[0][1]
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._runner.cleanup()

    async def _serve(self, request: web.BaseRequest) -> web.StreamResponse:
        self.asked.append(f"{request.host.rpartition(':')[0]}{request.path}")
        if request.method == "POST":
            self.bodies.append((request.headers["Content-Type"], await request.read()))
        return self.answer(request)  # type: ignore[arg-type]
