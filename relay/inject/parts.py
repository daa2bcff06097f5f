"""The MIME scanner: which parts a message has, by byte offsets (RFC 2046).

Rule: one pass over the content, no recursion, bounded parts, levels and lines that look like
delimiters. Nothing is repaired: where two readers could cut the message differently, it is in doubt.
"""

from dataclasses import dataclass, field
from typing import Final

from relay.inject.header import Header, Value, body_of, read_header, read_value
from relay.inject.reason import UntrackedReason

MAX_PARTS: Final = 20_000
MAX_DEPTH: Final = 100
# Lines that begin with "--" cost a look each; base64 has none, prose and patches few.
MAX_DASH_LINES: Final = 100_000
# RFC 2046, 5.1.1 allows 70 characters; software has been seen to take 200.
MAX_BOUNDARY_BYTES: Final = 500

_IDENTITY: Final = (b"", b"7bit", b"8bit", b"binary")


@dataclass(slots=True)
class Part:
    """A part: its header, the offsets of its body, and what its Content fields say."""

    header: Header
    end: int
    """Where its body ends; the line end before a delimiter belongs to the delimiter."""
    parent: "Part | None"
    kind: bytes
    """Content-Type in lower case without parameters; b"" where it is malformed."""
    parameters: dict[bytes, bytes]
    encoding: bytes
    disposition: bytes
    named: bool
    """Whether it bears a file name."""
    doubt: UntrackedReason | None
    children: "list[Part]" = field(default_factory=list)

    @property
    def start(self) -> int:
        """Where its body begins."""
        return self.header.body_start


@dataclass(slots=True)
class Scan:
    """All parts in the order of the content, the root first; `doubt` where their bounds are in doubt."""

    parts: list[Part]
    doubt: UntrackedReason | None


def scan(content: bytes) -> Scan:
    """Scan a message."""
    root = _part(content, 0, None)
    if root is None:
        return Scan([], UntrackedReason.TOO_COMPLEX)
    if root.doubt is not None:
        return Scan([root], root.doubt)
    walk = _Walk(content, root)
    return Scan(walk.parts, walk.run())


def _part(content: bytes, start: int, parent: Part | None) -> Part | None:
    header = read_header(content, start)
    if header is None:
        return None
    part = Part(header, len(content), parent, b"", {}, b"", b"", False, None)
    if not header.closed and header.body_start < len(content):
        part.doubt = UntrackedReason.MALFORMED_HEADER
    _describe(content, part)
    return part


def _describe(content: bytes, part: Part) -> None:
    """Read the Content fields into `part`."""
    default = (
        b"message/rfc822" if part.parent is not None and part.parent.kind == b"multipart/digest" else b"text/plain"
    )
    values: dict[bytes, Value] = {}
    for item in part.header.fields:
        if item.name[:8] != b"content-" or item.name not in _DESCRIBING:
            continue
        value = read_value(body_of(content, item))
        if item.name in values or value.doubled:
            part.doubt = part.doubt or UntrackedReason.AMBIGUOUS_HEADER
        values.setdefault(item.name, value)
    kind = values.get(b"content-type")
    part.kind = default if kind is None else kind.value if kind.value.count(b"/") == 1 else b""
    part.parameters = kind.parameters if kind else {}
    encoding = values.get(b"content-transfer-encoding")
    part.encoding = encoding.value if encoding else b""
    disposition = values.get(b"content-disposition")
    part.disposition = disposition.value if disposition else b""
    part.named = b"name" in part.parameters or (disposition is not None and b"filename" in disposition.parameters)


_DESCRIBING: Final = frozenset({b"content-type", b"content-transfer-encoding", b"content-disposition"})


class _Walk:
    """The walk over the delimiters of one message."""

    def __init__(self, content: bytes, root: Part) -> None:
        self.content = content
        self.parts = [root]
        self.open: list[tuple[bytes, Part]] = []
        """Boundaries whose delimiters may come, outermost first, with their multiparts."""
        self.active: dict[bytes, int] = {}
        """Delimiter lines without the leading dashes, closing ones too, and their level in `open`."""
        self.prefixes: tuple[bytes, ...] = ()
        self.last: Part | None = root
        """The leaf whose end is still to come; None in a preamble or epilogue."""

    def run(self) -> UntrackedReason | None:
        """Find all parts; return the doubt that makes their bounds uncertain."""
        doubt = self._enter(self.parts[0])
        content, seen = self.content, 0
        # The blank line's LF may begin the first delimiter line.
        position = self.parts[0].start - 1
        while doubt is None and self.active:
            dash = content.find(b"\n--", max(position, 0))
            if dash < 0:
                break
            seen += 1
            if seen > MAX_DASH_LINES or len(self.parts) > MAX_PARTS:
                return UntrackedReason.TOO_COMPLEX
            position, doubt = self._line(dash)
        return doubt

    def _line(self, dash: int) -> tuple[int, UntrackedReason | None]:
        """Read the line after `dash`; return where to go on, and a doubt."""
        begin = dash + 3
        window = self.content[begin : begin + MAX_BOUNDARY_BYTES + 80]
        line, newline, _ = window.partition(b"\n")
        word = line.rstrip(b" \t\r\n")
        level = self.active.get(word)
        if level is None or not (newline or begin + len(window) == len(self.content)):
            like = window.startswith(self.prefixes)
            return dash + 1, UntrackedReason.AMBIGUOUS_BOUNDARY if like else None
        boundary, multipart = self.open[level]
        self._end_part(dash)
        self._drop(level + 1)
        after = begin + len(line) + len(newline)
        if word != boundary:
            self._drop(level)
            return after - 1, None
        return self._begin(after, multipart)

    def _begin(self, start: int, multipart: Part) -> tuple[int, UntrackedReason | None]:
        part = _part(self.content, start, multipart)
        if part is None:
            return start, UntrackedReason.TOO_COMPLEX
        dash = self.content.find(b"\n--", start - 1, part.start - 1) if part.start > start else -1
        if dash >= 0:
            # No field is named so: a delimiter, or what some reader takes for one.
            return start, UntrackedReason.MALFORMED_HEADER
        self.parts.append(part)
        multipart.children.append(part)
        self.last = part
        return part.start - 1, self._enter(part)

    def _end_part(self, dash: int) -> None:
        """End the open leaf before the line end at `dash`."""
        if self.last is not None:
            end = dash - 1 if dash > 0 and self.content[dash - 1] == 13 else dash  # noqa: PLR2004 - CR
            self.last.end = max(end, self.last.start)
            self.last = None

    def _enter(self, part: Part) -> UntrackedReason | None:
        """Open `part` where it is a multipart; return a doubt about its boundary."""
        if part.kind[:10] != b"multipart/":
            return None
        boundary = part.parameters.get(b"boundary", b"").rstrip()
        if not boundary or len(boundary) > MAX_BOUNDARY_BYTES or b"\n" in boundary or part.encoding not in _IDENTITY:
            return UntrackedReason.AMBIGUOUS_BOUNDARY
        if len(self.open) >= MAX_DEPTH:
            return UntrackedReason.TOO_COMPLEX
        if boundary.startswith(self.prefixes) or any(known.startswith(boundary) for known in self.prefixes):
            # RFC 2046, 5.1.1 lets a reader compare only the beginning of the line.
            return UntrackedReason.AMBIGUOUS_BOUNDARY
        level = len(self.open)
        self.open.append((boundary, part))
        self.active[boundary] = self.active[boundary + b"--"] = level
        self.prefixes = (*self.prefixes, boundary)
        self.last = None
        return part.doubt

    def _drop(self, level: int) -> None:
        """Forget the boundaries from `level` on: their multiparts are over."""
        for boundary, _ in self.open[level:]:
            del self.active[boundary], self.active[boundary + b"--"]
        del self.open[level:]
        self.prefixes = self.prefixes[:level]
