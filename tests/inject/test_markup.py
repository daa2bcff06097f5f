"""The tokenizer against the HTML standard, with a browser's parser (lexbor) as judge."""

import random
import re

import pytest
from selectolax.lexbor import LexborHTMLParser

from relay.inject.markup import comment_end, find_place, raw_end
from storage.untracked import UntrackedReason as R

IMAGE = '<img src="probe:x" alt="">'
_UNSHOWN = {"template", "noscript", "select", "svg", "math", "object", "video", "audio", "canvas", "iframe"}


def _place(markup: str, *, near_top: bool = False) -> str:
    """Return the markup with a mark at the place found."""
    source = markup.encode()
    place = find_place(source, near_top=near_top)
    assert isinstance(place, int), place
    return (source[:place] + b"@" + source[place:]).decode()


@pytest.mark.parametrize(
    "expected",
    [
        "<html><body><p>x</p>@</body></html>",
        "<HTML><BODY>x@</BODY></HTML>",
        "<p>x</p>@",
        "<p>x</p>@\r\n\r\n",
        "text only@",
        "<html><head><title>t</title></head>@</html>",
        "<body>x</body></html><body>y@</body></html>",
        "<body>x@</body></html>\nfooter",
        "<body>x@</body><!-- never closed",
        "<body><!-- </body> -->x@</body>",

        "<body><!-->x@</body>",
        "<body><!--->x@</body>",
        "<body><!-- a --!>x@</body>",
        "<body><!-- <!-- -->x@</body>",
        "<body><![CDATA[ <b>]]>x@</body>",
        "<body><script>'</body>'</script>x@</body>",
        "<body><script><!-- <script> </script> </body> --></script>x@</body>",
        "<body><script><!-- <script> --> </script>x@</body>",
        "<body><script><script></script>x@</body>",
        "<body><script><!--><script></script>x@</body>",
        "<body><script><!-- <script> <!---> </script>x@</body>",
        "<body><SCRIPT></scripty></body></SCRIPT >x@</body>",
        "<body><style></body></style><title></body></title><textarea></body></textarea>x@</body>",
        "<body><iframe></body></iframe><xmp></body></xmp><noembed></body></noembed>x@</body>",
        "<body><p title='</body>' data-x=\"</body>\" b=c/d>x@</body>",
        "<body><p a = 'x>y' b>x@</body>",
        "<body><a b=>x@</body>",
        "<body>a < b <3 </ x> <?php ?> </> <>x@</body>",
        "<body><!--[if mso]><table></body><![endif]-->x<!--[if mso]></table><![endif]-->@</body>",
        "<body><!--[if !mso]><!-->x<!--<![endif]-->@</body>",
        "<body><![if !mso]>x<![endif]>@</body>",
        "<body><![endif]>x@</body>",
        "<body><div style='display:none'>pre<div></div></div>x@</body>",
        "<body><svg><style></body></style><![CDATA[</svg>]]></svg>x@</body>",
        "<body><svg/>x@</body>",
        "<body><svg><style>a</style><title>a</title><desc>a</desc></svg>x@</body>",
        "<body><select><option></select>x@</body>",
        "<body><div hidden><table></div><td></div></table></div>x@</body>",
        "<body><p style='overflow:hidden'>x none hidden@</body>",
        "<body><br hidden>x@</body>",
        "<body><div hidden><marquee></div></marquee></div>x@</body>",
        "<body><div hidden><table><table></table></table></div>x@</body>",
        "<body><!-- plain - -- comment --!>x@</body>",
        "<body><!--hidden -- </body> -->x@</body>",
        "<BODY><P ID=1 CLASS=\"</body>\"><A B='</body>'>x@</BODY></HTML>",
    ],
)  # fmt: skip
def test_the_image_goes_to_the_end_of_the_body(expected: str) -> None:
    assert _place(expected.replace("@", "")) == expected


@pytest.mark.parametrize(
    "expected",
    [
        "<html><head><title>t</title></head><body class=x>@<p>",
        "\n<!DOCTYPE html>\n<html>\n<head><style></style></head>\n@<p>x",
        "<meta charset=utf-8><?xml?><!-- c -->@text",
        "</p></ x>@<b>x",
        "<title>t</title>@</body>x",
        "@<>",
        "<script></script></title>@<a>x",
    ],
)
def test_or_near_the_top(expected: str) -> None:
    assert _place(expected.replace("@", ""), near_top=True) == expected


@pytest.mark.parametrize(
    "markup",
    ["", "<head>", "<title>never closed", "<!-- never closed", "<p", "<template><p>", "<noscript><p>", "<html><!x"],
)
def test_no_place_near_the_top(markup: str) -> None:
    assert find_place(markup.encode(), near_top=True) is R.NO_SAFE_PLACE


@pytest.mark.parametrize("near_top", [False, True])
@pytest.mark.parametrize(
    "markup", ["<html><FRAMESET><frame></FRAMESET></html>", "<svg><i><![CDATA[<frameset>", "</html><svg><i><frameset>"]
)
def test_a_frameset_shows_no_image(near_top: bool, markup: str) -> None:
    assert find_place(markup.encode(), near_top=near_top) is R.FRAMESET


@pytest.mark.parametrize(
    "expected",
    [
        "<body>@<select><option>x</body>",
        "<body>@<div style='display: none'>x</body>",
        "<body>@<svg><p></body>",
        "<body>@<![if !mso]>x</body>",
        "<body>@<template>x</body>",
        "<body>@<script>x</body>",
        "<body>@<!-- x</body>",
        "<body>@<a href='x</body>",
        "<body>@<plaintext></body>",
        "<body>@<noscript><p></noscript>x</noscript></body>",
        "<body>@<span hidden><p></SPAN>x</span></body>",
        "@<b hidden>x",
        "@<p><b></p>",
        "<body>@<div hidden><marquee></div>x</body>",
        "<body>@<svg></p><title></svg>x</body>",
        "<body>@<svg><p>x</p></svg>x</body>",
        "<body>@<math><mi><font></math>x</body>",
        "<body>@<svg><desc><![CDATA[x]]></desc></svg>x</body>",
        "<body>@<svg><foreignObject><plaintext></svg></body>",
        "<body>@<svg><p><![CDATA[x]]></svg>x</body>",
        "<body>@<p hidden><button></p>x</body>",
        "<body>@<table><td><font><marquee></font></table></body>",
    ],
)
def test_what_is_open_at_the_end_sends_it_to_the_top(expected: str) -> None:
    assert _place(expected.replace("@", "")) == expected


@pytest.mark.parametrize(
    "expected",
    [
        "<p><b>x@</p></body>",
        "<p><b>x</b>@</body><i>",
        "<body><div>x@<font a=b </font></div></body>",
        "<table></table\0><div>x@<b></div>\n",
        "<body><p><i>x</i><b>y@</p></body>",
        "<body><table><tr><p><b>x@</p></body>\n",
        "<body><p><b>x</b></p>@</body>",
        "<body><p></b><i>x</i></p>@</body>",
        "<body><p><b>x</p>\n@</body>",
        "<body><p><b>x</p>@</body>\n",
    ],
)
def test_formatting_left_open_is_not_opened_anew(expected: str) -> None:
    assert _place(expected.replace("@", "")) == expected


@pytest.mark.parametrize(
    ("markup", "end"), [("<!-->x", 5), ("<!--->x", 6), ("<!--x-->", 8), ("<!--!>-->", 9), ("<!--x", None)]
)
def test_comments_end_where_the_standard_says(markup: str, end: int | None) -> None:
    assert comment_end(markup.encode(), 0) == end


@pytest.mark.parametrize(
    ("name", "text", "end"), [(b"style", "x</style >", 10), (b"style", "x</style", None), (b"title", "x", None)]
)
def test_text_elements_end_with_their_end_tag(name: bytes, text: str, end: int | None) -> None:
    assert raw_end(text.encode(), name, 0) == end


_WORDS = [
    "text",
    "  ",
    "\n",
    "&lt;",
    "a < b",
    "<p>",
    "</p>",
    "<div>",
    "</div>",
    "<span>",
    "</span>",
    "<b>",
    "</b>",
    "<i>",
    "</i>",
    "<a href='x>y'>",
    "</a>",
    "<table>",
    "<tr>",
    "<td>",
    "</td>",
    "</tr>",
    "</table>",
    "<ul>",
    "<li>",
    "</ul>",
    "<br>",
    "<hr/>",
    "<img src=y>",
    "<center>",
    "</center>",
    "<h1>",
    "</h1>",
    "<font color=red>",
    "</font>",
    "<!-- c -->",
    "<!-->",
    "<!--[if mso]><b><![endif]-->",
    "<![if !x]>",
    "<![endif]>",
    "<style>a>b</style>",
    "<script>'</body>'</script>",
    "<div style='display:none'>",
    "<select>",
    "</select>",
    "<svg>",
    "</svg>",
    "<textarea>",
    "</textarea>",
    "<blockquote>",
    "</blockquote>",
    "<pre>",
]


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("near_top", [False, True])
def test_in_tag_soup_the_image_is_shown_and_changes_nothing_else(seed: int, near_top: bool) -> None:
    """Judged by a browser's parser: one image, in the body, not in what is not shown, and the same tree without it."""
    chance = random.Random(seed)
    for _ in range(50):
        soup = "".join(chance.choices(_WORDS, k=chance.randint(1, 20)))
        markup = f"<html><head><title>t</title></head><body>{soup}</body></html>\n"
        place = find_place(markup.encode(), near_top=near_top)
        assert isinstance(place, int)
        tree = LexborHTMLParser(markup[:place] + IMAGE + markup[place:])
        (image,) = [node for node in tree.css("img") if node.attributes.get("src") == "probe:x"]
        around, node = set(), image.parent
        while node is not None:
            around.add(node.tag)
            assert "display:none" not in (node.attributes.get("style") or ""), markup
            node = node.parent
        assert "body" in around, markup
        assert not around & _UNSHOWN, markup
        image.decompose()
        assert _bare(tree) == _bare(LexborHTMLParser(markup)), markup


def _bare(tree: LexborHTMLParser) -> str:
    return re.sub(r"\s+", "", tree.html or "")
