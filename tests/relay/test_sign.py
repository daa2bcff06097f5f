"""relay/sign.py and relay/compose.py: whose message it is, and that what goes out verifies."""

import logging
from collections.abc import Callable
from dataclasses import replace

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from relay.compose import Composer
from relay.deliver.client import Extensions
from relay.deliver.copy import Copy
from relay.deliver.dkim import Key
from relay.deliver.keys import KeyRing
from relay.inject.plan import InjectOptions, plan_message
from relay.inject.render import head_bytes, pieces
from relay.sign import Signer, author_domains
from storage.model import BodyType, Job, Message
from storage.status import Status
from storage.token import TOKEN_CHARS, Purpose, TokenBox
from storage.tracking import ForeignDkim, TextOnly, image_url
from tests.inject.messages import HTML_PART, TEXT_PART, encoded, html, message, multipart, part
from tests.peers.dkim import records_of, verified

KEYS = tuple(Key("example.com", name, Ed25519PrivateKey.generate()) for name in ("a", "b"))
RECORDS = records_of(KEYS)
ALL = Extensions(eight_bit=True, smtputf8=True)
NOW = 1_790_000_000.9
BASE = "https://t.example.net"
OPTIONS = InjectOptions(url_length=len(image_url(BASE, "a" * TOKEN_CHARS)))
PAGE = b"<html><body>  <p>Hello  you</p>\t\r\n \r\n</body></html>\r\n"
PDF = part(b"JVBERi0xLjQ=\r\n" * 30, "Content-Type: application/pdf", "Content-Transfer-Encoding: base64")


def job(content: bytes, plan: bytes | None = None, number: int = 1, *, utf8: bool = False) -> Job:
    if plan is None:
        found = plan_message(content, OPTIONS)
        plan = b"" if found.untracked_reason else found.to_bytes()
    made = Message(7, 0, "a@example.com", BodyType.EIGHT_BIT_MIME, utf8, len(content), plan)
    return Job(made, number, "r@example.net", "example.net", Status.UNSENT, 0, 0, 0)


def composer(ring: KeyRing | None = None) -> Composer:
    secret = b"k" * 32
    signer = Signer(KeyRing({"example.com": KEYS}) if ring is None else ring, clock=lambda: NOW)
    boxes = TokenBox(secret, Purpose.PIXEL), TokenBox(secret, Purpose.RETURN_PATH)
    return Composer(*boxes, signer, base_url=BASE, bounce_domain="b.example")


def taken(made: Composer, offered: Extensions = ALL) -> Callable[[Job, bytes], Copy]:
    """Return what makes copies for a server that offers this, and takes them."""

    def compose(job: Job, content: bytes) -> Copy:
        copy = made.compose(job, content, offered)
        assert isinstance(copy, Copy)
        return copy

    return compose


def composing(ring: KeyRing | None = None, offered: Extensions = ALL) -> Callable[[Job, bytes], Copy]:
    return taken(composer(ring), offered)


SHAPES = {
    "html": html(PAGE),
    "quoted-printable": html(encoded(PAGE, "quoted-printable"), "quoted-printable"),
    "base64": html(encoded(PAGE, "base64"), "base64"),
    "text only": message(b"Hello  you \r\n\r\n\r\n", "Content-Type: text/plain; charset=utf-8"),
    "mixed": multipart("mixed", multipart("alternative", TEXT_PART, HTML_PART, boundary="in")[80:], PDF),
    "attachment last": multipart("mixed", HTML_PART, PDF, PDF),
    "long, image near the top": html(b"<html><body>" + b"<p>  Hello \t you </p> \r\n" * 6000),
    "untracked": message(b"patch\r\n", "Content-Type: text/plain", "X-Track-Opens: no"),
    "no end of line": html(b"<p>Hello </p> "),
}


@pytest.mark.parametrize("content", SHAPES.values(), ids=SHAPES)
def test_every_copy_of_every_shape_verifies(content: bytes) -> None:
    """Each copy has its own image, and the template of the first copy."""
    compose = composing()
    copies = [compose(job(content, number=number), content).content for number in range(3)]
    for copy in copies:
        assert verified(copy if copy.endswith(b"\r\n") else copy + b"\r\n", RECORDS) == [True, True]
        assert b"t=1790000000;" in copy
    plain = [composing(KeyRing({}))(job(content, number=number), content).content for number in range(3)]
    assert all(copy.endswith(bare) for copy, bare in zip(copies, plain, strict=True))


@pytest.mark.parametrize("content", SHAPES.values(), ids=SHAPES)
@pytest.mark.parametrize("text_only", TextOnly)
def test_the_head_is_as_long_as_it_is_said_to_be(content: bytes, text_only: TextOnly) -> None:
    plan = plan_message(
        b"DKIM-Signature: d=x.org; b=\r\n" + content,
        replace(OPTIONS, foreign_dkim=ForeignDkim.REMOVE, text_only=text_only),
    )
    split = pieces(b"DKIM-Signature: d=x.org; b=\r\n" + content, plan)
    assert head_bytes(plan) == (len(split.head) if split else 0)


def test_a_message_of_a_domain_without_keys_goes_as_it_is() -> None:
    content = html(PAGE).replace(b"a@example.com", b"a@other.example")
    bare = composing(KeyRing({}))(job(content), content).content
    assert composing()(job(content), content).content == bare


def test_what_cannot_be_signed_goes_as_it_is_and_is_told_once(caplog: pytest.LogCaptureFixture) -> None:
    content = html(PAGE).replace(b"Subject: x", "Subject: é".encode())
    compose = composing()
    with caplog.at_level(logging.INFO, "telltale.relay"):
        for number in range(3):
            assert b"DKIM-Signature" not in compose(job(content, number=number), content).content
    told = [record.getMessage() for record in caplog.records]
    assert len(told) == 1
    assert told[0].startswith("event=not-signed queue_id=")
    assert "8-bit header fields" in told[0]
    assert b"DKIM-Signature" in composing()(job(content, utf8=True), content).content


def test_a_render_that_fails_is_signed_as_what_goes_out() -> None:
    """The plan of another content: the stored bytes go out, and their signature holds for them."""
    content, other = html(PAGE), html(PAGE + b"more \r\n")
    compose = composing()
    assert verified(compose(job(content), content).content, RECORDS) == [True, True]
    copy = compose(job(other, plan_message(content, OPTIONS).to_bytes()), other).content
    assert copy.endswith(other)
    assert verified(copy, RECORDS) == [True, True]


def test_templates_are_kept_for_a_few_messages_only() -> None:
    signer = Signer(KeyRing({"example.com": KEYS}))
    content = html(PAGE)
    for number in range(100):
        signer.signed(replace(job(content).message, id=number), content, len(content))
    assert len(signer._drafts) == 64


@pytest.mark.parametrize(
    ("field", "domains"),
    [
        (b"a@example.org", ["example.org"]),
        (b"Ann <a@Example.ORG>", ["example.org"]),
        (b'"a@evil.example" <a@example.org>', ["example.org"]),
        (b"a@example.org (b@evil.example)", ["example.org"]),
        (b"a@one.example, B <b@two.example>, c@one.example", ["one.example", "two.example"]),
        ("a@bücher.example".encode(), ["xn--bcher-kva.example"]),
        # What needs quotes and has none: the one address that is there.
        (b"Doe, John <j@example.org>", ["example.org"]),
        (b"Help: desk <j@example.org> ", ["example.org"]),
        (b"a@evil.example, Doe, J. <j@example.org>", []),
        (b"Doe, John <j@-example.org>", []),
        (b"Doe, John <j@ex\xff.org>", []),
        (b"x: a@one.example, <a@two.example>, c <d@three.example>;", []),
        (b"undisclosed:;", []),
        (b"nobody", []),
        (b"", []),
    ],
)
def test_whose_message_it_is(field: bytes, domains: list[str]) -> None:
    assert author_domains(field) == domains


@given(st.binary(max_size=60))
def test_any_from_field_has_domains_or_none(field: bytes) -> None:
    assert all(domain and domain.isascii() and domain == domain.lower() for domain in author_domains(field))


def test_admission_is_told_whose_signatures_will_be_made_anew() -> None:
    signer = Signer(KeyRing({"example.com": KEYS}, ["example.com"]))
    assert signer.domains([b"a@example.com"]) == signer.domains([b"a@news.example.com"]) == {"example.com"}
    assert signer.domains([b"a@other.example"]) == signer.domains([]) == frozenset()
    assert signer.domains([b"a@example.com", b"a@example.com"]) == frozenset()
    assert Signer(KeyRing({})).domains([b"a@example.com"]) == frozenset()
