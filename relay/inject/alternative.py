"""An HTML alternative for messages that are plain text, so that they can carry an image (RFC 2046, 5.1.4).

Rule: the text part keeps every byte of its content and its own Content fields; all other fields of the
message stay. Text that programs or mailing lists read stays as it is.
"""

import re
from binascii import b2a_base64, b2a_qp
from collections.abc import Callable, Iterable, Iterator
from hashlib import blake2b
from typing import Final

from relay.inject import charset, transfer
from relay.inject.header import Header, body_of, read_header
from relay.inject.parts import Part, Scan
from relay.inject.prose import to_html
from relay.inject.splice import Edit, Form, Slot
from storage.untracked import UntrackedReason

MAX_TEXT_BYTES: Final = 256 * 1024
# Gmail shows the first 102 KB of a message's HTML, after changes of its own, and fetches no image beyond.
MAX_TEXT_BEFORE_IMAGE: Final = 95 * 1024

PLAIN_TEXT_LISTS: Final = frozenset(
    {
        "vger.kernel.org", "kvack.org", "lists.linux.dev", "lists.infradead.org", "lists.ozlabs.org",
        "lists.denx.de", "lists.openwrt.org", "lists.debian.org", "bugs.debian.org", "openbsd.org", "freebsd.org",
        "netbsd.org", "lists.sr.ht", "todo.sr.ht", "lists.gnu.org", "debbugs.gnu.org", "gcc.gnu.org",
        "sourceware.org", "lists.freedesktop.org", "lists.postgresql.org",
    }
)  # fmt: skip
"""Domains of mailing lists that ask for plain text; their subdomains, too."""

# What describes the body, and so belongs to the text part once it is one of two.
_MOVED: Final = frozenset(
    {
        b"content-type", b"content-transfer-encoding", b"content-disposition", b"content-id", b"content-md5",
        b"content-location", b"content-base", b"content-features",
    }
)  # fmt: skip
_PATCH_SUBJECT: Final = re.compile(rb"\[[^\[\]\n]*\bPATCH\b", re.IGNORECASE)
_PATCH_MAILER: Final = re.compile(rb"git-send-email|git-format-patch|stgit|\bb4\b", re.IGNORECASE)
# Diffs of git, unified and of Subversion or CVS; uuencode and yEnc.
_FOR_PROGRAMS: Final = re.compile(
    r"^(?:diff --git |diff -[urNp]|--- a/|@@ -\d+(?:,\d+)? \+\d+(?:,\d+)? @@|Index: \S+\r?\n====="
    r"|begin [0-7]{3,4} \S|=ybegin )",
    re.MULTILINE,
)
_PROGRAMS_WORDS: Final = ("diff -", "--- a/", "@@ -", "Index: ", "begin ")
_PGP: Final = re.compile(r"^-----BEGIN PGP (?:SIGNED )?MESSAGE", re.MULTILINE)
# What HTML cannot show: C0 and C1 controls but for blanks and line ends, and what is no character at all.
_UNSHOWN: Final = re.compile("[\x00-\x08\x0b\x0e-\x1f\x7f-\x84\x86-\x9f\ufffe\uffff]")
_UNSHOWN_ASCII: Final = bytes(range(128)).translate(None, bytes(range(0x20, 0x7F)) + b"\t\n\x0c\r")
_DOMAIN: Final = re.compile(rb"@([A-Za-z0-9.-]++)")

_PAGE: Final = (
    '<!DOCTYPE html>\n<html><head><meta http-equiv="Content-Type" content="text/html; charset=utf-8"></head>\n<body>\n',
    "</body></html>\n",
)
# Easily read in a copy's source; RFC 5322, 2.1.1 wants 78, and breaking more changes more.
_LONG_LINE: Final = 200
_BASE64_LINE: Final = 57
# Above this share of bytes, base64 is shorter than quoted-printable: 1 + 2s against 4/3 and line ends.
_BASE64_SHARE: Final = 0.19


def why_left(content: bytes, header: Header, recipients: frozenset[str]) -> UntrackedReason | None:
    """Say by its header whether a plain text message must stay so; None where it need not."""
    for field in header.named(b"list-post"):
        # RFC 2369, 3.4: "NO" says that nobody may post: an announcement.
        if body_of(content, field).upper() != b"NO":
            return UntrackedReason.MAILING_LIST
    fields = {name: [body_of(content, field) for field in header.named(name)] for name in _TELLING}
    if any(_PATCH_SUBJECT.search(body) for body in fields[b"subject"]):
        return UntrackedReason.PATCH
    if any(_PATCH_MAILER.search(body) for body in fields[b"x-mailer"] + fields[b"user-agent"]):
        return UntrackedReason.PATCH
    addressed = b" ".join(fields[b"to"] + fields[b"cc"])
    domains = {domain.decode("ascii").lower() for domain in _DOMAIN.findall(addressed)} | recipients
    return UntrackedReason.MAILING_LIST if any_within(domains, PLAIN_TEXT_LISTS) else None


_TELLING: Final = (b"subject", b"x-mailer", b"user-agent", b"to", b"cc")


def any_within(domains: Iterable[str], names: frozenset[str]) -> bool:
    """Whether one of the domains is one of the names, or below one."""
    return any(domain.endswith(f".{name}") or domain == name for domain in domains for name in names)


def add_html(content: bytes, found: Scan, part: Part, eol: bytes) -> tuple[Edit, ...] | UntrackedReason:
    """Return the edits that give the text part an HTML alternative; the reason where it has to stay alone.

    The image stands at the end, or at the beginning where the text is longer than `MAX_TEXT_BEFORE_IMAGE`.
    """
    if part.doubt is not None or part.named or not _has_room(found, part):
        return part.doubt or UntrackedReason.TEXT_ONLY
    if b"\r" in content[: part.start].replace(b"\r\n", b""):
        # RFC 5322, 2.2: data; for some readers the end of a line, and so of a field that is moved.
        return UntrackedReason.MALFORMED_HEADER
    if part.parent is not None and part.end == len(content):
        return UntrackedReason.AMBIGUOUS_BOUNDARY  # the message breaks off
    text = _text(content, part)
    if isinstance(text, UntrackedReason):
        return text
    flowed = part.parameters.get(b"format", b"").lower() == b"flowed"
    delete_space = part.parameters.get(b"delsp", b"").lower() == b"yes"
    return _edits(content, part, to_html(text, flowed=flowed, delete_space=delete_space), eol)


def _has_room(found: Scan, part: Part) -> bool:
    """Whether the part is the whole message, or the first of a mixed one."""
    parent = part.parent
    return parent is None or (
        parent is found.parts[0] and parent.kind == b"multipart/mixed" and parent.children[0] is part
    )


def _text(content: bytes, part: Part) -> str | UntrackedReason:
    """Return the part's text, where it can be read for certain and may be shown as HTML."""
    form = transfer.form_of(part.encoding)
    if form is None:
        return UntrackedReason.UNKNOWN_ENCODING
    source = transfer.decode(form, content[part.start : part.end])
    if source is None:
        return UntrackedReason.BROKEN_ENCODING
    if len(source) > MAX_TEXT_BYTES:
        return UntrackedReason.TEXT_TOO_LONG
    text = charset.text_of(source, part.parameters.get(b"charset", b"").strip())
    return text if isinstance(text, UntrackedReason) else _why_not(text) or text


def _why_not(text: str) -> UntrackedReason | None:
    if not text.strip():
        return UntrackedReason.NO_TEXT
    if "-----BEGIN PGP " in text and _PGP.search(text):
        return UntrackedReason.INLINE_PGP
    if _holds_unshown(text):
        return UntrackedReason.TEXT_UNREADABLE
    return UntrackedReason.PATCH if _is_for_programs(text) else None


def _holds_unshown(text: str) -> bool:
    if not text.isascii():
        return _UNSHOWN.search(text) is not None
    source = text.encode("ascii")
    return len(source.translate(None, _UNSHOWN_ASCII)) != len(source)


def _is_for_programs(text: str) -> bool:
    # A search for each word is far quicker than one for all at line starts.
    return any(word in text for word in _PROGRAMS_WORDS) and _FOR_PROGRAMS.search(text) is not None


def _edits(content: bytes, part: Part, page: str, eol: bytes) -> tuple[Edit, ...]:
    fields = read_header(content, part.head)
    assert fields is not None  # noqa: S101 - the scan has read it
    moved = [field for field in fields.fields if field.name in _MOVED]
    boundary = _boundary(content)
    opening = [b"Content-Type: multipart/alternative;", eol, b' boundary="', boundary, b'"', eol]
    if part.encoding in (b"8bit", b"binary"):
        opening += [b"Content-Transfer-Encoding: ", part.encoding, eol]
    if part.parent is None and not fields.named(b"mime-version"):
        opening += [b"MIME-Version: 1.0", eol]
    inner = [content[field.start : field.end] for field in moved]
    start = [b"--", boundary, eol, *inner, eol]
    before, slot, after = _html_part(page, eol)
    delimiter = eol + b"--" + boundary
    # The last line end of a part belongs to the delimiter that follows it; a message ends with one of its own.
    close = delimiter + b"--" + (eol if part.parent is None else b"")
    return (
        *(Edit(field.start, field.end - field.start) for field in moved),
        Edit(fields.end, 0, b"".join(opening)),
        Edit(part.start, 0, b"".join(start)),
        Edit(part.end, 0, delimiter + eol + before),
        Edit(part.end, 0, slot=slot),
        Edit(part.end, 0, after + close),
    )


def _boundary(content: bytes) -> bytes:
    """Return a boundary that the content does not hold: nobody can write the hash of a text into that text."""
    return b"=_telltale_" + blake2b(content, digest_size=12).hexdigest().encode("ascii")


def _html_part(page: str, eol: bytes) -> tuple[bytes, Slot, bytes]:
    """Return the HTML part around its image: header and content before, the slot, content after."""
    top, bottom = _PAGE
    page = _folded(page) if page.isascii() else page
    long = len(page.encode()) > MAX_TEXT_BEFORE_IMAGE
    before, after = (top, page + bottom) if long else (top + page, bottom)
    whole = (before + after).encode()
    name, form, width, write = _written(whole)
    header = eol.join((b"Content-Type: text/html; charset=utf-8", b"Content-Transfer-Encoding: " + name, b"", b""))
    slot = Slot(form, "ascii", eol, 0, 0, width)
    return header + write(before.encode(), eol), slot, eol + write(after.encode(), eol).removesuffix(eol)


def _written(whole: bytes) -> tuple[bytes, Form, int, Callable[[bytes, bytes], bytes]]:
    """Return how the HTML is encoded: a name for the header, the form, the width of its lines, and by what."""
    if whole.isascii() and max(map(len, whole.split(b"\n"))) <= transfer.PLAIN_WIDTH:
        # The image's URL stands unbroken in the copy, so that people can see and take it.
        return b"7bit", Form.PLAIN, transfer.PLAIN_WIDTH, _plain
    if _share(whole) > _BASE64_SHARE:
        return b"base64", Form.BASE64, transfer.ENCODED_WIDTH, _base64
    return b"quoted-printable", Form.QUOTED_PRINTABLE, transfer.ENCODED_WIDTH, _quoted_printable


def _folded(page: str) -> str:
    """Return HTML with long lines broken at blanks, where a line end is shown as one."""
    if max(map(len, page.split("\n"))) <= _LONG_LINE:
        return page
    return "\n".join(piece for line in page.split("\n") for piece in _pieces(line))


def _pieces(line: str) -> Iterator[str]:
    start = 0
    while len(line) - start > _LONG_LINE:
        blank = line.rfind(" ", start + 1, start + _LONG_LINE)
        if blank < 0 or line.startswith("From ", blank + 1):
            blank = line.find(" ", start + _LONG_LINE)
        if blank < 0 or line.startswith("From ", blank + 1):
            break
        yield line[start:blank]
        start = blank + 1
    yield line[start:]


def _share(source: bytes) -> float:
    """Return the share of bytes that are not ASCII."""
    return 1 - len(source.decode().encode("ascii", "ignore")) / len(source)


def _plain(source: bytes, eol: bytes) -> bytes:
    return source.replace(b"\n", eol)


def _quoted_printable(source: bytes, eol: bytes) -> bytes:
    return b2a_qp(source).replace(b"\n", eol)


def _base64(source: bytes, eol: bytes) -> bytes:
    # Whole lines, so that the image begins a line and nothing is padded in the middle.
    source += b" " * (-len(source) % _BASE64_LINE)
    lines = (b2a_base64(source[at : at + _BASE64_LINE], newline=False) for at in range(0, len(source), _BASE64_LINE))
    return b"".join(line + eol for line in lines)
