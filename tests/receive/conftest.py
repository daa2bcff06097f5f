"""A real listener on loopback with a real store, and a client that speaks the wire byte by byte."""

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import uvloop
from argon2 import PasswordHasher

from relay.inject.plan import InjectOptions
from relay.receive.accept import Acceptor
from relay.receive.auth import Authenticator
from relay.receive.listener import SubmissionListener
from relay.receive.settings import SubmissionSettings
from relay.receive.tls import server_context
from storage.model import Job, LogFilter, LogRow, Message, NewRecipient, User
from storage.people import POLICY
from storage.reader import Reader
from storage.settings import Endpoint, ServerSettings
from storage.store import Store

HOST = "relay.example"
PATIENCE = 10
# What a password costs is no matter of most tests.
CHEAP = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)
CONTENT = b"From: Ann <ann@a.example>\r\nSubject: Hello\r\n\r\nText\r\n"


class Outbox:
    """Where accepted recipients go: delivery's side of the seam."""

    def __init__(self) -> None:
        self.free = 1000
        self.jobs: list[Job] = []

    def room(self) -> int:
        return self.free

    def submit(self, jobs: Sequence[Job]) -> None:
        self.jobs += jobs


class GuardedStore(Store):
    """A real store whose commit can be made to wait, or to fail as a disk does."""

    def guard(self) -> None:
        self.reached = asyncio.Event()
        self.go_on = asyncio.Event()
        self.go_on.set()
        self.failure: Exception | None = None

    async def accept(
        self, message: Message, content: bytes, recipients: Sequence[NewRecipient], **options: Any
    ) -> list[Job]:
        self.reached.set()
        await self.go_on.wait()
        if self.failure:
            raise self.failure
        return await super().accept(message, content, recipients, **options)


class Talk:
    """An SMTP client that does what it is told."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def reply(self) -> str:
        """Return the next reply, its lines joined by line feeds; "" at the end of the connection."""
        lines = []
        async with asyncio.timeout(PATIENCE):
            while line := (await self.reader.readline()).decode():
                lines.append(line.rstrip("\r\n"))
                if line[3:4] != "-":
                    break
        return "\n".join(lines)

    async def replies(self, count: int) -> list[str]:
        return [await self.reply() for _ in range(count)]

    async def __call__(self, line: str | bytes) -> str:
        """Send a line and return the reply to it."""
        await self.send((line.encode() if isinstance(line, str) else line) + b"\r\n")
        return await self.reply()

    async def greet(self) -> str:
        assert (await self.reply()).startswith("220 ")
        return await self("EHLO client.example")

    async def begin(self, *recipients: str, sender: str = "ann@a.example") -> None:
        assert (await self(f"MAIL FROM:<{sender}>")).startswith("250 ")
        for recipient in recipients or ("bob@b.example",):
            assert (await self(f"RCPT TO:<{recipient}>")).startswith("250 ")

    async def message(self, content: bytes = CONTENT) -> str:
        """Send DATA with a stuffed, ended content and return the reply to it."""
        assert (await self("DATA")).startswith("354 ")
        await self.send(content + b".\r\n")
        return await self.reply()

    async def starttls(self) -> None:
        assert (await self("STARTTLS")).startswith("220 ")
        async with asyncio.timeout(PATIENCE):
            await self.writer.start_tls(careless())

    async def at_end(self) -> bool:
        """Wait for the server to close; False where it says more."""
        async with asyncio.timeout(PATIENCE):
            try:
                return await self.reader.read(1) == b""
            except ConnectionError:
                return True

    async def close(self) -> None:
        self.writer.close()
        with contextlib.suppress(OSError):
            await self.writer.wait_closed()


async def until(condition: Callable[[], bool]) -> None:
    """Let the loop turn until what the test waits for has come about."""
    async with asyncio.timeout(PATIENCE):
        while not condition():  # noqa: ASYNC110 - what is waited for tells nobody
            await asyncio.sleep(0)


def careless() -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


@dataclass
class Place:
    """A listener with all that it stands on."""

    listener: SubmissionListener
    store: GuardedStore
    reader: Reader
    outbox: Outbox
    connect: Callable[..., Awaitable[Talk]]

    @property
    def plain(self) -> Endpoint:
        return self.listener.addresses[0]

    @property
    def secure(self) -> Endpoint:
        return self.listener.addresses[1]

    def limit(self, **limits: Any) -> None:
        """Change limits for connections from now on."""
        service = self.listener._service
        service.limits = replace(service.limits, **limits)
        service.budget.max_bytes = service.limits.max_bytes_in_flight
        service.connections._max_all = service.limits.max_connections
        service.connections._max_client = service.limits.max_connections_per_client

    async def rows(self) -> list[LogRow]:
        """The Email Log, oldest first."""
        return (await self.reader.log(LogFilter(), limit=1000))[::-1]

    async def content(self) -> bytes:
        """The content of the only message."""
        (row,) = await self.rows()
        known = await self.reader.message_of(row.recipient_id)
        assert known
        content = await self.store.content(known[0])
        assert content is not None
        return content


def pytest_asyncio_loop_factories() -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
    """The loop of production: its transports differ from asyncio's where it matters here."""
    return {"uvloop": uvloop.new_event_loop}


Build = Callable[..., Awaitable[Place]]


@pytest.fixture
async def build(tmp_path: Path) -> AsyncIterator[Build]:
    """Start a place with the given submission settings; all is taken down after the test."""
    async with contextlib.AsyncExitStack() as stack:

        async def make(inject: InjectOptions | None = None, **settings: Any) -> Place:
            store = await GuardedStore.open(tmp_path, POLICY)
            store.guard()
            stack.push_async_callback(store.close)
            reader = await Reader.open(tmp_path)
            stack.push_async_callback(reader.close)
            outbox = Outbox()
            acceptor = Acceptor(store, inject or InjectOptions(), HOST, outbox, lifetime_ms=86_400_000)
            server = ServerSettings(hostname=HOST, state_dir=tmp_path)
            wanted = {"listen": ("127.0.0.1:0",), "tls_listen": ("127.0.0.1:0",)} | settings
            tls = server_context(None, None, tmp_path, HOST)
            listener = SubmissionListener(SubmissionSettings(**wanted), server, acceptor, Authenticator(reader), tls)
            await listener.start()
            stack.push_async_callback(listener.drain, 0)

            async def connect(*, tls: bool = False, greet: bool = True) -> Talk:
                endpoint = listener.addresses[1 if tls else 0]
                context = careless() if tls else None
                talk = Talk(*await asyncio.open_connection(endpoint.host, endpoint.port, ssl=context))
                stack.push_async_callback(talk.close)
                if greet:
                    await talk.greet()
                return talk

            return Place(listener, store, reader, outbox, connect)

        yield make


@pytest.fixture
async def place(build: Build) -> Place:
    """A place that trusts loopback."""
    return await build()


@pytest.fixture
async def strict(build: Build) -> Place:
    """A place that trusts nobody, with the users ann (any sender) and bob (from @b.example only)."""
    strict = await build(trusted_networks=())
    await strict.store.add_user(User("ann", CHEAP.hash("secret")))
    await strict.store.add_user(User("bob", CHEAP.hash("hidden"), ("@b.example",)))
    return strict
