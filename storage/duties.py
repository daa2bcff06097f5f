"""What senders are owed, as the store gives it: who is due to be told of what, and the verbs that answer.

Rule: exactly once: a mail is stored in the transaction that deletes what it answers.
"""

import json
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from storage import duty_lookups, duty_verbs
from storage.duty import Collected, Digest, Duty, Group
from storage.duty_rows import GATHER_MS
from storage.duty_verbs import Answer, Collect, Told
from storage.lane import Lane
from storage.posting import Mail
from storage.queue_verbs import Acceptance

Storing = Callable[[Acceptance, Callable[[Acceptance], Awaitable[bool]]], Awaitable[bool]]
"""Calls the verb with the acceptance, its content written to a file before where it is large."""


class Duties:
    """The duties of one store."""

    def __init__(self, writer: Lane, lookups: Lane, storing: Storing) -> None:
        """Use `Store.duties`."""
        self._writer = writer
        self._lookups = lookups
        self._storing = storing

    async def due(self, now_ms: int, limit: int) -> list[Group]:
        """Return up to `limit` groups of duties that are due, each with what joins it within some seconds."""
        found: list[Group] = await self._lookups.call(duty_lookups.read_groups, (now_ms, now_ms + GATHER_MS, limit))
        return found

    async def answer(self, mail: Mail, duty_ids: Sequence[int], words: str, *, lifetime_ms: int) -> bool:
        """Store a mail that answers duties, and delete them; False where a part of them was answered before.

        Timelines get `words` with the mail's queue id. The mail is due at once, for whoever claims it.
        """
        return await self._stored(mail, lifetime_ms, duty_verbs.answer, lambda made: Answer(made, duty_ids, words))

    async def drop(self, duty_ids: Sequence[int]) -> None:
        """Delete duties that need no answer."""
        await self._writer.call(duty_verbs.drop, duty_ids)

    async def refuse(self, duties: Sequence[Duty]) -> None:
        """Delete duties to forward mails that are too many, and do not keep those mails whole."""
        dsn_ids = json.dumps([duty.dsn_id for duty in duties])
        await self._writer.call(duty_verbs.refuse, ([duty.id for duty in duties], dsn_ids))

    async def postpone(self, duty_ids: Sequence[int], due_ms: int) -> None:
        """Make duties due at another time."""
        await self._writer.call(duty_verbs.postpone, (json.dumps(duty_ids), due_ms))

    async def collect(self, duty_ids: Sequence[int], sender: str, broadcast: str, *, now_ms: int, look_ms: int) -> None:
        """Let duties wait for the sender's digest, which is looked at at `look_ms` where it is not looked at before."""
        await self._writer.call(duty_verbs.collect, Collect(json.dumps(duty_ids), sender, broadcast, now_ms, look_ms))

    async def digests(self, now_ms: int, limit: int) -> list[Digest]:
        """Return up to `limit` digests that it is time to look at."""
        found: list[Digest] = await self._lookups.call(duty_lookups.read_digests, (now_ms, limit))
        return found

    async def collected(self, digest: Digest, limit: int) -> list[Collected]:
        """Return up to `limit` duties that wait in a digest, the oldest first."""
        found: list[Collected] = await self._lookups.call(duty_lookups.read_collected, (digest, limit))
        return found

    async def waits(self, digest: Digest) -> bool:
        """Return whether recipients of the digest's broadcast and sender are pending; True where that takes long."""
        waits: bool = await self._lookups.call(duty_lookups.read_waits, digest)
        return waits

    async def tell(self, mail: Mail, digest: Digest, up_to: int | None, *, complete: bool, lifetime_ms: int) -> bool:
        """Store the mail of a digest that tells of duties up to an id (None: all); False where another told of it.

        `complete`: no recipient of the broadcast is pending any more.
        """
        return await self._stored(mail, lifetime_ms, duty_verbs.tell, lambda made: Told(made, digest, up_to, complete))

    async def sweep(self, digest: Digest) -> None:
        """Delete what a digest told of, in steps that let others in between."""
        while await self._writer.call(duty_verbs.sweep, (digest.sender, digest.broadcast)):
            continue

    async def look_later(self, digest: Digest, due_ms: int) -> None:
        """Look at a digest again at `due_ms`, if anything waits in it."""
        await self._writer.call(duty_verbs.look_later, (digest.sender, digest.broadcast, due_ms))

    async def forget(self, before_ms: int) -> None:
        """Forget digests in which nothing waits, and whose last mail went before then."""
        await self._writer.call(duty_verbs.forget, before_ms)

    async def returned_mail(self, dsn_id: int) -> tuple[str, bytes] | None:
        """Return (MAIL FROM, content) of a mail that came to a return path; None where it is not kept any more."""
        found: tuple[str, bytes] | None = await self._lookups.call(duty_lookups.read_dsn, dsn_id)
        return found

    async def wishes(self, user: str) -> str | None:
        """Return what a user wants to be told, as `User.answers` has it."""
        found: str | None = await self._lookups.call(duty_lookups.read_answers, user)
        return found

    async def _stored(
        self, mail: Mail, lifetime_ms: int, verb: Callable[..., Any], argument: Callable[[Acceptance], Any]
    ) -> bool:
        wanted = Acceptance(mail.message, mail.content, None, mail.recipients, lifetime_ms, leased=False)

        async def write(made: Acceptance) -> bool:
            done: bool = await self._writer.call(verb, argument(made))
            return done

        return await self._storing(wanted, write)
