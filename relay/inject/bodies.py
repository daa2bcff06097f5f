"""Bodies written anew in a transfer encoding of 7 bits and short lines (RFC 2045, 6.7 and 6.8). Pure, linear.

Rule: what is written decodes to what was there, byte for byte, and no line of it can be a delimiter: none begins
with two dashes.
"""

import re
from base64 import encodebytes
from binascii import b2a_qp
from typing import Final

from relay.inject import transfer
from relay.inject.splice import Form

# RFC 5322, 2.1.1, without the line end.
MAX_LINE_BYTES: Final = transfer.PLAIN_WIDTH
_WIDTH: Final = transfer.ENCODED_WIDTH
_ESCAPE_CHARS: Final = 3

_QP_UNSAFE: Final = re.compile(rb"[^\t -<>-~]|[ \t]\Z|\A-(?=-)", re.DOTALL)
# Lines of the C encoder that begin with two dashes, or got too long by the escape of a blank at their end.
_QP_UNFIT: Final = re.compile(rb"^(?:--[^\r]*+|[^\r]{77,}+)", re.MULTILINE)
_QP_SAFE: Final = bytes((9, *range(32, 61), *range(62, 127)))
_8BIT: Final = bytes(range(128, 256))


def has_long_line(text: bytes) -> bool:
    """Whether a line is longer than RFC 5322, 2.1.1 allows. Looks at one byte in some hundreds."""
    at, size = 0, len(text)
    while size - at > MAX_LINE_BYTES:
        # Room for a whole line and its line end.
        after = text.rfind(b"\n", at, at + MAX_LINE_BYTES + 2) + 1
        if not after:
            return True
        at = after
    return False


def encoded(body: bytes, encoding: bytes, *, text: bool, last: bool) -> tuple[bytes, bytes] | None:
    """Return the name of an encoding and the body in it; None where nobody can tell what the body decodes to.

    `encoding` is what the part declares, in lower case; one that is an encoding already is kept. `text`: it may be
    quoted-printable, if that is shorter. `last`: no delimiter follows, so that the body ends with a line end.
    """
    form = transfer.form_of(encoding)
    if form is None:
        return None
    if form is Form.BASE64:
        return b"base64", _base64_lines(body)
    if form is Form.QUOTED_PRINTABLE:
        return b"quoted-printable", quoted_printable(transfer.decode(form, body) or b"")
    if text and _quoted_length(body) <= _base64_length(body):
        return b"quoted-printable", quoted_printable(body)
    in_base64 = encodebytes(body).replace(b"\n", b"\r\n")
    return b"base64", in_base64 if last else in_base64[:-2]


def _quoted_length(body: bytes) -> int:
    unsafe = len(body.translate(None, _QP_SAFE)) - 2 * body.count(b"\r\n")
    return len(body) + (_ESCAPE_CHARS - 1) * unsafe


def _base64_length(body: bytes) -> int:
    return len(body) * 4 // 3


def quoted_printable(body: bytes) -> bytes:
    """Return `body` in quoted-printable; a CR or LF alone is no line end and is escaped."""
    if body.count(b"\r\n") == body.count(b"\n") == body.count(b"\r") > 0:
        # The C encoder is many times as fast, where it can tell what the line ends are.
        return _QP_UNFIT.sub(lambda found: _broken_softly(_undashed(found[0])), b2a_qp(body))
    return b"\r\n".join([_broken_softly(_QP_UNSAFE.sub(_escaped, line)) for line in body.split(b"\r\n")])


def _undashed(line: bytes) -> bytes:
    return b"=2D" + line[1:] if line.startswith(b"--") else line


def _broken_softly(line: bytes) -> bytes:
    """Return a line of quoted-printable in lines that are short enough, and of which none begins with two dashes."""
    if len(line) <= _WIDTH:
        return line
    pieces, start, at, size = [], b"", 0, len(line)
    while len(start) + size - at > _WIDTH:
        cut = at + _WIDTH - 1 - len(start)
        # An escape stays on its line (RFC 2045, 6.7, rule 5).
        escape = line.rfind(b"=", cut - _ESCAPE_CHARS + 1, cut)
        cut = cut if escape < 0 else escape
        pieces.append(start + line[at:cut])
        start, at = (b"=2D", cut + 1) if line.startswith(b"--", cut) else (b"", cut)
    pieces.append(start + line[at:])
    return b"=\r\n".join(pieces)


def _escaped(found: re.Match[bytes]) -> bytes:
    return b"=%02X" % found[0][0]


def _base64_lines(body: bytes) -> bytes:
    """Return base64 with its long lines broken, and without octets that decoders skip (RFC 2045, 6.8)."""
    lines = body.translate(None, _8BIT + b"\0").split(b"\n")
    return b"\n".join([line if len(line) <= MAX_LINE_BYTES else _broken(line) for line in lines])


def _broken(line: bytes) -> bytes:
    return b"\r\n".join([line[at : at + _WIDTH] for at in range(0, len(line), _WIDTH)])
