"""What all pages work with: the store and its reader, the settings, the clock, and who guards the door.

Rule: one object a server; a page gets everything through it, and keeps nothing of its own.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from urllib.parse import SplitResult, urlsplit

from report.settings import ReportSettings
from report.static_files import StaticFiles
from report.throttle import Throttle
from storage.passwords import Passwords
from storage.reader import Reader
from storage.store import Store


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


@dataclass(slots=True)
class Desk:
    """The store and what surrounds it."""

    store: Store
    reader: Reader
    settings: ReportSettings
    hostname: str
    """The server's own name, which requests may be made to."""
    base: SplitResult
    """`settings.base_url` as it was at the start, in its parts; its path is that of all pages."""
    passwords: Passwords
    static: StaticFiles = field(default_factory=StaticFiles)
    throttle: Throttle = field(default_factory=Throttle)
    clock_ms: Callable[[], int] = _now_ms

    @classmethod
    def made(cls, store: Store, reader: Reader, settings: ReportSettings, hostname: str) -> "Desk":
        """Put a desk together."""
        return cls(store, reader, settings, hostname, urlsplit(settings.base_url.rstrip("/")), Passwords(reader))
