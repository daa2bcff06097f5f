"""The image as bytes of a part: its HTML, and how it is written in the part's encoding.

Rule: no line gets longer than its slot allows; lines are broken inside the tag, where HTML reads a line
end as a blank, or by soft breaks, which leave no trace at all.
"""

import re
from binascii import b2a_base64
from typing import Final

from relay.inject.splice import Form, Slot

# Out of the flow where that is known, else a float without extent: no line, no room, and yet rendered,
# since clients do not fetch what is display:none.
_STYLE: Final = b"border:0;float:left;height:1px;margin:0 -1px -1px 0;position:absolute;width:1px"
_OPEN: Final = b"<img"
# Their line ends are not those of mail: such parts have no lines.
_WIDE: Final = ("utf_16", "utf_32")
_ATTRIBUTES: Final = b'" alt="" width="1" height="1" style="' + _STYLE + b'"'
# RFC 3986, without the quote and what HTML or a shell would read: what `render` takes as a URL.
_URL: Final = re.compile(r"[!#-;=?-\[\]_a-z~]+")
_QP_UNSAFE: Final = re.compile(rb"[^ -<>-~]")
_BASE64_GROUP: Final = 3
_BASE64_CHARS: Final = 4


def attribute(url: str) -> bytes:
    """Return the URL as it stands in an attribute; raises ValueError for what is no URL in ASCII."""
    if not _URL.fullmatch(url):
        raise ValueError(f"not a URL that can be written into HTML: {url!r}")
    return url.replace("&", "&amp;").encode("ascii")


def encode(slot: Slot, url: str) -> bytes:
    """Return the bytes that go into the slot: the image for `url`, encoded and laid out as the part is."""
    source = attribute(url)
    if slot.form is Form.QUOTED_PRINTABLE:
        return _quoted_printable(slot, tag(source, slot.codec))
    if slot.form is Form.BASE64:
        return _base64(slot, source)
    return _plain(slot, source)


def tag(source: bytes, codec: str = "ascii", blanks: bytes = b" ", end: bytes = b"") -> bytes:
    """Return the element for an attribute value, with `blanks` after its name and `end` before its last character."""
    element = b"".join((_OPEN, blanks, b'src="', source, _ATTRIBUTES, end, b">"))
    return element if codec == "ascii" else element.decode("ascii").encode(codec)


def _plain(slot: Slot, source: bytes) -> bytes:
    element = tag(source, slot.codec)
    if slot.codec.startswith(_WIDE) or slot.column + len(element) + slot.tail <= slot.width:
        return element
    # RFC 5322, 2.1.1: at most 998 bytes a line. Break after "<img" and before ">".
    broken = tag(source, slot.codec, blanks=slot.eol, end=slot.eol)
    room = max(slot.width, slot.column + slot.tail)
    return broken if slot.column + len(_OPEN) <= room else slot.eol + broken


def _quoted_printable(slot: Slot, element: bytes) -> bytes:
    text = _QP_UNSAFE.sub(_escaped, element)
    if slot.column + len(text) + slot.tail <= slot.width:
        return text
    soft, lines, start = b"=" + slot.eol, [], 0
    while len(text) - start > slot.width - 1:
        # An escape of three characters stays on its line (RFC 2045, 6.7, rule 5).
        end = start + slot.width - 1
        cut = text.rfind(b"=", end - 2, end)
        end = end if cut < 0 else cut
        lines.append(text[start:end])
        start = end
    lines.append(text[start:])
    lead = soft if slot.column else b""
    close = soft if slot.tail and len(lines[-1]) + slot.tail > slot.width else b""
    return lead + soft.join(lines) + close


def _escaped(found: re.Match[bytes]) -> bytes:
    return b"=%02X" % found[0][0]


def _base64(slot: Slot, source: bytes) -> bytes:
    element = tag(source, slot.codec)
    # Whole groups of three bytes leave the alignment of all that follows as it was.
    blanks = b" "
    while len(element) % _BASE64_GROUP:
        blanks += b" "
        element = tag(source, slot.codec, blanks)
    text = b2a_base64(slot.before + element + slot.after, newline=False)
    if slot.column + len(text) + slot.tail <= slot.width:
        return text
    first = max(0, slot.width - slot.column)
    lines = [text[:first], *(text[at : at + slot.width] for at in range(first, len(text), slot.width))]
    if slot.tail and len(lines[-1]) + slot.tail > slot.width:
        # The group that the image divided stays on one line with what follows it, as it was.
        at = len(lines[-1]) - (_BASE64_CHARS if slot.after else 0)
        lines[-1:] = [lines[-1][:at], lines[-1][at:]]
    return slot.eol.join(lines)
