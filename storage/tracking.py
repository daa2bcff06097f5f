"""What the relay and the pixel server agree on: `[tracking]` and the form of the URLs in copies."""

from enum import StrEnum
from typing import Final

from storage.settings import DomainOf, Seconds, Section

PATH_PREFIX: Final = "/o/"
PATH_SUFFIX: Final = ".gif"
UNSUBSCRIBE_PREFIX: Final = "/u/"


class TextOnly(StrEnum):
    """What to do with messages that have no HTML."""

    ADD_HTML = "add-html"
    LEAVE = "leave"


class ForeignDkim(StrEnum):
    """What to do with a message that carries a DKIM signature of a domain that we hold no key for."""

    KEEP = "keep"
    """Leave the message alone: a change would break the signature."""
    BREAK = "break"
    """Track it, and keep the signature, though it will not verify (RFC 6376, 6.1: as if it were not there)."""
    REMOVE = "remove"
    """Track it, and take the signature out."""


class TrackingSettings(Section):
    """`[tracking]`: the image and how its hits are judged."""

    base_url: str = "http://127.0.0.1:8025"
    """Where recipients' mail clients reach the pixel server."""
    text_only: TextOnly = TextOnly.ADD_HTML
    leave_text_from: tuple[DomainOf, ...] = ()
    leave_text_to: tuple[DomainOf, ...] = ()
    """Sender and recipient domains, with all below them, whose plain text stays plain text."""
    foreign_dkim: ForeignDkim = ForeignDkim.KEEP
    scanner_seconds: Seconds = 2
    """A hit within these seconds of the server's 250 is a machine's."""
    keep_addresses: bool = False
    """Whether the raw network address and User-Agent of a hit are stored."""


def image_url(base_url: str, token: str) -> str:
    """Return the URL of a recipient's image; all URLs of one installation have the same length."""
    return f"{base_url.rstrip('/')}{PATH_PREFIX}{token}{PATH_SUFFIX}"


def unsubscribe_url(base_url: str, token: str) -> str:
    """Return the URL of the page on which a copy's recipient unsubscribes."""
    return f"{base_url.rstrip('/')}{UNSUBSCRIBE_PREFIX}{token}"
