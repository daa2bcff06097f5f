"""The sender gets an answer: through real processes, to a scripted server that stands for the sender's own."""

import contextlib
import email
import email.message
import smtplib
import sqlite3
from typing import Protocol

import pytest

from relay.bounce.finding import Kind
from relay.bounce.parse import parse
from tests.peers.smtp import Got, Script, ScriptedServer
from tests.peers.telltale import HTML, Telltale, wait_for

pytestmark = pytest.mark.e2e


class MakeTelltale(Protocol):
    def __call__(self, *, start: bool = True, **sections: str) -> Telltale: ...


def routes(sender: ScriptedServer, keeper: ScriptedServer) -> str:
    return f'routes = {{"sender.test" = "smtp://127.0.0.1:{sender.port}", "*" = "smtp://127.0.0.1:{keeper.port}"}}'


def submit(telltale: Telltale, *recipients: str, sender: str = "news@sender.test", **options: str) -> None:
    with smtplib.SMTP("127.0.0.1", telltale.submission) as client:
        client.sendmail(sender, recipients, HTML, rcpt_options=[f"{key}={value}" for key, value in options.items()])


def arrived(server: ScriptedServer, number: int = 1) -> list[Got]:
    wait_for(f"{number} mails to arrive", lambda: len(server.messages) >= number)
    return server.messages


def read(got: Got) -> email.message.Message:
    assert got.sender == ""
    assert got.recipients == ("news@sender.test",)
    return email.message_from_bytes(got.content)


def test_a_sender_is_told_of_all_that_a_server_refused(make_telltale: MakeTelltale) -> None:
    refusing = Script(rcpt=lambda address: "550 5.1.1 no such user" if address[0] == "x" else "250 ok")
    with ScriptedServer() as sender, ScriptedServer(refusing) as keeper:
        telltale = make_telltale(delivery=routes(sender, keeper))
        submit(telltale, "xa@keeper.test", "ok@keeper.test", "xb@keeper.test")
        (got,) = arrived(sender)
        found = read(got)
        assert found["Subject"] == "Undeliverable: The weekly report"
        assert "DKIM-Signature" not in found
        assert b"<img" not in got.content
        parsed = parse(got.content)
        assert parsed.kind is Kind.DSN
        assert {one.recipient for one in parsed.findings} == {"xa@keeper.test", "xb@keeper.test"}
        row = telltale.wait_status("news@sender.test", "Sent")
        assert (row["sender"], row["subject"]) == ("", "Undeliverable: The weekly report")
        assert "the sender was told: failed" in telltale.run("show", telltale.row("xa@keeper.test")["queue_id"])


def test_notify_is_obeyed_and_success_is_told_who_asked(make_telltale: MakeTelltale) -> None:
    refusing = Script(rcpt=lambda address: "550 5.1.1 no such user" if address[0] == "x" else "250 ok")
    with ScriptedServer() as sender, ScriptedServer(refusing) as keeper:
        telltale = make_telltale(delivery=routes(sender, keeper))
        submit(telltale, "xa@keeper.test", NOTIFY="NEVER")
        submit(telltale, "xb@keeper.test", NOTIFY="SUCCESS")
        telltale.wait_status("xb@keeper.test", "Failed")
        submit(telltale, "ok@keeper.test", NOTIFY="SUCCESS", ORCPT="rfc822;first@keeper.test")
        (got,) = arrived(sender)
        assert read(got)["Subject"] == "Relayed: The weekly report"
        assert b"Original-Recipient: rfc822; first@keeper.test\r\n" in got.content
        assert b"Final-Recipient: rfc822; ok@keeper.test\r\nAction: relayed\r\n" in got.content


def test_a_delay_is_told_and_then_the_end(make_telltale: MakeTelltale) -> None:
    with ScriptedServer() as sender, ScriptedServer(Script(rcpt="451 4.7.1 later")) as keeper:
        telltale = make_telltale(
            delivery=routes(sender, keeper), answers="delay_after = 2", retry="schedule = [1]\nlifetime = 8"
        )
        submit(telltale, "slow@keeper.test")
        delayed, failed = arrived(sender, 2)
        assert read(delayed)["Subject"] == "Delayed: The weekly report"
        assert b"Will-Retry-Until: " in delayed.content
        assert read(failed)["Subject"] == "Undeliverable: The weekly report"
        assert b"Status: 4.4.7\r\n" in failed.content
        assert len(sender.messages) == 2


def test_an_auto_reply_is_forwarded_and_a_report_becomes_our_own(make_telltale: MakeTelltale) -> None:
    with ScriptedServer() as sender, ScriptedServer() as keeper:
        telltale = make_telltale(delivery=routes(sender, keeper))
        submit(telltale, "away@keeper.test")
        path = arrived(keeper)[0].sender
        reply = "From: away@keeper.test\r\nSubject: Away\r\nAuto-Submitted: auto-replied\r\n\r\nBack on Monday.\r\n"
        with smtplib.SMTP("127.0.0.1", telltale.bounce) as client:
            client.sendmail("", [path], reply)
        (forwarded,) = arrived(sender)
        found = read(forwarded)
        assert (found["Subject"], found["Reply-To"]) == ("Away", "<away@keeper.test>")
        assert b"Back on Monday." in forwarded.content
        with smtplib.SMTP("127.0.0.1", telltale.bounce) as client:
            client.sendmail("", [path], REPORT.replace("\n", "\r\n"))
        _, told = arrived(sender, 2)
        assert read(told)["Subject"] == "Undeliverable: The weekly report"
        assert b"Remote-MTA: dns; mx.far.test\r\nDiagnostic-Code: smtp; 550 5.2.1 mailbox disabled" in told.content


REPORT = """\
From: MAILER-DAEMON@mx.far.test
Subject: Undelivered Mail Returned to Sender
MIME-Version: 1.0
Content-Type: multipart/report; report-type=delivery-status; boundary=b

--b

No.
--b
Content-Type: message/delivery-status

Reporting-MTA: dns; mx.keeper.test

Final-Recipient: rfc822; away@keeper.test
Action: failed
Status: 5.2.1
Remote-MTA: dns; mx.far.test
Diagnostic-Code: smtp; 550 5.2.1 mailbox disabled
--b--
"""


def test_two_telltales_that_send_to_each_other_come_to_rest(make_telltale: MakeTelltale) -> None:
    """Each has the other's return path for a sender: what comes to one is forwarded to the other, back, and ends."""
    with ScriptedServer() as keeper:
        one, two = make_telltale(start=False), make_telltale(start=False)
        for telltale, other, name in ((one, two, "one"), (two, one, "two")):
            text = telltale.config.read_text().replace("bounces.relay.test", f"bounces.{name}.test")
            far = "two" if name == "one" else "one"
            way = f'"bounces.{far}.test" = "smtp://127.0.0.1:{other.bounce}"'
            telltale.config.write_text(
                f'{text}[delivery]\nroutes = {{{way}, "*" = "smtp://127.0.0.1:{keeper.port}"}}\n'
            )
            telltale.start()
        submit(one, "a@keeper.test")
        path_of_one = arrived(keeper, 1)[0].sender
        submit(two, "b@keeper.test", sender=path_of_one)
        path_of_two = arrived(keeper, 2)[1].sender
        # What names two as the sender of a message of one: now each leads to the other.
        submit(one, "c@keeper.test", sender=path_of_two)
        path = arrived(keeper, 3)[2].sender
        with smtplib.SMTP("127.0.0.1", one.bounce) as client:
            client.sendmail("", [path], "Subject: hello\r\n\r\nround and round\r\n")

        def notices() -> int:
            return sum(row["sender"] == "" for telltale in (one, two) for row in telltale.log())

        wait_for("the last sender to be told", lambda: notices() >= 2)
        wait_for("all to be handed over", lambda: all(row["status"] == "Sent" for row in [*one.log(), *two.log()]))
        wait_for("nothing to be left that could make more", lambda: at_rest(one, two))
        assert notices() == 2


def at_rest(*telltales: Telltale) -> bool:
    """Whether nothing is left to be read, told or sent: what is on its way waits at its sender until it is settled.

    Nothing changed meanwhile, so that it held for all of them at one time.
    """
    states = [state_of(telltale) for telltale in telltales]
    return not any(left for _, left in states) and states == [state_of(telltale) for telltale in telltales]


def state_of(telltale: Telltale) -> tuple[int, int]:
    """Return the number of the last change, and how much is left to do."""
    path = telltale.root / "state" / "telltale.db"
    with contextlib.closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as store:
        sql = (
            "SELECT (SELECT max(serial) FROM change), (SELECT count(*) FROM dsn WHERE kind IS NULL)"
            " + (SELECT count(*) FROM duty) + (SELECT count(*) FROM recipient WHERE due_ms IS NOT NULL)"
        )
        serial, left = store.execute(sql).fetchone()
    return serial, left


def test_a_sender_whose_mail_is_redirected_to_a_return_path_is_not_sent_it_again(make_telltale: MakeTelltale) -> None:
    with ScriptedServer() as sender, ScriptedServer() as keeper:
        telltale = make_telltale(delivery=routes(sender, keeper))
        submit(telltale, "away@keeper.test")
        path = arrived(keeper)[0].sender
        for content in (b"Subject: hello\r\n\r\nround\r\n", None):
            with smtplib.SMTP("127.0.0.1", telltale.bounce) as client:
                client.sendmail("", [path], content or arrived(sender)[0].content)
            wait_for("the mail to be read", lambda: telltale.output().count(" matched=") >= 1)
        wait_for("the loop to be seen", lambda: "event=not-forwarded" in telltale.output())
        assert len(sender.messages) == 1


def test_a_broadcast_is_told_of_in_one_digest_when_it_is_done(make_telltale: MakeTelltale) -> None:
    refusing = Script(rcpt=lambda address: "550 5.1.1 no such user" if address[0] == "x" else "250 ok")
    with ScriptedServer() as sender, ScriptedServer(refusing) as keeper:
        telltale = make_telltale(delivery=routes(sender, keeper))
        content = HTML.replace("Subject:", "X-Broadcast: Spring\r\nSubject:")
        with smtplib.SMTP("127.0.0.1", telltale.submission) as client:
            for number in range(5):
                client.sendmail("news@sender.test", [f"x{number}@keeper.test", f"o{number}@keeper.test"], content)
        (got,) = arrived(sender)
        table = read(got).get_payload()[1]
        assert table.get_filename() == "undelivered.csv"
        assert len(table.get_payload(decode=True).splitlines()) == 6
        assert len(sender.messages) == 1


def test_addresses_and_subjects_in_unicode_are_reported_in_unicode(make_telltale: MakeTelltale) -> None:
    """RFC 6533."""
    with ScriptedServer() as sender, ScriptedServer(Script(rcpt="550 5.1.1 unbekannt: jörg")) as keeper:
        telltale = make_telltale(delivery=routes(sender, keeper))
        content = "From: news@sender.test\r\nSubject: Grüße\r\n\r\nText\r\n".encode()
        with smtplib.SMTP("127.0.0.1", telltale.submission) as client:
            client.ehlo()
            client.sendmail("jäger@sender.test", ["jörg@keeper.test"], content, mail_options=["SMTPUTF8"])
        (got,) = arrived(sender)
        assert got.recipients == ("jäger@sender.test",)
        assert b"message/global-delivery-status" in got.content
        assert "Final-Recipient: utf-8; jörg@keeper.test\r\n".encode() in got.content
        (found,) = parse(got.content).findings
        assert (found.recipient, found.status) == ("jörg@keeper.test", "5.1.1")
