"""relay/answer/forward.py: an answer travels whole inside a mail of ours, and never in circles."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.answer.forward import forward, hops
from tests.answer.makers import HEAD, body_of, message, read

REPLY = (
    "From: Bob <bob@b.example>\r\nSubject: =?utf-8?q?Abwesend_=C3=BC?=\r\nAuto-Submitted: auto-replied\r\n"
    "Content-Type: text/plain; charset=utf-8\r\n\r\nI am away until Monday.\r\n\r\nGrüße\r\n"
).encode()


def made(raw: bytes = REPLY, before: tuple[str, ...] = (), subject: str = "Hello") -> bytes:
    return forward(message(subject=subject), "bob@b.example", raw, HEAD, came_to="abc@bounces.test", before=before)


def test_an_answer_arrives_whole_with_its_words_to_read_at_once() -> None:
    raw = made()
    found = read(raw)
    assert found["Subject"] == "=?utf-8?b?QWJ3ZXNlbmQgw7w=?="
    assert (found["To"], found["Reply-To"]) == ("<ann@a.example>", "<bob@b.example>")
    assert found["From"] == "Mail Delivery System <MAILER-DAEMON@relay.test>"
    assert (found["Auto-Submitted"], found["In-Reply-To"]) == ("auto-generated", "<1@a.example>")
    assert found["Delivered-To"] == "abc@bounces.test"
    words = body_of(found.get_payload()[0])
    assert 'your message to <bob@b.example>\r\n"Hello"' in words
    assert "> I am away until Monday.\r\n>\r\n> Grüße" in words
    assert found.get_payload()[1].get_content_type() == "message/rfc822"
    assert REPLY in raw


def test_forwards_carry_the_return_paths_that_they_came_by() -> None:
    once = made()
    assert hops(once) == ["abc@bounces.test"]
    twice = made(once, before=tuple(hops(once)))
    assert hops(twice) == ["abc@bounces.test", "abc@bounces.test"]
    assert hops(b"Delivered-To: <x@y.example>\n\nText") == ["x@y.example"]


def test_what_cannot_travel_as_it_is_is_encoded() -> None:
    raw = REPLY + b"x" * 2000
    part = read(made(raw)).get_payload()[1]
    assert part.get_content_type() == "application/octet-stream"
    assert part.get_payload(decode=True) == raw


@pytest.mark.parametrize("raw", [b"", b"\r\n\r\n", b"Subject: \r\n\r\n<p>", b"From: a@b.example, c@d.example\r\n\r\n"])
def test_an_answer_that_says_little_is_forwarded_too(raw: bytes) -> None:
    found = read(made(raw, subject=""))
    assert found["Subject"] == "Answer to:"
    assert found["Reply-To"] is None
    assert "(without a subject)" in body_of(found.get_payload()[0])


@given(st.binary(max_size=500), st.text(max_size=100))
def test_no_answer_can_write_into_our_header(raw: bytes, hop: str) -> None:
    found = read(made(raw, before=(hop,)))
    known = {"Delivered-To", "From", "To", "Subject", "Auto-Submitted", "In-Reply-To", "References", "Reply-To"}
    assert set(found.keys()) <= known | {"MIME-Version", "Content-Type", "Content-Transfer-Encoding"}
    assert len(found.get_payload()) == 2


def test_an_answer_that_some_servers_could_not_be_given_is_encoded_whole() -> None:
    """A signature forbids to re-encode it, and a forward that fails is lost: its sender is nobody."""
    raw = b"From: b@x.example\r\nContent-Type: multipart/signed; boundary=b\r\n\r\n--b\r\n\r\n\xc3\xa9\r\n--b--\r\n"
    part = read(made(raw)).get_payload()[1]
    assert part.get_content_type() == "application/octet-stream"
    assert part.get_payload(decode=True) == raw
    eight = b"From: b@x.example\r\n\r\n\xc3\xa9\r\n"
    assert read(made(eight)).get_payload()[1].get_content_type() == "message/rfc822"
