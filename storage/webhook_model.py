"""Webhooks as values: where events are sent to, how far that is, and what is to be tried again.

Rule: pure; values, and what may be said of a failing one.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

from storage.feed import EventType, Place


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

    @property
    def active(self) -> bool:
        """Whether it is sent events."""
        return self.stopped_ms is None


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
