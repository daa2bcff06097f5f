"""Laws of `relay.bounce.text`."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.bounce.finding import MAX_DIAGNOSTIC
from relay.bounce.text import addresses, clean, enhanced, is_address, mailbox, reply_code, typed, vague, xtext


@pytest.mark.parametrize(
    ("value", "address"),
    [
        ("rfc822; ada@rcpt.example", "ada@rcpt.example"),
        ("RFC822;<Ada@rcpt.example>", "Ada@rcpt.example"),
        ("rfc822; ada@rcpt.example (Ada)", "ada@rcpt.example"),
        ("ada@rcpt.example.", "ada@rcpt.example"),
        ("rfc822; smtp:ada@rcpt.example", "ada@rcpt.example"),
        ("rfc822; mailto:ada@rcpt.example", "ada@rcpt.example"),
        ('rfc822; "ada lovelace"@rcpt.example', '"ada lovelace"@rcpt.example'),
        ("utf-8; \\x{E4}da@rcpt.example", "äda@rcpt.example"),
        ("utf-8; \\x{D800}\\x{0}da@rcpt.example", "\ufffd\ufffdda@rcpt.example"),
        ("rfc822; o'brien@rcpt.example", "o'brien@rcpt.example"),
        ("rfc822; list-return=ada=x.example@rcpt.example", "list-return=ada=x.example@rcpt.example"),
        ("rfc822; ada@[192.0.2.1]", "ada@[192.0.2.1]"),
        ("rfc822; (see) ada@rcpt.example and others", "ada@rcpt.example"),
        ("system;<>", ""),
        ("x400; /S=ada/C=DE/", "/S=ada/C=DE/"),
        ("LOCAL; ada", "ada"),
        ("", ""),
    ],
)
def test_a_mailbox_is_found_in_a_field(value: str, address: str) -> None:
    assert mailbox(value) == address


@pytest.mark.parametrize(
    ("text", "code", "status"),
    [
        ("550 5.1.1 unknown", 550, "5.1.1"),
        ("550-5.7.26 unauthenticated", 550, "5.7.26"),
        ("550 #5.1.0 rejected", 550, "5.1.0"),
        ("550 (5.1.1) unknown", 550, "5.1.1"),
        ("5.1.0 - Unknown address error 550-'5.4.1 rejected'", 550, "5.4.1"),
        ("host mx[192.0.2.1] said: 554 no (in reply to RCPT TO)", 554, ""),
        ("554 550 Host unknown", 550, ""),
        ("ERROR_CODE :550, ERROR_CODE :5.2.1 x", 550, "5.2.1"),
        ("<<< 550 no", 550, ""),
        ("I was told 550 not here", 550, ""),
        ("5.0.0 then 5.2.2", None, "5.2.2"),
        ("only 5.0.0", None, "5.0.0"),
        ("version 5.1.1.2 and 192.5.1.1 and x/5.1.1", None, ""),
        ("port 587 and 450 messages", 450, ""),
        ("at 4:55 on 2004-05-03", None, ""),
        ("5.13.68", None, ""),
        ("", None, ""),
    ],
)
def test_codes_are_found_in_words(text: str, code: int | None, status: str) -> None:
    assert (reply_code(text), enhanced(text)) == (code, status)


def test_vague_codes_say_only_their_class() -> None:
    assert vague("")
    assert vague("5.0.0")
    assert not vague("5.0.1")


def test_types_and_xtext() -> None:
    assert typed("dns; mx.example.org") == ("dns", "mx.example.org")
    assert typed(" mx.example.org ") == ("", "mx.example.org")
    assert xtext("a+2Bb+40c") == "a+b@c"


def test_addresses_and_what_is_one() -> None:
    assert addresses("A <a@x.example>, b@x.example, a@x.example") == ["a@x.example", "b@x.example"]
    assert is_address("a@x.example")
    assert is_address('"a b"@x.example')
    assert is_address("=?utf-8?q?a?=@x.example")
    assert addresses("'o'brien@x.example'") == ["o'brien@x.example"]
    assert not is_address("@x.example")
    assert not is_address("/S=ada/")


@given(st.text())
def test_clean_text_is_one_line_that_every_store_takes(text: str) -> None:
    line = clean(text)
    assert len(line) <= MAX_DIAGNOSTIC
    assert line == line.strip()
    assert not any(ord(char) < 0x20 or 0x7F <= ord(char) < 0xA0 or 0xD800 <= ord(char) < 0xE000 for char in line)
    line.encode()


@given(st.text())
def test_no_field_breaks_the_reader(text: str) -> None:
    mailbox(text)
    enhanced(text)
    reply_code(text)
