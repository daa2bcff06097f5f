"""Values that tests of the store begin with."""

from typing import Any

from storage.model import Attempt, BodyType, Hit, HitKind, Job, Message, NewRecipient, Phase, Reply, Report, Result
from storage.people import Blocked, BlockingSettings, ContactSettings, Policy, Source
from storage.recipient import Recipient
from storage.status import PENDING, Event, Status
from storage.store import Store

NOW = 1_700_000_000_000
MINUTE = 60_000
DAY = 86_400_000
FAR = 1 << 52
"""Later than anything that a clock says."""
OK = Reply(250, "2.0.0", "queued")
BUSY = Reply(451, "4.7.1", "greylisted, try later")
UNKNOWN = Reply(550, "5.1.1", "no such user")


def message(store: Store, **changes: Any) -> Message:
    """A message of five bytes, received at NOW."""
    values: dict[str, Any] = {
        "id": store.next_id(),
        "received_ms": NOW,
        "sender": "ann@sender.example",
        "body": BodyType.SEVEN_BIT,
        "smtputf8": False,
        "size": 5,
        "plan": b"plan",
        "subject": "Hello",
    }
    return Message(**(values | changes))


def new_recipient(store: Store, address: str = "bob@there.example") -> NewRecipient:
    """An address as a client names it."""
    return NewRecipient(store.next_id(), address, address.rpartition("@")[2])


async def block(store: Store, *addresses: str, source: Source = Source.MANUAL, **changes: Any) -> int:
    """Put addresses on the Blocked Email list, from NOW on."""
    values: dict[str, Any] = {"created_ms": NOW} | changes
    return await store.blocked.add([Blocked(address, source, **values) for address in addresses], "root")


async def accept(
    store: Store, *addresses: str, leased: bool = True, content: bytes = b"hello", **changes: Any
) -> list[Job]:
    """Accept a message to some addresses; its jobs."""
    recipients = [new_recipient(store, address) for address in addresses or ("bob@there.example",)]
    made = message(store, **({"size": len(content)} | changes))
    return await store.accept(made, content, recipients, lifetime_ms=5 * DAY, leased=leased)


async def accept_due(store: Store, *addresses: str, **changes: Any) -> tuple[int, list[int]]:
    """Accept a message that is due at once, leased to nobody; its id and its recipients'."""
    recipients = [new_recipient(store, address) for address in addresses or ("bob@there.example",)]
    made = message(store, **changes)
    await store.accept(made, b"hello", recipients, lifetime_ms=5 * DAY, leased=False)
    return made.id, [recipient.id for recipient in recipients]


def result(job: Job, event: Event, reply: Reply = OK, *, at_ms: int = NOW, **changes: Any) -> Result:
    """What an attempt of 40 ms came to; a deferred one is due again after a minute."""
    values: dict[str, Any] = {
        "at_ms": at_ms,
        "duration_ms": 40,
        "phase": Phase.AFTER_DOT,
        "reply": reply,
        "mx": "mx.there.example",
        "address": "192.0.2.1",
    }
    next_ms = at_ms + MINUTE if event is Event.DEFER else None
    return Result(job, Attempt(**(values | changes)), event, next_ms)


def hit(recipient_id: int, kind: HitKind = HitKind.PERSON, at_ms: int = NOW) -> Hit:
    """A fetch of the image."""
    return Hit(recipient_id, at_ms, kind, "a rule")


def report(recipient_id: int, event: Event, reply: Reply = UNKNOWN) -> Report:
    """What a DSN says."""
    return Report(recipient_id, event, reply, remote_mta="far.example")


def row(status: Status = Status.UNSENT, **changes: Any) -> Recipient:
    """A recipient's row, due at NOW where it is pending."""
    values: dict[str, Any] = {
        "id": 2,
        "message_id": 1,
        "status": status,
        "attempts": 0,
        "due_ms": NOW if status in PENDING else None,
        "lease": None,
        "last_attempt_ms": None,
        "code": None,
        "enhanced": None,
        "diagnostic": "",
        "category": None,
        "mx": None,
        "mx_address": None,
        "delivered_ms": None,
        "in_doubt_ms": None,
        "opens": 0,
        "machine_hits": 0,
        "first_open_ms": None,
        "late": "",
        "losses": 0,
        "expires_ms": NOW + 5 * DAY,
    }
    return Recipient(**(values | changes))


def job_of(recipient: Recipient) -> Job:
    """The job of whoever holds the row's lease."""
    made = Message(1, NOW, "ann@sender.example", BodyType.SEVEN_BIT, smtputf8=False, size=5, plan=b"")
    return Job(
        made,
        recipient.id,
        "bob@there.example",
        "there.example",
        recipient.status,
        recipient.attempts,
        NOW + DAY,
        recipient.lease or 0,
    )


def policy(*, fold_local_part: bool = False, **blocking: Any) -> Policy:
    """A policy other than the default."""
    return Policy(BlockingSettings(**blocking), ContactSettings(fold_local_part=fold_local_part))
