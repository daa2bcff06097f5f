"""What happens to recipients as events in one order, for programs that follow: their types, and the place of each.

Rules: pure. The order is that of the store's transactions, so that whoever goes on from a place misses nothing; an
event's id is its place, and the same whenever it is asked for.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import Final

from storage.model import OPENING, LogRow, TimelineEntry, TimelineKind
from storage.status import Event, Status

_PLACED: Final = tuple(Status)


class EventType(StrEnum):
    """What an event tells."""

    ACCEPTED = "recipient.accepted"
    SOFT_BOUNCED = "recipient.soft_bounced"
    SENT = "recipient.sent"
    DELIVERED = "recipient.delivered"
    OPENED = "recipient.opened"
    """Each fetch by a person, or by a mail provider for one."""
    BOUNCED = "recipient.bounced"
    FAILED = "recipient.failed"
    BLOCKED = "recipient.blocked"
    DUPLICATE = "recipient.duplicate"
    NO_EMAIL_SELECTED = "recipient.no_email_selected"
    COMPLAINT = "recipient.complaint"
    DELAYED = "recipient.delayed"
    """The next server's report that it is still trying."""
    MACHINE = "recipient.machine_hit"
    """A fetch of the image that tells nothing of a person."""
    OPERATED = "recipient.operated"
    """An operator held, released or flushed it."""
    ANSWERED = "recipient.answered"
    """Its sender was told."""


@dataclass(frozen=True, slots=True, order=True)
class Place:
    """Where to go on in the order of events."""

    serial: int
    """Of a transaction."""
    index: int
    """How many of its events are behind."""

    def __str__(self) -> str:
        """Return it as `Place.read` reads it."""
        return f"{self.serial}-{self.index}"

    @classmethod
    def read(cls, text: str) -> "Place | None":
        """Return the place of a text; None where it is none."""
        serial, dash, index = text.partition("-")
        plain = serial.isascii() and index.isascii() and serial.isdigit() and index.isdigit()
        # SQLite's integers end at 2^63.
        return cls(int(serial), int(index)) if dash and plain and len(serial) < 19 > len(index) else None  # noqa: PLR2004


@dataclass(frozen=True, slots=True)
class Fact:
    """One entry of a transaction: what is to be looked up."""

    place: Place
    at_ms: int
    recipient_id: int
    id: int
    """Of an attempt or an event; else 0."""
    admitted: Status | None
    """What admission decided, of a new recipient; None for what came later."""


@dataclass(frozen=True, slots=True)
class FeedEvent:
    """One thing that happened to a recipient."""

    place: Place
    """Its own; who has it goes on from the next one."""
    type: EventType
    row: LogRow
    """The recipient as it is now."""
    entry: TimelineEntry
    """What happened, and what the recipient was then."""

    @property
    def id(self) -> str:
        """Its name for ever."""
        return id_of(self.place)


@dataclass(frozen=True, slots=True)
class FeedPage:
    """Some events in their order."""

    events: Sequence[FeedEvent]
    next: Place
    """Where to go on: behind all that were looked at, wanted or not."""
    more: bool
    """Whether there are more now."""
    torn: bool = False
    """Whether what was asked for is not kept any more: go on from `next`, and look at everything anew."""


def id_of(place: Place) -> str:
    """Return the name of the event of a place."""
    return f"evt_{place}"


def decided(recipient_id: int, status: Status) -> tuple[int, int]:
    """Return the entry of a new recipient that nothing is sent to."""
    return recipient_id, -_PLACED.index(status)


def facts_of(serial: int, at_ms: int, accepted: Sequence[int], pairs: Sequence[int]) -> Iterator[Fact]:
    """Yield a transaction's entries: its new recipients, then what it wrote of any."""
    known = list(zip(pairs[::2], pairs[1::2], strict=True))
    status_of = {recipient_id: _PLACED[-id_] for recipient_id, id_ in known if id_ <= 0}
    entries: list[tuple[int, int, Status | None]] = [(id_, 0, status_of.get(id_, Status.UNSENT)) for id_ in accepted]
    entries += [(recipient_id, id_, None) for recipient_id, id_ in known if id_ > 0]
    for index, entry in enumerate(entries):
        yield Fact(Place(serial, index), at_ms, *entry)


_OF_STATUS: Final = MappingProxyType({status: EventType(f"recipient.{status.name.lower()}") for status in _PLACED[1:]})
_OF_REPORT: Final[Mapping[Event, EventType]] = MappingProxyType(
    {
        Event.DEFER: EventType.DELAYED,
        Event.HAND_OVER: EventType.SENT,
        Event.DELIVER: EventType.DELIVERED,
        Event.BOUNCE: EventType.BOUNCED,
        Event.FAIL: EventType.FAILED,
    }
)
_OF_KIND: Final = MappingProxyType(
    {
        TimelineKind.COMPLAINT: EventType.COMPLAINT,
        TimelineKind.BLOCKED: EventType.BLOCKED,
        TimelineKind.ANSWER: EventType.ANSWERED,
    }
)
_ENDS: Final = frozenset({Status.BOUNCED, Status.FAILED, Status.BLOCKED, Status.NO_EMAIL_SELECTED})


def type_of(entry: TimelineEntry, event: Event | None = None) -> EventType:
    """Return the type of what happened; `event` is what a report says."""
    status = entry.status or Status.UNSENT
    match entry.kind:
        case TimelineKind.ACCEPTED:
            return _OF_STATUS.get(status, EventType.ACCEPTED)
        case TimelineKind.ATTEMPT:
            # A copy that was opened while it was in doubt is taken, and opened at once.
            after = Status.DELIVERED if status is Status.OPENED else status
            return _OF_STATUS.get(after, EventType.SOFT_BOUNCED)
        case TimelineKind.HIT:
            return EventType.OPENED if entry.hit in OPENING else EventType.MACHINE
        case TimelineKind.REPORT:
            return _OF_REPORT.get(event or Event.DEFER, EventType.DELAYED)
        case TimelineKind.QUEUE:
            return _OF_STATUS[status] if status in _ENDS else EventType.OPERATED
        case kind:
            return _OF_KIND.get(kind, EventType.OPERATED)
