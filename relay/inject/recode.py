"""A message as servers of less ability take it: in 7 bits, in short lines; pure, bytes in, bytes out (RFC 2045, 6).

Rules: linear, bounded in depth, nothing raises. Only what needs it is written anew, and decodes to what it was; all
other bytes stay. A signed part is never changed (RFC 1847, 2.1); nor is what two readers could read differently.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from relay.inject import fields
from relay.inject.bodies import encoded, has_long_line
from relay.inject.header import Field, Header, read_header
from relay.inject.parts import Part, scan

# Messages in messages: each level is scanned anew.
MAX_LEVELS: Final = 8

_IDENTITY: Final = (b"", b"7bit", b"8bit", b"binary")
_ENCODING: Final = b"content-transfer-encoding"
# Of messages, and what else is of this type, only these may be encoded (RFC 6532, 3.7; RFC 6533, 6).
_MESSAGE: Final = b"message/"
_OPEN: Final = b"message/global"
_TEXT: Final = (b"text/", _OPEN)
_QUESTION_MARKS: Final = bytes(range(128)) + b"?" * 128


class Fault(StrEnum):
    """Why a server cannot be given a message, in words for its sender."""

    HEADER = "a header field needs SMTPUTF8, which the server does not offer"
    SIGNED = "signed content needs 8BITMIME, which the server does not offer, and re-encoding would break its signature"
    CONTENT = "8-bit content needs 8BITMIME, which the server does not offer, and cannot be re-encoded"

    @property
    def enhanced(self) -> str:
        """The code of RFC 3463, 3.7 (RFC 6531, 3.5 for headers)."""
        return "5.6.7" if self is Fault.HEADER else "5.6.3"


def for_server(content: bytes, *, eight_bit: bool, smtputf8: bool, declared: bool) -> bytes | Fault:
    """Return a message as a server takes it that offers 8BITMIME or SMTPUTF8, or not.

    `declared`: its sender said that it needs SMTPUTF8, and what of its header has no form in ASCII is refused;
    else it goes as it is where 8BITMIME is offered, as it always has.
    """
    if eight_bit and smtputf8:
        return content
    if eight_bit:
        return _with_ascii_header(content, declared=declared)
    if content.isascii():
        return content
    changed = _recoded(content, _SevenBits(header=not smtputf8), 1)
    if not smtputf8 and declared and not _head(changed).isascii():
        return Fault.HEADER
    if not (changed.isascii() or (smtputf8 and changed[len(_head(changed)) :].isascii())):
        return Fault.SIGNED if _is_signed(content) else Fault.CONTENT
    return changed


def with_short_lines(content: bytes) -> bytes:
    """Return a message without lines beyond RFC 5322, 2.1.1 and without NUL; what may not be changed keeps them."""
    if not has_long_line(content) and b"\0" not in content:
        return content
    return _recoded(content, _ShortLines(), 1)


def _head(content: bytes) -> bytes:
    return content[: content.find(b"\r\n\r\n")] if b"\r\n\r\n" in content else content


def _is_signed(content: bytes) -> bool:
    return any(part.kind == b"multipart/signed" for part in scan(content).parts)


def _with_ascii_header(content: bytes, *, declared: bool) -> bytes | Fault:
    if _head(content).isascii():
        return content
    header = read_header(content, 0)
    edits = [] if header is None else list(_ascii_fields(content, header, any_charset=False))
    changed = _applied(content, edits)
    return Fault.HEADER if declared and not _head(changed).isascii() else changed


@dataclass(frozen=True, slots=True)
class _Edit:
    """Put `text` in place of `content[start:end]`."""

    start: int
    end: int
    text: bytes


def _applied(content: bytes, edits: list[_Edit]) -> bytes:
    pieces: list[bytes] = []
    at = 0
    for edit in sorted(edits, key=lambda edit: (edit.start, edit.end)):
        pieces += (content[at : edit.start], edit.text)
        at = edit.end
    return b"".join((*pieces, content[at:]))


class _SevenBits:
    """Makes 7 bits of 8."""

    seven = True

    def __init__(self, *, header: bool) -> None:
        self._header = header

    def needs(self, text: bytes) -> bool:
        """Whether a body, or what stands around parts, is to be changed."""
        return not text.isascii()

    def header(self, content: bytes, header: Header, level: int) -> Iterator[_Edit]:
        """Yield edits of a header section; that of the whole message may be left to SMTPUTF8."""
        if self._header or level > 1 or header.start > 0:
            yield from _ascii_fields(content, header, any_charset=True)

    def around(self, text: bytes) -> bytes:
        """Return what stands before, between and after parts, which nobody reads (RFC 2046, 5.1.1)."""
        return text.translate(_QUESTION_MARKS)


class _ShortLines:
    """Breaks lines that are too long, and writes NUL in an encoding."""

    seven = False

    def needs(self, text: bytes) -> bool:
        """As above."""
        return has_long_line(text) or b"\0" in text

    def header(self, content: bytes, header: Header, level: int) -> Iterator[_Edit]:  # noqa: ARG002 - all are folded
        """As above."""
        section = content[header.start : header.end]
        if has_long_line(section):
            yield from _short_fields(content, header)

    def around(self, text: bytes) -> bytes:
        """As above."""
        return fields.with_short_lines(text)


_Task = _SevenBits | _ShortLines


def _ascii_fields(content: bytes, header: Header, *, any_charset: bool) -> Iterator[_Edit]:
    if content[header.start : header.end].isascii():
        return
    for field in header.fields:
        body = content[field.body : field.end]
        changed = None if body.isascii() else fields.in_ascii(field.name, body, any_charset=any_charset)
        if changed is not None:
            yield _Edit(field.body, field.end, changed)


def _short_fields(content: bytes, header: Header) -> Iterator[_Edit]:
    for field in header.fields:
        text = content[field.start : field.end]
        if has_long_line(text):
            yield _Edit(field.start, field.end, fields.with_short_lines(text))


def _recoded(content: bytes, task: _Task, level: int) -> bytes:
    found = scan(content, every=True)
    if found.doubt is not None:
        return content
    edits: list[_Edit] = []
    at, fixed = 0, False
    for part in found.parts:
        was_fixed, fixed = fixed, _is_within_signed(part)
        edits += _around(content, at, part.head, task, fixed=fixed or was_fixed)
        if not fixed:
            edits += _part(content, part, task, level)
        multipart = part.kind[:10] == b"multipart/"
        # A multipart without a part is shown by some as what it is not, text: that is no preamble.
        fixed = fixed or (multipart and not part.children)
        at = part.start if multipart else part.end
    edits += _around(content, at, len(content), task, fixed=fixed)
    return _applied(content, edits) if edits else content


def _is_within_signed(part: Part) -> bool:
    """Whether a signature may cover the part. Of the signed multipart itself only what it holds is signed."""
    parent = part.parent
    while parent is not None and parent.kind != b"multipart/signed":
        parent = parent.parent
    return parent is not None


def _around(content: bytes, start: int, end: int, task: _Task, *, fixed: bool) -> list[_Edit]:
    text = content[start:end]
    return [_Edit(start, end, task.around(text))] if not fixed and task.needs(text) else []


def _part(content: bytes, part: Part, task: _Task, level: int) -> Iterator[_Edit]:
    """Yield the edits of one part: its header, its body, and the field that names its encoding."""
    header = read_header(content, part.head)
    if header is None or part.doubt is not None:
        return
    edits = list(task.header(content, header, level))
    body = content[part.start : part.end]
    encoding = b""
    if part.kind[:10] == b"multipart/":
        encoding = b"7bit" if task.seven and part.encoding in (b"8bit", b"binary") else b""
    elif task.needs(body):
        encoding, changed = _body(content, part, body, task, level)
        if changed != body:
            edits.append(_Edit(part.start, part.end, changed))
    if encoding not in (b"", part.encoding):
        named = header.named(_ENCODING)
        # A long field that names it was folded for nothing.
        edits = [edit for edit in edits if not named or not named[0].start <= edit.start < named[0].end]
        edits.append(_naming(content, header, named, encoding))
        if part.parent is None:
            edits.append(_Edit(header.end, header.end, _as_mime(header, part, content)))
    yield from edits


def _body(content: bytes, part: Part, body: bytes, task: _Task, level: int) -> tuple[bytes, bytes]:
    """Return the encoding to name, b"" for none, and the body."""
    if part.kind == b"message/rfc822" and part.encoding in _IDENTITY and level < MAX_LEVELS:
        within = b"7bit" if task.seven and part.encoding in (b"8bit", b"binary") else b""
        return within, _recoded(body, task, level + 1)
    if part.kind.startswith(_MESSAGE) and not part.kind.startswith(_OPEN):
        return b"", body
    text = part.kind.startswith(_TEXT) or not part.kind
    return encoded(body, part.encoding, text=text, last=part.end == len(content)) or (b"", body)


def _naming(content: bytes, header: Header, named: list[Field], encoding: bytes) -> _Edit:
    if named:
        end = named[0].end
        line_end = b"\r\n" if content[end - 2 : end] == b"\r\n" else b"\n"
        return _Edit(named[0].body, end, b" " + encoding + line_end)
    return _Edit(header.end, header.end, b"Content-Transfer-Encoding: " + encoding + b"\r\n")


def _as_mime(header: Header, part: Part, content: bytes) -> bytes:
    """Return the fields that make a message MIME, so that its encoding is read."""
    added = b"" if header.named(b"mime-version") else b"MIME-Version: 1.0\r\n"
    body = content[part.start : part.end]
    if header.named(b"content-type") or body.isascii():
        return added
    return added + b"Content-Type: text/plain; charset=" + fields.charset_of(body) + b"\r\n"
