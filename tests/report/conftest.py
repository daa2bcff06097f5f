import itertools
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from storage.model import (
    Attempt,
    BodyType,
    Hit,
    HitKind,
    Job,
    Message,
    NewRecipient,
    Phase,
    Reply,
    Report,
    Result,
    queue_id,
)
from storage.status import Event, Status
from storage.store import Store

# 2026-11-23T14:00:00.000Z
START = 1_795_442_400_000
OK = Reply(250, "2.0.0", "Ok: queued as 4711")


class Mail:
    """A real store and short words for what happens to mail in it."""

    def __init__(self, store: Store, state_dir: Path) -> None:
        self.store = store
        self.state_dir = state_dir
        self.minutes = itertools.count()

    async def accept(
        self,
        *addresses: str,
        subject: str = "The weekly report",
        sender: str = "news@sender.test",
        untracked: str | None = None,
    ) -> list[Job]:
        """Accept a message a minute later than the one before; its recipients are leased."""
        content = b"Subject: x\r\n\r\nHello\r\n"
        message = Message(
            id=self.store.next_id(),
            received_ms=START + next(self.minutes) * 60_000,
            sender=sender,
            body=BodyType.SEVEN_BIT,
            smtputf8=False,
            size=len(content),
            plan=b"",
            client="192.0.2.1",
            subject=subject,
            untracked_reason=untracked,
        )
        people = [
            NewRecipient(self.store.next_id(), one, one.rpartition("@")[2], Status.UNSENT) for one in addresses
        ]
        return await self.store.accept(message, content, people, lifetime_ms=5 * 86_400_000, leased=True)

    async def duplicate(self, address: str) -> None:
        content = b"x"
        message = Message(self.store.next_id(), START, "news@sender.test", BodyType.SEVEN_BIT, False, 1, b"")
        domain = address.rpartition("@")[2]
        twice = NewRecipient(self.store.next_id(), address, domain, Status.DUPLICATE, "met twice in this message")
        await self.store.accept(message, content, [twice], lifetime_ms=1000, leased=True)

    async def settle(
        self, job: Job, event: Event, reply: Reply = OK, *, next_ms: int | None = None, phase: Phase = Phase.AFTER_DOT
    ) -> None:
        attempt = Attempt(
            at_ms=job.message.received_ms + 1000,
            duration_ms=250,
            phase=phase,
            reply=reply,
            mx="mx1.example.test",
            address="198.51.100.25",
            tls="TLSv1.3 TLS_AES_256_GCM_SHA384 unverified",
        )
        await self.store.settle(Result(job, attempt, event, next_ms))

    async def hit(self, job: Job, kind: HitKind = HitKind.PERSON, why: str = "no sign of a machine") -> None:
        await self.store.record_hits([Hit(job.recipient_id, job.message.received_ms + 600_000, kind, why)])

    async def bounce_later(self, job: Job) -> None:
        dsn = await self.store.accept_dsn(b"raw", job.recipient_id, "", job.message.received_ms + 900_000)
        reply = Reply(550, "5.1.1", "mailbox has moved away")
        await self.store.settle_dsn(dsn, [Report(job.recipient_id, Event.FAIL, reply, "mx2.example.test")], "dsn")


@pytest.fixture
async def mail(tmp_path: Path) -> AsyncIterator[Mail]:
    store = await Store.open(tmp_path)
    yield Mail(store, tmp_path)
    await store.close()


@pytest.fixture
async def week(mail: Mail) -> Mail:
    """A store that holds a recipient in every status that deliveries bring."""
    jobs = await mail.accept("ann@example.test", "bob@example.test", "cyd@other.test", "no-such-user@example.test")
    await mail.settle(jobs[0], Event.DELIVER)
    await mail.hit(jobs[0], HitKind.SCANNER, "0.4 s after the server's 250")
    await mail.hit(jobs[0])
    await mail.settle(jobs[1], Event.DELIVER)
    await mail.bounce_later(jobs[1])
    full = Reply(452, "4.2.2", "The email account that you tried to reach is over quota")
    await mail.settle(jobs[2], Event.DEFER, full, next_ms=START + 3_600_000, phase=Phase.RCPT)
    gone = Reply(550, "5.1.1", "<no-such-user@example.test>: Recipient address rejected: User unknown")
    await mail.settle(jobs[3], Event.FAIL, gone, phase=Phase.RCPT)
    (signed,) = await mail.accept("dan@example.test", subject="Signed: Grüße [red]", untracked="signed message")
    await mail.settle(signed, Event.HAND_OVER)
    await mail.accept("eve@example.test", subject="")
    await mail.duplicate("ann@example.test")
    return mail


def id_of(job: Job) -> str:
    return queue_id(job.message.id)
