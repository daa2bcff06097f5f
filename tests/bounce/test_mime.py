"""Laws of `relay.bounce.mime`."""

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.bounce.mime import (
    MAX_DEPTH,
    MAX_FIELDS,
    MAX_PARTS,
    MAX_TEXT_BYTES,
    decoded,
    field,
    media_type,
    parameter,
    read_headers,
    take_apart,
    unencoded,
)


def texts(raw: str) -> list[str]:
    return [part.text() for part in take_apart(raw.encode("latin-1")).parts]


def test_parts_come_in_order_and_nested_ones_too() -> None:
    raw = (
        'Content-Type: multipart/mixed; boundary="a"\n\npreamble\n--a\n\none\n--a\n'
        "Content-Type: multipart/alternative; boundary=b\n\n--b\n\ntwo\n--b\n\nthree\n--b--\n--a\n\nfour\n--a--\nend"
    )
    assert texts(raw) == ["one", "two", "three", "four"]


def test_a_returned_message_is_a_leaf() -> None:
    raw = "Content-Type: multipart/mixed; boundary=a\n\n--a\nContent-Type: message/rfc822\n\nA: x\n\n--a--x\n--a--\n"
    [part] = take_apart(raw.encode()).parts
    assert part.returned
    assert part.text() == "A: x\n\n--a--x"


@pytest.mark.parametrize(
    "declared", ['multipart/mixed; boundary=""', "multipart/mixed", "multipart/mixed; boundary=lost"]
)
def test_a_lost_boundary_is_read_off_the_body(declared: str) -> None:
    assert texts(f"Content-Type: {declared}\n\n--real\n\none\n--real\n\ntwo\n--real--\n") == ["one", "two"]


def test_a_multipart_without_parts_is_text() -> None:
    raw = "Content-Type: multipart/mixed; boundary=x\n\nnothing here"
    assert [part.media for part in take_apart(raw.encode()).parts] == ["text/plain"]
    assert texts("Content-Type: multipart/mixed\n\n--\n") == ["--\n"]


def test_a_mail_may_lack_header_or_body() -> None:
    assert texts("\n\n\nSubject: x") == [""]
    assert take_apart(b"").headers == ()
    assert texts('Content-Type: multipart/mixed; boundary="a"\n\n--a') == [""]
    assert texts('Content-Type: multipart/mixed; boundary="a"\n\n--a\n\nopen end') == ["open end"]


def test_delimiters_that_are_only_like_it_do_not_count() -> None:
    assert texts("Content-Type: multipart/mixed; boundary=a\n\n--a\n\none\n--ab\n--a\t \n\ntwo\n--a--") == [
        "one\n--ab",
        "two",
    ]


def test_depth_parts_and_fields_are_bounded() -> None:
    nested = "".join(f'Content-Type: multipart/mixed; boundary="b{n}"\n\n--b{n}\n' for n in range(3000))
    assert len(take_apart(nested.encode()).parts) == 1
    assert nested.count("boundary") > MAX_DEPTH
    wide = 'Content-Type: multipart/mixed; boundary="a"\n\n' + "--a\n\nx\n" * 500
    assert len(take_apart(wide.encode()).parts) == MAX_PARTS
    near = "Content-Type: multipart/mixed; boundary=a\n\npreamble\n" + "--ab\n" * 20_000 + "--a\n\nx\n--a--"
    assert len(take_apart(near.encode()).parts) == 1
    assert len(read_headers("X: y\n" * 5000)) == MAX_FIELDS
    assert len(texts("Subject: x\n\n" + "y" * 3_000_000)[0]) == MAX_TEXT_BYTES


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_line_ends_make_no_difference(end: str) -> None:
    raw = "Subject: a\n b\nContent-Type: text/plain\n\none\ntwo\n".replace("\n", end)
    mail = take_apart(raw.encode())
    assert field(mail.headers, "subject") == "a\n b"
    assert mail.parts[0].text() == "one\ntwo\n"


def test_transfer_encodings_are_undone() -> None:
    encoded = base64.b64encode("Grüße".encode()).decode()
    assert texts(f"Content-Transfer-Encoding: BASE64\n\n{encoded[:5]}\n {encoded[5:]}!")[0] == "Grüße"
    assert texts("Content-Transfer-Encoding: quoted-printable\n\nGr=C3=BC=\n=C3=9Fe")[0] == "Grüße"
    assert texts("Content-Transfer-Encoding: x-odd\n\nplain")[0] == "plain"
    assert texts("Content-Transfer-Encoding: base64\n\nQUJDR")[0] == "ABC"


@pytest.mark.parametrize(
    ("content", "charset", "text"),
    [
        (b"\xe4", "iso-8859-1", "ä"),
        (b"\xc3\xa4", "UTF-8", "ä"),
        (b"\xe4", "utf-8", "ä"),
        (b"\xe4", "x-nonsense", "ä"),
        (b"ab", "rot13", "ab"),
        (b"ab", "zlib", "ab"),
        (b"\xc4\xe3", "gb2312", "你"),
        (b'\x1b$B$"\x1b(B', "iso-2022-jp", "あ"),
        (b"\x8e", "cp1250", "Ž"),
        (b"x", "iso-8859-99", "x"),
    ],
)
def test_charsets_are_those_of_mail(content: bytes, charset: str, text: str) -> None:
    assert decoded(content, charset) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("plain\n folded", "plain  folded"),
        ("=?utf-8?B?w6Q=?= =?utf-8?q?_b?=", "ä b"),
        ("=?iso-8859-1*de?Q?=E4?=", "ä"),
        ("=?utf-8?B?????=", "=?utf-8?B?????="),
    ],
)
def test_encoded_words_are_decoded(value: str, text: str) -> None:
    assert unencoded(value) == text


def test_parameters_and_types_are_found() -> None:
    value = 'multipart/report; charset=x; Boundary="a;b" ;report-type=delivery-status'
    assert parameter(value, "boundary") == "a;b"
    assert parameter(value, "report-type") == "delivery-status"
    assert parameter(value, "missing") == ""
    assert media_type("TEXT/Html ; x") == "text/html"
    assert media_type("nonsense") == media_type("a/b/c") == media_type("") == "text/plain"


def test_lines_that_are_no_field_are_left_out() -> None:
    assert read_headers("A: 1\nnonsense line\n\tB\nC : 2\n D") == (("a", "1"), ("c", "2\n D"))
    assert read_headers("") == ()


@given(st.binary(max_size=2000))
def test_any_bytes_have_parts(raw: bytes) -> None:
    mail = take_apart(raw)
    assert 1 <= len(mail.parts) <= MAX_PARTS
    for part in mail.parts:
        part.text().encode()
