"""Broadcasts as values: what a recipient subscribed to, and the runs of `telltale broadcast send`.

Rule: values only; no clock, no chance, no database. Times are milliseconds since the Unix epoch.
"""

from dataclasses import dataclass


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
