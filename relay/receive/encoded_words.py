"""Header values for people: RFC 2047 encoded words decoded, one clean line.

Rule: pure, linear, bounded, and nothing raises: the values are for the Email Log, so what cannot be decoded
is shown as it came.
"""

import base64
import binascii
import re
from collections.abc import Iterator
from typing import Final

MAX_RAW_BYTES: Final = 4096
MAX_CHARS: Final = 500

_WORD: Final = re.compile(r"=\?([A-Za-z0-9_.:-]{1,40})(?:\*[A-Za-z0-9-]{1,20})?\?([BbQq])\?([^? \t]*+)\?=")
_QUOTED_BYTE: Final = re.compile(rb"=([0-9A-Fa-f]{2})")

# Charsets that text is sent in, and the codec to read them with: often the larger set that holds the named
# one, which is what senders mean. A list, since Python's registry also holds codecs that are none or quadratic
# (punycode, idna), and imports a module for each name that it does not know.
_CODECS: Final = (
    {f"iso-8859-{part}": f"iso-8859-{part}" for part in (*range(2, 12), 13, 14, 15, 16)}
    | {f"windows-{page}": f"cp{page}" for page in range(1250, 1259)}
    | {f"cp{page}": f"cp{page}" for page in (*range(1250, 1259), 437, 850, 852, 855, 866, 874, 932, 936, 949, 950)}
    | dict.fromkeys(("ascii", "us-ascii", "utf-8", "utf8"), "utf-8")
    | dict.fromkeys(("iso-8859-1", "iso_8859-1", "latin1", "latin-1"), "cp1252")
    | dict.fromkeys(("gb2312", "gbk", "gb18030"), "gb18030")
    | dict.fromkeys(("shift_jis", "shift-jis", "sjis"), "cp932")
    | dict.fromkeys(("euc-kr", "ks_c_5601-1987"), "cp949")
    | {name: name for name in ("utf-7", "utf-16", "utf-16be", "utf-16le", "koi8-r", "koi8-u", "big5", "euc-jp")}
    | {name: name for name in ("iso-2022-jp", "iso-2022-jp-1", "iso-2022-jp-2", "iso-2022-kr")}
    | {"hz-gb-2312": "hz", "big5-hkscs": "big5hkscs", "macintosh": "mac-roman", "tis-620": "tis-620"}
)


def decode_value(raw: bytes) -> str:
    """Return a header's raw value as one clean line of at most MAX_CHARS characters; only MAX_RAW_BYTES are read."""
    text = _to_text(raw[:MAX_RAW_BYTES])
    if "=?" in text:
        text = "".join(_decoded(text))
    if not text.isprintable():
        text = "".join([char if char.isprintable() else " " for char in text])
    return " ".join(text.split())[:MAX_CHARS]


def _to_text(raw: bytes) -> str:
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        return raw.decode("latin-1")


def _decoded(text: str) -> Iterator[str]:
    """Yield the text between words as it is, and runs of words decoded; blanks between words vanish (RFC 2047, 6.2)."""
    at, before, pending = 0, "utf-8", b""
    for word in _WORD.finditer(text):
        between = text[at : word.start()]
        codec = _CODECS.get(word[1].lower())
        content = _content(word[2], word[3]) if codec else None
        if codec is None or content is None:
            continue
        # Senders split a character's bytes over two words though they must not: decode a run as one.
        if codec != before or between.strip():
            yield pending.decode(before, errors="replace")
            before, pending = codec, b""
        if between.strip() or at == 0:
            yield between
        pending += content
        at = word.end()
    yield pending.decode(before, errors="replace")
    yield text[at:]


def _content(encoding: str, text: str) -> bytes | None:
    raw = text.encode("utf-8")
    if encoding in "Qq":
        return _QUOTED_BYTE.sub(lambda found: bytes.fromhex(found[1].decode("ascii")), raw.replace(b"_", b" "))
    try:
        raw = raw.rstrip(b"=")
        return base64.b64decode(raw + b"=" * (-len(raw) % 4), validate=True)
    except binascii.Error:
        return None
