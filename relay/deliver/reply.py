"""SMTP replies: a stream of bytes split into replies, and a reply put into clean words.

Rule: a server may send anything. Time is linear in what it sends, memory is bounded, and no text leaves
this file that could forge a log line, upset a terminal or be refused by the database. Pure.
"""

import re
from typing import Final

from storage.model import Reply

# RFC 5321, 4.5.3.1.5 allows 512 octets a line; real servers explain themselves over some dozens of lines.
MAX_REPLY_BYTES: Final = 16 * 1024
MAX_TEXT: Final = 1000

_ENHANCED: Final = re.compile(r"([245]\.\d{1,3}\.\d{1,5})(?:\s+|$)")
# Controls, line separators, direction marks, the byte order mark, surrogates; and blanks, folded to one.
_UNCLEAN: Final = re.compile("[\x00-\x20\x7f-\xa0\u2028-\u202e\u2066-\u2069\ufeff\ud800-\udfff]+")
_FIRST_DIGITS: Final = b"2345"
_AFTER_CODE: Final = (b" ", b"-", b"\r", b"")

RawReply = tuple[int, bytes]
"""The code of a whole reply, and all its lines as they came."""


class ReplyReader:
    """Collects bytes until they are whole replies.

    `garbage` holds what came where a reply was due, once something did; nothing is read after it.
    """

    __slots__ = ("_line", "_rest", "garbage")

    def __init__(self) -> None:
        self._rest = b""
        self._line = 0  # where the last line of the rest begins: lines before it are read once only
        self.garbage: bytes | None = None

    def feed(self, data: bytes) -> list[RawReply]:
        """Return the replies that `data` completes, in order (RFC 5321, 4.2)."""
        if self.garbage is not None:
            return []
        buffer = self._rest + data if self._rest else data
        replies: list[RawReply] = []
        begin, start = 0, self._line
        while (end := buffer.find(b"\n", start)) >= 0:
            code = buffer[start : start + 3]
            mark = buffer[start + 3 : start + 4].rstrip(b"\n")
            if not code.isdigit() or len(code) < 3 or code[0] not in _FIRST_DIGITS or mark not in _AFTER_CODE:  # noqa: PLR2004 - digits of a code
                self.garbage = buffer[begin : begin + MAX_TEXT]
                return replies
            start = end + 1
            if mark != b"-":
                replies.append((int(code), buffer[begin:end]))
                begin = start
        self._rest, self._line = buffer[begin:], start - begin
        if len(self._rest) > MAX_REPLY_BYTES:
            self.garbage, self._rest = self._rest[:MAX_TEXT], b""
        return replies

    @property
    def waiting(self) -> bool:
        """Whether a reply has begun and is not whole."""
        return bool(self._rest)


def read(code: int, raw: bytes) -> Reply:
    """Return a whole reply, as `ReplyReader` gave it, in clean words."""
    if raw.find(b"\n") < 0:
        return from_text(code, raw[4:].decode("utf-8", "replace"))
    return from_text(code, "\n".join(line[4:] for line in raw.decode("utf-8", "replace").split("\n")))


def from_text(code: int, text: str) -> Reply:
    """Return the reply with this code and text (its lines without codes), the enhanced code taken out.

    RFC 2034, 4: the enhanced code begins every line, and its class is that of the code; one of another
    class is left in the text.
    """
    found = _ENHANCED.match(text)
    enhanced = found[1] if found and ord(found[1][0]) - ord("0") == code // 100 else None
    if enhanced is not None:
        lines = text[: 2 * MAX_REPLY_BYTES].split("\n")
        text = " ".join([line.removeprefix(enhanced) for line in lines])
    return Reply(code, enhanced, clean(text))


def clean(text: str) -> str:
    """Return `text` as one line of clean Unicode of at most MAX_TEXT characters."""
    return _UNCLEAN.sub(" ", text[: 2 * MAX_REPLY_BYTES]).strip()[:MAX_TEXT]


def ours(enhanced: str, text: str) -> Reply:
    """Return our own words where no server's reply was the reason (code 0)."""
    return Reply(0, enhanced, clean(text))


def garbled(raw: bytes) -> Reply:
    """Return the reply for bytes that are no reply (RFC 5321, 4.2)."""
    return ours("4.5.0", f"the server's answer is not SMTP: {raw[:200].decode('utf-8', 'replace')!r}")


def spell(reply: Reply) -> str:
    """Return the reply as a server would write it: "550 5.1.1 No such user"."""
    code = str(reply.code) if reply.code else ""
    return " ".join(filter(None, (code, reply.enhanced, reply.text)))
