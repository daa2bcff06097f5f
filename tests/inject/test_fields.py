"""relay/inject/fields.py: a reader sees the same text, names and addresses, in ASCII and in lines that may travel."""

import time
from email import message_from_bytes
from email.header import decode_header, make_header
from email.utils import collapse_rfc2231_value, getaddresses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.inject.fields import _tokens, in_ascii, with_short_lines


def ascii_of(name: str, value: str | bytes, *, any_charset: bool = True) -> bytes | None:
    raw = value.encode() if isinstance(value, str) else value
    return in_ascii(name.encode(), b" " + raw + b"\r\n", any_charset=any_charset)


def read(body: bytes) -> str:
    return str(make_header(decode_header(body.decode().strip().replace("\r\n", ""))))


@pytest.mark.parametrize(
    ("name", "value", "written"),
    [
        ("subject", "Grüße aus Köln", b" =?utf-8?B?R3LDvMOfZQ==?= aus =?utf-8?Q?K=C3=B6ln?=\r\n"),
        ("subject", "plain café", b" plain =?utf-8?Q?caf=C3=A9?=\r\n"),
        ("x-note", "a  b\u00a0c", b" a  =?utf-8?Q?b=C2=A0c?=\r\n"),
        ("subject", b"caf\xe9 x", b" =?unknown-8bit?Q?caf=E9?= x\r\n"),
        ("from", "Jörg <j@b.example>", b" =?utf-8?Q?J=C3=B6rg?= <j@b.example>\r\n"),
        ("from", '"Jörg \\"J\\" M" <j@b.example>', b" =?utf-8?Q?J=C3=B6rg_=22J=22_M?= <j@b.example>\r\n"),
        ("to", "a@bücher.example, <b@Bücher.example>", b" a@xn--bcher-kva.example, <b@xn--bcher-kva.example>\r\n"),
        ("cc", "a@b (für), (ö) C <c@d>", b" a@b (=?utf-8?Q?f=C3=BCr?=), (=?utf-8?B?w7Y=?=) C <c@d>\r\n"),
        ("to", "Gruppe ö: a@b, c@d;", b" Gruppe =?utf-8?B?w7Y=?=: a@b, c@d;\r\n"),
        ("from", "Müller, Jan <j@b>", b" =?utf-8?Q?M=C3=BCller?=, Jan <j@b>\r\n"),
        ("date", "Sat, 20 Sep 2008 20:04:30 +0300 (ö)", b" Sat, 20 Sep 2008 20:04:30 +0300 (=?utf-8?B?w7Y=?=)\r\n"),
        ("content-type", 'text/plain; name="ü x.txt"', b" text/plain; name*=utf-8''%C3%BC%20x.txt\r\n"),
        ("content-disposition", b"inline; filename=\xfc", b" inline; filename*=unknown-8bit''%FC\r\n"),
        ("content-disposition", 'inline; a="x"; filename="\\"ü"', b" inline; a=\"x\"; filename*=utf-8''%22%C3%BC\r\n"),
    ],
)
def test_what_has_a_form_in_ascii_gets_it(name: str, value: str | bytes, written: bytes) -> None:
    assert ascii_of(name, value) == written


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("from", "jörg@b.example"),
        ("from", "J <jörg@b.example>"),
        ("to", "a@\u2028.example"),
        ("to", "a@" + "ö" * 2000),
        ("to", b"a@b\xfc.example"),
        ("message-id", "<ü@b.example>"),
        ("received", "from ü by b"),
        ("content-type", 'multipart/mixed; boundary="ü"'),
        ("content-type", "text/plain; charset=ü"),
        ("content-type", 'text/plain; name="' + "ü" * 200 + '"'),
        ("content-type", "text/ü"),
    ],
)
def test_what_has_none_is_not_changed(name: str, value: str | bytes) -> None:
    """RFC 6531 keeps the local parts of addresses from being converted; the rest has no place for encoded words."""
    assert ascii_of(name, value) is None


def test_text_in_an_unknown_charset_may_be_left_to_readers_guesses() -> None:
    assert ascii_of("subject", b"caf\xe9", any_charset=False) is None
    assert ascii_of("subject", "café", any_charset=False) is not None


WORDS = st.text(st.characters(exclude_categories=("C", "Z")), min_size=1, max_size=40)


@given(
    st.lists(WORDS, min_size=1, max_size=12).map(" ".join).filter(lambda text: not text.isascii() and "=?" not in text)
)
def test_text_is_read_as_it_was(text: str) -> None:
    """RFC 2047: encoded words of 75 characters at most, in lines of 76; nothing but text says so."""
    written = ascii_of("subject", text)
    assert written is not None
    assert read(written) == text
    for line in b"subject:".join((b"", written)).split(b"\r\n"):
        for word in line.split(b" "):
            assert len(word) <= 75 or not word.startswith(b"=?")


@given(
    st.lists(
        WORDS.filter(lambda word: '"' not in word and "\\" not in word and "=?" not in word), min_size=1, max_size=6
    )
)
def test_names_are_read_as_they_were(words: list[str]) -> None:
    name = " ".join(words)
    written = ascii_of("from", f'"{name}ö" <a@b.example>')
    assert written is not None
    ((shown, address),) = getaddresses([written.decode().replace("\r\n", "")])
    assert (str(make_header(decode_header(shown))), address) == (name + "ö", "a@b.example")


@given(WORDS)
def test_file_names_are_read_as_they_were(name: str) -> None:
    quoted = name.replace("\\", "\\\\").replace('"', '\\"')
    written = ascii_of("content-disposition", f'attachment; filename="{quoted}ö"')
    assert written is not None
    message = message_from_bytes(b"Content-Disposition:" + written + b"\r\n")
    assert collapse_rfc2231_value(message.get_param("filename", header="content-disposition")) == name + "ö"


def test_a_folded_field_is_folded_anew() -> None:
    value = " ".join(["wörd", "word"] * 30)
    written = in_ascii(b"subject", (" " + value.replace(" w", "\r\n w")).encode() + b"\r\n", any_charset=True)
    assert written is not None
    assert max(map(len, (b"subject:" + written).split(b"\r\n"))) <= 77
    assert read(written) == value
    assert in_ascii(b"subject", b" \xc3\xb6\n", any_charset=True) == b" =?utf-8?B?w7Y=?=\n"


@pytest.mark.parametrize(
    ("line", "written"),
    [
        (b"A: " + b"x" * 995, b"A: " + b"x" * 995),
        (b"A: " + b"x" * 500 + b" " + b"y" * 500, b"A: " + b"x" * 500 + b"\r\n " + b"y" * 500),
        (b"A: " + b"x" * 500 + b"\t \t" + b"y" * 500, b"A: " + b"x" * 500 + b"\t \r\n\t" + b"y" * 500),
        (b"A:" + b"x" * 2000, b"A:" + b"x" * 2000),
        (b"A: " + b"x" * 2000, b"A: " + b"x" * 2000),
        (b"A:" + b"x" * 2000 + b" y", b"A:" + b"x" * 2000 + b"\r\n y"),
        (b" " + b"x" * 2000 + b" y\r", b" " + b"x" * 2000 + b"\r\n y\r"),
        (b"A: x" + b" " * 2000, b"A: x" + b" " * 2000),
        (b"A: " + b"x" * 990 + b" " * 20 + b"\r", b"A: " + b"x" * 990 + b" " * 20 + b"\r"),
    ],
)
def test_long_header_lines_are_broken_before_blanks_only(line: bytes, written: bytes) -> None:
    """RFC 5322, 2.2.3: unfolded it is what it was; a word that has no blank is never cut."""
    assert with_short_lines(line) == written


@given(st.lists(st.text("ab \t", max_size=700), max_size=8).map("".join))
def test_folding_adds_line_ends_and_nothing_else(text: str) -> None:
    line = b"A:" + text.encode()
    written = with_short_lines(line)
    assert written.replace(b"\r\n", b"") == line
    assert all(part.strip() for part in written.split(b"\r\n"))
    assert with_short_lines(written) == written


@pytest.mark.parametrize("name", [b"subject", b"from", b"content-type"])
@pytest.mark.parametrize("piece", ["ü ", "a", "(", '"', "<", "a@", "ü\t\t", '; a="ü"', ";", "\\", ",", "=?"])
def test_time_is_linear(name: bytes, piece: str) -> None:
    def seconds(size: int) -> float:
        body = (" " + piece * size + "ü\r\n").encode()
        start = time.process_time()
        in_ascii(name, body, any_charset=True)
        return time.process_time() - start

    small = max(min(seconds(1000) for _ in range(3)), 1e-4)
    assert seconds(20_000) < 120 * small


@pytest.mark.parametrize(
    ("name", "hostile"),
    [
        (b"to", b'"\\'),  # quotes, each escaped in the one before, none with an end
        (b"to", b"(\\"),
        (b"to", b'"'),
        (b"to", b"("),
        (b"to", b"<"),
        (b"to", b'"\xc3\xa9" <a@b.c>, '),
        (b"content-disposition", b" "),
        (b"content-disposition", b'; a="\\'),
        (b"content-disposition", b";"),
    ],
)
def test_hostile_fields_take_linear_time(name: bytes, hostile: bytes) -> None:
    """Strangers write them, and a copy is made for each server: four times as much takes about four times as long."""

    def seconds(times: int) -> float:
        body = b"attachment;" + hostile * times + "é\r\n".encode()
        began = time.process_time()
        in_ascii(name, body, any_charset=True)
        return time.process_time() - began

    assert seconds(40_000) < 8 * max(min(seconds(10_000) for _ in range(3)), 0.01)


@pytest.mark.parametrize(
    ("value", "tokens"),
    [
        (b'"a\\" b" (c\\) d) <e> f,', [b'"a\\" b"', b" ", b"(c\\) d)", b" ", b"<e>", b" ", b"f", b","]),
        (b'"a\\" (b) c', [b'"', b"a\\", b'"', b" ", b"(b)", b" ", b"c"]),
        (b'(a (b) "c" (d', [b"(", b"a", b" ", b"(b)", b" ", b'"c"', b" ", b"(", b"d"]),
    ],
)
def test_a_quote_or_comment_without_an_end_is_none(value: bytes, tokens: list[bytes]) -> None:
    assert list(_tokens(value)) == tokens
