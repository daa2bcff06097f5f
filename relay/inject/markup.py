"""Where in an HTML document an image is shown and changes nothing (WHATWG HTML, 13.2.5 and 13.2.6).

Rule: linear. The tokenizer is the standard's, with the tree builder's states that matter here. Runs of
ordinary tags and text are skipped by one regular expression whose repetitions are all possessive: it
never goes back, and where a construct is not closed, reading stops for good.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from storage.untracked import UntrackedReason

# Their content is text up to the matching end tag (13.2.5.2 to 13.2.5.4).
_RAW: Final = frozenset(
    {b"title", b"textarea", b"style", b"xmp", b"iframe", b"noembed", b"noframes", b"script"},
)
# An image inside these is not shown, or not surely.
_CLOSED: Final = frozenset(
    {
        b"template", b"noscript", b"select", b"svg", b"math", b"object", b"applet", b"video", b"audio",
        b"canvas", b"details", b"dialog", b"frameset",
    }
)  # fmt: skip
_FOREIGN: Final = frozenset({b"svg", b"math"})
# They end SVG and MathML around them, or where HTML may stand inside, keep their end tags from ending them (13.2.6.5).
_TEARING: Final = frozenset(
    b"b big blockquote body br center code dd div dl dt em embed font h1 h2 h3 h4 h5 h6 head hr i img li listing menu"
    b" meta nobr ol p pre ruby s small span strong strike sub sup table tt u ul var".split()
)
# HTML may stand inside these.
_HTML_INSIDE: Final = frozenset(b"foreignobject desc title mi mo mn ms mtext annotation-xml".split())
_TEARING_ENDS: Final = frozenset({b"p", b"br"})
_VOID: Final = frozenset(
    {
        b"area", b"base", b"basefont", b"bgsound", b"br", b"col", b"embed", b"frame", b"hr", b"img", b"input",
        b"keygen", b"link", b"meta", b"param", b"source", b"track", b"wbr",
    }
)  # fmt: skip
# A hidden body is shown nowhere, wherever the image is; text elements hold no elements.
_NEVER_HIDDEN: Final = _VOID | _RAW | {b"html", b"body"}
_HEAD: Final = frozenset({b"html", b"head", b"base", b"basefont", b"bgsound", b"link", b"meta"})
# What is inside them belongs to the head for one reader and begins the body for another.
_UNSURE_IN_HEAD: Final = frozenset({b"template", b"noscript"})
_BEFORE_BODY: Final = _HEAD | {b"title", b"style", b"script", b"noframes"}
_ENDS_OF_BODY: Final = frozenset({b"body", b"br"})
_NO_PLACE: Final = UntrackedReason.NO_SAFE_PLACE
_SPACE: Final = b" \t\n\f\r"
_SPACES: Final = re.compile(rb"[ \t\n\f\r]*+")

_ATTRIBUTES: Final = (
    rb"(?:[\t\n\f\r /]++|[^\t\n\f\r />][^\t\n\f\r />=]*+"
    rb"(?:[\t\n\f\r ]*+=[\t\n\f\r ]*+"
    rb"(?:\"[^\"]*+(?:\"|\Z)|'[^']*+(?:'|\Z)|[^\t\n\f\r >\"'][^\t\n\f\r >]*+|(?=>)))?+)*+>"
)
_TAG: Final = re.compile(rb"<(/?+)([a-zA-Z][^\t\n\f\r />]*+)" + _ATTRIBUTES)


def _any_case(words: Iterable[bytes]) -> bytes:
    """Return a pattern of these words, in upper or lower case: twice as fast as a flag on the whole, measured."""
    letter = re.compile(rb"[a-z]")
    either = (letter.sub(lambda found: b"[" + found[0].upper() + found[0] + b"]", word) for word in sorted(words))
    return b"(?:" + b"|".join(either) + b")"


_VISITED: Final = _any_case(_RAW | _CLOSED | {b"plaintext"})
_ENDS_VISITED: Final = _any_case({b"body", b"html"})
# The tags that most HTML is made of, in the form that most of them have: what they allow is in the general form, too.
_PLAIN_NAMES: Final = (
    rb"(?:[pbaiuPBAIU]|t[drh]|T[DRH]|br|BR|li|LI|[ou]l|h[1-6r]|div|DIV|span|SPAN|img|IMG|font|FONT|table|TABLE|tbody|TBODY"
    rb"|strong|STRONG)(?=[ >])"
)
_PLAIN_ATTRIBUTES: Final = rb">|(?:[ \r\n]++[a-zA-Z-]++=(?:\"[^\"]*+\"|[a-zA-Z0-9#%]++))*+ ?/?>"
_PLAIN_COMMENT: Final = rb"--(?![->\[<])(?:[^-]++|-(?!-!?>))*+--!?>"
_QUICK: Final = re.compile(
    rb"[^<]*+(?:<(?:(?:/?+" + _PLAIN_NAMES + rb"|/(?!" + _ENDS_VISITED + rb"[\t\n\f\r />])[a-zA-Z][^\t\n\f\r />]*+"
    rb"|(?!" + _VISITED + rb"[\t\n\f\r />])[a-zA-Z][^\t\n\f\r />]*+)"
    rb"(?:" + _PLAIN_ATTRIBUTES + rb"|" + _ATTRIBUTES + rb")"
    rb"|!(?:[a-zA-Z][^>]*+>|" + _PLAIN_COMMENT + rb")"
    rb"|(?![a-zA-Z!?/]))[^<]*+)*+"
)
_TEXT: Final = re.compile(rb"(?:[^<]++|<(?![a-zA-Z!?/]))*+")
# A tag that does not end: what follows is not shown.
_UNCLOSED: Final = re.compile(rb"<[a-zA-Z]")
_HINTS: Final = (b"none", b"hidden")
_HIDDEN: Final = re.compile(
    rb"display[ \t\r\n]*+:[ \t\r\n]*+none|visibility[ \t\r\n]*+:[ \t\r\n]*+hidden|[\s\"'/]hidden(?=[\s=/>])",
    re.IGNORECASE,
)
_END_OF: Final = {name: re.compile(rb"</" + name + rb"(?=[\t\n\f\r />])", re.IGNORECASE) for name in _RAW}
_SCRIPT: Final = re.compile(rb"<!--(?:-*+>)?|-->|<(/?)script(?=[\t\n\f\r />])", re.IGNORECASE)
_COMMENT_END: Final = re.compile(rb"--!?>")
# Of markup in lower case.
_TABLE: Final = re.compile(rb"<table(?=[\t\n\f\r />])")
_TABLE_END: Final = re.compile(rb"</table(?=[\t\n\f\r />])")
# Elements that the tree builder opens anew around what follows, once a block has closed over them (13.2.4.3).
_FORMATTING: Final = frozenset(b"a b big code em font i nobr s small strike strong tt u".split())
_BLOCKS: Final = (
    b"address article aside blockquote center dd details dialog div dl dt fieldset footer form h1 h2 h3 h4 h5 h6 header"
    b" li main nav ol p pre section table tbody td tfoot th thead tr ul"
).split()
_BLOCK: Final = re.compile(rb"<(/?)(" + b"|".join(_BLOCKS) + rb")(?=[\t\n\f\r />])", re.IGNORECASE)
# What an end tag inside does not reach out of (13.2.4.2); a button keeps paragraphs in, too.
_BARRIERS: Final = frozenset({b"table", b"marquee", b"button"})
# The end tags of these close what is open inside; of others they do not where a block is (13.2.6.4.7).
_FIRM: Final = frozenset({*_BLOCKS, b"template", b"select", b"object", b"applet", b"svg", b"math"})


def find_place(markup: bytes, *, near_top: bool = False) -> int | UntrackedReason:
    """Return the index in `markup` where an image is shown and nothing around it changes.

    At the end of the body, or with `near_top` at its beginning.
    """
    if near_top:
        return UntrackedReason.FRAMESET if b"<frameset" in markup.lower() else _top(markup)
    walk = _Walk(markup)
    # What was not read to its end may hold one.
    if walk.frameset or (walk.read < len(markup) and b"<frameset" in walk.folded):
        return UntrackedReason.FRAMESET
    place = walk.place()
    if _leaves_marquee_open(walk.folded):
        place = None
    if place is not None and not _has_text_around(markup, walk.folded, place):
        place = _Walk(markup, every_tag=True).steady(place)
    return _top(markup) if place is None else place


def _leaves_marquee_open(folded: bytes) -> bool:
    """Whether formatting survives the table that it was opened in: a marquee holds it (13.2.4.3)."""
    return b"<marquee" in folded and folded.count(b"<marquee") != folded.count(b"</marquee")


def _has_text_around(markup: bytes, folded: bytes, place: int) -> bool:
    """Whether text stands just before `place`, or comes after: what an image would open anew, it opens, too."""
    if len(_TABLE.findall(folded, 0, place)) > len(_TABLE_END.findall(folded, 0, place)):
        return False  # in a table, white space stays where it is and opens nothing
    return place == 0 or markup[place - 1] != 62 or (place < len(markup) and markup[-1] in _SPACE)  # noqa: PLR2004 - ">"


class _Walk:
    """One reading of a document: the places before `</body>` and `</html>`, and where reading stopped."""

    def __init__(self, markup: bytes, *, every_tag: bool = False) -> None:
        self.markup = markup
        self.every_tag = every_tag
        # A search for both words that folds case as it goes costs more than all else here, measured.
        self.folded = markup.lower()
        self.hints = [-1] * len(_HINTS)
        """Where each word is met next that a hidden element would have: the tag around it is not skipped."""
        self.spots: dict[bytes, int] = {}
        """The last place before each of `</body>` and `</html>` where an image is shown."""
        self.frameset = False
        self.closed: list[_Closed] = []
        """Open elements that show no image, outermost first."""
        self.conditions = 0
        """Open conditional comments whose content is shown to some readers only."""
        self.text_ends: list[int] = []
        self.formatting: list[tuple[int, bytes, bool]] = []
        """With every tag: where shown text ends; where formatting tags are, and whether they are end tags."""
        self.read = self._run()
        """How far the document could be read: its length, or where a construct is not closed."""

    @property
    def clear(self) -> bool:
        return not self.closed and self.conditions <= 0

    def place(self) -> int | None:
        """Return the best place at the end of the body; None where there is none."""
        for name in (b"body", b"html"):
            if name in self.spots:
                return self.spots[name]
        if self.read < len(self.markup) or not self.clear:
            return None
        return len(self.markup.rstrip(_SPACE))

    def steady(self, place: int) -> int | None:
        """Return `place`, or the end of the last text before it where formatting would be opened anew; None for none.

        Needs a walk over every tag.
        """
        counts: dict[bytes, int] = {}
        for at, name, is_end in self.formatting:
            if at < place:
                counts[name] = max(0, counts.get(name, 0) + (-1 if is_end else 1))
        if not any(counts.values()):
            return place
        ends = [end for end in self.text_ends if end <= place]
        return ends[-1] if ends else None

    def _run(self) -> int:
        markup, size, position = self.markup, len(self.markup), 0
        while True:
            start = self._skip(position)
            if self.every_tag and self.clear and markup[position:start].strip(_SPACE):
                self.text_ends.append(start)
            if start >= size:
                return size
            if markup[start] != 60:  # noqa: PLR2004 - "<"
                position = start
                continue
            after = self._token(start)
            if after is None or self.frameset:
                return start
            position = after

    def _skip(self, position: int) -> int:
        """Return where the text at `position`, and all tags that mean nothing here, end."""
        if self.every_tag or self.closed:
            return _end(_TEXT.match(self.markup, position))
        return _end(_QUICK.match(self.markup, position, self._next_hint(position)))

    def _next_hint(self, position: int) -> int:
        """Return where a word of `_HINTS` begins next after `position`; past the end where none does."""
        for number, word in enumerate(_HINTS):
            if self.hints[number] <= position:
                found = self.folded.find(word, position + 1)
                self.hints[number] = found if found >= 0 else len(self.markup) + 1
        return min(self.hints)

    def _token(self, start: int) -> int | None:
        """Read the token at `start`; return its end, None where it is not closed."""
        kind = self.markup[start + 1 : start + 2]
        if kind == b"!":
            return self._declaration(start)
        tag = _TAG.match(self.markup, start)
        if tag is not None:
            return self._tag(start, tag)
        if kind == b"?" or (kind == b"/" and not self.markup[start + 2 : start + 3].isalpha()):
            return _after(self.markup, b">", start + 2)
        return None

    def _declaration(self, start: int) -> int | None:
        if self._torn and self.markup.startswith(b"<![CDATA[", start):
            return None
        end = declaration_end(self.markup, start, foreign=self._foreign)
        if end is not None:
            text = self.markup[start + 1 : end].lower()
            self._condition(text.replace(b"!--", b"!", 1)[:12], closes=b"<![endif" in text)
        return end

    def _condition(self, opening: bytes, *, closes: bool) -> None:
        if opening.startswith((b"![endif", b"!<![endif")):
            self.conditions = max(0, self.conditions - 1)
        elif opening.startswith(b"![if") and not closes:
            self.conditions += 1

    @property
    def _foreign(self) -> bool:
        return bool(self.closed) and self.closed[-1].name in _FOREIGN

    @property
    def _torn(self) -> bool:
        return self._foreign and self.closed[-1].torn

    def _tag(self, start: int, tag: re.Match[bytes]) -> int | None:
        """Follow a start or end tag; return where reading goes on, None for never."""
        name, end = tag[2].lower(), tag.end()
        if self.every_tag and name in _FORMATTING:
            self.formatting.append((start, name, bool(tag[1])))
        if tag[1]:
            self._end_tag(name, start)
            return end
        if self.closed and name == self.closed[-1].name:
            self.closed[-1].depth += 1
        elif name in _CLOSED or (name not in _NEVER_HIDDEN and _HIDDEN.search(tag[0])):
            self._close(name, tag)
        elif name in _BARRIERS and self.closed:
            self.closed[-1].barriers[name] = self.closed[-1].barriers.get(name, 0) + 1
        if self._foreign:
            return self._inside_foreign(name, end)
        if name in _RAW:
            return raw_end(self.markup, name, end)
        return None if name == b"plaintext" else end

    def _inside_foreign(self, name: bytes, end: int) -> int | None:
        """Follow a start tag in SVG or MathML; None where what follows depends on all before."""
        inner = self.closed[-1]
        if name in _TEARING or (inner.torn and (name in _RAW or name == b"plaintext")):
            return None
        inner.torn = inner.torn or name in _HTML_INSIDE
        return end

    def _close(self, name: bytes, tag: re.Match[bytes]) -> None:
        self.frameset = self.frameset or name == b"frameset"
        if not (name in _FOREIGN and tag[0].endswith(b"/>")):
            self.closed.append(_Closed(name, tag.end()))

    def _end_tag(self, name: bytes, start: int) -> None:
        if name in (b"body", b"html") and self.clear:
            self.spots[name] = start
        if not self.closed:
            return
        inner = self.closed[-1]
        if name in _TEARING_ENDS and inner.name in _FOREIGN:
            inner.name = b""
        if name in inner.barriers:
            inner.barriers[name] -= 1
            if not inner.barriers[name]:
                del inner.barriers[name]
        elif name == inner.name and not inner.barriers:
            inner.depth -= 1
            if not inner.depth:
                self._leave(inner, start)

    def _leave(self, inner: "_Closed", start: int) -> None:
        """End the innermost closed element; for good open where its end tag does not reach it."""
        # Only the outermost decides whether an image is shown, and each byte is inside one outermost: linear.
        outermost = len(self.closed) == 1
        if outermost and inner.name not in _FIRM and _is_lopsided(self.markup[inner.start : start]):
            inner.name = b""
        else:
            self.closed.pop()


@dataclass(slots=True)
class _Closed:
    """An open element that shows no image."""

    name: bytes
    start: int
    depth: int = 1
    """How many elements of its name are open, itself the first."""
    barriers: dict[bytes, int] = field(default_factory=dict)
    """How many of `_BARRIERS` are open inside it."""
    torn: bool = False
    """SVG and MathML: whether HTML may stand inside it, so that text elements may be some."""


def _is_lopsided(inside: bytes) -> bool:
    """Whether block elements are opened and not closed, or closed and not opened, in this markup."""
    balance: dict[bytes, int] = {}
    for found in _BLOCK.finditer(inside):
        name = found[2].lower()
        balance[name] = balance.get(name, 0) + (-1 if found[1] else 1)
    return any(balance.values())


def _end(found: re.Match[bytes] | None) -> int:
    assert found is not None  # noqa: S101 - what may repeat no times always matches
    return found.end()


def _after(markup: bytes, mark: bytes, start: int) -> int | None:
    found = markup.find(mark, start)
    return None if found < 0 else found + len(mark)


def declaration_end(markup: bytes, start: int, *, foreign: bool) -> int | None:
    """Return the end of the comment, doctype or CDATA section at `start`; None where it is not closed."""
    if markup.startswith(b"<!--", start):
        return comment_end(markup, start)
    # 13.2.5.42: CDATA sections are known in SVG and MathML only.
    return _after(markup, b"]]>" if foreign and markup.startswith(b"<![CDATA[", start) else b">", start + 2)


def comment_end(markup: bytes, start: int) -> int | None:
    """Return the end of the comment at `start`; None where it is not closed (13.2.5.43 to 13.2.5.52)."""
    # "<!-->" and "<!--->" are whole comments; "--!>" counts from the comment's text on.
    if markup.startswith(b"<!-->", start):
        return start + 5
    if markup.startswith(b"<!--->", start):
        return start + 6
    found = _COMMENT_END.search(markup, start + 4)
    return found.end() if found else None


def raw_end(markup: bytes, name: bytes, start: int) -> int | None:
    """Return where the end tag of the text element `name`, whose content begins at `start`, ends; None for never."""
    if name == b"script":
        begin = _script_end(markup, start)
    else:
        found = _END_OF[name].search(markup, start)
        begin = found.start() if found else None
    tag = None if begin is None else _TAG.match(markup, begin)
    return tag.end() if tag else None


def _script_end(markup: bytes, start: int) -> int | None:
    # 13.2.5.15 to 13.2.5.31: after "<!--", a "<script" hides one "</script", until "-->".
    escaped = doubled = False
    for found in _SCRIPT.finditer(markup, start):
        word = found[0]
        if word == b"<!--":
            escaped = True
        elif word[-1:] == b">":
            escaped = doubled = False
        elif found[1]:
            if not doubled:
                return found.start()
            doubled = False
        elif escaped:
            doubled = True
    return None


def _top(markup: bytes) -> int | UntrackedReason:
    """Return the place after `<body>`, or before the first thing that is shown; the reason where none is sure."""
    position: int | None = 0
    while position is not None:
        position = _end(_SPACES.match(markup, position))
        tag = _TAG.match(markup, position)
        if tag is not None:
            name = tag[2].lower()
            if name == b"body" and not tag[1]:
                return tag.end()
            if name not in _BEFORE_BODY and not (tag[1] and name not in _ENDS_OF_BODY):
                return _NO_PLACE if name in _UNSURE_IN_HEAD else position
            position = raw_end(markup, name, tag.end()) if name in _RAW and not tag[1] else tag.end()
        elif markup[position : position + 2] in {b"<!", b"<?", b"</"}:
            position = declaration_end(markup, position, foreign=False)
        else:
            return position if position < len(markup) and not _UNCLOSED.match(markup, position) else _NO_PLACE
    return _NO_PLACE
