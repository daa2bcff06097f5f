"""relay/deliver/dkim.py: what is signed verifies at others', and says what it says."""

import base64
import hashlib
import re

import dkim
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key
from dkim.canonicalization import Relaxed
from hypothesis import given
from hypothesis import strategies as st

from relay.deliver.dkim import (
    _RUNS,
    ALWAYS,
    AS_PRESENT,
    MAX_NAMES,
    WHERE_PRESENT,
    Algorithm,
    BodyHash,
    Key,
    Template,
    Unsigned,
    relaxed,
    template,
)
from tests.peers.dkim import plain_body_hash, records_of, verified

NOW = 1_790_000_000
RSA = Key("example.org", "tt1", generate_private_key(65537, 2048))
ED25519 = Key("example.org", "tt1-ed25519", Ed25519PrivateKey.generate())
KEYS = (RSA, ED25519)
RECORDS = records_of(KEYS)
HEADER = (
    b"Received: from x by y;\r\n\tFri, 20 Nov 2026 10:00:00 +0000\r\nFrom: =?utf-8?q?J=C3=B6rg?= <j@example.org>\r\n"
    b"To: a@example.net,\r\n b@example.net\r\nSubject:  a \t subject\r\nDate: Fri, 20 Nov 2026 10:00:00 +0000\r\n"
    b"Message-ID: <1@example.org>\r\nMIME-Version: 1.0\r\nContent-Type: text/html;\r\n\tcharset=utf-8\r\n"
    b"X-Mailer: none\r\nList-Unsubscribe: <https://example.org/u>\r\n"
)
MESSAGE = HEADER + b"\r\n<p>Hello  you </p>\t\r\n\r\n \r\n"

PIECES = st.sampled_from([b" ", b"\t", b"\r\n", b"a", b"b\x0b", b".", b"\xe9", b" \r\n", b"  ", b"\r\n\r\n"])
BODIES = st.lists(PIECES, max_size=30).map(b"".join)


def read(content: bytes, shared: int | None = None, *, utf8: bool = False) -> Template:
    found = template(content, len(content) if shared is None else shared, utf8=utf8)
    assert isinstance(found, Template), found
    return found


def signed(content: bytes, shared: int | None = None, *, utf8: bool = False, lifetime: int = 0) -> bytes:
    return read(content, shared, utf8=utf8).signatures(content, KEYS, NOW, lifetime) + content


def h(message: bytes) -> list[str]:
    """Return the names in h= of the first signature."""
    found = re.search(rb"\bh=([^;]+);", message)
    assert found is not None
    return re.sub(r"\s", "", found[1].decode()).split(":")


# The body.


@given(BODIES)
def test_the_relaxed_body_is_that_of_the_rfc_and_of_others(body: bytes) -> None:
    whole = BodyHash()
    whole.feed(body)
    assert whole.digest() == plain_body_hash(body)
    if body and not body.endswith(b"\r\n"):
        body += b"\r\n"  # dkimpy does not add what 3.4.4 adds: by SMTP it is always there
    assert whole.digest() == hashlib.sha256(Relaxed.canonicalize_body(body)).digest()


@given(BODIES, st.lists(st.integers(0, 60), max_size=4))
def test_a_body_may_be_cut_anywhere(body: bytes, cuts: list[int]) -> None:
    """Also inside of a run of blanks, and between CR and LF."""
    pieces, at = BodyHash(), 0
    for cut in sorted(min(cut, len(body)) for cut in cuts):
        pieces.feed(body[at:cut])
        pieces = pieces.copy()
        at = cut
    pieces.feed(body[at:])
    assert pieces.digest() == plain_body_hash(body)
    assert pieces.digest() == pieces.digest()


@pytest.mark.parametrize(
    "middle", [b"x" * 200_000, b" " * 200_001, b"\r\n" * 100_000, b" \r\n" * 70_000, b"x \r\n" * 50_000]
)
@pytest.mark.parametrize("end", [b"", b"x", b" x \r\n"])
def test_large_bodies_are_hashed_in_blocks(middle: bytes, end: bytes) -> None:
    body = b"a" + middle + end
    for shift in range(3):
        whole = BodyHash()
        whole.feed(b"y" * shift + body)
        assert whole.digest() == plain_body_hash(b"y" * shift + body)


def test_a_copy_goes_on_by_itself() -> None:
    head = BodyHash()
    head.feed(b"a \r\n")
    one, two = head.copy(), head.copy()
    one.feed(b"b")
    two.feed(b"c\r\n")
    assert [each.digest() for each in (head, one, two)] == list(
        map(plain_body_hash, (b"a\r\n", b"a\r\nb", b"a\r\nc\r\n"))
    )


@pytest.mark.parametrize("length", [1, 2, 3, 15, 16, 17, 127, 128, 8191, 8192, 8193, 1_000_003])
def test_a_run_of_blanks_is_one_blank_however_long(length: int) -> None:
    assert relaxed(b"a" + b" " * length + b"b") == b"a b"
    assert relaxed(b"a" + b" \t" * length + b"\r\nb") == b"a\r\nb"


def test_a_fixed_number_of_passes_leaves_one_blank_of_any_run() -> None:
    """A pass of width w leaves n // w + n % w of a run of n: at most this, of all runs up to the longest."""
    longest = 1 << 30
    for run in _RUNS:
        width = len(run)
        whole = longest // width
        longest = max(whole + longest % width, whole - 1 + width - 1)
    assert longest == 1


# The signature.


def test_both_signatures_verify() -> None:
    message = signed(MESSAGE)
    assert verified(message, RECORDS) == [True, True]
    assert [each.algorithm for each in KEYS] == [Algorithm.RSA, Algorithm.ED25519]
    assert message.startswith(
        b"DKIM-Signature: v=1; a=rsa-sha256; c=relaxed/relaxed; d=example.org;\r\n\ts=tt1; t=1790000000;\r\n\th=from:"
    )
    assert message.count(b"a=ed25519-sha256;") == 1
    assert b"l=" not in message.partition(b"Received:")[0].replace(b"bh=", b"")


@given(BODIES, st.integers(0, 100))
def test_every_copy_verifies_wherever_it_was_cut(body: bytes, cut: int) -> None:
    content = HEADER + b"\r\n" + body
    shared = min(len(HEADER) + 2 + cut, len(content))
    message = signed(content, shared)
    sent = message if message.endswith(b"\r\n") else message + b"\r\n"  # as the client ends it (RFC 5321, 4.1.1.4)
    assert verified(sent, RECORDS) == [True, True]


def test_copies_of_one_message_share_a_template() -> None:
    copies = [HEADER + b"\r\n<p>Hi </p> <img src=%d> \r\n \r\n" % number for number in range(3)]
    found = read(copies[0], len(HEADER) + 14)
    for copy in copies:
        message = found.signatures(copy, KEYS, NOW) + copy
        assert verified(message, RECORDS) == [True, True]
    assert found.author == b"=?utf-8?q?J=C3=B6rg?= <j@example.org>"


@given(st.lists(st.tuples(st.sampled_from([*ALWAYS, *WHERE_PRESENT, *AS_PRESENT, b"x-other"]), PIECES), max_size=12))
def test_every_header_that_is_signed_verifies(fields: list[tuple[bytes, bytes]]) -> None:
    """Folded, doubled, empty, with blanks anywhere."""
    lines = [b"%b: v%bw\r\n" % (name.title(), b" x ".join([value] * 2)) for name, value in fields if name != b"from"]
    content = b"".join(
        [
            b"From: a@example.org\r\n",
            *[re.sub(rb"\r\n(?![ \t]|\Z)", b"\r\n ", line).replace(b"\xe9", b"e") for line in lines],
            b"\r\nx\r\n",
        ]
    )
    assert verified(signed(content), RECORDS) == [True, True]


def test_lines_are_short_and_end_with_crlf() -> None:
    message = signed(MESSAGE, lifetime=7 * 86400)
    field = message[: message.index(b"Received:")]
    assert b" x=1790604800;" in field
    assert max(map(len, field.split(b"\r\n"))) <= 78
    assert field.count(b"\n") == field.count(b"\r") == field.count(b"\r\n")
    assert all(line[:1] == b"\t" or line.startswith(b"DKIM-Signature:") for line in field.split(b"\r\n")[:-1])


def test_what_matters_is_named_once_more_than_it_is_there() -> None:
    names = h(signed(MESSAGE))
    present = {line.partition(b":")[0].lower().decode() for line in re.findall(rb"^[\w-]+:", HEADER, re.MULTILINE)}
    for name in map(bytes.decode, ALWAYS):
        assert names.count(name) == 1 + (name in present)
    for name in map(bytes.decode, WHERE_PRESENT):
        assert names.count(name) == 2 * (name in present)
    assert not {"received", "x-mailer", "sender", "list-id", "dkim-signature"} & set(names)


@pytest.mark.parametrize(
    "field", [b"From: evil@example.com", b"Cc: c@example.net", b"Content-Type: text/plain", b"Subject: s"]
)
def test_a_field_that_is_put_in_later_breaks_the_signature(field: bytes) -> None:
    assert verified(field + b"\r\n" + signed(MESSAGE), RECORDS) == [False, False]


@pytest.mark.parametrize("field", [b"Received: by z", b"List-Id: <l.example.org>", b"Sender: l@example.org", b"X-Y: z"])
def test_what_relays_and_lists_add_does_not(field: bytes) -> None:
    assert verified(field + b"\r\n" + signed(MESSAGE), RECORDS) == [True, True]


def test_a_list_field_that_was_there_is_signed() -> None:
    content = b"List-Id: <l.example.org>\r\n" + MESSAGE
    assert verified(signed(content).replace(b"<l.ex", b"<m.ex"), RECORDS) == [False, False]


def test_each_of_several_fields_is_signed_from_the_last_on() -> None:
    content = b"References: <1@x>\r\nReferences: <2@x>\r\n" + MESSAGE
    assert h(signed(content)).count("references") == 3
    assert verified(signed(content), RECORDS) == [True, True]


# What is not signed.


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (MESSAGE.replace(b"Hello", b"Hel\nlo"), Unsigned.LINE_ENDS),
        (MESSAGE.replace(b"Hello", b"Hel\rlo"), Unsigned.LINE_ENDS),
        (MESSAGE.replace(b"\r\n", b"\n"), Unsigned.LINE_ENDS),
        (b"no field\r\n" + MESSAGE, Unsigned.HEADER),
        (MESSAGE.replace(b"X-Mailer:", b"X-Mailer :"), Unsigned.HEADER),
        (b"X: " + b"y" * 600_000 + b"\r\n" + MESSAGE, Unsigned.HEADER),
        (MESSAGE.replace(b"From:", b"Sender:"), Unsigned.FROM),
        (b"From: b@example.org\r\n" + MESSAGE, Unsigned.FROM),
        (b"", Unsigned.FROM),
        (MESSAGE.replace(b"a \t subject", b"caf\xc3\xa9"), Unsigned.EIGHT_BIT),
        (b"Resent-To: x@example.net\r\n" * MAX_NAMES + MESSAGE, Unsigned.FIELDS),
    ],
)
def test_what_may_not_verify_everywhere_is_not_signed(content: bytes, why: Unsigned) -> None:
    assert template(content, len(content), utf8=False) is why


def test_a_header_that_is_not_the_same_in_all_copies_is_not_signed() -> None:
    assert template(MESSAGE, len(HEADER), utf8=False) is Unsigned.HEADER


def test_eight_bit_fields_go_with_smtputf8_or_where_they_are_not_signed() -> None:
    content = MESSAGE.replace(b"a \t subject", "café".encode())
    assert verified(signed(content, utf8=True), RECORDS) == [True, True]
    content = MESSAGE.replace(b"X-Mailer: none", "X-Mailer: é".encode())
    assert verified(signed(content), RECORDS) == [True, True]


@pytest.mark.parametrize("content", [HEADER, HEADER + b"\r\n", HEADER + b"\r\n\r\n \r\n", HEADER[:-2]])
def test_a_message_without_a_body_is_signed(content: bytes) -> None:
    message = signed(content)
    assert verified(message if message.endswith(b"\r\n") else message + b"\r\n", RECORDS) == [True, True]
    empty = base64.b64encode(plain_body_hash(b""))
    assert b"bh=" + empty in message


def test_dkimpy_signs_the_same_body_hash() -> None:
    """Two signers of different hands agree on the body's hash of the same message."""
    pem = RSA.private.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
    )
    theirs = dkim.sign(MESSAGE, b"tt1", b"example.org", pem, canonicalize=(b"relaxed", b"relaxed"))
    hashes = [re.search(rb"bh=\s*([\w+/=]+);", field) for field in (theirs, signed(MESSAGE))]
    assert hashes[0] is not None
    assert hashes[1] is not None
    assert hashes[0][1] == hashes[1][1]
