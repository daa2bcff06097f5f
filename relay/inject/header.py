"""Header fields by byte offsets (RFC 5322, 2.2; RFC 2045, 5; RFC 2231).

Rule: linear. Every repetition in a regular expression is possessive, so nothing is ever tried twice;
values are read leniently, but what two readers could read differently is said to be in doubt.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

# A header section larger than this is no mail: real ones stay under 64 KB.
MAX_HEADER_BYTES: Final = 512 * 1024
MAX_FIELDS: Final = 10_000

# A field name, a colon, the body up to the line end, continuation lines. A blank before the colon is
# obsolete syntax (RFC 5322, 4.5) that readers differ on: it ends the header as malformed.
_FIELD: Final = re.compile(rb"([!-9;-~]++):[^\n]*+(?:\n[ \t][^\n]*+)*+(?:\n|\Z)")
_END: Final = re.compile(rb"\r?\n")
_FOLD: Final = re.compile(rb"\r?\n(?=[ \t])")


@dataclass(slots=True)
class Field:
    """One header field: name in lower case, where the field and its body begin, where it ends (line end included)."""

    name: bytes
    start: int
    body: int
    end: int


@dataclass(slots=True)
class Header:
    """A header section and what follows it."""

    fields: list[Field]
    start: int
    end: int
    """Where the fields end; the blank line stands between here and `body_start`."""
    body_start: int
    closed: bool
    """Whether a blank line ended it; False at the end of the content or at a line that is no field."""

    def named(self, name: bytes) -> list[Field]:
        """Return the fields of this lower-case name, in order."""
        return [field for field in self.fields if field.name == name]


def read_header(content: bytes, start: int) -> Header | None:
    """Read the header section that begins at `start`; None where it is larger than any real one."""
    fields = []
    position, limit = start, start + MAX_HEADER_BYTES
    match = _FIELD.match
    while found := match(content, position):
        name_end = found.end(1)
        fields.append(Field(found[1].lower(), position, name_end + 1, position := found.end()))
        if position > limit or len(fields) > MAX_FIELDS:
            return None
    blank = _END.match(content, position)
    return Header(fields, start, position, blank.end() if blank else position, blank is not None)


def body_of(content: bytes, field: Field) -> bytes:
    """Return the field's body, unfolded and stripped."""
    return unfold(content[field.body : field.end])


def unfold(body: bytes) -> bytes:
    """Join continuation lines (RFC 5322, 2.2.3) and strip the ends."""
    return _FOLD.sub(b"", body).strip() if b"\n" in body else body.strip()


# RFC 2045, 5.1: a token, "=", a token or a quoted string; leniently anything up to the next ";", a stray quote with it.
_PARAMETER: Final = re.compile(
    rb";[ \t\r\n]*+([^\s=;\"]++)[ \t\r\n]*+=[ \t\r\n]*+(?:\"((?:[^\"\\]|\\.)*+)\"(?=[\s;(]|\Z)|([^;\s]*+))", re.DOTALL
)
_ESCAPED: Final = re.compile(rb"\\(.)", re.DOTALL)
_COMMENT: Final = re.compile(rb"\([^()]*+\)")
_BOUNDARY: Final = re.compile(rb"[\s;]boundary[ \t\r\n]*+[*=]", re.IGNORECASE)
_GOES_ON: Final = re.compile(
    rb"boundary[ \t\r\n]*+=[ \t\r\n]*+\"(?:[^\"\\]|\\.)*+\"[ \t\r\n]*+[^\s;(]", re.IGNORECASE | re.DOTALL
)
_PERCENT: Final = re.compile(rb"%([0-9A-Fa-f]{2})")


@dataclass(frozen=True, slots=True)
class Value:
    """A structured field body: the value in lower case, its parameters by lower-case name."""

    value: bytes
    parameters: Mapping[bytes, bytes]
    doubtful: bool = False
    """Whether readers may take different boundaries or charsets from it."""


# Most mail is made by few programs: the same few bodies come again and again, within a message, too.
_CACHED: Final = 512
_CACHED_BYTES: Final = 200


def read_value(body: bytes) -> Value:
    """Read `value; name=parameter …`, folded or not, with comments, quoted strings and RFC 2231 forms."""
    return _read_cached(body) if len(body) <= _CACHED_BYTES else _read(body)


def _read(body: bytes) -> Value:
    if b"(" in body and b'"' not in body:
        body = _COMMENT.sub(b" ", body)
    parameters: dict[bytes, bytes] = {}
    doubtful = False
    for name, quoted, token in _PARAMETER.findall(body):
        key, text = name.lower(), token or (_ESCAPED.sub(rb"\1", quoted) if b"\\" in quoted else quoted)
        if key != b"boundary":  # some readers take a fold inside it as it stands
            text = unfold(text)
        if parameters.setdefault(key, text).lower() != text.lower() and key == b"charset":
            doubtful = True
    if b"*" in body:
        _collapse(parameters)
    value = body.partition(b";")[0].strip().lower()
    return Value(value, parameters, doubtful or (value[:10] == b"multipart/" and _is_doubtful(body)))


def _is_doubtful(body: bytes) -> bool:
    """Whether a boundary is named more than once, with words after it, or as in RFC 2231, which few readers know."""
    named = _BOUNDARY.findall(body)
    return len(named) > 1 or any(name.endswith(b"*") for name in named) or _GOES_ON.search(body) is not None


_read_cached: Final = lru_cache(_CACHED)(_read)


def _collapse(parameters: dict[bytes, bytes]) -> None:
    # RFC 2231, 3 and 4: name*0, name*1 … are pieces of one value; a trailing "*" means percent-encoded
    # with a charset before the first piece. A plain `name` wins where both are given.
    pieces: dict[bytes, dict[int, bytes]] = {}
    for key, text in parameters.items():
        name, star, rest = key.partition(b"*")
        number = rest.rstrip(b"*")
        if not star or (number and not (number.isdigit() and len(number) < 4)):  # noqa: PLR2004 - a sane count
            continue
        encoded = key.endswith(b"*")
        index = int(number or 0)
        plain = text.split(b"'", 2)[-1] if encoded and index == 0 else text
        decoded = _PERCENT.sub(lambda found: bytes((int(found[1], 16),)), plain) if encoded else plain
        pieces.setdefault(name, {})[index] = decoded
    for name, parts in pieces.items():
        parameters.setdefault(name, b"".join(parts[index] for index in sorted(parts)))
