"""The structure of a bounce: its header, and its leaf parts in order. Never descends into returned messages.

Rule: one pass over the bytes with `find`, bounded in depth, parts and header size, never raises on any
bytes. What is cut off by a bound is not read.
"""

import base64
import binascii
import codecs
import quopri
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

MAX_DEPTH: Final = 8
MAX_PARTS: Final = 100
MAX_HEADER_BYTES: Final = 64 * 1024
MAX_FIELDS: Final = 500
MAX_TEXT_BYTES: Final = 256 * 1024
"""Of one text part; the words of a bounce stand at its beginning."""
_MAX_VALUE_CHARS: Final = 8192
_MAX_ENCODED_WORDS: Final = 50
_MAX_DELIMITER_TRIES: Final = 10_000
_MAX_BOUNDARY: Final = 200  # RFC 2046, 5.1.1 allows 70

_FIELD: Final = re.compile(r"([!-9;-~]{1,80})[ \t]*:[ \t]*(.*)", re.DOTALL)
_PARAMETER: Final = re.compile(r';[ \t\n]*([!#-+\--:<-Z^-~]{1,40})[ \t]*=[ \t\n]*(?:"([^"]{0,500})"|([^;\s]{0,500}))')
_ENCODED_WORD: Final = re.compile(r"=\?([\w.:*-]{1,40})\?([bBqQ])\?([^?\n]{0,1000})\?=")
_BETWEEN_WORDS: Final = re.compile(r"(\?=)[ \t\n]+(=\?)")

# Codecs that mail uses. Python knows others by name that are no charsets (rot13, zlib, idna, punycode),
# some of them slow on purpose-made input.
_CHARSETS: Final = re.compile(
    r"(?:utf_?8|us_ascii|ascii|iso_?8859_?\d+|latin_?1|windows_?125\d|cp125\d|cp(?:437|850|852|866|932|949|950)"
    r"|koi8_[ru]|gb2312|gbk|gb18030|big5|euc_(?:jp|kr)|shift_jis|sjis|iso_2022_(?:jp|kr)|ks_c_5601_1987|tis_620|macintosh)"
)

Headers = tuple[tuple[str, str], ...]
"""Field names in lower case with their unfolded raw values, in order."""


@dataclass(frozen=True, slots=True)
class Part:
    """A leaf of the MIME tree: text, a report, or a whole returned message."""

    media: str
    """Type/subtype in lower case, "text/plain" where it is missing or broken."""
    headers: Headers
    raw: bytes
    """The body as transferred."""

    @property
    def returned(self) -> bool:
        """Whether it holds (a piece of) the message that the bounce is about."""
        return self.media in RETURNED

    def text(self, max_bytes: int = MAX_TEXT_BYTES) -> str:
        """Return the decoded text, at most `max_bytes` of it, newlines as LF."""
        content = _transfer_decoded(self.raw[: 2 * max_bytes], field(self.headers, "content-transfer-encoding"))
        charset = parameter(field(self.headers, "content-type"), "charset")
        return decoded(content[:max_bytes], charset).replace("\r\n", "\n").replace("\r", "\n")


RETURNED: Final = frozenset(
    {"message/rfc822", "text/rfc822-headers", "message/rfc822-headers", "text/rfc822", "message/global",
     "message/global-headers", "message/partial"}
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Mail:
    """A mail taken apart."""

    headers: Headers
    parts: tuple[Part, ...]


def field(headers: Headers, name: str) -> str:
    """Return the first value of a field, "" where there is none."""
    for key, value in headers:
        if key == name:
            return value
    return ""


def take_apart(raw: bytes) -> Mail:
    """Return the header and the leaf parts of a mail, whatever its line ends."""
    content = raw
    if b"\r" in content:
        content = content.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    content = content.lstrip(b"\n")
    headers, start = _header(content, 0, len(content))
    return Mail(headers, tuple(_leaves(content, headers, start)))


def read_headers(text: str) -> Headers:
    """Return the fields of a header block; lines that are no field are left out."""
    fields: list[tuple[str, str]] = []
    for line in _unfolded(text):
        found = _FIELD.match(line)
        if found:
            fields.append((found[1].lower(), found[2][:_MAX_VALUE_CHARS].strip()))
            if len(fields) == MAX_FIELDS:
                break
    return tuple(fields)


def media_type(value: str) -> str:
    """Return type/subtype of a Content-Type value in lower case, "text/plain" where it is broken."""
    media = value.partition(";")[0].strip().lower()
    return media if media.count("/") == 1 and " " not in media else "text/plain"


def parameter(value: str, name: str) -> str:
    """Return a parameter of a Content-Type or Content-Disposition value, "" where it is missing."""
    for found in _PARAMETER.finditer(value):
        if found[1].lower() == name:
            return found[2] if found[2] is not None else found[3]
    return ""


def decoded(content: bytes, charset: str) -> str:
    """Return text of any charset; what cannot be read becomes U+FFFD."""
    name = _codec(charset.strip().lower())
    if name != "utf-8":
        return content.decode(name, "replace")
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError:
        return content.decode("cp1252", "replace")


def unencoded(value: str) -> str:
    """Return a header value with its encoded words (RFC 2047) decoded, unfolded."""
    if "=?" not in value:
        return value.replace("\n", " ")
    joined = _BETWEEN_WORDS.sub(r"\1\2", value)
    return _ENCODED_WORD.sub(_word, joined, count=_MAX_ENCODED_WORDS).replace("\n", " ")


def _word(found: re.Match[str]) -> str:
    content = found[3].encode("ascii", "replace")
    plain = _base64(content) if found[2] in "bB" else quopri.decodestring(content.replace(b"_", b" "))
    return decoded(plain, found[1].partition("*")[0])


@lru_cache(maxsize=256)
def _codec(charset: str) -> str:
    name = charset.replace("-", "_")
    if not _CHARSETS.fullmatch(name):
        return "utf-8"
    if name in ("us_ascii", "ascii", "utf8", "utf_8"):
        return "utf-8"
    try:
        return codecs.lookup(_WIDER.get(name, name)).name
    except LookupError:
        return "utf-8"


# Mail says the smaller name and uses the larger set.
_WIDER: Final = {"gb2312": "gb18030", "gbk": "gb18030", "shift_jis": "cp932", "sjis": "cp932", "macintosh": "mac_roman",
                 "ks_c_5601_1987": "cp949", "euc_kr": "cp949", "iso_2022_jp": "iso2022_jp_2", "iso_8859_1": "cp1252",
                 "latin1": "cp1252", "latin_1": "cp1252", "iso8859_1": "cp1252"}  # fmt: skip


def _transfer_decoded(content: bytes, encoding: str) -> bytes:
    match encoding.strip().lower():
        case "base64":
            return _base64(content)
        case "quoted-printable":
            return quopri.decodestring(content)
        case _:
            return content


_NOT_BASE64: Final = bytes(set(range(256)) - set(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"))


def _base64(content: bytes) -> bytes:
    digits = content.translate(None, _NOT_BASE64)
    digits = digits[: len(digits) - (len(digits) % 4 == 1)]
    try:
        return base64.b64decode(digits + b"=" * (-len(digits) % 4))
    except binascii.Error:  # pragma: no cover - the alphabet and length were made right above
        return content


def _header(content: bytes, start: int, end: int) -> tuple[Headers, int]:
    """Read the header block at `start`; return it and where the body begins."""
    if content.startswith(b"\n", start):
        return (), start + 1
    stop = content.find(b"\n\n", start, end)
    body = end if stop < 0 else stop + 2
    stop = end if stop < 0 else stop
    block = content[start : min(stop, start + MAX_HEADER_BYTES)]
    return read_headers(decoded(block, "")), body


def _unfolded(text: str) -> Iterator[str]:
    """Yield logical lines; folds keep their LF (RFC 5322, 2.2.3)."""
    held: list[str] = []
    for line in text.split("\n"):
        if line[:1] in (" ", "\t") and held:
            held.append(line)
            continue
        if held:
            yield "\n".join(held)
        held = [line]
    yield "\n".join(held)


def _leaves(content: bytes, headers: Headers, start: int) -> Iterator[Part]:
    """Yield the leaves in order: an explicit stack, so that no depth of nesting can hurt."""
    left = MAX_PARTS
    stack = [(headers, start, len(content), 0)]
    while stack and left:
        fields, body, end, depth = stack.pop()
        declared = field(fields, "content-type")
        media = media_type(declared)
        spans = []
        if media.startswith("multipart/") and depth < MAX_DEPTH:
            spans = _children(content, body, end, parameter(declared, "boundary"), left)
        if not spans:
            left -= 1
            yield Part("text/plain" if media.startswith("multipart/") else media, fields, content[body:end])
        for child_start, child_end in reversed(spans):
            child_fields, child_body = _header(content, child_start, child_end)
            stack.append((child_fields, child_body, child_end, depth + 1))


def _children(content: bytes, start: int, end: int, boundary: str, limit: int) -> list[tuple[int, int]]:
    """Return the spans between the delimiter lines of a multipart body (RFC 2046, 5.1.1)."""
    delimiter = b"--" + boundary.strip()[:_MAX_BOUNDARY].encode("utf-8", "replace")
    lines = _delimiters(content, delimiter, start, end, limit) if boundary.strip() else []
    if not lines and content.startswith(b"--", start):
        # The boundary was lost on the way: take the body's first line for it.
        first = content[start : start + _MAX_BOUNDARY].partition(b"\n")[0].rstrip()
        lines = _delimiters(content, first, start, end, limit) if len(first) > len(b"--") else []
    spans = []
    for number, (_, after, closing) in enumerate(lines):
        if closing:
            break
        stop = lines[number + 1][0] if number + 1 < len(lines) else end
        spans.append((after, max(after, stop)))
    return spans


def _delimiters(content: bytes, delimiter: bytes, start: int, end: int, limit: int) -> list[tuple[int, int, bool]]:
    """Return (end of the part before, start of the part after, whether it closes) of each delimiter line."""
    found: list[tuple[int, int, bool]] = []
    at = start if content.startswith(delimiter, start) else content.find(b"\n" + delimiter, start, end) + 1
    for _ in range(_MAX_DELIMITER_TRIES):
        if at <= 0 or len(found) > limit:
            break
        rest = at + len(delimiter)
        line_end = content.find(b"\n", rest, end)
        line_end = end if line_end < 0 else line_end
        tail = content[rest : min(line_end, rest + 80)].strip()
        if tail in (b"", b"--"):
            found.append((max(at - 1, start), min(line_end + 1, end), tail == b"--"))
        at = content.find(b"\n" + delimiter, max(rest - 1, start), end) + 1
    return found
