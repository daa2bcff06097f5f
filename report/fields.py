"""What forms say, read as values: addresses, types, times; and what is wrong with it, in sentences.

Rule: pure; a field that cannot be meant is told, and nothing is changed then.
"""

import re
from collections.abc import Mapping
from datetime import datetime, tzinfo
from typing import Final

from report.words import LAST_MS
from storage.address import Fault
from storage.broadcast_settings import parse_type
from storage.contact_rows import parsed, types_of
from storage.people import ALL_TYPES, NewAddress, NewContact
from storage.settings import parse_seconds
from storage.typed import wrong_list

MAX_CHARS: Final = 1000
MAX_FIELD_CHARS: Final = 10_000
# A thousand years: what ends then can still be shown.
_MOST_SECONDS: Final = 1000 * 365 * 86_400
_PLACE: Final = re.compile(r"address([0-9]{1,4})")
_FIELD: Final = "field:"


class Form:
    """A form's fields, and what is wrong with them."""

    def __init__(self, fields: Mapping[str, str]) -> None:
        """Take what was sent."""
        self.fields = fields
        self.wrong: list[str] = []

    def text(self, name: str, called: str) -> str:
        """Return one line of text, without blanks around it."""
        value = self.fields.get(name, "").strip()
        if len(value) > MAX_CHARS or not value.isprintable():
            self.wrong.append(f"{called}: expected one line of at most {MAX_CHARS} printable characters.")
            return ""
        return value

    def lines(self, name: str, called: str) -> str:
        """Return some lines of text: a contact's field may have more than one."""
        value = self.fields.get(name, "").replace("\r\n", "\n").strip()
        if len(value) > MAX_FIELD_CHARS or not all(char.isprintable() or char in "\n\t" for char in value):
            self.wrong.append(f"{called}: expected at most {MAX_FIELD_CHARS} printable characters.")
            return ""
        return value

    def point_ms(self, name: str, called: str, zone: tzinfo | None = None) -> int | None:
        """Return a time in milliseconds, as browsers send it (without a zone: `zone`'s, None: the machine's)."""
        value = self.fields.get(name, "").strip()
        if not value:
            return None
        try:
            at = datetime.fromisoformat(value)
            at_ms = int((at if at.tzinfo else at.replace(tzinfo=zone)).timestamp() * 1000)
        except (ValueError, OverflowError, OSError):
            at_ms = LAST_MS
        if at_ms >= LAST_MS:
            self.wrong.append(f'{called}: "{value[:40]}" is no point in time such as 2026-11-23T14:05.')
            return None
        return at_ms

    def span_ms(self, name: str, called: str) -> int | None:
        """Return a length of time, such as "30d", in milliseconds; None where there is none."""
        value = self.fields.get(name, "").strip()
        if not value:
            return None
        try:
            seconds = parse_seconds(int(value) if value.isdecimal() else value)
        except ValueError:
            seconds = 0
        if not 0 < seconds <= _MOST_SECONDS:
            self.wrong.append(f'{called}: "{value[:40]}" is no length of time such as 12h or 30d.')
            return None
        return seconds * 1000

    def broadcast_type(self, name: str, called: str) -> str:
        """Return a type of broadcasts in lower case; "" where none is said, or "*"."""
        text = self.text(name, called)
        if text in {"", ALL_TYPES}:
            return ""
        try:
            return parse_type(text)
        except ValueError as error:
            self.wrong.append(f"{called}: {error}.")
            return ""

    def lists(self, name: str) -> tuple[str, ...]:
        """Return names of lists, which are separated by commas."""
        names = [one.strip() for one in self.fields.get(name, "").split(",") if one.strip()]
        self.wrong += [wrong for one in names if (wrong := wrong_list(one))]
        return tuple(names)

    def contact(self, key: str | None = None) -> NewContact:
        """Return the contact that the form describes; `key`: the one that it has, and keeps."""
        addresses = tuple(self._addresses())
        if not addresses:
            self.wrong.append("Address: a contact has one at least.")
        return NewContact(
            addresses,
            key or self.text("key", "Key") or None,
            self.text("name", "Name"),
            self._own_fields(),
            self.lists("lists"),
        )

    def _addresses(self) -> list[NewAddress]:
        places = sorted(int(met[1]) for name in self.fields if (met := _PLACE.fullmatch(name)))
        found: list[NewAddress] = []
        for place in places:
            text = self.fields[f"address{place}"].strip()
            if not text:
                continue
            address = parsed(text)
            if isinstance(address, Fault):
                self.wrong.append(f'"{text[:80]}": {address}.')
            else:
                types = types_of(self.text(f"types{place}", "Types"))
                found.append(NewAddress(address, (ALL_TYPES,) if types is None else types))
        return found

    def _own_fields(self) -> dict[str, str]:
        names = [name.removeprefix(_FIELD) for name in self.fields if name.startswith(_FIELD)]
        own = {name: self.lines(_FIELD + name, name) for name in names}
        new = self.text("new_field", "Field")
        if new:
            own[new] = self.text("new_value", new)
        if not all(0 < len(name) <= MAX_CHARS and name.isprintable() for name in own):
            self.wrong.append(f"Field: expected a name of at most {MAX_CHARS} printable characters.")
        return own
