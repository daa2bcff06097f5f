"""Contacts, who unsubscribed, and entries of the Blocked Email list as they are written to files: CSV and JSON.

Rule: pure; what is written, the import reads back as the same.
"""

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Final

from storage import table
from storage.contact_rows import header_of
from storage.people import ALL_TYPES, Blocked, Contact, ContactAddress, Left

BLOCKED_COLUMNS: Final = ("address", "source", "category", "reason", "created", "expires")
UNSUBSCRIBED_COLUMNS: Final = ("address", "type", "at", "source", "broadcast")


def contact_object(contact: Contact) -> dict[str, Any]:
    """Return a contact as a JSON object."""
    return {
        "key": contact.key,
        "name": contact.name,
        "addresses": [{"address": one.address, "types": _types(one)} for one in contact.addresses],
        "lists": list(contact.lists),
        "fields": dict(contact.fields),
        "created": iso(contact.created_ms),
        "updated": iso(contact.updated_ms),
    }


def _types(one: ContactAddress) -> list[str]:
    return [ALL_TYPES] if one.types is None else list(one.types)


def json_line(value: dict[str, Any]) -> str:
    """Return an object as a line of JSON Lines."""
    return json.dumps(value, ensure_ascii=False) + "\n"


HEADER_BEGINS: Final = "key,name,"
"""What all headers begin with: it can be sent before it is known how wide the file is."""


def contact_header(addresses: int, fields: Sequence[str]) -> str:
    """Return the header of a CSV file of contacts that have up to so many addresses and these fields."""
    places = ["" if place == 1 else str(place) for place in range(1, max(addresses, 1) + 1)]
    numbered = [name + place for place in places for name in ("email", "types")]
    return table.line(["key", "name", *numbered, "list", *map(header_of, fields)])


def contact_line(contact: Contact, addresses: int, fields: Sequence[str]) -> str:
    """Return a contact as a line below `contact_header`."""
    cells = [cell for one in contact.addresses for cell in (one.address, _cell(one))]
    cells += [""] * (2 * max(addresses, 1) - len(cells))
    own = [contact.fields.get(name, "") for name in fields]
    return table.line([contact.key or "", contact.name, *cells, ";".join(contact.lists), *own])


def _cell(one: ContactAddress) -> str:
    return ";".join(_types(one)) or "none"


def blocked_object(entry: Blocked) -> dict[str, Any]:
    """Return an entry of the Blocked Email list as a JSON object."""
    return dict(zip(BLOCKED_COLUMNS, _blocked(entry), strict=True))


def blocked_line(entry: Blocked) -> str:
    """Return an entry as a line of CSV with BLOCKED_COLUMNS."""
    return table.line([cell or "" for cell in _blocked(entry)])


def _blocked(entry: Blocked) -> list[str | None]:
    expires = None if entry.expires_ms is None else iso(entry.expires_ms)
    return [entry.address, entry.source, entry.category, entry.reason, iso(entry.created_ms), expires]


def unsubscribed_object(left: Left) -> dict[str, Any]:
    """Return an unsubscription as a JSON object."""
    return dict(zip(UNSUBSCRIBED_COLUMNS, _left(left), strict=True))


def unsubscribed_line(left: Left) -> str:
    """Return an unsubscription as a line of CSV with UNSUBSCRIBED_COLUMNS."""
    return table.line([cell or "" for cell in _left(left)])


def _left(left: Left) -> list[str | None]:
    was = left.was
    return [was.address, was.type, iso(was.at_ms), was.source, left.broadcast]


def iso(at_ms: int) -> str:
    """Return a time as 2026-11-25T14:05:00Z."""
    return datetime.fromtimestamp(at_ms // 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
