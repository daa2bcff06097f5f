"""Charsets: what the tokenizer may read of a part's decoded bytes, and how an image is written among them.

Rule: where every byte below 0x80 is ASCII wherever it stands, the bytes are read as they are. Any other
charset is read through a mask of one byte a character, in which only true ASCII is ASCII.
"""

import codecs
import re
from encodings import aliases, normalize_encoding
from functools import lru_cache
from typing import Final

from storage.frozen import frozen
from storage.untracked import UntrackedReason

# Every byte below 0x80 that HTML gives a meaning to is itself: bytes from 0x80 on may mean anything, and multi-byte
# characters never hold "<", ">", "=", quotes or "-".
_SUPERSET: Final = re.compile(
    r"ascii|utf_8(?:_sig)?|latin_1|iso8859_\d+|koi8_[rtu]|kz1048|ptcp154|tis_620|hp_roman8|palmos|viscii"
    r"|mac_\w+|cp(?:125\d|437|720|737|775|85\d|86\d|874|932|936|949|950|1006|1125)"
    r"|gbk|gb2312|gb18030|big5|big5hkscs|euc_\w+|shift_jis(?:x0213|_2004)?"
)
_STATEFUL: Final = re.compile(r"iso2022_\w+|hz")
_TRANSCODED: Final = re.compile(r"utf_16(?:_[bl]e)?|utf_32(?:_[bl]e)?|utf_7|johab")
# EBCDIC: no mail program reads it, so what bears its name is something else.
_EBCDIC: Final = re.compile(r"cp(?:037|273|424|500|875|1026|1140)")
# Names of mail and of the Encoding standard that Python does not know.
_OTHER_NAMES: Final = {
    "": "ascii",
    "x_sjis": "cp932",
    "x_gbk": "gbk",
    "x_mac_roman": "mac_roman",
    "macintosh": "mac_roman",
    "x_mac_cyrillic": "mac_cyrillic",
    "iso_8859_8_i": "iso8859_8",
    "iso_8859_6_i": "iso8859_6",
    "iso_8859_8_e": "iso8859_8",
    "ks_c_5601": "cp949",
    "windows_874": "cp874",
    "windows_949": "cp949",
    "windows_31j": "cp932",
    "cp_850": "cp850",
    "utf8mb4": "utf_8",
    "x_euc_jp": "euc_jp",
    "x_x_big5": "big5",
    "cn_big5": "big5",
    "cn_gb": "gb2312",
    "iso_8859": "latin_1",
    "x_user_defined": "latin_1",
    "ansi_x3_110_1983": "latin_1",
}
# ISO 2022: from an escape to a set that is not ASCII, or a shift out, up to the escape to ASCII or the shift in.
_ISO_2022_SHIFTED: Final = re.compile(rb"\x1b(?:\$(?:[@AB]|\([@-Z])|\(I)(?:[^\x1b]++|\x1b(?!\([BJ]))*+|\x0e[^\x0f]*+")
# Such runs as RFC 1468 and 1557 allow them: whole characters, no line end. Readers make different things of others.
_ISO_2022_SOUND: Final = re.compile(rb"(?:\x1b\$(?:[@AB]|\([@-Z])(?:[!-~]{2})*+|\x1b\(I[!-~]*+)++|\x0e(?:[!-~]{2}| )*+")
# RFC 1843: "~{" up to "~}"; a line end ends it, too.
_HZ_SHIFTED: Final = re.compile(rb"~\{(?:[^~\r\n]++|~(?!\}))*+")
# Tags in UTF-16 or UTF-32 under a wrong name.
_WIDE: Final = re.compile(rb"<\0[!-~]\0|\0<\0[!-~]|<\0\0")
# An escape that the next byte would go on with.
_OPEN_ESCAPE: Final = re.compile(rb"\x1b(?!\([BJ])|(?<!~)~\Z")
_LONGEST_ESCAPE: Final = 3
_MASK: Final = b"\x80"


def canonical(name: bytes) -> str | None:
    """Return Python's name of the charset that a part names; None for one that we do not know."""
    return _canonical_cached(name) if len(name) <= _CACHED_BYTES else _canonical(name)


def _canonical(name: bytes) -> str | None:
    key = _key(name)
    if key is None:
        return None
    known = _OTHER_NAMES.get(key, key)
    known_to_us = _SUPERSET.fullmatch(known) or _STATEFUL.fullmatch(known) or _TRANSCODED.fullmatch(known)
    return known if known_to_us else None


# Most mail names one of a few.
_CACHED: Final = 128
_CACHED_BYTES: Final = 40
_canonical_cached: Final = lru_cache(_CACHED)(_canonical)


def _key(name: bytes) -> str | None:
    """Return Python's spelling of a charset's name, alias or not; None for no name at all."""
    try:
        key = normalize_encoding(name.decode("ascii")).lower()
    except UnicodeDecodeError:
        return None
    return aliases.aliases.get(key, key)


@frozen
class Reading:
    """Decoded bytes as the tokenizer reads them."""

    source: bytes
    markup: bytes
    """One byte a character, or the source itself."""
    codec: str
    """How the image is encoded."""
    mark: int
    """Units of `markup` that nothing may go before: a byte order mark."""
    shifts: bool = False
    """Whether escapes in the source shift to other sets of characters and back."""

    def offset(self, index: int) -> int | None:
        """Return the offset in the source of unit `index` of the markup; None where nothing fits in there."""
        if self.shifts:
            inside = self.markup[index - 1 : index] == _MASK
            escaping = _OPEN_ESCAPE.search(self.source, max(0, index - _LONGEST_ESCAPE), index)
            return None if index and (inside or escaping) else index
        if self.codec == "ascii":
            return index
        return _offset(self.source, self.codec, index)

    def proves(self, offset: int, image: bytes) -> bool:
        """Whether the source with `image` at `offset` reads as before, but for the image's text."""
        if self.codec == "ascii":
            return True
        try:
            text, before = image.decode(self.codec), self.source.decode(self.codec)
            after = (self.source[:offset] + image + self.source[offset:]).decode(self.codec)
        except UnicodeDecodeError:
            return False
        at = after.find(text)
        return at >= 0 and after[:at] + after[at + len(text) :] == before


def read(source: bytes, name: bytes) -> Reading | UntrackedReason:
    """Read decoded bytes in the charset of this name; the reason where they cannot be read for certain."""
    codec = canonical(name)
    if codec is None:
        return _unknown(source, name)
    if _TRANSCODED.fullmatch(codec):
        return _transcoded(source, codec)
    if b"\0" in source and _WIDE.search(source):
        return UntrackedReason.BROKEN_CHARSET
    mark = len(codecs.BOM_UTF8) if source.startswith(codecs.BOM_UTF8) else 0
    shifted = _shifted(codec, source)
    if shifted is None:
        return Reading(source, source, "ascii", mark)
    if shifted is _ISO_2022_SHIFTED and not all(_ISO_2022_SOUND.fullmatch(run[0]) for run in shifted.finditer(source)):
        return UntrackedReason.BROKEN_CHARSET
    return Reading(source, shifted.sub(_masked_run, source), "ascii", mark, shifts=True)


def text_of(source: bytes, name: bytes) -> str | UntrackedReason:
    """Return decoded bytes as text; the reason where they are not surely text in the charset of this name."""
    codec = canonical(name)
    if codec is None:
        return UntrackedReason.UNKNOWN_CHARSET
    if codec in _MARKS and not source.startswith(tuple(mark for mark, _ in _MARKS[codec])):
        return UntrackedReason.TEXT_UNREADABLE
    try:
        return source.decode(codec)
    except UnicodeDecodeError:
        return UntrackedReason.TEXT_UNREADABLE


def _unknown(source: bytes, name: bytes) -> Reading | UntrackedReason:
    # A name that nobody knows does no harm where all is plain ASCII: readers fall back to that.
    plain = source.isascii() and b"\x1b" not in source and b"\0" not in source and b"~{" not in source
    # A stray quote: where the name ends is in doubt, and it may be one that we know.
    plain = plain and b'"' not in name
    ebcdic = _EBCDIC.fullmatch(_key(name) or "")
    return Reading(source, source, "ascii", 0) if plain and not ebcdic else UntrackedReason.UNKNOWN_CHARSET


def _shifted(codec: str, source: bytes) -> re.Pattern[bytes] | None:
    """Return what in the source is not ASCII though its bytes are; None for nothing."""
    if codec == "hz":
        return _HZ_SHIFTED
    # Japanese mail says US-ASCII at times; there an escape counts if another one leads back.
    back = codec == "ascii" and (b"\x1b(B" in source or b"\x1b(J" in source)
    return _ISO_2022_SHIFTED if back or codec.startswith("iso2022") else None


def _masked_run(found: re.Match[bytes]) -> bytes:
    return _MASK * len(found[0])


_MARKS: Final = {
    "utf_16": ((codecs.BOM_UTF16_LE, "utf_16_le"), (codecs.BOM_UTF16_BE, "utf_16_be")),
    "utf_32": ((codecs.BOM_UTF32_LE, "utf_32_le"), (codecs.BOM_UTF32_BE, "utf_32_be")),
}


def _transcoded(source: bytes, codec: str) -> Reading | UntrackedReason:
    """Read a charset that is not ASCII in its bytes, by way of its text."""
    for mark, marked in _MARKS.get(codec, ()):
        if source.startswith(mark):
            codec = marked
    if codec in _MARKS:
        # Without a mark RFC 2781, 4.3 says big-endian, the Encoding standard little-endian, as programs write it.
        if b"<\0" not in source:
            return UntrackedReason.BROKEN_CHARSET
        codec += "_le"
    try:
        text = source.decode(codec)
    except UnicodeDecodeError:
        return UntrackedReason.BROKEN_CHARSET
    markup = text.encode("ascii", _MASKING)
    # Without a single tag it is more likely ASCII under a wrong name.
    return (
        Reading(source, markup, codec, int(text[:1] == "\ufeff")) if b"<" in markup else UntrackedReason.BROKEN_CHARSET
    )


def _mask(error: UnicodeError) -> tuple[bytes, int]:
    assert isinstance(error, UnicodeEncodeError)  # noqa: S101 - registered for encoding only
    return _MASK * (error.end - error.start), error.end


_MASKING: Final = "relay.inject.mask"
codecs.register_error(_MASKING, _mask)


def _offset(source: bytes, codec: str, index: int) -> int:
    """Return the greatest offset up to which the source decodes to `index` characters."""
    if codec.startswith(("utf_16", "utf_32")):
        # Half a unit decodes to nothing yet; whole units are counted by writing them again.
        return len(source.decode(codec)[:index].encode(codec))
    decoder = codecs.getincrementaldecoder(codec)
    low, high = 0, len(source)
    while low < high:
        middle = (low + high + 1) // 2
        if len(decoder().decode(source[:middle])) <= index:
            low = middle
        else:
            high = middle - 1
    return low
