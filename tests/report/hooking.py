"""An endpoint of webhooks, scripted, on loopback: it verifies what comes with the specification's own library."""

import asyncio
import json
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import web
from standardwebhooks import Webhook


class Endpoint:
    """Takes events, and answers as told."""

    def __init__(self) -> None:
        self.secret = ""
        self.taken: list[tuple[str, dict[str, Any]]] = []
        """Ids and events that were answered 2xx, in their order."""
        self.called = 0
        self.answer: Callable[[dict[str, Any]], int] = lambda _: 204
        self.headers: dict[str, str] = {}
        self.changed = asyncio.Condition()
        self.url = ""

    async def take(self, request: web.Request) -> web.Response:
        body = await request.text()
        Webhook(self.secret).verify(body, dict(request.headers))
        event = json.loads(body)
        status = self.answer(event)
        async with self.changed:
            self.called += 1
            if status < 300:
                self.taken.append((request.headers["webhook-id"], event))
            self.changed.notify_all()
        return web.Response(status=status, headers=self.headers)

    async def until(self, holds: Callable[[], bool], seconds: float = 20) -> None:
        async with asyncio.timeout(seconds), self.changed:
            await self.changed.wait_for(holds)

    @property
    def types(self) -> list[str]:
        return [event["type"].partition(".")[2] for _, event in self.taken]


@asynccontextmanager
async def endpoint() -> AsyncIterator[Endpoint]:
    made = Endpoint()
    application = web.Application()
    application.router.add_post("/hook", made.take)
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    made.url = f"http://127.0.0.1:{runner.addresses[0][1]}/hook"
    yield made
    await runner.cleanup()


class Receiver(threading.Thread):
    """An endpoint in a thread of its own, for tests that wait otherwise than by asyncio."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.up = threading.Event()
        self.end: Endpoint
        self.start()
        assert self.up.wait(20)

    def run(self) -> None:
        asyncio.run(self._serve())

    async def _serve(self) -> None:
        self.loop, self.over = asyncio.get_running_loop(), asyncio.Event()
        async with endpoint() as self.end:
            self.up.set()
            await self.over.wait()

    def stop(self) -> None:
        self.loop.call_soon_threadsafe(self.over.set)
        self.join(20)
