"""The store's verbs that write: each is one transaction, and returns after its commit.

Rules: no 250 before the commit; statuses move only by `advance`, by compare-and-set; commits are
grouped (everything that waits shares one); many processes on one host may hold a store open.
"""

import asyncio
import sqlite3
from collections.abc import Awaitable, Callable, Collection, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, Self, TypeVar

from storage import (
    access_verbs,
    audit,
    database,
    fact_verbs,
    judge_verb,
    large,
    lookups,
    orders,
    owners,
    post_verbs,
    purge,
    queue_verbs,
    settle_verb,
    words,
)
from storage.access import ApiToken, Role, Session
from storage.audit import Fault, Step, Walk
from storage.blocklist import BlockedList
from storage.broadcasts import Broadcasts
from storage.commit import StoreFailedError, StoreFullError, Writer, told
from storage.contacts import Contacts
from storage.database import StoreVersionError
from storage.duties import Duties
from storage.held import Stamp
from storage.lane import Lane
from storage.lookups import Lookups
from storage.model import Hit, Job, Judged, Message, NewRecipient, Report, Result, Settled, User
from storage.orders import Order
from storage.owners import Ids, Owner, WriteLock
from storage.people import Policy
from storage.posting import KeyUsedError, Posted, PostKey, Ready
from storage.queue_verbs import LEASE_MS, Acceptance, Wait, at_once
from storage.recipient import check
from storage.tls import TlsFacts
from storage.webhooks import Webhooks

__all__ = ["LEASE_MS", "Store", "StoreFailedError", "StoreFullError", "StoreVersionError"]

_T = TypeVar("_T")

# Its time of change is that of the last flush.
_FLUSHED: Final = "flushed"
# Recipients that one transaction of an operator's order moves.
_OPERATED_AT_ONCE: Final = 2000


@dataclass(frozen=True, slots=True)
class _Opened:
    """What opening a store takes: all of it is blocking work."""

    writing: sqlite3.Connection
    reading: sqlite3.Connection
    lock: WriteLock
    owner: Owner
    stamp: Stamp


_HIGHEST_ID: Final = (
    "SELECT max(ifnull((SELECT max(id) FROM message), 0), ifnull((SELECT max(id) FROM recipient), 0),"
    " ifnull((SELECT max(id) FROM dsn), 0))"
)


def _open_or_tell(state_dir: Path) -> _Opened:
    try:
        return _open(state_dir)
    except sqlite3.Error as error:
        raise told(error) from error


def _open(state_dir: Path) -> _Opened:
    state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    with ExitStack() as on_failure:
        lock = WriteLock(state_dir)
        on_failure.callback(lock.close)
        with lock.held():
            writing = database.open_writing(state_dir)
            on_failure.callback(writing.close)
            (highest_id,) = writing.execute(_HIGHEST_ID).fetchone()
            owner = owners.register(state_dir, highest_id)
            on_failure.callback(owner.retire)
            large.sweep(state_dir, writing)
            stamp = Stamp(state_dir)
            on_failure.callback(stamp.close)
            reading = database.open_reading(state_dir)
        on_failure.pop_all()
    return _Opened(writing, reading, lock, owner, stamp)


class Store:
    """The queue and the log, in `state_dir/telltale.db` (SQLite, WAL, synchronous=FULL)."""

    @classmethod
    async def open(cls, state_dir: Path, policy: Policy) -> Self:
        """Open or create the store and register this process as a lease owner; its verbs keep to `policy`.

        The owner is proven alive by a lock on a file of its own in `state_dir/owners/` that the kernel
        drops at the process's end, however it comes. Raises OSError, StoreVersionError (a sentence),
        StoreFullError or StoreFailedError.
        """
        loop = asyncio.get_running_loop()
        opened = await loop.run_in_executor(None, _open_or_tell, state_dir)
        return cls(state_dir, opened, policy, loop)

    def __init__(self, state_dir: Path, opened: "_Opened", policy: Policy, loop: asyncio.AbstractEventLoop) -> None:
        """Use `open`."""
        self._state_dir = state_dir
        self._owner = opened.owner
        self._ids = Ids(opened.owner.id)
        self._stamp = opened.stamp
        self._closing: asyncio.Future[None] | None = None
        self._claim_offset = 0
        self._writer = Lane("store-writer", loop)
        self._serving = Writer(opened.writing, opened.lock, opened.owner, opened.stamp, state_dir, policy)
        self._writer.start(self._serving)
        self.contacts = Contacts(self._writer)
        self.blocked = BlockedList(self._writer)
        self.broadcasts = Broadcasts(self._writer, self._stored)
        self._lookups = Lane("store-lookups", loop)
        self._lookups.start(Lookups(opened.reading, state_dir))
        self.duties = Duties(self._writer, self._lookups, self._stored)
        """What senders are owed."""
        self.tls = TlsFacts(self._writer, self._lookups)
        self.webhooks = Webhooks(self._writer)

    async def close(self) -> None:
        """Commit what waits, give back the leases that this process still holds, close."""
        if self._closing is None:
            self._closing = asyncio.ensure_future(self._close())
        await asyncio.shield(self._closing)

    async def _close(self) -> None:
        try:
            await self._writer.call(queue_verbs.give_back_all, None)
        finally:
            await self._lookups.close()
            await self._writer.close()

    @property
    def policy(self) -> Policy:
        """What its verbs keep to."""
        return self._serving.policy

    def set_policy(self, policy: Policy) -> None:
        """Keep to another policy from the next transaction on."""
        self._serving.policy = policy

    @property
    def owner_id(self) -> int:
        """What this process's leases are held as."""
        return self._owner.id

    def next_id(self) -> int:
        """Return a new id for a message or recipient: unique over processes, rising with time, < 2^63.

        For the event loop's thread. Draw a message's ids in one go: its recipients are found by the range
        that their ids lie in.
        """
        return self._ids.next()

    async def accept(
        self,
        message: Message,
        content: bytes,
        recipients: Sequence[NewRecipient],
        *,
        lifetime_ms: int,
        leased: bool,
        once: bool = False,
    ) -> list[Job]:
        """Store message, content and recipients, as admission decides on them; return the jobs of those to be sent.

        `leased`: the UNSENT recipients are leased to this process (their jobs carry `content`);
        otherwise they are stored due at once for whoever claims them, and no job is returned.
        `once`: whom the message's broadcast was sent to before (of the same user) is Duplicate.
        """
        wanted = Acceptance(message, content, None, recipients, lifetime_ms, leased, once)
        if len(content) <= large.LARGE_BYTES:
            return await self._writer.call(queue_verbs.accept, wanted, len(content))
        return await self._stored(wanted, lambda made: self._writer.call(queue_verbs.accept, made))

    async def post(self, mail: Ready, key: PostKey | None, *, lifetime_ms: int) -> Posted:
        """Store a message that is due at once for whoever claims it; return what admission decided.

        With a key: once. Where it was posted with the same key and body before, that answer is returned and nothing
        is stored; raises KeyUsedError where the key came with another body.
        """
        wanted = Acceptance(
            mail.message, mail.content, None, mail.recipients, lifetime_ms, leased=False, once=mail.once
        )

        async def write(made: Acceptance) -> Posted | KeyUsedError:
            return await self._writer.call(post_verbs.post, (made, key), len(made.content))

        answer = await self._stored(wanted, write)
        if isinstance(answer, KeyUsedError):
            raise answer
        return answer

    async def _stored(self, wanted: Acceptance, write: Callable[[Acceptance], Awaitable[_T]]) -> _T:
        """Call `write` with what is to be accepted, its content in a file where it is large."""
        if len(wanted.content) <= large.LARGE_BYTES:
            return await write(wanted)
        # Shielded, since a task that stops waiting must not stop half-way here either.
        return await asyncio.shield(self._stored_large(wanted, write))

    async def _stored_large(self, wanted: Acceptance, write: Callable[[Acceptance], Awaitable[_T]]) -> _T:
        message_id = wanted.message.id
        try:
            file = await asyncio.to_thread(large.write, self._state_dir, self._owner.id, message_id, wanted.content)
        except OSError as error:
            raise told(error) from error
        try:
            return await write(replace(wanted, file=file))
        except BaseException:
            await asyncio.to_thread(large.remove, self._state_dir, file)
            raise

    def settle(self, result: Result) -> "asyncio.Future[Settled]":
        """Store the attempt and move the recipient; drop the content after its last recipient.

        A kept open makes a recipient that becomes Sent or Delivered Opened in the same transaction.
        """
        check(result)
        return self._writer.call(settle_verb.settle_all, result)

    async def claim(
        self, now_ms: int, limit: int, skip_domains: Collection[str] = (), wait: Wait = at_once
    ) -> list[Job]:
        """Lease up to `limit` due recipients, the longest due first; those of `skip_domains` stay.

        One whose lease ran out is counted as lost, and leased again only where `wait` lets it go on at once.
        """
        # Twice as many as wanted: others look at the same front of the queue, and what they claim first is gone.
        look = lookups.Look(now_ms, 2 * limit, tuple(skip_domains), self._claim_offset)
        found, self._claim_offset = await self._lookups.call(lookups.look_due, look)
        if not found:
            return []
        leases = await self._writer.call(queue_verbs.claim_all, queue_verbs.Claim(found, limit, now_ms, wait))
        return await self._lookups.call(lookups.read_jobs, leases)

    def held_stamp(self) -> bytes:
        """Return what is another one after each change that may hold somebody back; costs nothing to ask."""
        return self._stamp.read()

    async def held_back(self, jobs: Sequence[Job], now_ms: int) -> set[int]:
        """Return the ids of those recipients that are blocked, or take no such mail, by now."""
        # Whoever renewed the stamp held the write lock until the commit: behind that, a reader sees it.
        known = await self._writer.call(queue_verbs.read_held, None)
        if not known.blocked and not known.choosy:
            return set()
        fold = self.policy.contacts.fold_local_part
        return await self._lookups.call(lookups.find_held_back, lookups.InMemory(jobs, known, now_ms, fold))

    async def postpone(self, jobs: Sequence[Job], due_ms: int, warn_after_ms: int = 0) -> None:
        """Give leases back without an attempt: due again at `due_ms`, attempts unchanged.

        The sender of what will not have been tried `warn_after_ms` after it came is told so then; 0: is not told.
        """
        await self._writer.call(queue_verbs.postpone, (jobs, due_ms, warn_after_ms))

    async def renew(self, jobs: Sequence[Job], now_ms: int) -> None:
        """Let leases that are still held last LEASE_MS from `now_ms`.

        A slow transaction outlasts one: RFC 5321, 4.5.3.2 grants more than 20 minutes in all.
        """
        await self._writer.call(queue_verbs.renew, (jobs, now_ms))

    async def content(self, message_id: int) -> bytes | None:
        """Return a message's stored content; None where it was dropped."""
        return await self._lookups.call(lookups.read_content, message_id)

    async def next_due_ms(self) -> int | None:
        """Return when the next unleased recipient is due; None where none waits."""
        return await self._lookups.call(lookups.read_next_due, None)

    async def recover(self, now_ms: int, wait: Wait = at_once) -> int:
        """Count the leases of dead processes as lost, due after their `wait`; return how many."""
        return await self._writer.call(queue_verbs.recover, (now_ms, wait))

    async def audit(self, walk: Walk, limit: int, now_ms: int) -> Step:
        """Look over some pending recipients; those that seem wrong are for `mend`."""
        return await self._lookups.call(audit.look_over, (walk, limit, now_ms))

    async def mend(
        self, recipient_ids: Sequence[int], now_ms: int, most: int, wait: Wait = at_once
    ) -> tuple[dict[int, Fault], list[Job]]:
        """Mend what is wrong with recipients; return what was, and up to `most` jobs that only a try can mend."""
        mended = await self._writer.call(audit.mend_all, audit.Mending(recipient_ids, now_ms, wait, most))
        return mended.faults, await self._lookups.call(lookups.read_jobs, mended.leases) if mended.leases else []

    async def record_hits(self, hits: Sequence[Hit]) -> None:
        """Store judged hits; an opening one moves Sent and Delivered to Opened and is kept for others.

        Where the last attempt was in doubt, an opening hit settles the doubt: Soft Bounced becomes
        Delivered and Opened, and there is no further try. Hits of unknown recipients are dropped.
        """
        await self._writer.call(fact_verbs.record_hits, hits)

    async def accept_dsn(self, raw: bytes, recipient_id: int | None, sender: str, received_ms: int) -> int | None:
        """Store a bounce message as it came and return its id; it waits until `settle_dsn`.

        None: as many are kept of this return path, or without one, as may be.
        """
        dsn = fact_verbs.Dsn(raw, recipient_id, sender, received_ms)
        return await self._writer.call(fact_verbs.accept_dsns, dsn, len(raw))

    async def waiting_dsns(self, limit: int, after_id: int = 0) -> list[tuple[int, int | None, bytes]]:
        """Return (id, recipient id of the return path, raw) of bounce messages not settled yet, oldest first."""
        return await self._lookups.call(lookups.read_waiting_dsns, (after_id, limit))

    async def settle_dsn(
        self, dsn_id: int, reports: Sequence[Report], kind: str, *, forward: bool = False
    ) -> list[Settled]:
        """Apply the reports of a stored bounce message; `kind` says what it was (dsn, complaint, auto-reply …).

        The same report met again (same recipient, event and enhanced code) is counted once. One that is not
        `proven` leaves a recipient that is still served as it is, and so does a complaint always. `forward`: the
        sender of the message that it answers is to have it.
        """
        return await self._writer.call(fact_verbs.settle_dsns, fact_verbs.Reading(dsn_id, reports, kind, forward))

    async def recategorise(self, judged: Sequence[tuple[Judged, str, int]]) -> int:
        """Give stored facts a new category: (fact, category, version of the rules); return how many changed.

        Where a recipient's last reply is such a fact, the recipient gets the category too. No status moves.
        One transaction; a fact whose category is no longer the one given is left.
        """
        return await self._writer.call(judge_verb.recategorise, judged)

    async def hold(self, recipient_ids: Sequence[int], now_ms: int) -> int:
        """Keep pending recipients from being tried until released; return how many changed."""
        return await self._operate(Order.HOLD, recipient_ids, now_ms)

    async def release(self, recipient_ids: Sequence[int], now_ms: int) -> int:
        """Undo `hold`: due at once."""
        return await self._operate(Order.RELEASE, recipient_ids, now_ms)

    async def flush(self, recipient_ids: Sequence[int] | None, now_ms: int) -> int:
        """Make pending, unleased, unheld recipients (None: all) due at once; return how many."""
        flushed = 0
        if recipient_ids is not None:
            flushed = await self._operate(Order.FLUSH, recipient_ids, now_ms)
        else:
            while some := await self._writer.call(orders.flush_some, now_ms):
                flushed += some
        await asyncio.to_thread((self._state_dir / _FLUSHED).touch)
        return flushed

    def flush_stamp(self) -> int:
        """Return a number that is another one after each `flush`, whichever process it was in; cheap to ask."""
        try:
            return (self._state_dir / _FLUSHED).stat().st_mtime_ns
        except FileNotFoundError:
            return 0

    async def remove(self, recipient_ids: Sequence[int], now_ms: int, *, tell: bool = True) -> int:
        """End pending, unleased recipients as Bounced, "removed from the queue by the operator".

        `tell`: whether their senders get the answer that a failure has.
        """
        return await self._operate(Order.REMOVE if tell else Order.DISCARD, recipient_ids, now_ms)

    async def _operate(self, order: Order, recipient_ids: Sequence[int], now_ms: int) -> int:
        changed = 0
        for start in range(0, len(recipient_ids), _OPERATED_AT_ONCE):
            some = recipient_ids[start : start + _OPERATED_AT_ONCE]
            changed += await self._writer.call(orders.operate, (order, some, now_ms))
        return changed

    async def purge(self, before_ms: int, limit: int = 1000) -> int:
        """Delete messages accepted before `before_ms` whose recipients are all done, with their history.

        A step of bounded size: returns how many went, 0 when none is left.
        """
        return await self._writer.call(purge.purge, (before_ms, limit))

    async def purge_dsns(self, before_ms: int, limit: int = 100) -> int:
        """Delete settled bounce messages received before `before_ms`; return how many (0: none is left).

        Of those that speak of nobody that we know, which anybody may send, only the newest 10,000 are kept.
        """
        return await self._writer.call(purge.purge_dsns, (before_ms, limit))

    async def purge_broadcasts(self, before_ms: int, limit: int = 2000) -> int:
        """Forget whom broadcasts that were last sent before `before_ms` went to; 0: there is nothing left to forget.

        From then on their names are new.
        """
        return await self._writer.call(purge.purge_broadcasts, (before_ms, limit))

    async def enter_words(self, limit: int) -> int:
        """Make the words of up to `limit` recipients more findable; return how many there were (fewer: no more now)."""
        return await self._writer.call(words.enter_words, limit)

    async def add_user(self, user: User) -> bool:
        """Add a user; False where the name is taken."""
        return await self._writer.call(access_verbs.add_users, user)

    async def set_user(
        self,
        name: str,
        *,
        password_hash: str | None = None,
        senders: tuple[str, ...] | None = None,
        role: Role | None = None,
        answers: str | None = None,
    ) -> bool:
        """Change what is not None of a user; False where there is no such user. Another password ends all sessions."""
        return await self._writer.call(access_verbs.set_users, (name, password_hash, senders, role, answers))

    async def remove_user(self, name: str) -> bool:
        """Remove a user with all sessions and tokens; False where there is no such user."""
        return await self._writer.call(access_verbs.remove_users, name)

    async def begin_session(
        self, session: Session, password_hash: str, *, made_before_ms: int, seen_before_ms: int
    ) -> bool:
        """Store a session, and forget those that were made or last seen before these times.

        False where the user's password is not any more the one of `password_hash`, which was proven.
        """
        begun = session, password_hash, made_before_ms, seen_before_ms
        return await self._writer.call(access_verbs.begin_sessions, begun)

    async def see_session(self, hash_: bytes, at_ms: int) -> None:
        """Note that a session was used."""
        await self._writer.call(access_verbs.see_sessions, (hash_, at_ms))

    async def end_session(self, hash_: bytes) -> None:
        """Forget a session."""
        await self._writer.call(access_verbs.end_sessions, hash_)

    async def end_sessions_of(self, name: str) -> int:
        """Forget all sessions of a user; return how many."""
        return await self._writer.call(access_verbs.end_sessions, name)

    async def add_token(self, token: ApiToken) -> bool:
        """Add an API token; False where there is no such user (or its prefix is taken)."""
        return await self._writer.call(access_verbs.add_tokens, token)

    async def see_token(self, hash_: bytes, at_ms: int) -> None:
        """Note that an API token was used."""
        await self._writer.call(access_verbs.see_tokens, (hash_, at_ms))

    async def remove_token(self, prefix: str) -> bool:
        """Remove an API token; False where there is none of this prefix."""
        return await self._writer.call(access_verbs.remove_tokens, prefix)

    async def remove_tokens_of(self, user: str) -> int:
        """Remove all API tokens of a user; return how many there were."""
        return await self._writer.call(access_verbs.remove_tokens_of, user)

    async def make_setup_link(self, hash_: bytes, expires_ms: int) -> bool:
        """Let a link make the first admin, in place of earlier links; False where there is an admin."""
        return await self._writer.call(access_verbs.make_setup_links, (hash_, expires_ms))

    async def use_setup_link(self, hash_: bytes, now_ms: int, user: User) -> bool | None:
        """Add the first admin by a link, once; None: there is no such link (any more); False: the name is taken."""
        return await self._writer.call(access_verbs.use_setup_links, (hash_, now_ms, user))
