"""Values that store tests begin with."""

from storage.model import Attempt, BodyType, Job, Message, NewRecipient, Phase, Reply, Result
from storage.status import Event, Status
from storage.store import Store

NOW = 1_700_000_000_000
DAY = 86_400_000
OK = Reply(250, "2.0.0", "queued")
BUSY = Reply(451, "4.7.1", "greylisted, try later")
UNKNOWN = Reply(550, "5.1.1", "no such user")


def message(store: Store, *, size: int = 5, received_ms: int = NOW, **changes: object) -> Message:
    values: dict = {
        "id": store.next_id(),
        "received_ms": received_ms,
        "sender": "ann@sender.example",
        "body": BodyType.SEVEN_BIT,
        "smtputf8": False,
        "size": size,
        "plan": b"plan",
        "subject": "Hello",
    }
    return Message(**(values | changes))


def new_recipient(store: Store, address: str = "bob@there.example", status: Status = Status.UNSENT) -> NewRecipient:
    return NewRecipient(store.next_id(), address, address.rpartition("@")[2], status)


async def accept(store: Store, *addresses: str, leased: bool = True, content: bytes = b"hello", **changes) -> list[Job]:
    recipients = [new_recipient(store, address) for address in addresses or ("bob@there.example",)]
    made = message(store, size=len(content), **changes)
    return await store.accept(made, content, recipients, lifetime_ms=5 * DAY, leased=leased)


def result(
    job: Job, event: Event, reply: Reply = OK, *, at_ms: int = NOW, next_ms: int | None = None, **changes
) -> Result:
    values: dict = {
        "at_ms": at_ms,
        "duration_ms": 40,
        "phase": Phase.AFTER_DOT,
        "reply": reply,
        "mx": "mx.there.example",
        "address": "192.0.2.1",
    }
    if event is Event.DEFER and next_ms is None:
        next_ms = at_ms + 60_000
    return Result(job, Attempt(**(values | changes)), event, next_ms)
