"""Webhooks as values: where events are sent to, how far that is, what was tried and what is to be tried again.

Rule: pure; values, and what may be said of a failing one.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from storage.feed import EventType, Place

TEST: Final = "test"
"""The type of an event that tells of nothing: somebody tries an endpoint out."""
_TAKEN: Final = range(200, 300)


@dataclass(frozen=True, slots=True)
class Former:
    """A secret that was replaced, and signs along until the endpoint knows the new one."""

    secret: str = field(repr=False)
    until_ms: int


@dataclass(frozen=True, slots=True)
class Webhook:
    """An endpoint of somebody's that is told of events."""

    id: str
    url: str
    secret: str = field(repr=False)
    """As Standard Webhooks writes it: "whsec_" and base64."""
    types: frozenset[EventType]
    """What it is told of; none: all."""
    user: str | None
    """Whose mail alone it is told of; None: all."""
    created_ms: int
    place: Place
    """The first event that it was not sent yet."""
    failing_ms: int | None = None
    """Since when nothing was taken; None: the last one was."""
    stopped_ms: int | None = None
    """Since when it is not active."""
    note: str = ""
    """Why it is not, or what went wrong last."""
    taken_ms: int | None = None
    """When it took an event last."""
    next_ms: int | None = None
    """While it takes nothing: when it is called next, if something is to be sent."""
    former: tuple[Former, ...] = ()

    @property
    def active(self) -> bool:
        """Whether it is sent events."""
        return self.stopped_ms is None

    def secrets(self, now_ms: int) -> tuple[str, ...]:
        """Return what its events are signed with now, its own secret first."""
        return self.secret, *(one.secret for one in self.former if one.until_ms > now_ms)


@dataclass(frozen=True, slots=True)
class HookAttempt:
    """One call of an endpoint, and what came of it."""

    at_ms: int
    duration_ms: int
    type: str
    """An event's, as `EventType` writes it, or TEST."""
    place: Place | None
    """The event's; None: a test."""
    recipient_id: int | None
    status: int
    """HTTP's; 0: there was no answer."""
    words: str
    """What it said, or what went wrong."""
    tries: int
    """Made of this event, with this one."""
    next_ms: int | None = None
    """When it is tried again; None: never, or not for this."""
    recipient: str | None = None
    """The address, as the log still has it."""

    @property
    def taken(self) -> bool:
        """Whether the endpoint has the event."""
        return self.status in _TAKEN


@dataclass(frozen=True, slots=True)
class HookChange:
    """An order that somebody gave."""

    at_ms: int
    change: str
    actor: str


@dataclass(frozen=True, slots=True)
class Waiting:
    """What an endpoint was not told yet."""

    events: int = 0
    """How many it did not take and is sent again."""
    due_ms: int | None = None
    """When the first of them is."""
    since_ms: int | None = None
    """Since when there is more that it may want, and was not sent at all; None: there is none."""


@dataclass(frozen=True, slots=True)
class Retry:
    """An event that an endpoint is to be sent again."""

    place: Place
    due_ms: int
    tries: int
    """Made so far."""


@dataclass(frozen=True, slots=True)
class Told:
    """What came of sending an endpoint some events, to be written in one transaction."""

    id: str
    was: Place
    """Where it was before: whoever else moved it meanwhile is right."""
    place: Place
    failing_ms: int | None
    note: str
    later: Sequence[Retry] = ()
    """To be tried again."""
    over: Sequence[Place] = ()
    """Retries that came to an end."""
    stopped_ms: int | None = None
    taken_ms: int | None = None
    """When one of them was taken; None: none was."""
    next_ms: int | None = None
    attempts: Sequence[HookAttempt] = ()
