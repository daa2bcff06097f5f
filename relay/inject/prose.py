"""Plain text as HTML that shows the same text (RFC 3676 for format=flowed).

Rule: nothing is left out and nothing is read as markup. Linear; quotes nest to a bounded depth.
"""

import html
import re
from collections.abc import Iterable, Iterator
from typing import Final

# Deeper quotes are shown with the marks that they have.
MAX_QUOTE_DEPTH: Final = 16
# Longer runs are data, not addresses that somebody follows.
_MAX_LINK_CHARS: Final = 2000

_LINE_END: Final = re.compile(r"\r\n|\r|\n|\f")
_QUOTE: Final = re.compile(rf"(?:> ?){{0,{MAX_QUOTE_DEPTH}}}+")
_LINK: Final = re.compile(
    r"(?<![\w@/])(?:(?:https?://|ftp://|www\.|mailto:)[^\W_][^\s<>\"“”«»]*+)|(?<![\w.+-])[\w.+-]++@[\w-]++(?:\.[\w-]++)++",
    re.IGNORECASE,
)
_TRAILING: Final = ".,;:!?'*_|\\"
_PAIRS: Final = {")": "(", "]": "[", "}": "{"}
# A column or a drawing: a tab, or three blanks between words.
_ALIGNED: Final = re.compile(r"\S(?:\t| {3,}+)\S")
_MARKUP: Final = re.compile("[&<>\"']")
_QUOTE_STYLE: Final = "margin:0 0 0 .8ex;border-left:1px solid #ccc;padding-left:1ex"


def to_html(text: str, *, flowed: bool = False, delete_space: bool = False) -> str:
    """Return HTML, one block element with its lines, that shows `text`.

    `flowed` is format=flowed, `delete_space` its DelSp=yes. Lines that align in columns are set in a fixed pitch.
    """
    lines = _LINE_END.split(text)
    if lines[-1] == "":
        lines.pop()
    paragraphs = _unflow(lines, delete_space=delete_space) if flowed else map(_unquote, lines)
    style = ' style="font-family:monospace"' if _is_aligned(text) else ""
    return f'<div dir="auto"{style}>\n{"".join(_blocks(paragraphs))}</div>\n'


def _is_aligned(text: str) -> bool:
    return ("\t" in text or "   " in text) and _ALIGNED.search(text) is not None


def _unquote(line: str) -> tuple[int, str]:
    """Split a line into its quote depth and its text."""
    if not line.startswith(">") or line.startswith(">From "):  # the latter is how mboxes escape
        return 0, line
    marks = _QUOTE.match(line)
    end = marks.end() if marks else 0
    return line.count(">", 0, end), line[end:]


def _unflow(lines: Iterable[str], *, delete_space: bool) -> Iterator[tuple[int, str]]:
    """Join flowed lines to paragraphs (RFC 3676, 4.1 to 4.5)."""
    joined: list[str] = []
    depth_before = 0
    for line in lines:
        text = line.lstrip(">")
        depth = len(line) - len(text)
        text = text.removeprefix(" ")
        if joined and depth != depth_before:
            yield depth_before, "".join(joined)
            joined = []
        depth_before = depth
        # A signature's separator is never flowed.
        if text.endswith(" ") and text != "-- ":
            joined.append(text[:-1] if delete_space else text)
            continue
        if text == "-- " and joined:
            yield depth, "".join(joined)
            joined = []
        yield depth, "".join((*joined, text))
        joined = []
    if joined:
        yield depth_before, "".join(joined)


def _blocks(paragraphs: Iterable[tuple[int, str]]) -> Iterator[str]:
    """Yield lines, inside as many quote elements as their depth says."""
    open_depth = 0
    for depth, text in paragraphs:
        shown = min(depth, MAX_QUOTE_DEPTH)
        yield "</blockquote>\n" * (open_depth - shown)
        yield f'<blockquote type="cite" style="{_QUOTE_STYLE}">\n' * (shown - open_depth)
        open_depth = shown
        yield _line(">" * (depth - shown) + text)
    yield "</blockquote>\n" * open_depth


def _line(text: str) -> str:
    return f"{_linked(text.expandtabs(8))}<br>\n"


def _linked(text: str) -> str:
    """Return the text escaped, addresses in it as links."""
    if "@" not in text and ":" not in text and "www." not in text.lower():
        return _leading(_spaced(text))
    out: list[str] = []
    position = 0
    for found in _LINK.finditer(text):
        if found.end() - found.start() > _MAX_LINK_CHARS:
            continue
        address = _trimmed(found[0])
        end = found.start() + len(address)
        out += (
            _spaced(text[position : found.start()]),
            f'<a href="{html.escape(_target(address))}">',
            html.escape(address),
            "</a>",
        )
        position = end
    out.append(_spaced(text[position:]))
    return _leading("".join(out))


def _target(address: str) -> str:
    lower = address[:8].lower()
    if lower.startswith(("http:", "https:", "ftp:", "mailto:")):
        return address
    return f"http://{address}" if lower.startswith("www.") else f"mailto:{address}"


def _trimmed(address: str) -> str:
    """Take punctuation off that ends the sentence, not the address; a closing bracket only where none opens."""
    balance = {close: address.count(close) - address.count(opening) for close, opening in _PAIRS.items()}
    end = len(address)
    # An address begins with a letter or a digit: that ends the loop at the latest.
    while (last := address[end - 1]) in _TRAILING or balance.get(last, 0) > 0:
        if last in balance:
            balance[last] -= 1
        end -= 1
    return address[:end]


def _spaced(text: str) -> str:
    # All blanks of a run but its last may not collapse; the last lets the line wrap.
    escaped = html.escape(text) if _MARKUP.search(text) else text
    return escaped.replace("  ", "&nbsp; ").replace("  ", "&nbsp; ") if "  " in escaped else escaped


def _leading(text: str) -> str:
    if text.startswith("From "):  # mailboxes put a ">" before it
        return f"&#70;{text[1:]}"
    return f"&nbsp;{text[1:]}" if text.startswith(" ") else text
