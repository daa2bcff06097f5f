"""A browser's side of the pages: real requests to a real server, with its forms filled in."""

import re
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from html import unescape
from pathlib import Path
from typing import Any

import aiohttp
from argon2 import PasswordHasher
from yarl import URL

from report.given import Given
from report.server import ReportServer
from report.settings import WEBHOOKS, ReportSettings, WebhookSettings
from storage.access import Role
from storage.model import User
from storage.people import POLICY
from storage.settings import ServerSettings
from storage.store import Store
from telltale.config import Config
from telltale.for_pages import handed

CHEAP = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)
PASSWORD = "correct horse battery"
HTML = {"Accept": "text/html"}


async def add_user(store: Store, name: str, role: Role = Role.ADMIN) -> None:
    assert await store.add_user(User(name, CHEAP.hash(PASSWORD), (), 0, role))


class Browser:
    """Keeps cookies, follows redirects, and sends forms as they were given to it."""

    def __init__(self, session: aiohttp.ClientSession, base: str) -> None:
        self.session = session
        self.base = base
        self.status = 0
        self.text = ""
        self.url = ""
        self.headers: Mapping[str, str] = {}

    async def get(self, path: str, **options: Any) -> str:
        headers = HTML | options.pop("headers", {})
        async with self.session.get(self.base + path, headers=headers, **options) as answer:
            return await self._took(answer)

    async def post(self, path: str, fields: Mapping[str, str], **options: Any) -> str:
        headers = HTML | options.pop("headers", {})
        async with self.session.post(self.base + path, data=fields, headers=headers, **options) as answer:
            return await self._took(answer)

    async def _took(self, answer: aiohttp.ClientResponse) -> str:
        self.status, self.url, self.headers = answer.status, str(answer.url).removeprefix(self.base), answer.headers
        self.text = await answer.text()
        return self.text

    def form_token(self) -> str:
        found = re.search(r'name="form_token" value="([0-9a-f]+)"', self.text)
        assert found, self.text
        return found[1]

    async def submit(self, path: str, **fields: str) -> str:
        """Send a form of the page that is shown."""
        return await self.post(path, {"form_token": self.form_token(), **fields})

    async def upload(self, path: str, files: Mapping[str, tuple[str, bytes]], **fields: str) -> str:
        """Send a form with files of the page that is shown."""
        form = aiohttp.FormData(default_to_multipart=True)
        form.add_field("form_token", self.form_token())
        for name, value in fields.items():
            form.add_field(name, value)
        for name, (called, content) in files.items():
            form.add_field(name, content, filename=called, content_type="application/octet-stream")
        async with self.session.post(self.base + path, data=form, headers=HTML) as answer:
            return await self._took(answer)

    async def log_in(self, name: str, password: str = PASSWORD, next_: str = "") -> None:
        await self.get("/login")
        await self.submit("/login", name=name, password=password, next=next_)

    def cookie(self) -> tuple[str, str]:
        """Return the session cookie's name and value."""
        ((name, morsel),) = self.session.cookie_jar.filter_cookies(URL(self.base)).items()
        return name, morsel.value

    def links(self) -> list[str]:
        return [unescape(link) for link in re.findall(r'href="([^"]+)"', self.text)]


def settings(**more: Any) -> ReportSettings:
    return ReportSettings(**({"listen": ("127.0.0.1:0",)} | more))


@asynccontextmanager
async def served(state_dir: Path, webhooks: WebhookSettings = WEBHOOKS, **more: Any) -> AsyncIterator[ReportServer]:
    """A server on a store, with what the front door hands over."""
    own = ServerSettings(state_dir=state_dir, hostname="mail.example")
    server = ReportServer(Given(settings(**more), own, POLICY, webhooks=webhooks, handed=handed(Config(server=own))))
    await server.start()
    try:
        yield server
    finally:
        await server.drain()


@asynccontextmanager
async def browsing(server: ReportServer) -> AsyncIterator[Browser]:
    # The jar takes cookies of addresses too: that is where the tests' server is.
    async with aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True)) as session:
        yield Browser(session, f"http://{server.addresses[0]}")
