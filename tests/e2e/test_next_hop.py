"""What the real process gives Debian's Postfix, by what that offers: 8BITMIME, SMTPUTF8, DSN, each or none."""

import smtplib
from collections.abc import Callable
from email import message_from_bytes
from email.header import decode_header, make_header

import pytest

from tests.e2e.test_dkim import printed
from tests.peers.dkim import verified
from tests.peers.postfix import Postfix
from tests.peers.telltale import Telltale, wait_for

pytestmark = pytest.mark.e2e

MakePostfix = Callable[..., Postfix]
NOTHING = "smtpd_discard_ehlo_keywords = 8bitmime, smtputf8, dsn"
TEXT = "Grüße aus dem wunderschönen Norden, und ein Gruß an Jörg und alle anderen Leute"
PAGE = f"<html><body><p>{TEXT}</p></body></html>\r\n"
MAIL = (
    "From: Jörg <news@sender.test>\r\nTo: reader@good.test\r\nSubject: Grüße von Jörg\r\nMIME-Version: 1.0\r\n"
    f"Content-Type: text/html; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n{PAGE}"
).encode()


def start(telltale: Telltale, peer: Postfix, delivery: str = "") -> None:
    with telltale.config.open("a") as config:
        config.write(f'[delivery]\nroutes = {{"*.test" = "smtp://{peer.address}:{peer.port}"}}\n{delivery}\n')
    telltale.start()


def submit(
    telltale: Telltale, content: bytes, *people: str, mail: tuple[str, ...] = (), rcpt: tuple[str, ...] = ()
) -> None:
    with smtplib.SMTP("127.0.0.1", telltale.submission) as client:
        client.sendmail("news@sender.test", list(people), content, ["BODY=8BITMIME", *mail], rcpt)


def copies(peer: Postfix, count: int) -> list[bytes]:
    """Return the copies that Postfix has kept, by the order of their recipients, with lines as they came."""

    def kept() -> list[bytes]:
        found = [copy.replace(b"\n", b"\r\n") for copy in peer.messages()]
        return sorted(found, key=lambda copy: str(message_from_bytes(copy)["x-original-to"]))

    return wait_for(f"{count} copies", lambda: found if len(found := kept()) == count else None)


def test_a_postfix_that_offers_nothing_gets_seven_bits_that_verify(
    make_telltale: Callable[..., Telltale], make_postfix: MakePostfix
) -> None:
    """Each with its image, its header in encoded words, and signed as it arrived."""
    telltale = make_telltale(start=False)
    peer = make_postfix(telltale.bounce, NOTHING)
    records = printed(telltale.run("dkim", "generate", "sender.test", "--selector", "s1"))
    start(telltale, peer)
    submit(telltale, MAIL, "one@good.test", "two@good.test", mail=("SMTPUTF8",))
    for copy in copies(peer, 2):
        assert copy.isascii()
        assert verified(copy, records) == [True, True]
        message = message_from_bytes(copy)
        assert str(make_header(decode_header(message["subject"]))) == "Grüße von Jörg"
        page = message.get_payload(decode=True)
        assert isinstance(page, bytes)
        assert TEXT.encode() in page
        assert page.count(b"<img") == 1
    assert telltale.output().count("event=re-encoded") == 2


def test_what_needs_smtputf8_goes_where_it_is_offered_and_nowhere_else(
    make_telltale: Callable[..., Telltale], make_postfix: MakePostfix
) -> None:
    offering, refusing = make_telltale(start=False), make_telltale(start=False)
    peer, bare = make_postfix(offering.bounce), make_postfix(refusing.bounce, NOTHING)
    start(offering, peer)
    start(refusing, bare)
    with_address = MAIL.replace(b"To: reader@", "To: lesär@".encode())
    for telltale in (offering, refusing):
        submit(telltale, MAIL.replace(b"reader", b"plain"), "plain@good.test")
        with smtplib.SMTP("127.0.0.1", telltale.submission) as client:
            client.ehlo()
            client.mail("news@sender.test", ["BODY=8BITMIME", "SMTPUTF8"])
            client.send("RCPT TO:<lesär@good.test>\r\n".encode())
            assert client.getreply()[0] == 250
            assert client.data(with_address)[0] == 250
    assert offering.wait_status("lesär@good.test", "Sent")["attempts"] == 1
    refused = refusing.wait_status("lesär@good.test", "Bounced")
    assert (refused["enhanced_status"], refused["attempts"]) == ("5.6.7", 1)
    refusing.wait_status("plain@good.test", "Sent")
    (_, unicode) = sorted(copies(peer, 2), key=lambda copy: "lesär".encode() in copy)
    assert "Subject: Grüße von Jörg".encode() in unicode
    assert TEXT.encode() in unicode


def test_signed_content_is_refused_rather_than_broken(
    make_telltale: Callable[..., Telltale], make_postfix: MakePostfix
) -> None:
    telltale = make_telltale(start=False)
    start(telltale, make_postfix(telltale.bounce, NOTHING))
    signed = (
        'Subject: x\r\nMIME-Version: 1.0\r\nContent-Type: multipart/signed; protocol="application/pgp-signature";'
        f" boundary=b\r\n\r\n--b\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n{TEXT}\r\n--b\r\n"
        "Content-Type: application/pgp-signature\r\n\r\nx\r\n--b--\r\n"
    )
    submit(telltale, signed.encode(), "reader@good.test")
    refused = telltale.wait_status("reader@good.test", "Bounced")
    assert (refused["enhanced_status"], refused["attempts"]) == ("5.6.3", 1)
    assert "signature" in refused["diagnostic"]


def test_a_long_line_arrives_whole(make_telltale: Callable[..., Telltale], make_postfix: MakePostfix) -> None:
    """RFC 5321, 4.5.3.1.6: Postfix would have cut it on its way on."""
    telltale = make_telltale(start=False)
    peer = make_postfix(telltale.bounce)
    start(telltale, peer)
    line = "word " * 2000
    submit(
        telltale, MAIL.replace(PAGE.encode(), f"<html><body><p>{line}</p></body></html>\r\n".encode()), "r@good.test"
    )
    (copy,) = copies(peer, 1)
    assert max(map(len, copy.split(b"\r\n"))) <= 998
    page = message_from_bytes(copy).get_payload(decode=True)
    assert isinstance(page, bytes)
    assert line.encode() in page
    assert page.count(b"<img") == 1


def test_postfix_reports_success_where_it_was_asked_to(
    make_telltale: Callable[..., Telltale], make_postfix: MakePostfix
) -> None:
    """RFC 3461, end to end: what Postfix took is Sent, and its success DSN makes it Delivered; NEVER is never."""
    telltale = make_telltale(start=False)
    peer = make_postfix(telltale.bounce)
    start(telltale, peer, 'delivered_on = "dsn"')
    submit(telltale, MAIL, "reader@good.test", mail=("RET=HDRS", "ENVID=Q+2B7"))
    telltale.wait_status("reader@good.test", "Delivered")
    submit(telltale, MAIL, "never@good.test", "gone@bounce.test", rcpt=("NOTIFY=NEVER",))
    for address in ("never@good.test", "gone@bounce.test"):
        assert telltale.wait_status(address, "Sent")["attempts"] == 1
    wait_for("Postfix to find nobody", lambda: "gone@bounce.test" in peer.log() and "status=bounced" in peer.log())
    assert telltale.row("gone@bounce.test") is not None
    assert peer.log().count("sender delivery status notification") == 1
