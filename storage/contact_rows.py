"""Files of contacts, read: CSV, JSON and JSON Lines, a record at a time.

Rules: pure and in constant memory; a record is a NewContact or says what is wrong with it (line, column, why),
and the records after it are read all the same, except where a JSON array breaks off.
"""

import csv
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, TextIO

from storage.address import Fault, parse_mailbox
from storage.csv_rows import CsvRows
from storage.people import NewAddress, NewContact
from storage.table import text_of

MAX_RECORD_CHARS: Final = 1 << 20
MOST_ADDRESSES: Final = 99
"""Columns of addresses in a file: email, email2 … email99."""
_CHUNK_CHARS: Final = 1 << 16
_DELIMITERS: Final = ",;\t|"
_NUMBERED: Final = re.compile(r"(email|types)([1-9]\d?)?")
_SURROGATE: Final = re.compile("[\ud800-\udfff]")
_NAMES: Final = {
    "e-mail": "email", "mail": "email", "email address": "email", "e-mail address": "email",
    "external key": "key", "lists": "list", "type": "types",
}  # fmt: skip
FIELD: Final = "field:"
"""In front of a field's name: the column is the contact's own field."""
IGNORED: Final = "-"


class UnreadableError(ValueError):
    """The file as a whole cannot be meant as contacts; the text is a sentence."""


@dataclass(frozen=True, slots=True)
class Bad:
    """A record that is left out."""

    line: int
    column: str
    """The header of the column; "" where it is the whole record."""
    why: str


@dataclass(frozen=True, slots=True)
class Good:
    """A record that can be stored."""

    line: int
    contact: NewContact


@dataclass(slots=True)
class _Columns:
    """Where a CSV file has what."""

    header: Sequence[str]
    emails: dict[int, int] = field(default_factory=dict)
    """Column by the address's place; so for `types`."""
    types: dict[int, int] = field(default_factory=dict)
    one: dict[str, int] = field(default_factory=dict)
    """key, name, list."""
    fields: dict[int, str] = field(default_factory=dict)


def sniffed(header: str) -> str:
    """Return the delimiter of a header line: what is met most outside of quotes; "," where nothing is."""
    plain = re.sub(r'"[^"]*"', "", header)
    return max(_DELIMITERS, key=plain.count)


def read_csv(
    text: Iterable[str],
    delimiter: str,
    mapping: Mapping[str, str],
    lists: Sequence[str] = (),
    *,
    header_line: int = 1,
) -> Iterator[Good | Bad]:
    """Yield the records of a CSV file with a header; `mapping` says which header means which column.

    `header_line`: which line the header is, 0 where it is none of the file's (`numbered`). Raises UnreadableError where
    the header has no address.
    """
    reader = CsvRows(text, delimiter)
    try:
        header = next(reader, [])
    except csv.Error as error:
        raise UnreadableError(f"the header line cannot be read: {error}") from None
    columns = _columns([text_of(name.strip()) for name in header], mapping)
    end = reader.line_num
    while True:
        line = end + header_line
        try:
            row = next(reader, None)
        except csv.Error as error:
            end = reader.line_num
            yield Bad(line, "", f"cannot be read: {error}")
            continue
        end = reader.line_num
        if row is None:
            return
        cells = [text_of(cell.strip()) for cell in row]
        if any(cells):
            yield _record(line, cells, columns, lists)


def _columns(header: Sequence[str], mapping: Mapping[str, str]) -> _Columns:
    unknown = [name for name in mapping if name not in header]
    if unknown:
        raise UnreadableError(f'there is no column "{unknown[0]}"; the columns are {_listed(header)}')
    columns = _Columns(header)
    for at, name in enumerate(header):
        meaning = mapping.get(name) or meant(name)
        of_place = _NUMBERED.fullmatch(meaning)
        if meaning == IGNORED or not name:
            continue
        if of_place:
            places = columns.emails if of_place[1] == "email" else columns.types
            places.setdefault(int(of_place[2] or 1), at)
        elif meaning in {"key", "name", "list"}:
            columns.one.setdefault(meaning, at)
        else:
            columns.fields[at] = meaning.removeprefix(FIELD)
    columns.emails = dict(sorted(columns.emails.items()))
    if not columns.emails:
        raise UnreadableError(
            f"there is no column with addresses; the columns are {_listed(header)}:"
            f" name one, as --map '{_first(header)}=email'"
        )
    return columns


def numbered(row: Sequence[str]) -> list[str]:
    """Return a header for a file without one: its columns are 1, 2 …; `row` is the first one."""
    return [str(place) for place in range(1, len(row) + 1)]


def column_known(column: str) -> bool:
    """Return whether a header may be mapped to this."""
    return bool(
        column in {"key", "name", "list", IGNORED}
        or _NUMBERED.fullmatch(column)
        or (column.removeprefix(FIELD) and column.startswith(FIELD))
    )


def header_of(field: str) -> str:
    """Return a header that means a contact's own field of this name."""
    return field if meant(field) == FIELD + field else FIELD + field


def meant(name: str) -> str:
    """Return which column a header means by itself; a field of the contact, where it is none of ours."""
    if name.startswith(FIELD):
        return name
    plain = " ".join(name.lower().replace("_", " ").split())
    plain = _NAMES.get(plain, plain)
    known = plain in {"key", "name", "list"} or _NUMBERED.fullmatch(plain)
    return plain if known else FIELD + name


def _listed(header: Sequence[str]) -> str:
    return ", ".join(f'"{name}"' for name in header[:20]) or "none"


def _first(header: Sequence[str]) -> str:
    return header[0] if header else "E-mail"


def _record(line: int, cells: list[str], columns: _Columns, lists: Sequence[str]) -> Good | Bad:
    header = columns.header
    if len(cells) > len(header):
        return Bad(line, "", f"has {len(cells)} columns, the header {len(header)}")
    if not _clean("".join(cells)):
        broken = next(at for at, cell in enumerate(cells) if not _clean(cell))
        return Bad(line, header[broken], "is not text in the file's encoding")
    cells += [""] * (len(header) - len(cells))
    addresses = []
    for place, at in columns.emails.items():
        if not cells[at]:
            continue
        address = parsed(cells[at])
        if isinstance(address, Fault):
            return Bad(line, header[at], f'"{_cut(cells[at])}": {address}')
        types = columns.types.get(place)
        addresses.append(NewAddress(address, types_of(cells[types]) if types is not None else None))
    if not addresses and not ("key" in columns.one and cells[columns.one["key"]]):
        return Bad(line, header[min(columns.emails.values())], "there is no address")
    named = _split(_cell(cells, columns, "list") or "")
    return Good(
        line,
        NewContact(
            tuple(addresses),
            key=_cell(cells, columns, "key"),
            name=_cell(cells, columns, "name"),
            fields={name: cells[at] for at, name in columns.fields.items() if cells[at]},
            lists=(*lists, *named),
        ),
    )


def _cell(cells: Sequence[str], columns: _Columns, name: str) -> str | None:
    return (cells[columns.one[name]] or None) if name in columns.one else None


def types_of(cell: str) -> tuple[str, ...] | None:
    """Return the types of a cell: "a; b", "*" for all, "none"; an empty one says nothing."""
    if not cell:
        return None
    return () if cell.lower() == "none" else tuple(_split(cell)) or None


def _split(cell: str) -> list[str]:
    return [one.strip() for one in re.split(r"[;,|]", cell) if one.strip()] if cell else []


def parsed(text: str) -> str | Fault:
    """Return an address that people typed as the store holds it, or what is wrong with it."""
    if not text.isprintable():
        return Fault.SYNTAX
    address = parse_mailbox(text, utf8=True)
    if isinstance(address, Fault):
        return address
    return str(address) if address.domain else Fault.NO_DOMAIN


def _clean(cell: str) -> bool:
    return cell.isascii() or not _SURROGATE.search(cell)


def _cut(text: str) -> str:
    shown = "".join(char if char.isprintable() else "\ufffd" for char in text[:80])
    return shown if len(text) <= len(shown) else f"{shown}…"


# JSON.


def read_json(text: TextIO, lists: Sequence[str] = ()) -> Iterator[Good | Bad]:
    """Yield the records of an array of objects, or of JSON Lines."""
    start = more = text.read(_CHUNK_CHARS)
    while more and not start.strip():
        more = text.read(_CHUNK_CHARS)
        start += more
    if start.lstrip().startswith("["):
        records: Iterable[tuple[int, object]] = _Array(text, start).records()
    else:
        records = _lines(text, start)
    for line, value in records:
        yield value if isinstance(value, Bad) else _from_object(line, value, lists)


def _lines(text: TextIO, start: str) -> Iterator[tuple[int, object]]:
    line, rest, more = 0, start, start
    while more:
        whole, newline, rest = rest.rpartition("\n")
        for one in whole.split("\n") if newline else ():
            line += 1
            if one.strip():
                yield line, _loaded(line, one)
        if len(rest) > MAX_RECORD_CHARS:
            yield line + 1, Bad(line + 1, "", f"is longer than {MAX_RECORD_CHARS} characters; the rest was not read")
            return
        more = text.read(_CHUNK_CHARS)
        rest += more
    if rest.strip():
        yield line + 1, _loaded(line + 1, rest)


def _loaded(line: int, text: str) -> object:
    if not _clean(text):
        return Bad(line, "", "is not text in the file's encoding")
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        return Bad(line, "", f"is no JSON: {getattr(error, 'msg', 'nested too deeply')}")


class _Array:
    """A JSON array, an element at a time."""

    def __init__(self, text: TextIO, start: str) -> None:
        self._text, self._buffer = text, start
        self._at = start.index("[") + 1
        self._line = 1 + start.count("\n", 0, self._at)
        self._decode = json.JSONDecoder().raw_decode

    def records(self) -> Iterator[tuple[int, object]]:
        """Yield (line, element), at the end a Bad where the array breaks off."""
        first = True
        while True:
            sign = self._sign()
            if sign == "]":
                return
            if not first:
                if sign != ",":
                    yield self._broken("there is no comma between two contacts, and no end")
                    return
                self._at += 1
                sign = self._sign()
            first = False
            line, value = self._line, self._element()
            if isinstance(value, Bad):
                yield line, value
                return
            yield line, value

    def _broken(self, why: str) -> tuple[int, Bad]:
        return self._line, Bad(self._line, "", f"{why}; the rest was not read")

    def _sign(self) -> str:
        """Return the next character that is no blank; "" at the end."""
        while True:
            here = self._at
            while here < len(self._buffer) and self._buffer[here] in " \t\r\n":
                here += 1
            self._line += self._buffer.count("\n", self._at, here)
            self._at = here
            if here < len(self._buffer):
                return self._buffer[here]
            if not self._more(_CHUNK_CHARS):
                return ""

    def _more(self, chars: int) -> bool:
        self._buffer, self._at = self._buffer[self._at :], 0
        more = self._text.read(chars)
        self._buffer += more
        return bool(more)

    def _element(self) -> object:
        wanted = _CHUNK_CHARS
        while True:
            try:
                value, end = self._decode(self._buffer, self._at)
            except RecursionError:
                return self._broken("is nested too deeply")[1]
            except ValueError as error:
                # Perhaps the buffer ends before the element does: each time twice as much, so that the whole
                # stays linear.
                if len(self._buffer) - self._at < MAX_RECORD_CHARS and self._more(wanted):
                    wanted *= 2
                    continue
                return self._broken(f"is no JSON: {getattr(error, 'msg', error)}")[1]
            self._line += self._buffer.count("\n", self._at, end)
            self._at = end
            return value


def _from_object(line: int, value: object, lists: Sequence[str]) -> Good | Bad:
    try:
        return Good(line, _contact(value, lists))
    except _NotMeantError as error:
        return Bad(line, error.column, error.why)


class _NotMeantError(Exception):
    """An object that is no contact."""

    def __init__(self, column: str, why: str) -> None:
        self.column = column
        self.why = why


def _contact(value: object, lists: Sequence[str]) -> NewContact:
    if not isinstance(value, dict):
        raise _NotMeantError("", "is no object")
    key = _text(value, "key")
    addresses = [
        _new_address(name, given, value.get("types") if name == "email" else None)
        for name, given in _given_addresses(value)
    ]
    if not addresses and key is None:
        raise _NotMeantError("email", "there is no address")
    named = _texts("lists", value.get("lists", value.get("list")))
    return NewContact(tuple(addresses), key, _text(value, "name"), _fields(value), (*lists, *named))


def _text(value: Mapping[str, Any], name: str) -> str | None:
    one = value.get(name)
    if isinstance(one, bool) or not isinstance(one, str | int | None):
        raise _NotMeantError(name, "is no text")
    return None if one is None or one == "" else str(one)


_OURS: Final = frozenset(
    {"id", "key", "name", "email", "types", "addresses", "lists", "list", "fields", "created", "updated"}
)


def _given_addresses(value: Mapping[str, Any]) -> Iterator[tuple[str, object]]:
    if value.get("email") not in (None, ""):
        yield "email", value["email"]
    more = value.get("addresses", [])
    for one in more if isinstance(more, list) else [more]:
        yield "addresses", one


def _new_address(name: str, given: Any, types: object) -> NewAddress:
    if isinstance(given, dict):
        given, types = given.get("address"), given.get("types")
    if not isinstance(given, str):
        raise _NotMeantError(name, "is no address")
    address = parsed(given.strip())
    if isinstance(address, Fault):
        raise _NotMeantError(name, f'"{_cut(given)}": {address}')
    return NewAddress(address, None if types is None else _texts("types", types))


def _texts(name: str, value: object) -> tuple[str, ...]:
    listed = [] if value is None else [value] if isinstance(value, str) else value
    if not isinstance(listed, list) or not all(isinstance(one, str) and one.strip() for one in listed):
        raise _NotMeantError(name, "is no list of texts")
    return tuple([one.strip() for one in listed])


def _fields(value: Mapping[str, Any]) -> dict[str, str]:
    """Return the contact's own fields as texts."""
    own = value.get("fields") or {}
    if not isinstance(own, dict):
        raise _NotMeantError("fields", "is no object")
    fields = {}
    for name, one in {**{key: one for key, one in value.items() if key not in _OURS}, **own}.items():
        if isinstance(one, dict | list):
            raise _NotMeantError(name, "is no text")
        if one is not None:
            fields[name] = str(one).lower() if isinstance(one, bool) else str(one)
    return fields
