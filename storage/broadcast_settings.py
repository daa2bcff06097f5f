"""What the relay, the pixel server and the command line agree on about broadcasts: `[broadcast]`.

A type is a word of the sender's ("general", "emergency" …), compared in lower case.
"""

from enum import StrEnum
from typing import Annotated, Any, Final

from pydantic import BeforeValidator

from storage.address import type_key
from storage.settings import Section


class BroadcastHeader(StrEnum):
    """The header fields that name a broadcast."""

    BROADCAST = "X-Broadcast"
    LISTMONK = "X-Listmonk-Campaign"
    MAILGUN = "X-Mailgun-Tag"
    POSTMARK = "X-PM-Tag"
    SES = "X-SES-MESSAGE-TAGS"
    LIST_ID = "List-ID"


def parse_type(value: Any) -> str:
    """Read a type of broadcasts, such as "general"; returns it in lower case."""
    text = type_key(value) if isinstance(value, str) else ""
    if not text or not text.isprintable() or text == "*":
        raise ValueError('expected a type of broadcasts such as "general"')
    return text


TypeOf = Annotated[str, BeforeValidator(parse_type)]


class BroadcastSettings(Section):
    """`[broadcast]`: messages to many."""

    default_type: TypeOf = "general"
    """Of a broadcast that says none."""
    once: tuple[BroadcastHeader, ...] = (BroadcastHeader.BROADCAST, BroadcastHeader.LISTMONK)
    """Fields that name one broadcast: an address that comes again under the same name is Duplicate."""
    no_unsubscribe_types: tuple[TypeOf, ...] = ("emergency",)
    """Types whose copies get no link to unsubscribe."""
    ahead: int = 4000
    """Recipients of a `telltale broadcast send` that may wait in the queue, of those that came within 5 minutes.

    A domain has half of it at most.
    """


DEFAULT: Final = BroadcastSettings()
