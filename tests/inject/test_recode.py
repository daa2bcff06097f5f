"""relay/inject/recode.py: only what needs it is written anew, it decodes to what it was, and signed parts stay."""

import os
import time
from email import message_from_bytes
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.inject.bodies import has_long_line
from relay.inject.recode import MAX_LEVELS, Fault, for_server, with_short_lines
from tests.inject.messages import HTML_PART, TEXT_PART, html, joined, message, multipart, part

UTF8 = "Content-Type: text/plain; charset=utf-8"
EIGHT = "Content-Transfer-Encoding: 8bit"
CAFE = "Grüße aus dem wunderschönen Sommer in Paris\r\n".encode()
LONG = b"word " * 300 + b"\r\n"


def seven(content: bytes, *, declared: bool = False) -> bytes:
    found = for_server(content, eight_bit=False, smtputf8=False, declared=declared)
    assert isinstance(found, bytes), found
    assert found.isascii()
    return found


def leaves(content: bytes) -> list[tuple[str, bytes | None]]:
    """Return the parts as Python's reader sees them: kinds, and decoded bodies of leaves."""
    found: list[tuple[str, bytes | None]] = []
    for each in message_from_bytes(content).walk():
        body = None if each.is_multipart() else each.get_payload(decode=True)
        assert body is None or isinstance(body, bytes)
        found.append((each.get_content_type(), body if body is None else _lines(body)))
    return found


def _lines(body: bytes) -> bytes:
    return body.replace(b"\r\n", b"\n").rstrip(b"\n")


def encodings(content: bytes) -> list[str | None]:
    return [each["content-transfer-encoding"] for each in message_from_bytes(content).walk()]


# What a server without 8BITMIME gets.


def test_a_text_is_quoted_printable_and_its_field_is_changed_in_place() -> None:
    content = message(CAFE, "content-transfer-ENCODING: 8bit", UTF8)
    changed = seven(content)
    head, _, body = changed.partition(b"\r\n\r\n")
    assert head == content.partition(b"\r\n\r\n")[0].replace(b"8bit", b"quoted-printable")
    assert body == b"Gr=C3=BC=C3=9Fe aus dem wundersch=C3=B6nen Sommer in Paris\r\n"


@pytest.mark.parametrize(
    ("body", "kind", "encoding"),
    [
        (CAFE, UTF8, "quoted-printable"),
        ("日本語のテキスト\r\n".encode() * 10, UTF8, "base64"),
        (b"\xff" + b"a" * 500, "Content-Type: application/octet-stream", "base64"),
        (b"caf\xe9\r\n", "Content-Type: ;;", "quoted-printable"),
        (CAFE, "Content-Type: message/global", "quoted-printable"),
    ],
)
def test_text_is_what_is_shorter_and_all_else_base64(body: bytes, kind: str, encoding: str) -> None:
    content = message(body, kind)
    changed = seven(content)
    assert encodings(changed)[0] == encoding
    if "global" not in kind:
        assert leaves(changed) == leaves(content)


@pytest.mark.parametrize(("body", "charset"), [(CAFE, "utf-8"), (b"caf\xe9\r\n", "unknown-8bit")])
def test_a_message_that_is_no_mime_becomes_one(body: bytes, charset: str) -> None:
    """RFC 1428: text that was never named is named by a guess that is safe, or unknown."""
    changed = message_from_bytes(seven(message(body, mime=False)))
    assert changed["mime-version"] == "1.0"
    assert changed.get_content_charset() == charset
    payload = changed.get_payload(decode=True)
    assert isinstance(payload, bytes)
    assert payload == body


def test_parts_that_are_seven_bits_stay_byte_for_byte() -> None:
    content = multipart("mixed", TEXT_PART, part(CAFE, UTF8, EIGHT), HTML_PART, fields=(EIGHT,))
    changed = seven(content)
    assert encodings(changed) == ["7bit", None, "quoted-printable", None]
    assert TEXT_PART in changed
    assert HTML_PART in changed
    assert leaves(changed) == leaves(content)


def test_messages_in_messages_are_changed_within() -> None:
    """RFC 2046, 5.2.1: a message is never encoded; its parts are, and its header too."""
    inner = message(CAFE, UTF8, EIGHT).replace(b"Subject: x", "Subject: schön".encode())
    content = multipart("mixed", part(inner, "Content-Type: message/rfc822", EIGHT), part(CAFE, UTF8))
    changed = seven(content)
    assert encodings(changed) == [None, "7bit", "quoted-printable", "quoted-printable"]
    assert b"Subject: =?utf-8?Q?sch=C3=B6n?=" in changed
    assert leaves(changed) == leaves(content)


def test_messages_too_deep_in_messages_are_refused() -> None:
    content = message(CAFE, UTF8)
    for _ in range(MAX_LEVELS):
        content = message(content, "Content-Type: message/rfc822")
    assert for_server(content, eight_bit=False, smtputf8=False, declared=False) is Fault.CONTENT


def test_many_attachments_alike_are_all_changed() -> None:
    one = part(b"\xff\r\n", "Content-Type: application/x-y", "Content-Disposition: attachment")
    changed = seven(multipart("mixed", *[one] * 50))
    assert changed.count(b"Content-Transfer-Encoding: base64") == 50


def test_what_nobody_reads_is_not_worth_a_refusal() -> None:
    """RFC 2046, 5.1.1: preamble and epilogue."""
    body = b"pr\xe9amble\r\n" + joined(TEXT_PART) + b"\xe9pilogue\r\n"
    changed = seven(message(body, 'Content-Type: multipart/mixed; boundary="=_b"'))
    assert b"pr?amble" in changed
    assert b"?pilogue" in changed


def test_no_line_of_an_encoded_body_becomes_a_delimiter() -> None:
    """A soft break may come before what looks like one, and a boundary may look like an escape."""
    bodies = (b"x" * 75 + b"--b=3D\xe9\r\n", b"--b=\r\n\xe9\r\n")
    content = multipart("mixed", *[part(body, UTF8) for body in bodies], boundary="b=3D")
    assert leaves(seven(content)) == leaves(content)


@pytest.mark.parametrize(
    ("signed", "fault"),
    [
        (multipart("signed", part(CAFE, UTF8), part(b"s", "Content-Type: application/pgp-signature")), Fault.SIGNED),
        (
            multipart(
                "mixed",
                multipart("signed", part(CAFE, UTF8), TEXT_PART, boundary="in").partition(b"MIME-Version: 1.0\r\n")[2],
            ),
            Fault.SIGNED,
        ),
        (
            multipart("signed", multipart("mixed", TEXT_PART, boundary="in").partition(b"1.0\r\n")[2]
                      .replace(b"\r\n\r\n", b"\r\n\r\npr\xe9\r\n", 1), TEXT_PART),
            Fault.SIGNED,
        ),
        (message(CAFE, UTF8, "Content-Transfer-Encoding: x-unknown"), Fault.CONTENT),
        (message(CAFE, UTF8, UTF8), Fault.CONTENT),
        (message(CAFE, "Content-Type: message/delivery-status"), Fault.CONTENT),
        (message(CAFE, "Content-Type: message/partial"), Fault.CONTENT),
        (message(CAFE, "Content-Type: multipart/mixed; boundary=none"), Fault.CONTENT),
        (multipart("mixed", part(CAFE, UTF8), boundary="ü"), Fault.CONTENT),
        (multipart("mixed", part(CAFE, EIGHT, EIGHT)), Fault.CONTENT),
        (message(b"x", "References: <ü@b.example>"), Fault.CONTENT),
    ],
)  # fmt: skip
def test_what_may_not_be_changed_is_refused(signed: bytes, fault: Fault) -> None:
    """RFC 1847, 2.1; RFC 3463, 3.7: 5.6.3, and never a signature broken in silence."""
    assert for_server(signed, eight_bit=False, smtputf8=False, declared=False) is fault
    assert fault.enhanced == "5.6.3"


def test_a_signed_message_of_seven_bits_stays_beside_what_is_changed() -> None:
    signed = multipart("signed", TEXT_PART, TEXT_PART, boundary="in").partition(b"1.0\r\n")[2]
    content = multipart("mixed", signed, part(CAFE, UTF8))
    assert signed in seven(content)


# What a server without SMTPUTF8 gets.


NAMED = message(CAFE, UTF8, EIGHT, "Reply-To: Jörg <j@b.example>")
ADDRESS = message(CAFE, UTF8, EIGHT, "Reply-To: jörg@b.example")


def test_names_in_utf8_go_in_encoded_words_and_the_body_as_it_is() -> None:
    found = for_server(NAMED, eight_bit=True, smtputf8=False, declared=True)
    assert found == NAMED.replace("Jörg".encode(), b"=?utf-8?Q?J=C3=B6rg?=")
    assert for_server(NAMED, eight_bit=True, smtputf8=True, declared=True) == NAMED


def test_an_address_that_needs_smtputf8_is_refused_where_it_was_declared() -> None:
    """RFC 6531, 3.4: 5.6.7; without the sender's word it goes as it always went."""
    for eight_bit in (True, False):
        assert for_server(ADDRESS, eight_bit=eight_bit, smtputf8=False, declared=True) is Fault.HEADER
    assert Fault.HEADER.enhanced == "5.6.7"
    assert for_server(ADDRESS, eight_bit=True, smtputf8=False, declared=False) == ADDRESS
    assert for_server(ADDRESS, eight_bit=False, smtputf8=False, declared=False) is Fault.CONTENT


def test_text_of_an_unknown_charset_stays_where_eight_bits_may_travel() -> None:
    content = message(b"x").replace(b"Subject: x", b"Subject: caf\xe9")
    assert for_server(content, eight_bit=True, smtputf8=False, declared=False) == content
    assert b"=?unknown-8bit?Q?caf=E9?=" in seven(content)


def test_a_header_without_end_is_left() -> None:
    content = b"".join(b"X-%d: \xc3\xbc\r\n" % number for number in range(10_001)) + b"\r\n"
    assert for_server(content, eight_bit=True, smtputf8=False, declared=False) == content
    assert for_server(content, eight_bit=False, smtputf8=False, declared=False) is Fault.CONTENT
    assert (
        for_server("Subject: ü".encode(), eight_bit=True, smtputf8=False, declared=True)
        == b"Subject: =?utf-8?B?w7w=?=\n"
    )


def test_smtputf8_alone_lets_the_header_be() -> None:
    """RFC 6531, 3.1 has a server offer both; one that forgot keeps its header, and gets 7 bits below it."""
    found = for_server(ADDRESS, eight_bit=False, smtputf8=True, declared=True)
    assert isinstance(found, bytes)
    assert "jörg@b.example".encode() in found
    assert found.partition(b"\r\n\r\n")[2].isascii()
    nested = message("Subject: ü\r\n\r\nx".encode(), "Content-Type: message/rfc822")
    assert for_server(nested, eight_bit=False, smtputf8=True, declared=True) == nested.replace(
        "ü".encode(), b"=?utf-8?B?w7w=?="
    )


# Lines that are too long, for any server.


def test_long_lines_are_encoded_and_nothing_else() -> None:
    content = multipart("mixed", part(LONG, UTF8), TEXT_PART, part(CAFE, UTF8, EIGHT))
    changed = with_short_lines(content)
    assert not has_long_line(changed)
    assert encodings(changed) == [None, "quoted-printable", None, "8bit"]
    assert leaves(changed) == leaves(content)
    assert content.partition(LONG)[2] == changed[-len(content.partition(LONG)[2]) :]


def test_short_lines_are_the_very_message() -> None:
    content = html(CAFE * 1000)
    assert with_short_lines(content) is content


@pytest.mark.parametrize(
    ("content", "encoding"),
    [
        (message(LONG), "quoted-printable"),
        (message(LONG, mime=False), "quoted-printable"),
        (message(b"some\0text\r\n", UTF8), "quoted-printable"),
        (message(b"%PDF\0" * 300, "Content-Type: application/pdf", "Content-Transfer-Encoding: binary"), "base64"),
        (message(b"QUJD" * 400 + b"\r\n", UTF8, "Content-Transfer-Encoding: base64"), "base64"),
        (message(b"=41" * 400 + b"\r\n", UTF8, "Content-Transfer-Encoding: quoted-printable"), "quoted-printable"),
    ],
)
def test_what_no_server_need_take_is_encoded(content: bytes, encoding: str) -> None:
    """RFC 5321, 4.5.3.1.6; RFC 2045, 2.8: no NUL even in 8bit."""
    changed = with_short_lines(content)
    assert not has_long_line(changed)
    assert b"\0" not in changed
    assert encodings(changed) == [encoding]
    assert b"MIME-Version: 1.0" in changed
    assert leaves(changed) == leaves(content)


def test_long_header_lines_are_folded_and_words_stay_whole() -> None:
    references = " ".join(f"<{number}@b.example>" for number in range(200))
    content = message(LONG, f"References: {references}", "X-Key: " + "k" * 2000)
    content = content.replace(
        b"MIME-Version: 1.0\r\n", b"MIME-Version: 1.0\r\nContent-Transfer-Encoding:" + b" " * 1500 + b"7bit\r\n"
    )
    changed = message_from_bytes(with_short_lines(content))
    assert str(changed["references"]).replace("\n", "").replace("\r", "") == references
    assert changed["x-key"] == "k" * 2000
    assert changed["content-transfer-encoding"] == "quoted-printable"


def test_a_long_preamble_is_folded() -> None:
    content = message(LONG + joined(TEXT_PART), 'Content-Type: multipart/mixed; boundary="=_b"')
    changed = with_short_lines(content)
    assert not has_long_line(changed)
    assert leaves(changed) == leaves(content)


@pytest.mark.parametrize(
    "content",
    [
        multipart("signed", part(LONG, UTF8), TEXT_PART),
        message(LONG, UTF8, UTF8),
        message(LONG, "Content-Transfer-Encoding: x-unknown"),
        message(LONG, "Content-Type: message/delivery-status"),
        message(b"x" * 1000, "Content-Type: message/rfc822"),
    ],
)
def test_what_may_not_be_changed_keeps_its_long_lines(content: bytes) -> None:
    """Nearly all servers take them; a broken signature, or a lost message, would be worse."""
    assert with_short_lines(content) == content


# Laws.

PIECES = [
    *(
        b"\r\n",
        b"\r\n\r\n",
        b"\r",
        b"\n",
        b"--b\r\n",
        b"--b--\r\n",
        b"--c\r\n",
        b"x",
        b"=",
        b"QUJD",
        b"\0",
        b"\xff",
        CAFE,
        LONG,
    ),
    *(b"Content-Type: multipart/mixed; boundary=c\r\n\r\n", b"Content-Type: multipart/signed; boundary=c\r\n"),
    *(b"Content-Type: text/plain\r\n", b"Content-Type: message/rfc822\r\n\r\n", b"Subject: \xc3\xbc\r\n"),
    *(b"Content-Transfer-Encoding: base64\r\n", b"Content-Transfer-Encoding: 8bit\r\n"),
]
HOSTILE = st.lists(st.one_of(st.sampled_from(PIECES), st.binary(max_size=6)), max_size=25).map(b"".join)
OUTER = [
    b"",
    b"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n",
    b"Subject: x\r\n\r\n",
    b"MIME-Version: 1.0\r\n",
]


@given(st.sampled_from(OUTER), HOSTILE, st.booleans(), st.booleans(), st.booleans())
def test_nothing_hostile_stops_it(outer: bytes, rest: bytes, eight_bit: bool, smtputf8: bool, declared: bool) -> None:
    """Bytes in, bytes or a fault out; what comes out for a server without either is ASCII, and stays as it is."""
    content = outer + rest
    found = for_server(content, eight_bit=eight_bit, smtputf8=smtputf8, declared=declared)
    if isinstance(found, bytes) and not eight_bit and not smtputf8:
        assert found.isascii()
    if isinstance(found, bytes):
        assert for_server(found, eight_bit=eight_bit, smtputf8=smtputf8, declared=declared) == found
    short = with_short_lines(content)
    assert with_short_lines(short) == short


TEXTS = st.lists(
    st.sampled_from([CAFE, LONG, b"plain\r\n", b"--", b"-- \r\n", b"=\r\n", b"a" * 75, "é".encode(), b" \r\n"]),
    max_size=12,
)
BODY = TEXTS.map(b"".join)
LEAF = st.builds(part, BODY, st.sampled_from([UTF8, "Content-Type: text/html", "Content-Type: application/x"]))
TREE = st.recursive(
    LEAF,
    lambda inner: st.one_of(
        st.builds(
            lambda parts, mark: part(
                joined(*parts, boundary=mark), f'Content-Type: multipart/mixed; boundary="{mark}"', EIGHT
            ),
            st.lists(inner, min_size=1, max_size=3),
            st.uuids().map(str),
        ),
        st.builds(lambda body: part(b"Subject: in\r\n" + body, "Content-Type: message/rfc822"), inner),
    ),
    max_leaves=6,
)


@given(TREE)
def test_each_leaf_decodes_to_what_it_was(tree: bytes) -> None:
    """For any tree of parts, for either reason."""
    content = b"From: a@b.example\r\nMIME-Version: 1.0\r\n" + tree
    found = seven(content)
    assert leaves(found) == leaves(content)
    short = with_short_lines(content)
    assert not has_long_line(short)
    assert leaves(short) == leaves(content)
    assert leaves(with_short_lines(found)) == leaves(content)


@pytest.mark.parametrize(
    "content",
    [
        lambda n: message(CAFE * n, UTF8),
        lambda n: multipart("mixed", *[part(CAFE, UTF8)] * n),
        lambda n: message(b"\xff" * 20 * n, "Content-Type: image/x"),
        lambda n: message(LONG + b"-\xff" * 20 * n),
        lambda n: message(CAFE, *["X-Note: ü"] * min(n, 9000)),
        lambda n: multipart("mixed", part(b"--b\xff\r\n" * n, UTF8), boundary="b-"),
    ],
)  # fmt: skip
def test_time_is_linear(content: object) -> None:
    """Twenty times the message in far less than four hundred times the time."""
    assert callable(content)

    def seconds(size: int) -> float:
        made = content(size)
        start = time.process_time()
        for_server(made, eight_bit=False, smtputf8=False, declared=False)
        with_short_lines(made)
        return time.process_time() - start

    small = max(min(seconds(500) for _ in range(3)), 1e-3)
    assert seconds(10_000) < 120 * small


# Real mail.


def test_real_mail_is_read_as_before() -> None:
    """Over the corpus, where `$CORPORA` is set: ASCII, short lines, and each leaf as Python's reader decodes it."""
    folder = Path(os.environ.get("CORPORA", "/nonexistent")) / "mail"
    if not folder.is_dir():
        pytest.skip("no corpus at hand: set CORPORA")
    refused = changed = 0
    for path in sorted(folder.rglob("*.eml")):
        content = path.read_bytes().replace(b"\r\n", b"\n").replace(b"\r", b"").replace(b"\n", b"\r\n")
        try:
            before = leaves(content)
        except RecursionError:  # of the reader, on multiparts a hundred deep
            continue
        found = for_server(content, eight_bit=False, smtputf8=False, declared=False)
        if isinstance(found, Fault):
            refused += 1
            continue
        assert found.isascii(), path
        assert leaves(found) == before, path
        assert leaves(with_short_lines(content)) == before, path
        changed += found != content
    assert changed > 5 * refused
