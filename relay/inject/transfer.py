"""Transfer encodings: a part's body as decoded bytes, and a decoded offset as a slot in the body (RFC 2045, 6).

Rule: bytes before the cut are never encoded again; in base64 only the group of four that the cut divides.
"""

import binascii
import re
from binascii import a2b_base64, a2b_qp
from typing import Final

from relay.inject.splice import Edit, Form, Slot
from storage.untracked import UntrackedReason

_FORMS: Final = {
    b"": Form.PLAIN,
    b"7bit": Form.PLAIN,
    b"8bit": Form.PLAIN,
    b"binary": Form.PLAIN,
    b"quoted-printable": Form.QUOTED_PRINTABLE,
    b"base64": Form.BASE64,
}
# RFC 5322, 2.1.1, and RFC 2045, 6.7 (rule 5) and 6.8: without the line end.
PLAIN_WIDTH: Final = 998
ENCODED_WIDTH: Final = 76
_BLANKS: Final = b" \t\r\n"
_GROUP: Final = 4

_QP_ODD: Final = re.compile(rb"=(?![0-9A-Fa-f]{2}|\r?\n)")
# The soft break at the end of a part: its line end belongs to the delimiter.
_QP_ESCAPE: Final = re.compile(rb"=(?:([0-9A-Fa-f]{2})|[ \t]*+(?:\r?\n|\Z))")
_QP_SOFT_BREAK: Final = re.compile(rb"=[ \t]*+\r?\n")
_BASE64_RUN: Final = re.compile(rb"[A-Za-z0-9+/=]++")


def form_of(encoding: bytes) -> Form | None:
    """Return the form that a Content-Transfer-Encoding (lower case) means; None where it is unknown."""
    return _FORMS.get(encoding)


def decode(form: Form, body: bytes) -> bytes | None:
    """Return the decoded body; None where it is broken so that readers differ on it."""
    if form is Form.QUOTED_PRINTABLE:
        # The C decoder agrees with RFC 2045 where nothing is odd; what is odd stays as it is.
        return _QP_ESCAPE.sub(_unescaped, body) if _QP_ODD.search(body) else a2b_qp(body)
    if form is Form.BASE64:
        return _decoded_base64(body.translate(None, _BLANKS))
    return body


def _decoded_base64(compact: bytes) -> bytes | None:
    if len(compact) % _GROUP or compact.endswith(b"==="):  # more padding than there may be, that the decoder lets pass
        return None
    try:
        return a2b_base64(compact, strict_mode=True)
    except binascii.Error:
        return None


def _unescaped(found: re.Match[bytes]) -> bytes:
    return bytes((int(found[1], 16),)) if found[1] else b""


def cut(
    form: Form, content: bytes, start: int, end: int, offset: int, codec: str, eol: bytes
) -> Edit | UntrackedReason:
    """Return the edit that puts an image before the decoded byte `offset` of the body `content[start:end]`."""
    if form is Form.QUOTED_PRINTABLE:
        return _cut_quoted_printable(content, start, end, offset, codec, eol)
    if form is Form.BASE64:
        return _cut_base64(content, start, end, offset, codec, eol)
    return _edit(form, content, start, end, start + offset, codec, eol, PLAIN_WIDTH)


def _edit(form: Form, content: bytes, start: int, end: int, at: int, codec: str, eol: bytes, width: int) -> Edit:
    column = at - max(start, content.rfind(b"\n", start, at) + 1)
    return Edit(at, 0, slot=Slot(form, codec, eol, column, _tail(content, at, end), width))


def _tail(content: bytes, at: int, end: int) -> int:
    """Return how many bytes stand between `at` and the end of its line."""
    newline = content.find(b"\n", at, end)
    stop = end if newline < 0 else newline
    return stop - at - (stop > at and content[stop - 1] == 13)  # noqa: PLR2004 - CR


def _cut_quoted_printable(
    content: bytes, start: int, end: int, offset: int, codec: str, eol: bytes
) -> Edit | UntrackedReason:
    line, offset = _line_near(content, start, end, offset)
    at = line + offset
    for found in _QP_ESCAPE.finditer(content, line, end):
        if found.start() >= at:
            break
        at += found.end() - found.start() - (found[1] is not None)
    soft = _QP_SOFT_BREAK.match(content, at, end)
    at = soft.end() if soft else at
    if at > start and content[at - 1] == 61:  # noqa: PLR2004 - "=": what follows would become its escape
        return UntrackedReason.BROKEN_ENCODING
    return _edit(Form.QUOTED_PRINTABLE, content, start, end, at, codec, eol, ENCODED_WIDTH)


def _line_near(content: bytes, start: int, end: int, offset: int) -> tuple[int, int]:
    """Return where a line begins, and how many decoded bytes stand between there and the decoded byte `offset`.

    Images go to the end nearly always: the lines are then decoded from there, and most escapes need no look.
    """
    body = content[start:end]
    if _QP_ODD.search(body):
        return start, offset
    line, rest = end, len(a2b_qp(body)) - offset
    if rest > offset:
        return start, offset
    while rest > 0:
        after, line = line, content.rfind(b"\n", start, line - 1) + 1 or start
        rest -= len(a2b_qp(content[line:after]))
    return line, -rest


def _cut_base64(content: bytes, start: int, end: int, offset: int, codec: str, eol: bytes) -> Edit:
    groups, rest = divmod(offset, 3)
    first, last, width = _locate(content, start, end, groups * _GROUP)
    column = first - max(start, content.rfind(b"\n", start, first) + 1)
    if not rest:
        return Edit(first, 0, slot=Slot(Form.BASE64, codec, eol, column, _tail(content, first, end), width))
    group = a2b_base64(content[first:last].translate(None, _BLANKS))
    slot = Slot(Form.BASE64, codec, eol, column, _tail(content, last, end), width, group[:rest], group[rest:])
    return Edit(first, last - first, slot=slot)


def _locate(content: bytes, start: int, end: int, character: int) -> tuple[int, int, int]:
    """Return where the group at `character` begins and ends, and how long lines are.

    Past the last group both are where the last character ends.
    """
    seen, width, first, wanted = 0, 0, -1, character
    stop = start
    for run in _BASE64_RUN.finditer(content, start, end):
        begin, stop = run.span()
        length = stop - begin
        width = max(width, length)
        if first < 0 and seen + length > wanted:
            first = begin + wanted - seen
        if first >= 0 and seen + length >= character + _GROUP:
            return first, begin + character + _GROUP - seen, _width(width)
        seen += length
    return stop, stop, _width(width)


def _width(longest: int) -> int:
    # A line that the sender did not break, or a single short one, says nothing about the width that it wants.
    width = longest - longest % _GROUP
    return width if _GROUP <= width <= ENCODED_WIDTH else ENCODED_WIDTH
