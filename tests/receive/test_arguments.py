"""relay/receive/arguments.py: parameters keep their own case, and nothing hides in them."""

import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.receive.arguments import MailFrom, RcptTo, parse_any_mail, parse_mail, parse_rcpt
from storage.address import Address
from storage.model import BodyType, Reply

A = Address("a", "b.example")


@pytest.mark.parametrize(
    ("argument", "mail"),
    [
        ("FROM:<a@b.example>", MailFrom(A)),
        ("from: <a@B.example>", MailFrom(A)),
        ("FROM:<>", MailFrom(None)),
        ("FROM:<> SIZE=0", MailFrom(None, 0)),
        ("FROM:<a@b.example> size=12 body=8bitmime", MailFrom(A, 12, BodyType.EIGHT_BIT_MIME)),
        ("FROM:<a@b.example> BODY=7BIT SMTPUTF8", MailFrom(A, None, BodyType.SEVEN_BIT, smtputf8=True)),
        ("FROM:<a@b.example> RET=hdrs ENVID=QQ+3d1Zz", MailFrom(A)),
        ("FROM:<a@b.example> RET=hdrs ENVID=QQ+3D1Zz", MailFrom(A, ret="HDRS", envid="QQ+3D1Zz")),
        ("FROM:<a@b.example> AUTH=<>", MailFrom(A)),
        ("FROM:<a@b.example> AUTH=e+3Dmc2@x.example", MailFrom(A)),
    ],
)
def test_mail_with_parameters(argument: str, mail: MailFrom) -> None:
    parsed = parse_mail(argument)
    if "+3d" in argument:  # RFC 3461, 4: the hexadecimal digits of xtext are in upper case
        assert isinstance(parsed, Reply)
    else:
        assert parsed == mail


@pytest.mark.parametrize(
    ("argument", "code", "enhanced"),
    [
        ("", 501, "5.5.4"),
        ("<a@b.example>", 501, "5.5.4"),
        ("FROM<a@b.example>", 501, "5.5.4"),
        ("FROM:", 501, "5.5.4"),
        ("FROM:a@b.example", 501, "5.5.4"),
        ("FROM:<a@b.example", 501, "5.5.4"),
        ("FROM:<a@b.example> SIZE", 501, "5.5.4"),
        ("FROM:<a@b.example> SIZE=", 501, "5.5.4"),
        ("FROM:<a@b.example> SIZE=-1", 501, "5.5.4"),
        ("FROM:<a@b.example> SIZE=1e3", 501, "5.5.4"),
        ("FROM:<a@b.example> SIZE=" + "9" * 21, 501, "5.5.4"),
        ("FROM:<a@b.example> SIZE=1 size=2", 501, "5.5.4"),
        ("FROM:<a@b.example> BODY", 501, "5.5.4"),
        ("FROM:<a@b.example> BODY=BINARYMIME", 501, "5.5.4"),
        ("FROM:<a@b.example> SMTPUTF8=yes", 501, "5.5.4"),
        ("FROM:<a@b.example> RET=ALL", 501, "5.5.4"),
        ("FROM:<a@b.example> RET", 501, "5.5.4"),
        ("FROM:<a@b.example> ENVID", 501, "5.5.4"),
        ("FROM:<a@b.example> ENVID=a+0D+0Ab", 501, "5.5.4"),
        ("FROM:<a@b.example> ENVID=a+zzb", 501, "5.5.4"),
        ("FROM:<a@b.example> ENVID=" + "a" * 101, 501, "5.5.4"),
        ("FROM:<a@b.example> AUTH", 501, "5.5.4"),
        ("FROM:<a@b.example> =x", 501, "5.5.4"),
        ("FROM:<a@b.example> a=b=c", 501, "5.5.4"),
        ("FROM:<a@b.example> MT-PRIORITY=3", 555, "5.5.4"),
        ("FROM:<a@b.example> NOTIFY=NEVER", 555, "5.5.4"),
        ("FROM:<a>", 553, "5.1.7"),
        ("FROM:<Postmaster>", 553, "5.1.7"),
        ("FROM:<a..b@c.example>", 553, "5.1.7"),
        ("FROM:<a@b..example>", 553, "5.1.8"),
        ("FROM:<a@[192.0.2.1]>", 553, "5.1.8"),
        ("FROM:<ü@b.example>", 553, "5.6.7"),
        ("FROM:<a@ü.example> BODY=8BITMIME", 553, "5.6.7"),
    ],
)
def test_mail_refused(argument: str, code: int, enhanced: str) -> None:
    reply = parse_mail(argument)
    assert isinstance(reply, Reply)
    assert (reply.code, reply.enhanced) == (code, enhanced)


@pytest.mark.parametrize(
    ("argument", "sender"),
    [
        ("FROM:<>", None),
        ("FROM:<a@b.example> SIZE=3", A),
        ("FROM:<MAILER-DAEMON>", None),
        ("FROM:<x@[192.0.2.1]>", None),
        ("FROM:<a..b@c.example>", None),
        ("FROM:<ü@b.example>", Address("ü", "b.example")),
    ],
)
def test_where_bounces_come_in_any_sender_is_taken(argument: str, sender: Address | None) -> None:
    mail = parse_any_mail(argument)
    assert isinstance(mail, MailFrom)
    assert mail.sender == sender


@pytest.mark.parametrize("argument", ["", "FROM:x", "FROM:<x> a=b=c", "FROM:<x> X=1", "FROM:<a@b> SIZE=x"])
def test_any_sender_is_not_any_syntax(argument: str) -> None:
    assert isinstance(parse_any_mail(argument), Reply)


@pytest.mark.parametrize(
    ("argument", "rcpt"),
    [
        ("TO:<a@b.example>", RcptTo(A)),
        ("to: <a@b.example>", RcptTo(A)),
        ("TO:<Postmaster>", RcptTo(Address("Postmaster", ""))),
        ("TO:<@r.example:a@b.example>", RcptTo(A)),
        ("TO:<a@b.example> NOTIFY=never", RcptTo(A, "NEVER")),
        ("TO:<a@b.example> notify=Success,DELAY", RcptTo(A, "SUCCESS,DELAY")),
        ("TO:<a@b.example> ORCPT=rfc822;A+2Bx@B.example", RcptTo(A, None, "rfc822;A+2Bx@B.example")),
    ],
)
def test_rcpt_with_parameters(argument: str, rcpt: RcptTo) -> None:
    assert parse_rcpt(argument, utf8=False) == rcpt


def test_an_original_recipient_may_hold_what_smtputf8_lets_through() -> None:
    """RFC 6533, 3."""
    argument = "TO:<ü@b.example> ORCPT=utf-8;ü@b.example"
    assert parse_rcpt(argument, utf8=True) == RcptTo(Address("ü", "b.example"), None, "utf-8;ü@b.example")
    for refused in ("ORCPT=rfc822;ü@b.example", "ORCPT=utf-8", "ORCPT=utf-8;" + "ü" * 500, "ORCPT=utf-8;a+0A"):
        assert isinstance(parse_rcpt(f"TO:<a@b.example> {refused}", utf8=True), Reply)
    assert isinstance(parse_rcpt("TO:<a@b.example> ORCPT=rfc822;a@b", utf8=True), RcptTo)


@pytest.mark.parametrize(
    ("orcpt", "utf8", "taken"),
    [
        ("utf-8;\\x{FC}@b.example", False, True),
        ("UTF-8;\\x{1F600}\\x{5C}\\x{2B}@b.example", False, True),
        ("utf-8;\\x{10FFFF}\\x{D7FF}\\x{FFF}", True, True),
        ("utf-8;ü\\x{3D}", True, True),
        ("utf-8;a+2Bb@b.example", False, False),
        ("utf-8;a\\b@b.example", False, False),
        ("utf-8;\\x{0A}", False, False),
        ("utf-8;\\x{0D}\\x{0A}", True, False),
        ("utf-8;\\x{41}", False, False),
        ("utf-8;\\x{85}", False, False),
        ("utf-8;\\x{D800}", False, False),
        ("utf-8;\\x{110000}", False, False),
        ("utf-8;\\x{fc}", False, False),
        ("utf-8;\udcff", True, False),
        ("utf-8;\x85", True, False),
        ("x_local!;a", False, True),
        ("x.400;a", False, False),
        ("rfc822;a\\x{FC}", False, True),  # xtext, in which a backslash is only that
    ],
)
def test_original_recipients_of_rfc_6533(orcpt: str, utf8: bool, taken: bool) -> None:
    """RFC 6533, 3: Unicode in its own form or embedded; no control, surrogate or plain character is embedded."""
    assert isinstance(parse_rcpt(f"TO:<a@b.example> ORCPT={orcpt}", utf8=utf8), RcptTo) is taken


@pytest.mark.parametrize(
    ("argument", "code", "enhanced"),
    [
        ("", 501, "5.5.4"),
        ("TO:<>", 501, "5.5.4"),
        ("TO:", 501, "5.5.4"),
        ("TO:<a@b.example> NOTIFY", 501, "5.5.4"),
        ("TO:<a@b.example> NOTIFY=", 501, "5.5.4"),
        ("TO:<a@b.example> NOTIFY=NEVER,SUCCESS", 501, "5.5.4"),
        ("TO:<a@b.example> NOTIFY=SUCCESS,SUCCESS", 501, "5.5.4"),
        ("TO:<a@b.example> NOTIFY=SUCCESS,", 501, "5.5.4"),
        ("TO:<a@b.example> ORCPT", 501, "5.5.4"),
        ("TO:<a@b.example> ORCPT=a@b", 501, "5.5.4"),
        ("TO:<a@b.example> ORCPT=rfc822;", 501, "5.5.4"),
        ("TO:<a@b.example> ORCPT=rfc822;a+0Ab", 501, "5.5.4"),
        ("TO:<a@b.example> ORCPT=rfc822;" + "a" * 500, 501, "5.5.4"),
        ("TO:<a@b.example> ORCPT=utf-8;ü", 501, "5.5.4"),
        ("TO:<a@b.example> SIZE=1", 555, "5.5.4"),
        ("TO:<a@b.example> a==", 501, "5.5.4"),
        ("TO:<a>", 553, "5.1.3"),
        ("TO:<a b@c.example>", 553, "5.1.3"),
        ("TO:<a@b..example>", 553, "5.1.2"),
        ("TO:<a@[192.0.2.1]>", 553, "5.1.2"),
        ("TO:<ü@b.example>", 553, "5.6.7"),
    ],
)
def test_rcpt_refused(argument: str, code: int, enhanced: str) -> None:
    reply = parse_rcpt(argument, utf8=False)
    assert isinstance(reply, Reply)
    assert (reply.code, reply.enhanced) == (code, enhanced)


@given(st.text(max_size=200), st.booleans())
def test_nothing_raises_and_nothing_unclean_comes_out(text: str, utf8: bool) -> None:
    for parsed in (parse_mail(text), parse_mail(f"FROM:<a@b.example> {text}"), parse_any_mail(f"FROM:<{text}>")):
        assert isinstance(parsed, Reply) or (parsed.envid or "").isprintable()
    for rcpt in (parse_rcpt(text, utf8=utf8), parse_rcpt(f"TO:<a@b.example> {text}", utf8=utf8)):
        assert isinstance(rcpt, Reply) or ((rcpt.orcpt or "") + (rcpt.notify or "")).isprintable()


@given(st.binary(max_size=60))
def test_what_xtext_stands_for_is_always_printable(raw: bytes) -> None:
    """What is passed on must not become a line end when the next server decodes it."""
    xtext = "".join(chr(byte) if 33 <= byte <= 126 and byte not in b"+=" else f"+{byte:02X}" for byte in raw)
    mail = parse_mail(f"FROM:<a@b.example> ENVID={xtext}")
    if isinstance(mail, MailFrom):
        plain = re.sub(r"\+([0-9A-F]{2})", lambda found: chr(int(found[1], 16)), mail.envid or "")
        assert plain.isprintable()
        assert plain.encode() == raw


@pytest.mark.parametrize("piece", [" A=B", " ", "=", " SIZE=1", " ORCPT=rfc822;", "+41", "+", ",SUCCESS", ";"])
def test_hostile_parameters_cost_linear_time(piece: str) -> None:
    text = piece * (200_000 // len(piece))
    begun = time.perf_counter()
    for start in ("", " ENVID=", " ORCPT=rfc822;", " NOTIFY="):
        parse_mail(f"FROM:<a@b.example>{start}{text}")
        parse_rcpt(f"TO:<a@b.example>{start}{text}", utf8=True)
    assert time.perf_counter() - begun < 2
