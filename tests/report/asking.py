"""A program's side of the API: a token, a real server whose mail takes the relay's own way, and plain questions."""

import secrets
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp

from relay.deliver.settings import DkimSettings, RetrySettings
from relay.posting import Posting, PostingSettings
from relay.receive.settings import SubmissionSettings
from report.given import Given
from report.server import ReportServer
from report.settings import WEBHOOKS, WebhookSettings
from storage.access import TOKEN_MARK, TOKEN_PREFIX_CHARS, ApiToken, Role, Scope, hashed
from storage.broadcast_settings import BroadcastSettings
from storage.model import User
from storage.people import POLICY
from storage.settings import ServerSettings
from storage.store import Store
from storage.tracking import TrackingSettings
from telltale.config import Config
from telltale.for_pages import handed
from tests.report.browsing import settings


def mailing(state_dir: Path, **submission: Any) -> Callable[[Store], Posting]:
    at = PostingSettings(
        ServerSettings(state_dir=state_dir, hostname="mail.example"),
        SubmissionSettings(**submission),
        RetrySettings(),
        TrackingSettings(),
        BroadcastSettings(),
        DkimSettings(),
    )
    return lambda store: Posting(store, at)


@asynccontextmanager
async def serving(
    state_dir: Path, webhooks: WebhookSettings = WEBHOOKS, **submission: Any
) -> AsyncIterator[ReportServer]:
    given = Given(
        settings(),
        ServerSettings(state_dir=state_dir, hostname="mail.example"),
        POLICY,
        mailing(state_dir, **submission),
        webhooks,
        handed(Config(server=ServerSettings(state_dir=state_dir))),
    )
    server = ReportServer(given)
    await server.start()
    try:
        yield server
    finally:
        await server.drain()


async def add_token(
    store: Store,
    user: str = "prog",
    role: Role = Role.ADMIN,
    scopes: frozenset[Scope] = frozenset(Scope),
    *,
    senders: tuple[str, ...] = (),
) -> str:
    """Add a token, and its user where there is none."""
    await store.add_user(User(user, "no password", senders, 0, role))
    secret = TOKEN_MARK + secrets.token_urlsafe(30)
    assert await store.add_token(ApiToken(hashed(secret), secret[:TOKEN_PREFIX_CHARS], user, "test", scopes, 0))
    return secret


class Program:
    """Asks with a token."""

    def __init__(self, session: aiohttp.ClientSession, base: str, token: str) -> None:
        self.session = session
        self.base = base
        self.token = token
        self.headers: Mapping[str, str] = {}

    async def ask(self, method: str, path: str, **options: Any) -> tuple[int, Any]:
        """Return the status and what the answer says."""
        headers = {"Authorization": f"Bearer {self.token}"} | options.pop("headers", {})
        async with self.session.request(method, f"{self.base}/api/v1{path}", headers=headers, **options) as answer:
            self.headers = answer.headers
            return answer.status, await answer.json(content_type=None) if answer.status != 204 else None

    async def get(self, path: str, **params: Any) -> tuple[int, Any]:
        return await self.ask("GET", path, params=params)

    async def post(self, path: str, body: Any, key: str | None = None) -> tuple[int, Any]:
        return await self.ask("POST", path, json=body, headers={"Idempotency-Key": key} if key else {})


@asynccontextmanager
async def program(server: ReportServer, token: str) -> AsyncIterator[Program]:
    async with aiohttp.ClientSession() as session:
        yield Program(session, f"http://{server.addresses[0]}", token)
