"""Why a copy was not delivered, as a closed set, and what follows from it for the recipient."""

from enum import StrEnum
from typing import Final


class Category(StrEnum):
    """Why a copy was not delivered."""

    USER_UNKNOWN = "user unknown"
    DOMAIN_UNKNOWN = "domain unknown"
    MOVED = "moved"
    DISABLED = "disabled"
    MAILBOX_FULL = "mailbox full"
    MESSAGE_TOO_LARGE = "message too large"
    CONTENT = "content"
    SPAM = "spam"
    VIRUS = "virus"
    POLICY = "policy"
    AUTHENTICATION = "authentication"
    """SPF, DKIM, DMARC, ARC: the sender's domain is not proven."""
    REPUTATION = "reputation"
    """The sending host or domain is listed, has a bad name or no reverse name."""
    RATE_LIMITED = "rate limited"
    RELAY_DENIED = "relay denied"
    TLS = "tls"
    NETWORK = "network"
    EXPIRED = "expired"
    SYSTEM = "system"
    OTHER = "other"


class Verdict(StrEnum):
    """What a report comes to; the values are the words that people read."""

    FAILED = "Failed"
    """Final: the address is invalid."""
    BOUNCED = "Bounced"
    """Final, for any other reason."""
    SOFT_BOUNCED = "Soft Bounced"
    """Not final: the reporter still tries."""
    DELIVERED = "Delivered"
    """A success report."""
    COMPLAINT = "Complaint"
    NONE = "None"


INVALID_ADDRESS: Final = frozenset({Category.USER_UNKNOWN, Category.DOMAIN_UNKNOWN, Category.MOVED, Category.DISABLED})
"""Categories that say that mail to this address cannot arrive, whoever sends it."""


def verdict_of(category: Category) -> Verdict:
    """Return the verdict of a final failure of this category: FAILED or BOUNCED."""
    return Verdict.FAILED if category in INVALID_ADDRESS else Verdict.BOUNCED
