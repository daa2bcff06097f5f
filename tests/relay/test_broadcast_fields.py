"""relay/broadcast_fields.py: which copies say how to unsubscribe and to whom they go, and that it is signed."""

import re
from dataclasses import replace

import pytest

from relay.broadcast_fields import BroadcastFields
from relay.compose import Composer
from relay.deliver.keys import KeyRing
from relay.sign import Signer
from storage.token import Purpose, TokenBox
from storage.unsubscribe_link import Link, UnsubscribeBox
from tests.inject.messages import html
from tests.peers.dkim import verified
from tests.relay.test_sign import BASE, KEYS, NOW, PAGE, RECORDS, SHAPES, composing, job, taken

SECRET = b"k" * 32
BOX = UnsubscribeBox(SECRET)
FIELDS = re.compile(
    rb"(?:^|\n)List-Unsubscribe: <https://t\.example\.net/u/([0-9a-f]{32}-[\w-]+)>\r\n"
    rb"List-Unsubscribe-Post: List-Unsubscribe=One-Click\r\n"
)


def unsubscribing(ring: KeyRing | None = None) -> Composer:
    signer = Signer(KeyRing({"example.com": KEYS}) if ring is None else ring, clock=lambda: NOW)
    boxes = TokenBox(SECRET, Purpose.PIXEL), TokenBox(SECRET, Purpose.RETURN_PATH)
    fields = BroadcastFields(BOX, BASE, frozenset({"emergency"}))
    return Composer(*boxes, signer, base_url=BASE, bounce_domain="b.example", broadcast_fields=fields)


def copy_of(content: bytes, type_: str | None, *, number: int = 1, reason: str | None = None) -> bytes:
    made = job(content, number=number)
    message = replace(made.message, broadcast_type=type_, untracked_reason=reason)
    return taken(unsubscribing())(replace(made, message=message), content).content


@pytest.mark.parametrize("content", SHAPES.values(), ids=SHAPES)
def test_every_copy_has_a_link_of_its_own_and_verifies(content: bytes) -> None:
    """RFC 8058, 4: both fields are covered by the signature, and nobody can add another."""
    compose = taken(unsubscribing())
    for number in range(3):
        made = job(content, number=number)
        made = replace(made, message=replace(made.message, broadcast_type="general"))
        copy = compose(made, content).content
        found = FIELDS.findall(copy)
        assert [BOX.open(token.decode()) for token in found] == [Link(number, "general", made.address)]
        assert verified(copy if copy.endswith(b"\r\n") else copy + b"\r\n", RECORDS) == [True, True]
        names = re.sub(rb"\s", b"", copy.partition(b"h=")[2].partition(b";")[0]).split(b":")
        assert names[-4:] == [b"list-unsubscribe"] * 2 + [b"list-unsubscribe-post"] * 2
        forged = b"List-Unsubscribe: <https://evil.example/>\r\n" + copy
        assert verified(forged if forged.endswith(b"\r\n") else forged + b"\r\n", RECORDS) == [False, False]


def test_everything_else_stays_as_it_is() -> None:
    content = html(PAGE)
    bare = composing(KeyRing({}))(job(content), content).content
    made = job(content)
    typed = replace(made, message=replace(made.message, broadcast_type="general"))
    copy = taken(unsubscribing(KeyRing({})))(typed, content).content
    found = FIELDS.search(copy)
    assert found is not None
    assert copy[: found.start()] + copy[found.end() :] == bare


@pytest.mark.parametrize(
    ("content", "type_", "reason"),
    [
        (html(PAGE), None, None),
        (html(PAGE), "emergency", None),
        (b"List-Unsubscribe: <mailto:u@example.com>\r\n" + html(PAGE), "general", None),
        (b"List-Unsubscribe-Post: x\r\n" + html(PAGE), "general", None),
        (b"DKIM-Signature: d=other.example; b=A\r\n" + html(PAGE), "general", "signed by another domain"),
        (b"X: " + b"x" * (600 << 10) + b"\r\n" + html(PAGE), "general", None),
    ],
)
def test_what_gets_no_link(content: bytes, type_: str | None, reason: str | None) -> None:
    assert not FIELDS.search(copy_of(content, type_, reason=reason))


def test_transactional_mail_has_no_fields_of_its_own() -> None:
    fields = BroadcastFields(BOX, BASE, frozenset())
    assert not fields.of(job(html(PAGE)), html(PAGE))


def test_an_untracked_message_has_a_link_too() -> None:
    assert FIELDS.search(copy_of(html(PAGE), "general", reason="opted out"))


def test_many_messages_at_once() -> None:
    compose, content = taken(unsubscribing()), html(PAGE)
    for number in range(100):
        made = job(content)
        message = replace(made.message, id=number, broadcast_type="general")
        assert FIELDS.search(compose(replace(made, message=message), content).content)


@pytest.mark.parametrize("address", ["bob@there.example", '"a  b"@there.example'])
@pytest.mark.parametrize("type_", ["general", "emergency"])
def test_a_message_that_all_share_says_to_each_that_it_is_for_them(address: str, type_: str) -> None:
    content = html(PAGE).replace(b"To: ", b"X-To: ")
    made = job(content)
    message = replace(made.message, broadcast_type=type_, client="")
    copy = taken(unsubscribing())(replace(made, message=message, address=address), content).content
    assert copy.count(f"\r\nTo: <{address}>\r\n".encode()) == 1
    assert verified(copy, RECORDS) == [True, True]
    assert verified(b"To: x@evil.example\r\n" + copy, RECORDS) == [False, False]


def test_what_a_client_sent_without_a_to_stays_without() -> None:
    content = html(PAGE).replace(b"To: ", b"X-To: ")
    made = job(content)
    message = replace(made.message, broadcast_type="general", client="192.0.2.1")
    assert b"\r\nTo:" not in taken(unsubscribing())(replace(made, message=message), content).content
