"""Answers to senders: what is owed becomes mail.

Rule: exactly once, whatever is killed: the store deletes a duty in the transaction that stores the mail that answers
it. So one process of the host does this at a time only to save the work. What cannot be answered now is tried later,
and never keeps others waiting.
"""

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Protocol

from relay.answer.course import HOUR_MS, Bound, Course, course_of, is_broadcast, still_so
from relay.answer.digest import digest_mail
from relay.answer.forward import MOST_HOPS, forward, hops
from relay.answer.letter import Letterhead
from relay.answer.notice import notice
from relay.answer.settings import AnswerSettings, settled, wishes_of
from relay.receive.accept import Prepared
from relay.receive.envelope import HERE, Envelope, Recipient
from storage.address import Address, parse_mailbox
from storage.duty import Digest, Duty, DutyKind, Group
from storage.kv import kv
from storage.model import Reply, queue_id
from storage.store import Store, StoreFailedError, StoreFullError
from storage.token import TokenBox
from storage.turn import Turn

_LOOK_SECONDS: Final = 1.0
_GROUPS_AT_ONCE: Final = 200
_DIGESTS_AT_ONCE: Final = 10
# Of one digest; the log has the rest.
_MOST_COLLECTED: Final = 20_000
# How often it is looked whether a broadcast is done.
_DONE_MS: Final = 60_000
_FORGET_SECONDS: Final = 600.0

_log = logging.getLogger("telltale.answer")


@dataclass(slots=True)
class _Silent:
    """Duties that make no mail now."""

    dropped: list[int] = field(default_factory=list)
    collected: dict[tuple[str, str], list[int]] = field(default_factory=dict)
    """By sender and broadcast."""


class Preparing(Protocol):
    """What makes a mail ready for the store: a `relay.receive` Acceptor."""

    async def prepare(self, envelope: Envelope, content: bytes, now_ms: int) -> Prepared | Reply:
        """Return what would be stored, or why not."""


class Answers:
    """Answers duties for one relay process."""

    def __init__(
        self,
        store: Store,
        acceptor: Preparing,
        returns: TokenBox,
        settings: AnswerSettings,
        *,
        state_dir: Path,
        hostname: str,
        bounce_domain: str,
        lifetime_ms: int,
        now_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
    ) -> None:
        """Take the store, what prepares mail for it, the return paths and the settings; nothing runs before `start`."""
        self._store = store
        self._acceptor = acceptor
        self._box = returns
        self._settings = settings
        self._head = Letterhead(hostname, settings.from_address or f"MAILER-DAEMON@{hostname}")
        self._bounce_domain = bounce_domain
        self._lifetime_ms = lifetime_ms
        self._now_ms = now_ms
        self._turn = Turn(state_dir / "answers.lock")
        self._bound = Bound(settings.most_per_hour)
        self._forget_at = 0.0
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to look for duties."""
        self._task = asyncio.create_task(self._answer_for_ever())

    async def stop(self) -> None:
        """Answer nothing more; what is being stored is stored."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
        self._turn.give()

    async def _answer_for_ever(self) -> None:
        while True:
            await asyncio.sleep(_LOOK_SECONDS)
            try:
                if self._turn.take():
                    await self.answer()
            except (StoreFailedError, StoreFullError, OSError) as error:
                _log.warning(kv(event="not-answered", reason=str(error)))
            except Exception:  # noqa: BLE001 - a bug of ours must not end all answers
                _log.exception(kv(event="our-bug"))

    async def answer(self) -> None:
        """Answer all that is due."""
        while groups := await self._store.duties.due(self._now_ms(), _GROUPS_AT_ONCE):
            silent = _Silent()
            for group in groups:
                await self._see_to(group, silent)
            await self._settle(silent)
        for digest in await self._store.duties.digests(self._now_ms(), _DIGESTS_AT_ONCE):
            await self._see_to_one(digest)
        if time.monotonic() >= self._forget_at:
            self._forget_at = time.monotonic() + _FORGET_SECONDS
            await self._store.duties.forget(self._now_ms() - max(self._settings.digest_every * 1000, 24 * HOUR_MS))

    async def _settle(self, silent: "_Silent") -> None:
        """Write what makes no mail now, many duties in one transaction: a broadcast may fail by the thousand."""
        duties, now_ms = self._store.duties, self._now_ms()
        if silent.dropped:
            await duties.drop(silent.dropped)
        for (sender, broadcast), duty_ids in silent.collected.items():
            await duties.collect(duty_ids, sender, broadcast, now_ms=now_ms, look_ms=now_ms)

    async def _see_to(self, group: Group, silent: "_Silent") -> None:
        duty_ids = [duty.id for duty in group.duties]
        try:
            await self._follow(group, duty_ids, silent)
        except (StoreFailedError, StoreFullError):
            raise
        except Exception:  # noqa: BLE001 - a bug of ours must not keep the others waiting, nor come back each second
            _log.exception(kv(event="our-bug", queue_id=queue_id(group.message.id), kind=group.kind))
            await self._store.duties.postpone(duty_ids, self._now_ms() + HOUR_MS)

    async def _follow(self, group: Group, duty_ids: list[int], silent: "_Silent") -> None:
        if often := [duty for duty in group.duties if duty.often]:
            # Even where the rest is put off: a flood must not pile up.
            await self._store.duties.refuse(often)
            return
        duties, sender, now_ms = self._store.duties, group.message.sender, self._now_ms()
        wanted = await self._wanted(group)
        wait_ms = group.message.received_ms + wanted.delay_after * 1000
        if group.kind is DutyKind.DELAYED and wanted.delay_after > self._settings.delay_after and now_ms < wait_ms:
            await duties.postpone(duty_ids, wait_ms)
            return
        course = course_of(group, wanted, bounded=self._bound.reached(sender, now_ms))
        match course:
            case Course.DROP:
                silent.dropped += duty_ids
            case Course.PUT_OFF:
                await duties.postpone(duty_ids, (now_ms // HOUR_MS + 1) * HOUR_MS)
            case Course.COLLECT:
                broadcast = (group.message.broadcast or "") if is_broadcast(group) else ""
                silent.collected.setdefault((sender, broadcast), []).extend(duty_ids)
            case Course.TELL if group.kind is DutyKind.FORWARD:
                await self._forward(group, group.duties[0])
            case Course.TELL:
                await self._report(group)

    async def _wanted(self, group: Group) -> AnswerSettings:
        user = group.message.user
        return settled(self._settings, wishes_of(await self._store.duties.wishes(user))) if user else self._settings

    async def _report(self, group: Group) -> None:
        if over := [duty.id for duty in group.duties if not still_so(duty)]:
            await self._store.duties.drop(over)
        told = Group(group.message, group.kind, tuple(duty for duty in group.duties if still_so(duty)))
        if told.duties:
            content = await self._store.content(group.message.id)
            made = await asyncio.to_thread(notice, told, content, self._head, self._settings.return_up_to)
            await self._send(told, made, f"the sender was told: {group.kind}")

    async def _forward(self, group: Group, duty: Duty) -> None:
        found = await self._store.duties.returned_mail(duty.dsn_id) if duty.dsn_id is not None else None
        before = await asyncio.to_thread(hops, found[1]) if found else []
        if found is None or self._goes_round(before):
            _log.info(kv(event="not-forwarded", bounce=queue_id(duty.dsn_id or 0), reason="loop" if found else "gone"))
            await self._store.duties.drop([duty.id])
            return
        came_to = f"{self._box.seal(duty.recipient_id)}@{self._bounce_domain}"
        made = await asyncio.to_thread(
            forward, group.message, duty.address, found[1], self._head, came_to=came_to, before=before
        )
        await self._send(Group(group.message, group.kind, (duty,)), made, "forwarded to the sender")

    def _goes_round(self, before: list[str]) -> bool:
        """Whether a mail has been forwarded by one of our return paths, or too often by others'."""
        ours = any(self._box.open(hop.partition("@")[0]) is not None for hop in before)
        return ours or len(before) >= MOST_HOPS

    async def _send(self, group: Group, made: bytes, words: str) -> None:
        sender, now_ms = group.message.sender, self._now_ms()
        duty_ids = [duty.id for duty in group.duties]
        prepared = await self._prepared(sender, made, now_ms)
        if prepared is None:
            await self._store.duties.drop(duty_ids)
        elif await self._store.duties.answer(prepared, duty_ids, words, lifetime_ms=self._lifetime_ms):
            self._bound.count(sender, now_ms)
            _tell(prepared, sender, kind=group.kind, about=queue_id(group.message.id), nrcpt=len(group.duties))

    async def _prepared(self, to: str, made: bytes, now_ms: int) -> Prepared | None:
        """Return a mail ready to be stored; None where it can go nowhere."""
        address = parse_mailbox(to, utf8=True)
        if not isinstance(address, Address) or not address.domain:
            _log.warning(kv(event="not-answered", to=to, reason="no address"))
            return None
        # RFC 3461, 6: of a report on a report nobody wants to hear.
        envelope = Envelope(HERE, None, (Recipient(address, notify="NEVER"),), smtputf8=True, is_report=True)
        prepared = await self._acceptor.prepare(envelope, made, now_ms)
        if isinstance(prepared, Reply):
            _log.error(kv(event="not-answered", to=to, reason=prepared.text))
            return None
        return prepared

    # Digests.

    async def _see_to_one(self, digest: Digest) -> None:
        try:
            await self._see_to_digest(digest)
        except (StoreFailedError, StoreFullError):
            raise
        except Exception:  # noqa: BLE001 - as for groups
            _log.exception(kv(event="our-bug", sender=digest.sender, broadcast=digest.broadcast or None))
            await self._store.duties.look_later(digest, self._now_ms() + HOUR_MS)

    async def _see_to_digest(self, digest: Digest) -> None:
        duties, now_ms = self._store.duties, self._now_ms()
        complete = bool(digest.broadcast) and not digest.complete and not await duties.waits(digest)
        since_ms = digest.first_ms if digest.last_ms is None else digest.last_ms
        time_ms = since_ms + self._settings.digest_every * 1000
        if complete or now_ms >= time_ms:
            await self._tell_digest(digest, complete=complete)
            await duties.sweep(digest)
            time_ms = now_ms + self._settings.digest_every * 1000
        soon_ms = now_ms + _DONE_MS if digest.broadcast and not (digest.complete or complete) else time_ms
        await duties.look_later(digest, min(soon_ms, time_ms))

    async def _tell_digest(self, digest: Digest, *, complete: bool) -> None:
        collected = await self._store.duties.collected(digest, _MOST_COLLECTED + 1)
        if not collected:
            return
        more = len(collected) > _MOST_COLLECTED
        told = collected[:_MOST_COLLECTED]
        made = await asyncio.to_thread(digest_mail, digest, told, self._head, complete=complete, more=more)
        prepared = await self._prepared(digest.sender, made, self._now_ms())
        if prepared is None:
            await self._store.duties.drop([one.id for one in collected])
            return
        up_to = None if more else told[-1].id
        if await self._store.duties.tell(prepared, digest, up_to, complete=complete, lifetime_ms=self._lifetime_ms):
            _tell(prepared, digest.sender, kind="digest", broadcast=digest.broadcast or None, nrcpt=len(told))


def _tell(prepared: Prepared, to: str, **fields: object) -> None:
    """Write the one line of a mail to a sender."""
    _log.info(kv(queue_id=queue_id(prepared.message.id), to=to, **fields))
