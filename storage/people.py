"""Contacts, what they do not want, and the entries of the Blocked Email list, as values, with their settings.

Rule: values only; no clock, no chance, no database. Addresses are as `address_key` gives them, broadcast
types as `type_key` does.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from typing import Final

from storage.settings import Seconds, Section

ALL_TYPES: Final = "*"
"""The type of an unsubscription from all broadcasts."""


class ContactSettings(Section):
    """`[contacts]`: what counts as the same contact."""

    fold_local_part: bool = False
    """Whether letter case before the "@" does not tell mailboxes apart."""


class BlockingSettings(Section):
    """`[blocking]`: what puts an address on the Blocked Email list by itself. 0 as a time means for ever."""

    failed: bool = True
    """Whether an address that a server calls invalid is blocked."""
    failed_for: Seconds = 0
    complaints: bool = True
    """Whether the address of whoever complained of a copy is blocked."""
    complaints_for: Seconds = 0
    bounces: int = 3
    """How many copies to an address must be Bounced for a reason of its mailbox; 0: never."""
    within: Seconds = 7 * 86400
    """In how long a time."""
    bounces_for: Seconds = 30 * 86400


@dataclass(frozen=True, slots=True)
class Policy:
    """What the store's verbs are told of the configuration."""

    blocking: BlockingSettings
    contacts: ContactSettings


POLICY: Final = Policy(BlockingSettings(), ContactSettings())
"""That of the embedded default configuration."""


@dataclass(frozen=True, slots=True)
class ContactAddress:
    """An address of a contact."""

    address: str
    types: tuple[str, ...] | None = None
    """The broadcast types that it takes, sorted; None: all, (): none."""


@dataclass(frozen=True, slots=True)
class NewAddress:
    """An address to be stored with a contact."""

    address: str
    types: tuple[str, ...] | None = None
    """The broadcast types that it takes; None leaves what is stored (all, for a new one), (ALL_TYPES,): all."""


@dataclass(frozen=True, slots=True)
class NewContact:
    """A contact to be stored: an update of the one with its key, else of the one with its first address.

    What is not given stays as it is stored.
    """

    addresses: tuple[NewAddress, ...]
    """One that the contact has already stays in its place; another one replaces that of its own place."""
    key: str | None = None
    """What the sender's own system knows it by."""
    name: str | None = None
    fields: Mapping[str, str] = field(default_factory=dict)
    """Added to those that are stored; "" removes one."""
    lists: tuple[str, ...] = ()
    """Lists to put it on; they are made where they are not."""


@dataclass(frozen=True, slots=True)
class Contact:
    """A person with addresses."""

    id: int
    key: str | None
    name: str
    fields: Mapping[str, str]
    addresses: tuple[ContactAddress, ...]
    lists: tuple[str, ...]
    created_ms: int
    updated_ms: int


@dataclass(frozen=True, slots=True)
class AddressOwner:
    """Whose an address is."""

    id: int
    key: str | None
    name: str
    fields: Mapping[str, str]


class Stored(StrEnum):
    """What became of a NewContact."""

    ADDED = "added"
    UPDATED = "updated"
    UNCHANGED = "unchanged"


BY_LINK: Final = "one-click"
"""The source of an unsubscription by the link of a copy."""


@dataclass(frozen=True, slots=True)
class Unsubscription:
    """An address that does not want broadcasts of a type any more."""

    address: str
    type: str
    """A broadcast type, or ALL_TYPES."""
    at_ms: int
    source: str
    """How it came: "one-click", "operator", "import" …"""
    recipient_id: int | None = None
    """By whose copy, where it is known."""


@dataclass(frozen=True, slots=True)
class Left:
    """An unsubscription, and the broadcast whose copy held the link, as long as the log knows it."""

    was: Unsubscription
    broadcast: str | None


class Source(StrEnum):
    """What put an address on the Blocked Email list."""

    MANUAL = "manual"
    IMPORT = "import"
    FAILED = "failed"
    """A server called the address invalid."""
    COMPLAINT = "complaint"
    """Its owner complained of a copy (ARF, RFC 5965)."""
    BOUNCES = "bounces"
    """So many copies to it were Bounced."""


AUTOMATIC: Final = frozenset({Source.FAILED, Source.COMPLAINT, Source.BOUNCES})
"""What nobody decided on: an incident may have."""


@dataclass(frozen=True, slots=True)
class Blocked:
    """An entry of the Blocked Email list."""

    address: str
    """An address, or "@example.org" for all of a domain."""
    source: Source
    created_ms: int
    reason: str = ""
    """For people: a reply, or what the operator wrote."""
    category: str | None = None
    """As in `Attempt`, where a reply was the reason."""
    expires_ms: int | None = None
    recipient_id: int | None = None
    """By whose copy, where it was one."""
    id: int = 0
    """The store's; 0 for an entry that is new."""

    @property
    def why(self) -> str:
        """One line for the Email Log."""
        said = ": ".join(word for word in (self.category, self.reason) if word)
        domain = "the domain is " if self.address.startswith("@") else ""
        return f"{domain}blocked since {day_of(self.created_ms)} ({self.source}){': ' if said else ''}{said}"


@dataclass(frozen=True, slots=True)
class BlockedChange:
    """What was done to the Blocked Email list, and by whom."""

    at_ms: int
    change: str
    """added, changed, removed, undone or expired."""
    address: str
    source: Source
    category: str | None
    reason: str
    actor: str
    recipient_id: int | None


def day_of(at_ms: int) -> str:
    """Return the day (UTC) of a time, as 2026-11-25."""
    return datetime.fromtimestamp(at_ms / 1000, UTC).date().isoformat()
