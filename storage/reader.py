"""Questions to the store: reads only, never in the way of the writers (WAL), on aiosqlite."""

from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from pathlib import Path
from typing import Self

from storage.model import HitFacts, LogFilter, LogRow, TimelineEntry, User
from storage.status import Status


class Reader:
    """Reads one store; many may be open at once, in many processes."""

    @classmethod
    async def open(cls, state_dir: Path) -> Self:
        """Open the store for reading; raises StoreMissingError (a sentence) where there is none yet."""
        raise NotImplementedError

    async def close(self) -> None:
        """Close it."""
        raise NotImplementedError

    async def log(self, wanted: LogFilter, *, limit: int, before_id: int | None = None) -> list[LogRow]:
        """Return rows, newest first, of recipients with ids below `before_id` (keyset paging)."""
        raise NotImplementedError

    def stream(self, wanted: LogFilter) -> AsyncIterator[LogRow]:
        """Yield all rows that match, newest first, in constant memory."""
        raise NotImplementedError

    async def changed(self, wanted: LogFilter, since_serial: int) -> tuple[int, list[LogRow]]:
        """Return (serial now, rows that match and changed after `since_serial`), for `--follow` and live pages.

        A first call with serial 0 returns the present serial and no rows.
        """
        raise NotImplementedError

    async def timeline(self, recipient_id: int) -> list[TimelineEntry]:
        """Return what is known of a recipient, oldest first."""
        raise NotImplementedError

    async def status_counts(self, *, pending_only: bool = False) -> Mapping[Status, int]:
        """Return how many recipients are in each status."""
        raise NotImplementedError

    async def hit_facts(self, recipient_ids: Collection[int]) -> Mapping[int, HitFacts]:
        """Return what judging hits of these recipients needs; unknown ids are left out."""
        raise NotImplementedError

    async def recipients_of(self, message_id: int) -> Sequence[tuple[int, str]]:
        """Return (recipient id, address) of a message."""
        raise NotImplementedError

    async def recipient_by_message_id(self, message_id_header: str, address: str) -> int | None:
        """Return the recipient of the newest message with this Message-ID and address; None where unknown."""
        raise NotImplementedError

    async def message_of(self, recipient_id: int) -> tuple[int, str] | None:
        """Return (message id, recipient address); None where unknown."""
        raise NotImplementedError

    async def users(self) -> list[User]:
        """Return all users by name."""
        raise NotImplementedError

    async def user(self, name: str) -> User | None:
        """Return a user; None where there is no such user."""
        raise NotImplementedError
