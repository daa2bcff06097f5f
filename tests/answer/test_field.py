"""relay/answer/field.py: what comes from elsewhere can end no field, no line and no part."""

import email
from email.header import decode_header, make_header

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.answer.field import (
    base64_part,
    folded,
    message_id,
    multipart,
    raw_part,
    sendable,
    table_part,
    text_part,
    unstructured,
    xtext_decoded,
)
from storage.reason import plain

HOSTILE = st.text(max_size=300) | st.text(st.sampled_from("\r\n :=?<>a\u2028\x85\0é😀\ud800 "), max_size=200)


@given(HOSTILE)
def test_free_text_is_one_field_and_comes_back(text: str) -> None:
    field = unstructured("Subject", text)
    assert field.isascii()
    assert max(map(len, field.split("\r\n"))) <= 998
    read = email.message_from_string(f"{field}\r\n")
    assert read.keys() == ["Subject"]
    shown = str(make_header(decode_header(read["Subject"].replace("\r\n", "")))) if "=?" in field else read["Subject"]
    if all(len(word) < 200 for word in plain(text).split()):
        assert " ".join(shown.split()) == plain(text)


@given(HOSTILE)
def test_a_structured_value_stays_one_field(text: str) -> None:
    field = folded("X-Field", text)
    assert field.endswith("\r\n")
    lines = field.removesuffix("\r\n").split("\r\n")
    assert all(line.startswith(" ") and line.strip() for line in lines[1:])
    assert all(len(line.encode("utf-8", "replace")) <= 998 for line in lines)
    assert not {"\r", "\n", "\0"} & set("".join(lines))


def test_long_values_are_folded_at_blanks() -> None:
    field = folded("Diagnostic-Code", "smtp; 550 " + "word " * 40)
    lines = field.removesuffix("\r\n").split("\r\n")
    assert len(lines) > 2
    assert all(len(line) <= 76 for line in lines)
    assert "".join(lines) == "Diagnostic-Code: smtp; 550" + " word" * 40


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("<1@a.example>", "<1@a.example>"),
        (" <1@a.example> (comment)", "<1@a.example>"),
        ("<1@a\r\nBcc: x@y>", ""),
        ("<ü@a.example>", ""),
        ("none", ""),
        (f"<{'x' * 2000}>", ""),
    ],
)
def test_only_a_message_id_stands_in_references(text: str, found: str) -> None:
    assert message_id(text) == found


def test_xtext_is_decoded_and_made_plain() -> None:
    assert xtext_decoded("a+2Bb+3Dc+0Ad+ZZ") == "a+b=c d+ZZ"


@given(HOSTILE)
def test_text_for_people_comes_back_whole(text: str) -> None:
    lines = "\n".join(plain(line) for line in text.split("\n")) + "\n"
    part = text_part(lines)
    read = email.message_from_bytes(part.fields.encode() + b"\r\n" + part.body)
    assert read.get_payload(decode=True).decode().replace("\r\n", "\n") == lines
    assert max(map(len, part.body.split(b"\r\n"))) <= 998


@pytest.mark.parametrize(
    ("content", "sent"),
    [
        (b"a\nb\rc\r\nd", b"a\r\nb\r\nc\r\nd"),
        (b"x" * 998 + b"\r\n", b"x" * 998 + b"\r\n"),
        (b"x" * 999, None),
        (b"a\0b", None),
        (b"", b""),
    ],
)
def test_what_no_mail_may_hold_is_not_sent_as_it_is(content: bytes, sent: bytes | None) -> None:
    assert sendable(content) == sent


@given(st.lists(st.binary(max_size=100), min_size=1, max_size=4))
def test_no_part_can_end_itself(bodies: list[bytes]) -> None:
    """The boundary is a hash of what it separates: whoever writes a part cannot write it too."""
    parts = [base64_part("application/octet-stream", body, "a.bin") for body in bodies]
    made = multipart(
        ["Subject: x\r\n"], "multipart/mixed", [*parts, table_part("t.csv", "a,b\n"), raw_part("text/plain", b"x")]
    )
    read = email.message_from_bytes(made)
    assert [part.get_payload(decode=True) for part in read.get_payload()] == [*bodies, b"a,b\r\n", b"x"]


def test_eight_bit_content_is_declared() -> None:
    assert "8bit" in raw_part("message/rfc822", "ü".encode()).fields
    assert "8bit" not in raw_part("message/rfc822", b"u").fields
    for body, declared in (("ü", True), ("u", False)):
        made = multipart([], "multipart/mixed", [raw_part("message/rfc822", body.encode())])
        assert (email.message_from_bytes(made)["Content-Transfer-Encoding"] == "8bit") is declared
