"""Header fields and the structure of mails that this program writes.

Rule: pure, and nothing that came from elsewhere can end its field, its line or its part: text is made plain first,
lines are folded, and a boundary is a hash of what it separates.
"""

import base64
import quopri
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Final

from relay.inject.recode import Fault, for_server
from storage.reason import plain

_LINE_CHARS: Final = 76
MAX_LINE_BYTES: Final = 998
"""RFC 5322, 2.1.1: what a line may hold without its CR LF."""
# RFC 2047, 2: an encoded word has 75 characters at most; "=?utf-8?b??=" and base64 leave 45 bytes.
_WORD_BYTES: Final = 45
_MESSAGE_ID: Final = re.compile(r"<[!-;=?-~]{1,900}>")
_XTEXT: Final = re.compile(r"\+([0-9A-F]{2})")


def unstructured(name: str, text: str) -> str:
    """Return a field of free text: plain ASCII folded at its blanks, anything else as encoded words (RFC 2047)."""
    words = plain(text)
    if words.isascii() and "=?" not in words:
        return folded(name, words)
    encoded = "\r\n ".join(f"=?utf-8?b?{base64.b64encode(chunk).decode()}?=" for chunk in _chunks(words))
    return f"{name}: {encoded}\r\n"


def _chunks(text: str) -> list[bytes]:
    """Return text in pieces of whole characters (RFC 2047, 5)."""
    chunks: list[bytes] = []
    held = b""
    for char in text:
        piece = char.encode()
        if len(held) + len(piece) > _WORD_BYTES:
            chunks.append(held)
            held = b""
        held += piece
    return [*chunks, held]


def folded(name: str, value: str) -> str:
    """Return a field with its value made plain and folded at blanks (RFC 5322, 2.2.3); overlong words are cut."""
    lines, line = [], f"{name}:"
    for word in plain(value).split():
        piece = word[: MAX_LINE_BYTES // 4]  # characters of UTF-8 have 4 bytes at most
        if len(line) + 1 + len(piece) > _LINE_CHARS and line.strip() and line != f"{name}:":
            lines.append(line)
            line = ""
        line += f" {piece}"
    return "\r\n".join([*lines, line]) + "\r\n"


def message_id(text: str) -> str:
    """Return a Message-ID that may stand in References; "" for what is none (RFC 5322, 3.6.4)."""
    found = _MESSAGE_ID.search(text)
    return found[0] if found else ""


def xtext_decoded(text: str) -> str:
    """Return what xtext stands for, plain (RFC 3461, 4)."""
    return plain(_XTEXT.sub(lambda found: chr(int(found[1], 16)), text))


@dataclass(frozen=True, slots=True)
class Part:
    """A body part: its fields and what it holds."""

    fields: str
    """Each ends with CR LF; ASCII."""
    body: bytes


def text_part(text: str) -> Part:
    """Return a part of text for people, its lines joined by LF."""
    return Part(*_text("text/plain; charset=utf-8", text))


def table_part(name: str, text: str) -> Part:
    """Return an attached table (RFC 4180)."""
    fields, body = _text("text/csv; charset=utf-8; header=present", text)
    return Part(f'{fields}Content-Disposition: attachment; filename="{name}"\r\n', body)


def _text(media: str, text: str) -> tuple[str, bytes]:
    """Return fields and body: as it is where that is short lines of ASCII, else quoted-printable."""
    short = all(len(line) <= MAX_LINE_BYTES for line in text.split("\n"))
    if text.isascii() and short:
        return f"Content-Type: {media}\r\n", text.replace("\n", "\r\n").encode()
    body = quopri.encodestring(text.encode("utf-8", "replace")).replace(b"\n", b"\r\n")
    return f"Content-Type: {media}\r\nContent-Transfer-Encoding: quoted-printable\r\n", body


def raw_part(media: str, content: bytes, name: str = "") -> Part:
    """Return a part that holds bytes as they are, with lines that end with CR LF."""
    encoding = "" if content.isascii() else "Content-Transfer-Encoding: 8bit\r\n"
    disposition = f'Content-Disposition: attachment; filename="{name}"\r\n' if name else ""
    return Part(f"Content-Type: {media}\r\n{encoding}{disposition}", content)


def base64_part(media: str, content: bytes, name: str) -> Part:
    """Return a part for bytes that no line of a mail may hold."""
    fields = (
        f"Content-Type: {media}\r\nContent-Transfer-Encoding: base64\r\n"
        f'Content-Disposition: attachment; filename="{name}"\r\n'
    )
    return Part(fields, base64.encodebytes(content).replace(b"\n", b"\r\n"))


def sendable(content: bytes) -> bytes | None:
    """Return content with CR LF line ends; None where a line is too long or holds what a mail may not (RFC 5321)."""
    lines = re.split(rb"\r\n|\n|\r", content)
    if b"\0" in content or max(map(len, lines)) > MAX_LINE_BYTES:
        return None
    return b"\r\n".join(lines)


def is_for_all(mail: bytes) -> bool:
    """Return whether a mail can be given to every server, re-encoded where one does not offer 8BITMIME (RFC 6152).

    A signature within it, or a header that has no form in ASCII, may forbid that.
    """
    return not isinstance(for_server(mail, eight_bit=False, smtputf8=True, declared=False), Fault)


def multipart(fields: Iterable[str], media: str, parts: Sequence[Part]) -> bytes:
    """Return a whole mail of some parts; `media` is its type with parameters but for the boundary."""
    inner = [part.fields.encode() + b"\r\n" + part.body for part in parts]
    digest = blake2b(digest_size=18)
    for piece in inner:
        digest.update(piece)
    boundary = f"=_{digest.hexdigest()}".encode()
    # RFC 2045, 6.4: what holds 8-bit parts is 8-bit itself.
    encoding = "" if all(map(bytes.isascii, inner)) else "Content-Transfer-Encoding: 8bit\r\n"
    head = "".join(fields) + (
        f'MIME-Version: 1.0\r\nContent-Type: {media};\r\n\tboundary="{boundary.decode()}"\r\n{encoding}\r\n'
    )
    delimited = b"".join([b"--" + boundary + b"\r\n" + piece + b"\r\n" for piece in inner])
    return head.encode() + delimited + b"--" + boundary + b"--\r\n"
