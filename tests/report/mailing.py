import itertools
from pathlib import Path

from storage.model import (
    Attempt,
    BodyType,
    Hit,
    HitKind,
    Job,
    LogRow,
    Message,
    NewRecipient,
    Phase,
    Reply,
    Report,
    Result,
    queue_id,
)
from storage.people import Blocked, Source
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
        people = [NewRecipient(self.store.next_id(), one, one.rpartition("@")[2]) for one in addresses]
        return await self.store.accept(message, content, people, lifetime_ms=5 * 86_400_000, leased=True)

    async def blocked(self, address: str) -> None:
        await self.store.blocked.add([Blocked(address, Source.MANUAL, START)], "root")
        content = b"x"
        message = Message(self.store.next_id(), START, "news@sender.test", BodyType.SEVEN_BIT, False, 1, b"")
        new = NewRecipient(self.store.next_id(), address, address.rpartition("@")[2])
        await self.store.accept(message, content, [new], lifetime_ms=1000, leased=True)

    async def settle(
        self,
        job: Job,
        event: Event,
        reply: Reply = OK,
        *,
        next_ms: int | None = None,
        phase: Phase = Phase.AFTER_DOT,
        category: str | None = None,
    ) -> None:
        attempt = Attempt(
            at_ms=job.message.received_ms + 1000,
            duration_ms=250,
            phase=phase,
            reply=reply,
            mx="mx1.example.test",
            address="198.51.100.25",
            tls="TLSv1.3 TLS_AES_256_GCM_SHA384 unverified",
            category=category,
        )
        await self.store.settle(Result(job, attempt, event, next_ms))

    async def hit(self, job: Job, kind: HitKind = HitKind.PERSON, why: str = "no sign of a machine") -> None:
        await self.store.record_hits([Hit(job.recipient_id, job.message.received_ms + 600_000, kind, why)])

    async def bounce_later(self, job: Job) -> None:
        dsn = await self.store.accept_dsn(b"raw", job.recipient_id, "", job.message.received_ms + 900_000)
        reply = Reply(550, "5.1.1", "mailbox has moved away")
        await self.store.settle_dsn(dsn, [Report(job.recipient_id, Event.FAIL, reply, "mx2.example.test")], "dsn")


def id_of(job: Job) -> str:
    return queue_id(job.message.id)


def a_row(**more: object) -> LogRow:
    """A row of the log, delivered at START, with what differs."""
    facts: dict[str, object] = {
        "queue_id": "1M0Z9QM5bRK00",
        "recipient_id": 7,
        "received_ms": START,
        "recipient": "ann@example.test",
        "sender": "news@sender.test",
        "subject": "Hello",
        "broadcast": None,
        "status": Status.DELIVERED,
        "attempts": 1,
        "last_attempt_ms": START,
        "next_attempt_ms": None,
        "code": None,
        "enhanced_status": None,
        "diagnostic": "",
        "mx": None,
        "opens": 0,
        "machine_hits": 0,
        "first_open_ms": None,
        "tracked": True,
        "untracked_reason": None,
        "held": False,
        "late": "",
    }
    return LogRow(**(facts | more))  # type: ignore[arg-type]
