"""Broadcasts as values: what a recipient subscribed to, and the runs of `telltale broadcast send`.

Rule: values only; no clock, no chance, no database. Times are milliseconds since the Unix epoch.
"""

from dataclasses import dataclass, field
from enum import IntEnum, StrEnum
from typing import Final, NamedTuple


@dataclass(frozen=True, slots=True)
class Subscription:
    """What the link to unsubscribe in a copy stands for, and how things are."""

    recipient_id: int
    address: str
    type: str
    """Of the broadcast."""
    sender: str
    """The From field, for people."""
    left: frozenset[str]
    """What the address unsubscribed from: types of broadcasts, or ALL_TYPES."""
    held: frozenset[str] = frozenset()
    """What of that an operator or a list says: no link takes it back, since a copy may be in anybody's hands."""


class RunState(StrEnum):
    """How far a run is."""

    DRAFT = "draft"
    """Its recipients are being put together; nobody has said that it may go."""
    SCHEDULED = "scheduled"
    SENDING = "sending"
    PAUSED = "paused"
    DONE = "done"
    """All of its copies are in the queue, or were decided against."""
    CANCELLED = "cancelled"


OPEN: Final = frozenset({RunState.DRAFT, RunState.SCHEDULED, RunState.SENDING, RunState.PAUSED})


class RunOrder(StrEnum):
    """What an operator may tell a run."""

    PAUSE = "pause"
    RESUME = "resume"
    CANCEL = "cancel"


@dataclass(frozen=True, slots=True)
class NewRun:
    """A broadcast to be sent, without its recipients."""

    name: str
    type: str
    sender: str
    """MAIL FROM."""
    subject: str
    """For people."""
    template: bytes = field(repr=False)
    """As `relay.broadcast.draft` makes it."""
    personal: bool
    """Whether each recipient gets another message."""
    per_hour: int | None = None
    """Copies an hour; None: as fast as they go."""
    owner: str = ""


@dataclass(frozen=True, slots=True)
class Chunk:
    """Some of a run's recipients, at most as many as one transaction accepts."""

    number: int
    """From 0 on, without gaps."""
    count: int
    recipients: bytes = field(repr=False)
    """A JSON array of [address, name, fields] or [address, name, fields, Hold]."""


class Hold(IntEnum):
    """Whether it is known already that somebody on a list will be sent nothing."""

    NO = 0
    JUDGED = 1
    """The pre-flight held it back, so fields may be missing; what becomes of it, admission decides."""
    CHOICE = 2
    """The list itself says that the contact has no address for the type."""


class Listed(NamedTuple):
    """Somebody on the list of a run."""

    address: str
    name: str
    fields: dict[str, str]
    hold: Hold = Hold.NO


@dataclass(frozen=True, slots=True)
class Run:
    """One `telltale broadcast send`."""

    id: int
    broadcast_id: int
    owner: str
    name: str
    type: str
    state: RunState
    created_ms: int
    start_ms: int | None
    """When it is to begin."""
    started_ms: int | None
    ended_ms: int | None
    sender: str
    subject: str
    personal: bool
    per_hour: int | None
    chunks: int
    total: int
    done_chunks: int
    done: int
    """Recipients decided on, of `total`; the four below are what was decided."""
    unsent: int
    blocked: int
    duplicate: int
    no_email_selected: int
    note: str
    """Why it paused by itself."""
    first_message: int | None
    """The lowest id of its messages."""
