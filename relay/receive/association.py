"""Which broadcast a message says it belongs to, by its header fields.

Rule: pure; the first field of the list below that says something gives the name, and any of them the type. Which of
them make a second message to an address Duplicate is a setting: a tag of a provider, or the id of a list, is met on
many messages that all want to arrive.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from relay.receive.encoded_words import decode_value
from storage.address import type_key
from storage.broadcast_settings import BroadcastHeader

CONTROL_FIELDS: Final = frozenset(
    {
        b"x-broadcast",
        b"x-broadcast-type",
        b"x-listmonk-campaign",
        b"x-mailgun-tag",
        b"x-pm-tag",
        b"x-ses-message-tags",
    }
)
"""What is read and does not go out. List-ID is read too, but it is for the recipients (RFC 2919), and stays."""
READ_FIELDS: Final = CONTROL_FIELDS | {b"list-id"}


@dataclass(frozen=True, slots=True)
class Association:
    """A message's broadcast; all None for a message that is its own."""

    name: str | None = None
    type: str | None = None
    """As `type_key` has it."""
    by: BroadcastHeader | None = None
    """The field that gave the name."""


NONE: Final = Association()


def associate(values: Mapping[bytes, bytes]) -> Association:
    """Return what the fields say: unfolded values by lower-case name, each the first of its name."""
    if not (READ_FIELDS & values.keys()):
        return NONE
    tags = _tags(values.get(b"x-ses-message-tags", b""))
    said = (
        (BroadcastHeader.BROADCAST, _text(values, b"x-broadcast")),
        (BroadcastHeader.LISTMONK, _text(values, b"x-listmonk-campaign")),
        (BroadcastHeader.MAILGUN, _text(values, b"x-mailgun-tag")),
        (BroadcastHeader.POSTMARK, _text(values, b"x-pm-tag")),
        (BroadcastHeader.SES, tags.get("broadcast") or tags.get("campaign") or ""),
        (BroadcastHeader.LIST_ID, _list_id(_text(values, b"list-id"))),
    )
    by, name = next(((header, text) for header, text in said if text), (None, None))
    type_ = type_key(_text(values, b"x-broadcast-type") or tags.get("broadcast-type", ""))
    return Association(name, type_ or None, by)


def _text(values: Mapping[bytes, bytes], name: bytes) -> str:
    return decode_value(values.get(name, b""))


def _tags(value: bytes) -> dict[str, str]:
    """Read `name=value, name=value`, as SES has them."""
    pairs = [pair.partition("=") for pair in decode_value(value).split(",")]
    return {name.strip().lower(): text.strip() for name, _, text in pairs}


def _list_id(value: str) -> str:
    """Return the identifier of a List-ID (RFC 2919, 3): what stands in the last brackets."""
    return value.rpartition("<")[2].partition(">")[0].strip()
