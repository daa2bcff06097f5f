"""report/doors: connections are bounded, in all and of one client, and who is one too many is told so."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import pytest

from report import doors
from report.given import Given
from report.server import ReportServer
from storage.people import POLICY
from storage.settings import ServerSettings
from tests.report.browsing import settings
from tests.report.mailing import Mail

ASK = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"
Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@asynccontextmanager
async def serving(mail: Mail, **limits: object) -> AsyncIterator[ReportServer]:
    made = settings().model_copy(update=limits)
    server = ReportServer(Given(made, ServerSettings(state_dir=mail.state_dir, hostname="mail.example"), POLICY))
    await server.start()
    try:
        yield server
    finally:
        await server.drain()


async def opened(server: ReportServer, stack: AsyncExitStack) -> Streams:
    reader, writer = await asyncio.open_connection(server.addresses[0].host, server.addresses[0].port)
    stack.callback(writer.close)
    return reader, writer


async def asked(streams: Streams) -> bytes:
    reader, writer = streams
    writer.write(ASK)
    async with asyncio.timeout(10):
        return await reader.readuntil(b"\r\n")


@pytest.mark.parametrize(
    ("limits", "most"),
    [
        ({"max_connections": 3}, 3),
        ({"max_connections_per_client": 2, "trusted_proxies": ()}, 2),
    ],
)
async def test_who_is_one_too_many_is_told_so(
    mail: Mail, limits: dict[str, object], most: int, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also by clients that say nothing; and when one leaves, the next has its place."""
    monkeypatch.setattr(doors._Door, "told_at", -doors._TELL_SECONDS)
    async with serving(mail, **limits) as server, AsyncExitStack() as stack:
        idle = [await opened(server, stack) for _ in range(most)]
        assert await asked(idle[0]) == b"HTTP/1.1 200 OK\r\n"
        reader, _ = await opened(server, stack)
        async with asyncio.timeout(10):
            answer = await reader.read()
        head, _, body = answer.partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 503 Service Unavailable\r\n")
        assert b"Retry-After: 5" in head
        assert json.loads(body)["detail"] == "There are too many connections; try again in a moment."
        idle[0][1].close()
        await idle[0][1].wait_closed()
        async with asyncio.timeout(10):
            while await asked(await opened(server, stack)) != b"HTTP/1.1 200 OK\r\n":
                pass
        assert await asked(idle[1]) == b"HTTP/1.1 200 OK\r\n"
    assert caplog.text.count("event=too-many-connections client=127.0.0.1") == 1


async def test_a_proxy_comes_for_many_clients(mail: Mail) -> None:
    async with serving(mail, max_connections_per_client=1) as server, AsyncExitStack() as stack:
        both = [await opened(server, stack) for _ in range(2)]
        assert {await asked(one) for one in both} == {b"HTTP/1.1 200 OK\r\n"}
