"""The header section of a submitted message: read in one pass, and mended by cutting and putting in front.

Rules: pure; linear in the size of the section, which is bounded; lines may end in CR LF or LF; nothing raises.
All bytes that are not a removed field stay as they came and where they were.
"""

import re
from datetime import UTC, datetime
from enum import StrEnum
from functools import lru_cache
from typing import Final

from relay.receive.association import CONTROL_FIELDS, READ_FIELDS, Association, associate
from relay.receive.encoded_words import decode_value
from storage.frozen import frozen

MAX_SECTION_BYTES: Final = 512 * 1024
MAX_LINES: Final = 20_000
# RFC 5321, 6.3 asks for a limit of at least 100 hops; Postfix and we take 50, as the loop's cost doubles unseen.
MAX_RECEIVED: Final = 50
_MAX_NAME_CHARS: Final = 255

_SECTION_END: Final = re.compile(rb"\n\r?\n")
_FIELD: Final = re.compile(rb"[!-9;-~]++[ \t]*+:")
_FOLD: Final = re.compile(rb"\r?\n(?=[ \t])")
_NOT_OF_A_NAME: Final = re.compile(r"[^A-Za-z0-9._:\[\]-]")
_DAYS: Final = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS: Final = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")

_REMOVED: Final = frozenset({b"bcc", b"resent-bcc", b"return-path", b"x-track-opens"}) | CONTROL_FIELDS
_READ: Final = frozenset({b"from", b"subject", b"message-id", b"x-track-opens"}) | READ_FIELDS
_NOTED: Final = _REMOVED | _READ | {b"received", b"date"}


@frozen
class Trace:
    """How a message came to us: what its Received field tells."""

    helo: str
    """What the client called itself; anything."""
    client: str
    """Its address; "" where no client brought it: the message was made here."""
    protocol: str
    """The word after "with" (RFC 3848, RFC 6531)."""
    tls: str | None
    """e.g. "TLSv1.3 with cipher TLS_AES_256_GCM_SHA384"; None in clear."""
    hostname: str
    """Our name."""
    queue_id: str
    at_ms: int


class HeaderFault(StrEnum):
    """Why a header section is refused, in words for the reply."""

    TOO_BIG = "message header is too big"


@frozen
class Headers:
    """What a header section says."""

    end: int
    """Offset where the section ends and its blank line begins."""
    line_end: bytes
    """What its lines end in."""
    begins: int
    """Offset of the first field: past an mbox "From " line, which is no part of a message."""
    separated: bool
    """False where there are no fields and no blank line: a body alone, that needs one put before it."""
    received: int
    has_date: bool
    from_fields: tuple[bytes, ...]
    """Raw values of all From fields, unfolded."""
    subject: str
    message_id: str
    """First token of the Message-ID field; "" where there is none."""
    has_message_id: bool
    track_opens: str | None
    """Value of X-Track-Opens."""
    broadcast: Association
    removed: tuple[tuple[int, int], ...]
    """Byte ranges of fields that do not go out, in order."""

    @property
    def opted_out(self) -> bool:
        """Whether the sender asked for no image: `X-Track-Opens: no`."""
        return (self.track_opens or "").lower() in {"no", "false", "0"}


def scan(content: bytes) -> Headers | HeaderFault:
    """Read the header section of `content`."""
    begins = 0
    if content.startswith(b"From "):
        begins = content.find(b"\n", 0, MAX_SECTION_BYTES) + 1
    end = _section_end(content, begins)
    if end is None:
        return HeaderFault.TOO_BIG
    first_line = content.find(b"\n", begins)
    line_end = b"\n" if first_line >= 0 and content[first_line - 1 : first_line] != b"\r" else b"\r\n"
    has_fields = _FIELD.match(content, begins, end) is not None
    separated = has_fields or content.startswith((b"\r\n", b"\n"), begins)
    return _facts(content, begins, end if has_fields else begins, line_end, separated)


def _section_end(content: bytes, begins: int) -> int | None:
    if content.startswith((b"\r\n", b"\n"), begins):
        return begins
    blank = _SECTION_END.search(content, begins, begins + MAX_SECTION_BYTES)
    end = blank.start() + 1 if blank else len(content)
    if end - begins > MAX_SECTION_BYTES or content.count(b"\n", begins, end) > MAX_LINES:
        return None
    return end


def _facts(content: bytes, begins: int, end: int, line_end: bytes, separated: bool) -> Headers:
    received = 0
    has_date = has_message_id = False
    from_fields: list[bytes] = []
    values: dict[bytes, bytes] = {}
    removed: list[tuple[int, int]] = []
    for name, start, colon, stop in _noted_fields(content, begins, end):
        if name == b"received":
            received += 1
        elif name == b"date":
            has_date = True
        if name in _REMOVED:
            removed.append((start, stop))
        if name in _READ:
            value = _FOLD.sub(b"", content[colon + 1 : stop]).strip()
            values.setdefault(name, value)
            if name == b"from":
                from_fields.append(value)
            elif name == b"message-id":
                has_message_id = True
    return Headers(
        end,
        line_end,
        begins,
        separated,
        received,
        has_date,
        tuple(from_fields),
        decode_value(values.get(b"subject", b"")),
        _first_token(values.get(b"message-id", b"")),
        has_message_id,
        _text(values.get(b"x-track-opens")),
        associate(values),
        tuple(removed),
    )


def _noted_fields(content: bytes, begins: int, end: int) -> list[tuple[bytes, int, int, int]]:
    """Return (name in lower case, start, offset of the colon, end) of the fields that matter here."""
    found: list[tuple[bytes, int, int, int]] = []
    name, start, colon, at = b"", 0, 0, begins
    for line in content[begins:end].split(b"\n"):
        if line[:1] not in (b" ", b"\t"):
            if name:
                found.append((name, start, colon, at))
            length = line.find(b":")
            name = line[:length].rstrip(b" \t").lower() if length > 0 else b""
            if name in _NOTED:
                start, colon = at, at + length
            else:
                name = b""
        at += len(line) + 1
    if name:
        found.append((name, start, colon, end))
    return found


def _first_token(value: bytes) -> str:
    text = decode_value(value)
    return text.split(maxsplit=1)[0] if text else ""


def _text(value: bytes | None) -> str | None:
    return None if value is None else decode_value(value)


def mend(content: bytes, headers: Headers, trace: Trace) -> bytes:
    """Return `content` with our Received field, a Date and a Message-ID where missing, the removed fields left out."""
    pieces: list[bytes | memoryview] = [_added(headers, trace)]
    at = headers.begins
    view = memoryview(content)
    for start, stop in headers.removed:
        pieces.append(view[at:start])
        at = stop
    pieces.append(view[at:])
    return b"".join(pieces)


def _added(headers: Headers, trace: Trace) -> bytes:
    date = mail_date(trace.at_ms)
    lines = f"Received: {_way(trace)} id {trace.queue_id};\r\n\t{date}\r\n"
    if not headers.has_message_id:
        lines += f"Message-ID: <{trace.queue_id}@{trace.hostname}>\r\n"
    if not headers.has_date:
        lines += f"Date: {date}\r\n"
    if not headers.separated:
        lines += "\r\n"
    added = lines.encode()
    return added if headers.line_end == b"\r\n" else added.replace(b"\r\n", b"\n")


def _way(trace: Trace) -> str:
    if not trace.client:
        return f"by {trace.hostname} (Telltale)"
    tls = f"\r\n\t(using {trace.tls})" if trace.tls else ""
    came = f"from {_name(trace.helo)} ([{_literal(trace.client)}]){tls}"
    return f"{came}\r\n\tby {trace.hostname} (Telltale) with {trace.protocol}"


def _name(helo: str) -> str:
    """Return what a client calls itself, harmless: it stands in our field, outside of any quotes."""
    return _NOT_OF_A_NAME.sub("?", helo[:_MAX_NAME_CHARS]) or "unknown"


def _literal(address: str) -> str:
    # RFC 5321, 4.1.3: an address literal of IPv6 carries its tag; a scope has no place in one.
    return f"IPv6:{address.partition('%')[0]}" if ":" in address else address


def protocol(*, extended: bool, utf8: bool, tls: bool, authenticated: bool) -> str:
    """Return the word after "with" of a Received field (RFC 3848; RFC 6531, 4.3)."""
    if not extended:
        return "SMTP"
    return ("UTF8SMTP" if utf8 else "ESMTP") + ("S" if tls else "") + ("A" if authenticated else "")


def mail_date(at_ms: int) -> str:
    """Return a time as RFC 5322, 3.3 writes it, in UTC."""
    return _date(at_ms // 1000)


@lru_cache(2)
def _date(since_epoch: int) -> str:
    at = datetime.fromtimestamp(since_epoch, UTC)
    day, month = _DAYS[at.weekday()], _MONTHS[at.month - 1]
    return f"{day}, {at.day:02} {month} {at.year:04} {at.hour:02}:{at.minute:02}:{at.second:02} +0000"
