"""The MIME scanner: which parts a message has, by byte offsets (RFC 2046).

Rule: one pass over the content, no recursion, bounded parts, levels and lines that look like
delimiters. Nothing is repaired: where two readers could cut the message differently, it is in doubt.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from relay.inject.header import Header, Value, read_header, read_value
from storage.untracked import UntrackedReason

MAX_PARTS: Final = 15_000
MAX_DEPTH: Final = 100
# Lines that begin as all open boundaries do cost a look each; beyond the delimiters there are hardly any.
MAX_DASH_LINES: Final = 25_000
# RFC 2046, 5.1.1 allows 70 characters; software has been seen to take 200.
MAX_BOUNDARY_BYTES: Final = 500
# A delimiter line: a boundary, two dashes, and blanks that gateways may add (RFC 2046, 5.1.1).
_MAX_LINE_BYTES: Final = MAX_BOUNDARY_BYTES + 80

_BLANK_LINE: Final = b"\r\n\r\n"
_SHORT_HEADER_BYTES: Final = 400
_KNOWN: Final = 100
# The beginnings of kinds that are text or hold it.
_WANTED: Final = (b"text/", b"multi")

_IDENTITY: Final = (b"", b"7bit", b"8bit", b"binary")


_DESCRIBING: Final = frozenset({b"content-type", b"content-transfer-encoding", b"content-disposition"})


@dataclass(slots=True)
class Part:
    """A part: its header, the offsets of its body, and what its Content fields say."""

    head: int
    """Where its header begins."""
    start: int
    """Where its body begins."""
    end: int
    """Where its body ends; the line end before a delimiter belongs to the delimiter."""
    parent: "Part | None"
    kind: bytes
    """Content-Type in lower case without parameters; b"" where it is malformed."""
    parameters: Mapping[bytes, bytes]
    encoding: bytes
    disposition: bytes
    named: bool
    """Whether it bears a file name."""
    id: bytes
    """Content-ID, in lower case."""
    doubt: UntrackedReason | None
    children: "tuple[Part, ...] | list[Part]" = ()
    """A list in a multipart, in the order of the content, as far as they are listed."""

    def again(self, head: int, start: int, end: int) -> "Part":
        """Return a part with the same header and parent at another place, without children."""
        about = (
            self.parent,
            self.kind,
            self.parameters,
            self.encoding,
            self.disposition,
            self.named,
            self.id,
            self.doubt,
        )
        return Part(head, start, end, *about)


@dataclass(slots=True)
class Scan:
    """All parts in the order of the content, the root first; `doubt` where their bounds are in doubt.

    Of parts of a multipart that are no text and have the same header only the first is listed, if not asked for all.
    """

    parts: list[Part]
    header: Header | None
    """The root's; None where it is too large to be read."""
    doubt: UntrackedReason | None


def scan(content: bytes, *, every: bool = False) -> Scan:
    """Scan a message; `every`: list all parts."""
    header = read_header(content, 0)
    if header is None:
        return Scan([], None, UntrackedReason.TOO_COMPLEX)
    root = _part(content, header, None)
    if root.doubt is not None:
        return Scan([root], header, root.doubt)
    walk = _Walk(content, root, every=every)
    return Scan(walk.parts, header, walk.run())


def _part(content: bytes, header: Header, parent: Part | None) -> Part:
    part = Part(header.start, header.body_start, len(content), parent, b"", {}, b"", b"", False, b"", None)
    if not header.closed and header.body_start < len(content):
        part.doubt = UntrackedReason.MALFORMED_HEADER
    _describe(content, header, part)
    return part


def _describe(content: bytes, header: Header, part: Part) -> None:
    """Read the Content fields into `part`."""
    values: dict[bytes, Value] = {}
    for item in header.fields:
        name = item.name
        if name in _DESCRIBING:
            value = read_value(content[item.body : item.end])
            if name in values or value.doubtful:
                part.doubt = part.doubt or UntrackedReason.AMBIGUOUS_HEADER
            values.setdefault(name, value)
        elif name == b"content-id":
            part.id = content[item.body : item.end].strip().lower()
    if (kind := values.get(b"content-type")) is not None:
        part.kind = kind.value if kind.value.count(b"/") == 1 else b""
        part.parameters = kind.parameters
        part.named = b"name" in kind.parameters
    else:
        in_digest = part.parent is not None and part.parent.kind == b"multipart/digest"
        part.kind = b"message/rfc822" if in_digest else b"text/plain"
    if (encoding := values.get(b"content-transfer-encoding")) is not None:
        part.encoding = encoding.value
    if (disposition := values.get(b"content-disposition")) is not None:
        part.disposition = disposition.value.strip(b'"')
        part.named = part.named or b"filename" in disposition.parameters


class _Walk:
    """The walk over the delimiters of one message."""

    def __init__(self, content: bytes, root: Part, *, every: bool) -> None:
        self.content = content
        self.wanted = (b"",) if every else _WANTED
        self.parts = [root]
        self.open: list[tuple[bytes, Part, list[Part]]] = []
        """Boundaries whose delimiters may come, outermost first, with their multiparts and their children."""
        self.active: dict[bytes, int] = {}
        """Delimiter lines without the leading dashes, closing ones too, and their level in `open`."""
        self.prefixes: tuple[bytes, ...] = ()
        self.common = b"\n--"
        """What a line begins with to be worth a look, the line end before it included."""
        self.known: dict[bytes, Part] = {}
        """Short headers seen, with the part that they made: in messages of many parts they are few."""
        self.alike = 0
        """Parts that are not listed, since one like them is."""
        self.last: Part | None = root
        """The leaf whose end is still to come; None in a preamble or epilogue."""

    def run(self) -> UntrackedReason | None:
        """Find all parts; return the doubt that makes their bounds uncertain."""
        if self.parts[0].kind[:10] != b"multipart/":
            return None
        doubt = self._enter(self.parts[0])
        content, seen = self.content, 0
        # The blank line's LF may begin the first delimiter line.
        position = self.parts[0].start - 1
        while doubt is None and self.active:
            dash = content.find(self.common, max(position, 0))
            if dash < 0:
                break
            seen += 1
            if seen > MAX_DASH_LINES or len(self.parts) + self.alike > MAX_PARTS:
                return UntrackedReason.TOO_COMPLEX
            position, doubt = self._line(dash)
        return doubt or self._bare_return()

    def _bare_return(self) -> UntrackedReason | None:
        """Tell of a delimiter after a bare CR: a line for some readers, and no line by RFC 5322, 2.3."""
        if self.content.find(b"\r--") < 0:
            return None
        boundaries = [part.parameters[b"boundary"].rstrip() for part in self.parts if part.kind[:10] == b"multipart/"]
        found = any(b"\r--" + boundary in self.content for boundary in boundaries[:MAX_DEPTH])
        return UntrackedReason.AMBIGUOUS_BOUNDARY if found else None

    def _line(self, dash: int) -> tuple[int, UntrackedReason | None]:
        """Read the line after `dash`; return where to go on, and a doubt."""
        begin, content = dash + 3, self.content
        newline = content.find(b"\n", begin, begin + _MAX_LINE_BYTES)
        stop = newline if newline >= 0 else min(begin + _MAX_LINE_BYTES, len(content))
        word = content[begin:stop].rstrip(b" \t\r")
        level = self.active.get(word)
        if level is None or (newline < 0 and stop < len(content)):
            return dash + 1, UntrackedReason.AMBIGUOUS_BOUNDARY if word.startswith(self.prefixes) else None
        boundary, multipart, _ = self.open[level]
        self._end_part(dash)
        if level + 1 < len(self.open):
            self._drop(level + 1)
        after = stop + 1
        if word != boundary:
            self._drop(level)
            return after - 1, None
        return self._begin(after, multipart)

    def _begin(self, start: int, multipart: Part) -> tuple[int, UntrackedReason | None]:
        """Read the part that begins at `start`; return where to go on, and a doubt."""
        blank = self.content.find(_BLANK_LINE, start, start + _SHORT_HEADER_BYTES) + len(_BLANK_LINE)
        text = self.content[start:blank]
        known = self.known.get(text)
        if known is not None and known.parent is multipart:
            if not known.kind.startswith(self.wanted):
                # One of many attachments alike: nothing about it is ever asked, only that it is there.
                self.alike += 1
                return blank - 1, None
            part = known.again(start, blank, len(self.content))
        else:
            header = read_header(self.content, start)
            if header is None:
                return start, UntrackedReason.TOO_COMPLEX
            part = _part(self.content, header, multipart)
            if part.start > start and self.content.find(b"\n--", start - 1, part.start - 1) >= 0:
                # No field is named so: a delimiter, or what some reader takes for one.
                return start, UntrackedReason.MALFORMED_HEADER
            if part.start == blank and len(self.known) < _KNOWN:
                self.known[text] = part
        self.parts.append(part)
        self.open[-1][2].append(part)
        self.last = part
        return part.start - 1, self._enter(part) if part.kind[:10] == b"multipart/" else None

    def _end_part(self, dash: int) -> None:
        """End the open leaf before the line end at `dash`."""
        if self.last is not None:
            end = dash - 1 if dash > 0 and self.content[dash - 1] == 13 else dash  # noqa: PLR2004 - CR
            self.last.end = max(end, self.last.start)
            self.last = None

    def _enter(self, part: Part) -> UntrackedReason | None:
        """Open `part`, a multipart; return a doubt about its boundary."""
        boundary = part.parameters.get(b"boundary", b"").rstrip()
        if not boundary or len(boundary) > MAX_BOUNDARY_BYTES or b"\n" in boundary or part.encoding not in _IDENTITY:
            return UntrackedReason.AMBIGUOUS_BOUNDARY
        if len(self.open) >= MAX_DEPTH:
            return UntrackedReason.TOO_COMPLEX
        if boundary.startswith(self.prefixes) or any(known.startswith(boundary) for known in self.prefixes):
            # RFC 2046, 5.1.1 lets a reader compare only the beginning of the line.
            return UntrackedReason.AMBIGUOUS_BOUNDARY
        level = len(self.open)
        children: list[Part] = []
        part.children = children
        self.open.append((boundary, part, children))
        self.active[boundary] = self.active[boundary + b"--"] = level
        self.prefixes = (*self.prefixes, boundary)
        self.common = b"\n--" + _common(self.prefixes)
        self.last = None
        return part.doubt

    def _drop(self, level: int) -> None:
        """Forget the boundaries from `level` on: their multiparts are over."""
        for boundary, _, _ in self.open[level:]:
            del self.active[boundary], self.active[boundary + b"--"]
        del self.open[level:]
        self.prefixes = self.prefixes[:level]
        self.common = b"\n--" + _common(self.prefixes)


def _common(words: tuple[bytes, ...]) -> bytes:
    """Return what all words begin with; b"" for no words."""
    first, last = min(words, default=b""), max(words, default=b"")
    return next((first[:at] for at in range(len(first)) if first[at] != last[at]), first)
