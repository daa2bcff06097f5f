"""From a real client to a receiving server, and the image back: what a newcomer does first."""

import csv
import io
import json
import re
import smtplib
import ssl
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.peers import keeper
from tests.peers.smtp import free_port
from tests.peers.telltale import HTML, Telltale, fetch, image_of, require, wait_for

pytestmark = pytest.mark.e2e


def routed(port: int) -> str:
    return f'routes = {{"*" = "smtp://127.0.0.1:{port}"}}'


def kept_for(box: keeper.Keeper, address: str) -> keeper.Kept:
    return wait_for(
        f"a copy for {address}", lambda: next((m for m in box.messages() if m.recipients == (address,)), None)
    )


def test_swaks_to_sent_to_opened(
    make_telltale: Callable[..., Telltale], mailbox: tuple[keeper.Keeper, int], tmp_path: Path
) -> None:
    box, port = mailbox
    telltale = make_telltale(delivery=routed(port))
    subprocess.run(
        [require("swaks"), "--server", f"127.0.0.1:{telltale.submission}", "--from", "news@sender.test",
         "--to", "reader@keeper.test", "--data", "-"],
        input=HTML.encode(), check=True, capture_output=True, timeout=30,
    )  # fmt: skip
    copy = kept_for(box, "reader@keeper.test")
    sent = telltale.wait_status("reader@keeper.test", "Sent")
    assert (sent["attempts"], sent["subject"], sent["tracked"], sent["opens"]) == (1, "The weekly report", True, 0)
    assert re.fullmatch(r"[0-9a-f]{32}@bounces\.relay\.test", copy.sender)
    assert len(fetch(image_of(copy.content))) == 43
    opened = telltale.wait_status("reader@keeper.test", "Opened")
    assert (opened["opens"], bool(opened["first_open"])) == (1, True)
    timeline = telltale.run("show", sent["queue_id"])
    assert "reader@keeper.test" in timeline
    assert "250" in timeline


def test_curl_and_a_text_message(
    make_telltale: Callable[..., Telltale], mailbox: tuple[keeper.Keeper, int], tmp_path: Path
) -> None:
    """Plain text becomes an alternative with the same text, and is tracked too."""
    box, port = mailbox
    telltale = make_telltale(delivery=routed(port))
    eml = tmp_path / "text.eml"
    eml.write_bytes(b"From: a@sender.test\r\nTo: t@keeper.test\r\nSubject: Plain\r\n\r\nHello <you> & all\r\n")
    subprocess.run(
        [require("curl"), "-sS", f"smtp://127.0.0.1:{telltale.submission}", "--mail-from", "a@sender.test",
         "--mail-rcpt", "t@keeper.test", "-T", eml],
        check=True, timeout=30,
    )  # fmt: skip
    copy = kept_for(box, "t@keeper.test")
    assert b"multipart/alternative" in copy.content
    assert b"Hello <you> & all" in copy.content
    assert b"Hello &lt;you&gt; &amp; all" in copy.content
    fetch(image_of(copy.content))
    telltale.wait_status("t@keeper.test", "Opened")


def test_every_recipient_has_an_own_copy_and_twice_is_duplicate(
    make_telltale: Callable[..., Telltale], mailbox: tuple[keeper.Keeper, int]
) -> None:
    box, port = mailbox
    telltale = make_telltale(delivery=routed(port))
    people = [f"r{number}@keeper.test" for number in range(5)]
    with smtplib.SMTP("127.0.0.1", telltale.submission) as client:
        assert client.sendmail("a@sender.test", [*people, "r0@KEEPER.test"], HTML) == {}
    copies = [kept_for(box, person) for person in people]
    assert len({image_of(copy.content) for copy in copies}) == len({copy.sender for copy in copies}) == 5
    for person in people:
        wait_for(f"{person} sent", lambda person=person: telltale.log("--recipient", person, "--status", "Sent"))
    rows = telltale.log("--recipient", "r0@keeper.test")
    assert sorted(row["status"] for row in rows) == ["Duplicate", "Sent"]
    assert len(box.messages()) == 5
    # One open moves one recipient only.
    fetch(image_of(copies[3].content))
    telltale.wait_status("r3@keeper.test", "Opened")
    assert {row["recipient"] for row in telltale.log("--status", "Opened")} == {"r3@keeper.test"}
    table = list(csv.DictReader(io.StringIO(telltale.run("log", "--csv"))))
    assert len(table) == 6
    with_events = json.loads(telltale.run("log", "--json", "--events", "--recipient", "r3@keeper.test").splitlines()[0])
    assert len(with_events["events"]) >= 3


def test_auth_over_tls_only_and_own_addresses_only(
    make_telltale: Callable[..., Telltale], mailbox: tuple[keeper.Keeper, int]
) -> None:
    """Law 4: without AUTH, from a network that is not trusted, nothing is relayed."""
    box, port = mailbox
    tls_port = free_port()
    telltale = make_telltale(
        delivery=routed(port), submission=f'trusted_networks = []\ntls_listen = ["127.0.0.1:{tls_port}"]'
    )
    telltale.run("user", "add", "ann", "--sender", "ann@sender.test", "--password-stdin", stdin=b"correct horse\n")
    trust = ssl.create_default_context()
    trust.check_hostname, trust.verify_mode = False, ssl.CERT_NONE
    with smtplib.SMTP("127.0.0.1", telltale.submission) as client:
        client.ehlo()
        assert not client.has_extn("auth")
        assert client.docmd("MAIL FROM:<ann@sender.test>")[0] == 530
        client.starttls(context=trust)
        client.ehlo()
        assert client.has_extn("auth")
        with pytest.raises(smtplib.SMTPAuthenticationError):
            client.login("ann", "wrong")
        client.login("ann", "correct horse")
        with pytest.raises(smtplib.SMTPSenderRefused):
            client.sendmail("bob@sender.test", ["x@keeper.test"], HTML)
        client.rset()
        client.sendmail("ann@sender.test", ["x@keeper.test"], HTML.replace("news@", "ann@"))
    with smtplib.SMTP_SSL("127.0.0.1", tls_port, context=trust) as client:
        client.login("ann", "correct horse")
        client.sendmail("ann@sender.test", ["y@keeper.test"], HTML.replace("news@", "ann@"))
    kept_for(box, "x@keeper.test")
    kept_for(box, "y@keeper.test")
    assert telltale.run("user", "list").count("ann") >= 1


def test_what_waits_survives_a_restart_and_can_be_held_and_removed(make_telltale: Callable[..., Telltale]) -> None:
    """A soft bounce waits with its reason; hold, release, flush and remove do what they say."""
    closed = free_port()
    telltale = make_telltale(delivery=routed(closed), retry='schedule = ["1h"]')
    with smtplib.SMTP("127.0.0.1", telltale.submission) as client:
        client.sendmail("a@sender.test", ["w@keeper.test", "v@keeper.test"], HTML)
    row = telltale.wait_status("w@keeper.test", "Soft Bounced")
    assert row["next_attempt"] is not None
    assert row["diagnostic"]
    telltale.wait_status("v@keeper.test", "Soft Bounced")
    assert telltale.stop() == 0
    telltale.run("queue", "hold", "w@keeper.test")
    telltale.run("queue", "remove", "--quiet", "v@keeper.test")
    box = keeper.Keeper()
    sink = keeper.start(box, "127.0.0.1", closed)
    try:
        telltale.start()
        telltale.run("queue", "flush", "--all")
        assert telltale.wait_status("v@keeper.test", "Bounced")["attempts"] == 1
        telltale.run("queue", "release", "w@keeper.test")
        kept_for(box, "w@keeper.test")
        assert telltale.wait_status("w@keeper.test", "Sent")["attempts"] == 2
        assert [m.recipients for m in box.messages()] == [("w@keeper.test",)]
    finally:
        sink.stop()


def test_an_opted_out_message_goes_untouched(
    make_telltale: Callable[..., Telltale], mailbox: tuple[keeper.Keeper, int]
) -> None:
    box, port = mailbox
    telltale = make_telltale(delivery=routed(port))
    with smtplib.SMTP("127.0.0.1", telltale.submission) as client:
        client.sendmail("a@sender.test", ["o@keeper.test"], "X-Track-Opens: no\r\nBcc: secret@sender.test\r\n" + HTML)
    copy = kept_for(box, "o@keeper.test")
    assert b"<img" not in copy.content
    assert b"x-track-opens" not in copy.content.lower()
    assert b"secret@" not in copy.content
    row = telltale.wait_status("o@keeper.test", "Sent")
    assert row["tracked"] is False
    assert row["untracked_reason"]
