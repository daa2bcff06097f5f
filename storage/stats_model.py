"""What was counted, as values (storage/tally.py counts, storage/stats_reader.py asks).

Rule: values only. Hours are whole hours since the Unix epoch; times are milliseconds.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from storage.status import Status

NOT_SENT: Final = frozenset({Status.BLOCKED, Status.DUPLICATE, Status.NO_EMAIL_SELECTED})
"""Statuses of recipients that nothing was sent to."""


@dataclass(frozen=True, slots=True)
class Counts:
    """How many recipients are in each status."""

    by_status: Mapping[Status, int]

    def __getitem__(self, status: Status) -> int:
        """Return how many are in a status."""
        return self.by_status.get(status, 0)

    def of(self, *statuses: Status) -> int:
        """Return how many are in any of these statuses."""
        return sum(self[status] for status in statuses)

    @property
    def recipients(self) -> int:
        """All of them."""
        return sum(self.by_status.values())

    @property
    def delivered(self) -> int:
        """Those whose own server confirmed, opened or not."""
        return self.of(Status.DELIVERED, Status.OPENED)

    @property
    def not_sent(self) -> int:
        """Those that nothing was sent to."""
        return self.of(*NOT_SENT)

    def plus(self, other: "Counts") -> "Counts":
        """Return both together."""
        return Counts({status: self[status] + other[status] for status in Status})


@dataclass(frozen=True, slots=True)
class Reading:
    """How recipients read: what an open rate is made of."""

    recipients: int
    opened: int
    trackable: int
    """Handed over or delivered with an image in it: those of whom an open would be seen."""
    untrackable: int
    """Handed over or delivered without an image."""
    fetched_only: int
    """Of the trackable: a machine fetched the image and no person was seen to."""
    fetched: int
    """Of the trackable: a machine fetched it, opened or not."""
    prefetched: int
    """Of the trackable: the machine was the recipient's own mail client or provider, which fetches unread mail too."""

    @property
    def rate(self) -> float | None:
        """Opened of the trackable, from 0 to 1; None where nothing is trackable."""
        return self.opened / self.trackable if self.trackable else None

    @property
    def prefetch_rate(self) -> float | None:
        """The share of those behind clients that fetch ahead, from 0 to 1; None where nothing is trackable."""
        return self.prefetched / self.trackable if self.trackable else None

    def plus(self, other: "Reading") -> "Reading":
        """Return both together."""
        return Reading(
            self.recipients + other.recipients,
            self.opened + other.opened,
            self.trackable + other.trackable,
            self.untrackable + other.untrackable,
            self.fetched_only + other.fetched_only,
            self.fetched + other.fetched,
            self.prefetched + other.prefetched,
        )


NOTHING_READ: Final = Reading(0, 0, 0, 0, 0, 0, 0)


@dataclass(frozen=True, slots=True)
class BroadcastStats:
    """A broadcast and how far it came."""

    id: int
    owner: str
    """The user who submitted it; "" for the trusted networks and the command line."""
    name: str
    type: str
    from_header: str
    """Of its first message."""
    subject: str
    """Of its first message."""
    created_ms: int
    used_ms: int
    """When it was last sent to somebody, to the hour."""
    counts: Counts
    reading: Reading


@dataclass(frozen=True, slots=True)
class Shares:
    """How a broadcast's recipients opened it, and why others did not get it."""

    opens: Mapping[int, int]
    """By hour: how many opened it first then."""
    waits: tuple[int, ...]
    """How many opened it within each of `tally.WAITS_MS` after delivery and not within the one before; the last:
    later."""
    reasons: Mapping[tuple[Status, str], int]
    """How many are Bounced or Failed, by status and category ("" where there is none)."""


@dataclass(frozen=True, slots=True)
class DomainStats:
    """How a broadcast went at a domain."""

    domain: str
    """"": all domains that are not counted one by one."""
    recipients: int
    trackable: int
    opened: int
    failed: int
    """Bounced or Failed."""


@dataclass(frozen=True, slots=True)
class InvalidAddress:
    """An address that a server called invalid."""

    user: str
    """Whose mail it was; "" for the trusted networks."""
    address: str
    at_ms: int
    """When it was last tried."""
    code: int | None
    enhanced: str | None
    diagnostic: str
    category: str | None
    recipient_id: int
    """Of the copy that it was said of; its row may be gone."""
    contact_id: int | None = None
    contact_key: str | None = None
    contact_name: str = ""
    contact_fields: Mapping[str, str] | None = None
    """None where the address is no contact's."""


@dataclass(frozen=True, slots=True)
class InvalidPage:
    """Some of them, the one tried last first, and where the next page begins."""

    rows: tuple[InvalidAddress, ...]
    next: "InvalidCursor | None"
    """None: there are no more."""


@dataclass(frozen=True, slots=True)
class InvalidCursor:
    """A place among invalid addresses: those before it were seen."""

    at_ms: int
    user: str
    address: str
