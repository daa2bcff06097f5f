"""Copies: whatever is wrong with a plan, the message itself goes out, and our log says so."""

import asyncio
import logging
from collections.abc import Coroutine
from email import message_from_bytes

import pytest

from relay.deliver.client import Extensions
from relay.deliver.copy import Copy
from relay.deliver.verdict import judge
from relay.inject.plan import InjectOptions, Plan, plan_message
from storage.model import Phase, Reply
from storage.status import Event
from storage.untracked import UntrackedReason
from tests.inject.messages import html
from tests.peers.dkim import verified
from tests.relay.test_sign import RECORDS, composer, composing, job, taken

CONTENT = html(b"<p>Hello</p>\r\n")
PLAN = plan_message(CONTENT, InjectOptions())


@pytest.mark.parametrize(
    "stored",
    [
        b"\xff a later version",
        PLAN.to_bytes()[:-3],
        Plan(None, PLAN.edits, PLAN.size + 1, PLAN.checksum).to_bytes(),
        Plan(None, (), PLAN.size, PLAN.checksum).to_bytes(),
        Plan(UntrackedReason.SIGNED, PLAN.edits, PLAN.size, PLAN.checksum).to_bytes(),
    ],
)
def test_a_plan_that_cannot_be_used_costs_the_image_and_not_the_message(
    stored: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.ERROR, "telltale.relay"):
        copy = composing()(job(CONTENT, stored), CONTENT)
    assert copy.content.endswith(CONTENT)
    assert b"<img" not in copy.content
    assert "event=our-bug" in caplog.text


# Servers of less ability.

EIGHT = html("<p>Grüße aus dem wunderschönen Norden</p>\r\n".encode() * 20)
NEITHER, NO_SMTPUTF8 = Extensions(), Extensions(eight_bit=True)


def test_a_server_without_8bitmime_gets_seven_bits_with_the_image_and_a_signature_that_verifies() -> None:
    """Each copy is signed as it goes out, beside copies of the same message that share their bytes."""
    made = composer()
    seven, eight = taken(made, NEITHER), taken(made)
    for number in range(3):
        for compose, ascii_only in ((eight, False), (seven, True)):
            copy = compose(job(EIGHT, number=number), EIGHT).content
            assert verified(copy, RECORDS) == [True, True]
            assert copy.isascii() is ascii_only
    message = message_from_bytes(copy)
    assert message["content-transfer-encoding"] == "quoted-printable"
    page = message.get_payload(decode=True)
    assert isinstance(page, bytes)
    assert page.count(b"<img") == 1
    assert page.startswith("<p>Grüße aus dem wunderschönen Norden</p>\r\n".encode())


def test_a_server_without_smtputf8_gets_names_in_ascii_and_a_signature_that_verifies() -> None:
    content = EIGHT.replace(b"Subject: x", "Subject: Grüße".encode())
    copy = composing(offered=NO_SMTPUTF8)(job(content, utf8=True), content).content
    assert verified(copy, RECORDS) == [True, True]
    assert b"Subject: =?utf-8?" in copy
    assert b"Norden</p>" in copy


@pytest.mark.parametrize("offered", [NO_SMTPUTF8, NEITHER])
def test_what_is_ascii_is_not_looked_at(offered: Extensions) -> None:
    content = html(b"<p>Hello</p>\r\n")
    assert composing(offered=offered)(job(content), content) == composing()(job(content), content)


@pytest.mark.parametrize(
    ("content", "utf8", "offered", "enhanced"),
    [
        (EIGHT.replace(b"text/html", b"multipart/signed; boundary=x"), False, NEITHER, "5.6.3"),
        (EIGHT.replace(b"To: b@", "To: bö@".encode()), True, NO_SMTPUTF8, "5.6.7"),
        (EIGHT.replace(b"To: b@", "To: bö@".encode()), True, NEITHER, "5.6.7"),
    ],
)
def test_what_cannot_be_given_to_a_server_is_refused_in_words_of_ours(
    content: bytes, utf8: bool, offered: Extensions, enhanced: str
) -> None:
    refusal = composer().compose(job(content, b"", utf8=utf8), content, offered)
    assert isinstance(refusal, Reply)
    assert (refusal.code, refusal.enhanced) == (0, enhanced)
    assert judge(refusal, Phase.CONTENT, final_hop=True).event is Event.BOUNCE


def test_re_encoding_is_told(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "telltale.relay"):
        composing(offered=NEITHER)(job(EIGHT), EIGHT)
    assert "event=re-encoded" in caplog.text


async def test_a_large_content_is_re_encoded_beside_the_event_loop() -> None:
    """Copies of one message that are made at once share what they may, and each verifies."""
    content = EIGHT.replace(b"</p>", b"</p>" + "Grüße\r\n".encode() * 40_000)
    made = composer()
    waiting = [made.compose(job(content, number=number), content, NEITHER) for number in range(3)]
    copies = []
    for one in waiting:
        assert isinstance(one, Coroutine)
        copies.append(asyncio.ensure_future(one))
    for one in await asyncio.gather(*copies):
        assert isinstance(one, Copy)
        assert one.content.isascii()
        assert verified(one.content, RECORDS) == [True, True]
    plain = made.compose(job(content), content, NO_SMTPUTF8)
    assert isinstance(plain, Copy), "nothing needs to be re-encoded"


async def test_a_large_content_that_turns_out_to_need_nothing_goes_as_it_is() -> None:
    content = html(b"<p>Hello</p>\r\n" * 20_000).replace(b"Subject: x", "Subject: Grüße".encode())
    found = composer().compose(job(content, utf8=True), content, Extensions(smtputf8=True))
    assert isinstance(found, Coroutine)
    copy = await found
    assert isinstance(copy, Copy)
    assert "Subject: Grüße".encode() in copy.content


async def test_a_large_content_that_cannot_be_re_encoded_is_refused() -> None:
    content = EIGHT.replace(b"text/html", b"multipart/signed; boundary=x") + "Grüße\r\n".encode() * 40_000
    found = composer().compose(job(content, b""), content, NEITHER)
    assert isinstance(found, Coroutine)
    refusal = await found
    assert isinstance(refusal, Reply)
    assert refusal.enhanced == "5.6.3"


@pytest.mark.parametrize(("field", "told"), [(b"DKIM-Signature: v=1\r\n", True), (b"X: dkim-signature: 1\r\n", False)])
def test_a_foreign_signature_that_breaks_is_told(field: bytes, told: bool, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "telltale.relay"):
        composing(offered=NEITHER)(job(field + EIGHT, b""), field + EIGHT)
    assert ("foreign_dkim=broken" in caplog.text) is told
