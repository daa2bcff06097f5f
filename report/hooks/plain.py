"""Webhooks in plain words: what each type of events tells, how it goes with an endpoint, what an answer means.

Rule: pure; the present is an argument.
"""

from collections.abc import Mapping
from enum import StrEnum
from http import HTTPStatus
from types import MappingProxyType
from typing import Final

from storage.feed import EventType
from storage.webhook_model import Waiting, Webhook

TYPES: Final[Mapping[str, Mapping[EventType, str]]] = MappingProxyType(
    {
        "Delivery": {
            EventType.ACCEPTED: "it is in the queue",
            EventType.SENT: "handed over to a smarthost or a route",
            EventType.DELIVERED: "the recipient's server took it",
            EventType.SOFT_BOUNCED: "a try failed, there will be others",
            EventType.DELAYED: "the next server says that it is still trying",
            EventType.BOUNCED: "it came to nothing at the recipient's provider, or time ran out",
            EventType.FAILED: "it came to nothing: the address is not valid",
        },
        "Nothing sent": {
            EventType.BLOCKED: "the address is on the Blocked Email list",
            EventType.DUPLICATE: "the address has it already, by the same broadcast",
            EventType.NO_EMAIL_SELECTED: "the contact takes no such broadcasts",
        },
        "Recipients": {
            EventType.OPENED: "a person fetched the image, each time",
            EventType.MACHINE: "the image was fetched, and not by a person",
            EventType.COMPLAINT: "the recipient complained",
        },
        "People here": {
            EventType.OPERATED: "an operator held, released or flushed it",
            EventType.ANSWERED: "its sender was told",
        },
    }
)
"""What each type tells, by what it is about."""

_HINTS: Final = MappingProxyType(
    {
        HTTPStatus.UNAUTHORIZED: "It asks for a log-in, or checks the signature with another secret.",
        HTTPStatus.FORBIDDEN: "It refuses us: a firewall may be in front, or the signature is checked with another"
        " secret.",
        HTTPStatus.NOT_FOUND: "There is nothing at this address: is its path right?",
        HTTPStatus.METHOD_NOT_ALLOWED: "Nothing takes POST at this address.",
        HTTPStatus.REQUEST_TIMEOUT: "It did not read the event in time.",
        HTTPStatus.GONE: "It says that it is gone for good.",
        HTTPStatus.REQUEST_ENTITY_TOO_LARGE: "The event is larger than it takes.",
        HTTPStatus.TOO_MANY_REQUESTS: "It is asked more often than it likes.",
    }
)


class State(StrEnum):
    """How it goes with an endpoint."""

    NEW = "new"
    """It was not sent anything yet."""
    GOING = "going"
    FAILING = "failing"
    STOPPED = "stopped"


def state_of(hook: Webhook) -> State:
    """Return how it goes with an endpoint."""
    if not hook.active:
        return State.STOPPED
    if hook.failing_ms is not None:
        return State.FAILING
    return State.NEW if hook.taken_ms is None else State.GOING


def next_try_ms(hook: Webhook, waiting: Waiting) -> int | None:
    """Return when an endpoint is called next for what it did not take, or was not sent; None: with the next event."""
    if not hook.active:
        return None
    fresh_ms = hook.next_ms if waiting.since_ms is not None else None
    return min((at_ms for at_ms in (fresh_ms, waiting.due_ms) if at_ms is not None), default=None)


def hint(status: int) -> str:
    """Return what an HTTP status that is no 2xx tells of an endpoint, and what may help; "" where that is unknown."""
    if status in _HINTS:
        return _HINTS[HTTPStatus(status)]
    kind = status // 100
    return {
        1: "It did not come to an answer.",
        3: "It redirects, which is not followed: give the address that it leads to.",
        4: "It does not accept the event: its own log may say why.",
        5: "It failed itself: its own log may say why.",
    }.get(kind, "")
