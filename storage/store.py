"""The store's verbs that write: each is one transaction, and returns after its commit.

Rules: no 250 before the commit; statuses move only by `advance`, by compare-and-set; commits are
grouped (everything that waits shares one); many processes on one host may hold a store open.
"""

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Self

from storage.model import Hit, Job, Message, NewRecipient, Report, Result, Settled, User

# A lease outlives the 10 minutes that RFC 5321, 4.5.3.2.6 grants a server after the final dot, or we
# would send again while it is still thinking.
LEASE_MS = 15 * 60 * 1000


class StoreFullError(Exception):
    """The disk is full or the database cannot grow: answer 452 4.3.1. Nothing was stored."""


class Store:
    """The queue and the log, in `state_dir/telltale.db` (SQLite, WAL, synchronous=FULL)."""

    @classmethod
    async def open(cls, state_dir: Path) -> Self:
        """Open or create the store and register this process as a lease owner.

        The owner is proven alive by a lock on a file of its own in `state_dir/owners/` that the kernel
        drops at the process's end, however it comes. Raises OSError or StoreVersionError (a sentence).
        """
        raise NotImplementedError

    async def close(self) -> None:
        """Commit what waits, give back the leases that this process still holds, close."""
        raise NotImplementedError

    def next_id(self) -> int:
        """Return a new id for a message or recipient: unique over processes, rising with time, < 2^63."""
        raise NotImplementedError

    async def accept(
        self, message: Message, content: bytes, recipients: Sequence[NewRecipient], *, lifetime_ms: int, leased: bool
    ) -> list[Job]:
        """Store message, content and recipients; return the jobs of those to be sent.

        `leased`: the UNSENT recipients are leased to this process (their jobs carry `content`);
        otherwise they are stored due at once for whoever claims them, and no job is returned.
        """
        raise NotImplementedError

    async def settle(self, result: Result) -> Settled:
        """Store the attempt and move the recipient; drop the content after its last recipient.

        A kept open makes a recipient that becomes Sent or Delivered Opened in the same transaction.
        """
        raise NotImplementedError

    async def claim(self, now_ms: int, limit: int, skip_domains: Collection[str] = ()) -> list[Job]:
        """Lease up to `limit` due recipients, the longest due first; those of `skip_domains` stay."""
        raise NotImplementedError

    async def postpone(self, jobs: Sequence[Job], due_ms: int) -> None:
        """Give leases back without an attempt: due again at `due_ms`, attempts unchanged."""
        raise NotImplementedError

    async def content(self, message_id: int) -> bytes | None:
        """Return a message's stored content; None where it was dropped."""
        raise NotImplementedError

    async def next_due_ms(self) -> int | None:
        """Return when the next unleased recipient is due; None where none waits."""
        raise NotImplementedError

    async def recover(self, now_ms: int) -> int:
        """Make the leases of dead processes due at once; return how many."""
        raise NotImplementedError

    async def record_hits(self, hits: Sequence[Hit]) -> None:
        """Store judged hits; an opening one moves Sent and Delivered to Opened and is kept for others.

        Where the last attempt was in doubt, an opening hit settles the doubt: Soft Bounced becomes
        Delivered and Opened, and there is no further try. Hits of unknown recipients are dropped.
        """
        raise NotImplementedError

    async def accept_dsn(self, raw: bytes, recipient_id: int | None, sender: str, received_ms: int) -> int:
        """Store a bounce message as it came and return its id; it waits until `settle_dsn`."""
        raise NotImplementedError

    async def waiting_dsns(self, limit: int) -> list[tuple[int, int | None, bytes]]:
        """Return (id, recipient id of the return path, raw) of bounce messages not settled yet."""
        raise NotImplementedError

    async def settle_dsn(self, dsn_id: int, reports: Sequence[Report], kind: str) -> list[Settled]:
        """Apply the reports of a stored bounce message; `kind` says what it was (dsn, complaint, auto-reply …).

        The same report met again (same recipient, event and enhanced code) is counted once.
        """
        raise NotImplementedError

    async def hold(self, recipient_ids: Sequence[int], now_ms: int) -> int:
        """Keep pending recipients from being tried until released; return how many changed."""
        raise NotImplementedError

    async def release(self, recipient_ids: Sequence[int], now_ms: int) -> int:
        """Undo `hold`: due at once."""
        raise NotImplementedError

    async def flush(self, recipient_ids: Sequence[int] | None, now_ms: int) -> int:
        """Make pending, unleased, unheld recipients (None: all) due at once; return how many."""
        raise NotImplementedError

    async def remove(self, recipient_ids: Sequence[int], now_ms: int) -> int:
        """End pending, unleased recipients as Bounced, "removed from the queue by the operator"."""
        raise NotImplementedError

    async def purge(self, before_ms: int, limit: int = 1000) -> int:
        """Delete messages accepted before `before_ms` whose recipients are all done, with their history."""
        raise NotImplementedError

    async def add_user(self, user: User) -> bool:
        """Add a user; False where the name is taken."""
        raise NotImplementedError

    async def set_user(self, name: str, *, password_hash: str | None, senders: tuple[str, ...] | None) -> bool:
        """Change what is not None of a user; False where there is no such user."""
        raise NotImplementedError

    async def remove_user(self, name: str) -> bool:
        """Remove a user; False where there is no such user."""
        raise NotImplementedError
