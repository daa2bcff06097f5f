"""The Delivery Results of a recipient and how they may change, as one table.

Rule: a status moves only by `advance`, and `advance` only reads the table. Every pair that the world
can produce is written out, those that leave the status as it is too; a pair that is not written can
not happen, and asking for it is refused.
"""

from enum import StrEnum
from types import MappingProxyType
from typing import Final


class Status(StrEnum):
    """How far a recipient's copy came; the values are the words that people read."""

    UNSENT = "Unsent"
    SOFT_BOUNCED = "Soft Bounced"
    SENT = "Sent"
    DELIVERED = "Delivered"
    OPENED = "Opened"
    BOUNCED = "Bounced"
    FAILED = "Failed"
    BLOCKED = "Blocked"
    DUPLICATE = "Duplicate"
    NO_EMAIL_SELECTED = "No Email Selected"


class Event(StrEnum):
    """What can happen to a recipient that its status may answer."""

    DEFER = "defer"
    """A try failed for now; we go on trying."""
    HAND_OVER = "hand over"
    """A smarthost or route took the copy, or an MX host where `delivered_on = "dsn"`."""
    DELIVER = "deliver"
    """The recipient's own server confirmed: 250 from an MX host, or a success DSN."""
    OPEN = "open"
    """A hit judged to be a person's."""
    BOUNCE = "bounce"
    """Final: the provider's reasons, removal from the queue, or time ran out."""
    FAIL = "fail"
    """Final: the address is invalid."""
    BLOCK = "block"
    """The address is on the Blocked Email list."""
    DUPLICATE = "duplicate"
    """The address was met before in the same broadcast."""
    NO_EMAIL = "no email"
    """The contact has no address for this broadcast's type."""


class ImpossibleEventError(ValueError):
    """An event that cannot happen in a status: the caller has a bug. Nothing was changed."""


_S, _E = Status, Event

# What may still come for a copy that is done. All of it is kept as a fact beside the status.
_LATE: Final = (_E.DEFER, _E.HAND_OVER, _E.DELIVER, _E.OPEN, _E.BOUNCE, _E.FAIL)

TABLE: Final = MappingProxyType(
    {
        _S.UNSENT: {
            _E.DEFER: _S.SOFT_BOUNCED,
            _E.HAND_OVER: _S.SENT,
            _E.DELIVER: _S.DELIVERED,
            _E.OPEN: _S.UNSENT,  # kept; counts once the copy is Sent or Delivered
            _E.BOUNCE: _S.BOUNCED,
            _E.FAIL: _S.FAILED,
            _E.BLOCK: _S.BLOCKED,
            _E.DUPLICATE: _S.DUPLICATE,
            _E.NO_EMAIL: _S.NO_EMAIL_SELECTED,
        },
        _S.SOFT_BOUNCED: {
            _E.DEFER: _S.SOFT_BOUNCED,
            _E.HAND_OVER: _S.SENT,
            _E.DELIVER: _S.DELIVERED,
            _E.OPEN: _S.SOFT_BOUNCED,  # as for Unsent
            _E.BOUNCE: _S.BOUNCED,
            _E.FAIL: _S.FAILED,
            _E.BLOCK: _S.BLOCKED,
        },
        _S.SENT: {
            _E.DEFER: _S.SENT,  # a delay report from further on
            _E.HAND_OVER: _S.SENT,
            _E.DELIVER: _S.DELIVERED,
            _E.OPEN: _S.OPENED,
            _E.BOUNCE: _S.BOUNCED,
            _E.FAIL: _S.FAILED,
        },
        _S.DELIVERED: {
            _E.DEFER: _S.DELIVERED,
            _E.HAND_OVER: _S.DELIVERED,
            _E.DELIVER: _S.DELIVERED,
            _E.OPEN: _S.OPENED,
            _E.BOUNCE: _S.DELIVERED,  # shown as "Delivered, bounced later"
            _E.FAIL: _S.DELIVERED,
        },
        _S.OPENED: dict.fromkeys(_LATE, _S.OPENED),
        _S.BOUNCED: dict.fromkeys(_LATE, _S.BOUNCED),
        _S.FAILED: dict.fromkeys(_LATE, _S.FAILED),
        # Reached from Soft Bounced, a try in doubt may have gone out before; so these can still come.
        _S.BLOCKED: dict.fromkeys(_LATE, _S.BLOCKED),
        # Nothing was ever sent: no reply, report or hit can exist.
        _S.DUPLICATE: {},
        _S.NO_EMAIL_SELECTED: {},
    }
)

PENDING: Final = frozenset({_S.UNSENT, _S.SOFT_BOUNCED})
"""Statuses of recipients that the queue still has to serve."""


def advance(status: Status, event: Event) -> Status:
    """Return the status after `event`; the same one where the event is only kept beside it.

    Raises ImpossibleEventError where the pair is not in the table.
    """
    try:
        return TABLE[status][event]
    except KeyError:
        raise ImpossibleEventError(f"a recipient that is {status} cannot meet {event!r}") from None


def reachable(status: Status) -> frozenset[Status]:
    """Return the statuses that one event can move `status` to, itself left out."""
    return frozenset(TABLE[status].values()) - {status}
