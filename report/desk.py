"""What all pages work with: the store and its reader, the settings, the clock, and who guards the door.

Rule: one object a server; a page gets everything through it, and keeps nothing of its own.
"""

import asyncio
import time
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from http import HTTPStatus
from pathlib import Path
from typing import Final
from urllib.parse import SplitResult, urlsplit

from report.checks import Checks
from report.drafts import Drafts
from report.given import Given
from report.handed import Handed
from report.hub import Hub
from report.imports import Imports
from report.jobs import Jobs
from report.problem import ProblemError
from report.settings import WEBHOOKS, ReportSettings, WebhookSettings
from report.static_files import StaticFiles
from report.throttle import Throttle
from storage.passwords import Passwords
from storage.posting import Mailing
from storage.reader import Reader
from storage.store import Store

MOST_UPLOADS: Final = 4
"""Of one user, at once."""
LARGE_OF_ONE: Final = 2


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


@dataclass(slots=True)
class Desk:
    """The store and what surrounds it."""

    store: Store
    reader: Reader
    state_dir: Path
    settings: ReportSettings
    hostname: str
    """The server's own name, which requests may be made to."""
    base: SplitResult
    """`settings.base_url` as it was at the start, in its parts; its path is that of all pages."""
    passwords: Passwords
    words: Reader
    """Pages of words wait for each other alone: one of very common words takes its time."""
    hub: Hub
    drafts: Drafts
    imports: Imports
    handed: Handed = field(default_factory=Handed)
    static: StaticFiles = field(default_factory=StaticFiles)
    throttle: Throttle = field(default_factory=Throttle)
    jobs: Jobs = field(default_factory=Jobs)
    checks: Checks = field(init=False)
    clock_ms: Callable[[], int] = _now_ms
    mailing: Mailing | None = None
    """What makes posted mail ready; None: no mail is taken here."""
    webhooks: WebhookSettings = WEBHOOKS
    large: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(4))
    """As many large bodies are in memory at once; others wait, unread."""
    large_of: defaultdict[str, asyncio.Semaphore] = field(
        default_factory=lambda: defaultdict(lambda: asyncio.Semaphore(LARGE_OF_ONE))
    )
    uploads: Counter[str] = field(default_factory=Counter)
    """How many forms with files each user is sending."""

    def __post_init__(self) -> None:
        """Put together what needs other parts."""
        self.checks = Checks(self.jobs)

    @classmethod
    def made(cls, store: Store, reader: Reader, words: Reader, hub: Hub, hostname: str, given: Given) -> "Desk":
        """Put a desk together."""
        return cls(
            store,
            reader,
            given.server.state_dir,
            given.settings,
            hostname,
            urlsplit(given.settings.base_url.rstrip("/")),
            Passwords(reader),
            words,
            hub,
            Drafts(given.server.state_dir),
            Imports(given.server.state_dir),
            given.handed,
            webhooks=given.webhooks,
        )

    @asynccontextmanager
    async def room_for_large(self, user: str) -> AsyncIterator[None]:
        """Wait for room for a large body of `user`, who never has all of it: one may be slow to send."""
        async with self.large_of[user], self.large:
            yield

    @contextmanager
    def uploading(self, user: str) -> Iterator[None]:
        """Count a file that is on its way, and raise ProblemError where a user has too many: they lie on the disk."""
        if self.uploads[user] >= MOST_UPLOADS:
            detail = f"{MOST_UPLOADS} files of yours are on their way already; wait for them."
            raise ProblemError(HTTPStatus.TOO_MANY_REQUESTS, detail, headers={"Retry-After": "30"})
        self.uploads[user] += 1
        try:
            yield
        finally:
            self.uploads[user] -= 1

    @asynccontextmanager
    async def own_reader(self) -> AsyncIterator[Reader]:
        """Open a reader for one long question, so that pages need not wait for it."""
        reader = await Reader.open(self.state_dir)
        try:
            yield reader
        finally:
            await reader.close()
