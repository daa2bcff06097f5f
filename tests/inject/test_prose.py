import html
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.inject.prose import MAX_QUOTE_DEPTH, to_html

_DIV = '<div dir="auto">\n'
_QUOTE = re.compile(r"<blockquote[^>]*>\n")


def _inner(text: str, *, flowed: bool = False, delete_space: bool = False) -> str:
    shown = to_html(text, flowed=flowed, delete_space=delete_space)
    assert shown.endswith("</div>\n")
    return _QUOTE.sub("[", shown.partition("\n")[2].removesuffix("</div>\n")).replace("</blockquote>\n", "]")


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a\r\nb\nc\rd\fe", "a<br>\nb<br>\nc<br>\nd<br>\ne<br>\n"),
        ("a\n\n b", "a<br>\n<br>\n&nbsp;b<br>\n"),
        ("<b> & \"'", "&lt;b&gt; &amp; &quot;&#x27;<br>\n"),
        ("a  b   c", "a&nbsp; b&nbsp;&nbsp; c<br>\n"),
        ("> q\n>> r\n> > s\nt", "[q<br>\n[r<br>\ns<br>\n]]t<br>\n"),
        (">From here", "&gt;From here<br>\n"),
        ("From here", "&#70;rom here<br>\n"),
        ("", ""),
        ("-- \nsig", "-- <br>\nsig<br>\n"),
    ],
)
def test_lines_and_quotes(text: str, shown: str) -> None:
    assert _inner(text) == shown


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("one \ntwo\nthree", "one two<br>\nthree<br>\n"),
        ("one \n", "one <br>\n"),
        (" >no quote\n  x", "&gt;no quote<br>\n&nbsp;x<br>\n"),
        ("> one \n> two\n>> three \nfour", "[one two<br>\n[three <br>\n]]four<br>\n"),
        ("text \n-- \nsig", "text <br>\n-- <br>\nsig<br>\n"),
    ],
)
def test_flowed_text_is_joined(text: str, shown: str) -> None:
    assert _inner(text, flowed=True) == shown


def test_del_sp_takes_the_blank_away() -> None:
    assert _inner("日 \n本", flowed=True, delete_space=True) == "日本<br>\n"


def test_deeper_quotes_keep_their_marks() -> None:
    fixed = _inner(">" * (MAX_QUOTE_DEPTH + 2) + "x")
    flowed = _inner(">" * (MAX_QUOTE_DEPTH + 2) + "x", flowed=True)
    assert fixed == flowed == "[" * MAX_QUOTE_DEPTH + "&gt;&gt;x<br>\n" + "]" * MAX_QUOTE_DEPTH


@pytest.mark.parametrize(
    ("text", "address", "target"),
    [
        ("see http://x.org/a?b=1&c=2.", "http://x.org/a?b=1&c=2", "http://x.org/a?b=1&c=2"),
        ("(https://x.org/a_(b))", "https://x.org/a_(b)", "https://x.org/a_(b)"),
        ("<HTTPS://x.org/>", "HTTPS://x.org/", "HTTPS://x.org/"),
        ("at www.x.org, or", "www.x.org", "http://www.x.org"),
        ("a.b+c@x-y.org!", "a.b+c@x-y.org", "mailto:a.b+c@x-y.org"),
        ("mailto:a@x.org", "mailto:a@x.org", "mailto:a@x.org"),
    ],
)
def test_addresses_are_links(text: str, address: str, target: str) -> None:
    link = f'<a href="{html.escape(target)}">{html.escape(address)}</a>'
    assert link in to_html(text)


@pytest.mark.parametrize(
    "text", ["httpx://x", "a@b", "x@", "https://" + "x" * 3000, "http", "://x", "http://...", "www._", "mailto:."]
)
def test_and_nothing_else(text: str) -> None:
    assert "<a " not in to_html(text)


@pytest.mark.parametrize(
    ("text", "fixed"), [("a    b", True), ("a\tb", True), ("a   b", True), ("  a  b", False), ("    a", False)]
)
def test_columns_are_set_in_a_fixed_pitch(text: str, fixed: bool) -> None:
    assert ("monospace" in to_html(text)) is fixed


@given(st.text(st.characters(exclude_categories=["Cc", "Cs"], include_characters="\t\n> "), max_size=200))
def test_no_text_is_lost_and_none_is_read_as_markup(text: str) -> None:
    shown = re.sub(r"<[^>]*>", "", to_html(text))
    words = html.unescape(shown).replace("\xa0", " ").split()
    quoteless = re.sub(r"(?m)^(?:> ?)+", "", text)
    assert "".join(words).replace(">", "") == "".join(quoteless.replace("\xa0", " ").split()).replace(">", "")
