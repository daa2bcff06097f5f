import re

import pytest

from relay.inject.image import attribute, encode, tag
from relay.inject.splice import Form, Slot
from tests.inject.messages import URL


def _slot(form: Form, column: int, tail: int, width: int, codec: str = "ascii") -> Slot:
    return Slot(form, codec, b"\r\n", column, tail, width)


def test_the_image_is_rendered_and_takes_no_room() -> None:
    element = tag(URL.encode())
    assert element.startswith(b'<img src="' + URL.encode() + b'" alt="" width="1" height="1" style="')
    assert b"display" not in element
    assert b"visibility" not in element


@pytest.mark.parametrize(
    "url", ["", "http://x/ y", 'http://x/"', "http://x/<", "http://x/é", "http://x/\r\n", "http://x/`"]
)
def test_what_is_no_url_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="not a URL"):
        attribute(url)


def test_an_ampersand_is_escaped() -> None:
    assert attribute("http://x/?a=1&b=[2]") == b"http://x/?a=1&amp;b=[2]"


@pytest.mark.parametrize(
    ("column", "tail"), [(0, 0), (500, 100), (0, 700), (700, 300), (990, 8), (994, 4), (998, 0), (800, 198)]
)
def test_a_plain_line_never_passes_998_bytes(column: int, tail: int) -> None:
    text = b"x" * column + encode(_slot(Form.PLAIN, column, tail, 998), URL) + b"y" * tail
    assert max(map(len, text.split(b"\r\n"))) <= 998
    assert re.sub(rb"[\r\n]+", b" ", text).replace(b" >", b">").replace(b"x <", b"x<") == b"".join(
        (b"x" * column, tag(URL.encode()), b"y" * tail)
    )


def test_a_plain_line_that_was_too_long_gets_no_longer() -> None:
    text = b"x" * 2000 + encode(_slot(Form.PLAIN, 2000, 7, 998), URL) + b"</body>"
    assert max(map(len, text.split(b"\r\n"))) <= 2007


@pytest.mark.parametrize(("column", "tail"), [(0, 0), (0, 76), (10, 10), (75, 0), (20, 56)])
def test_quoted_printable_lines_are_soft_broken(column: int, tail: int) -> None:
    url = "http://x/" + "a=b&" * 30
    text = b"x" * column + encode(_slot(Form.QUOTED_PRINTABLE, column, tail, 76), url) + b"y" * tail
    assert max(map(len, text.split(b"\r\n"))) <= 76
    assert not re.search(rb"=(?![0-9A-F]{2}|\r\n)", text)
    assert text.replace(b"=\r\n", b"").replace(b"=3D", b"=") == b"x" * column + tag(attribute(url)) + b"y" * tail


def test_what_fits_on_its_line_is_not_broken() -> None:
    wide = Slot(Form.QUOTED_PRINTABLE, "ascii", b"\r\n", 3, 3, 500)
    assert b"\r\n" not in encode(wide, URL)
    assert b"\r\n" not in encode(Slot(Form.BASE64, "ascii", b"\r\n", 4, 4, 500), URL)


def test_utf_7_has_lines() -> None:
    text = encode(_slot(Form.PLAIN, 990, 7, 998, "utf_7"), URL)
    assert max(map(len, (b"x" * 990 + text + b"</body>").split(b"\r\n"))) <= 998


@pytest.mark.parametrize("codec", ["utf_16_le", "utf_32_be"])
def test_other_charsets(codec: str) -> None:
    assert encode(_slot(Form.PLAIN, 990, 10, 998, codec), URL).decode(codec) == tag(URL.encode()).decode()
