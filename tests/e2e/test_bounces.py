"""Bounces that come back to the bounce listener, as today's providers write them."""

import json
import smtplib
from typing import Protocol

import pytest

from tests.peers.smtp import ScriptedServer
from tests.peers.telltale import HTML, Telltale, wait_for

pytestmark = pytest.mark.e2e

# In the form of Microsoft 365: HTML for people, a report with its diagnostic, the returned header.
M365 = """\
From: <postmaster@there.test>
To: <{path}>
Date: Mon, 23 Nov 2026 14:00:00 +0000
Subject: Undeliverable: The weekly report
Message-ID: <9b3c4bf6-58f5-4ef0-b4a8-8d1b0c1f7c55@AM6EUR05FT001.mail.protection.outlook.com>
In-Reply-To: {message_id}
Auto-Submitted: auto-replied
X-MS-Exchange-Message-Is-Ndr: 1
MIME-Version: 1.0
Content-Type: multipart/report; report-type=delivery-status;
\tboundary="9b3c4bf6-58f5-4ef0-b4a8-8d1b0c1f7c55"

--9b3c4bf6-58f5-4ef0-b4a8-8d1b0c1f7c55
Content-Type: multipart/alternative; differences=Content-Type;
\tboundary="alternative"

--alternative
Content-Type: text/plain; charset="us-ascii"
Content-Transfer-Encoding: quoted-printable

Your message to reader@keeper.test couldn't be delivered.

reader wasn't found at keeper.test.

Status code: 550 5.1.10

--alternative--
--9b3c4bf6-58f5-4ef0-b4a8-8d1b0c1f7c55
Content-Type: message/delivery-status

Reporting-MTA: dns;AM6EUR05FT001.mail.protection.outlook.com
Received-From-MTA: dns;relay.test
Arrival-Date: Mon, 23 Nov 2026 13:59:58 +0000

Final-Recipient: rfc822;reader@keeper.test
Action: failed
Status: 5.1.10
Diagnostic-Code: smtp;550 5.1.10 RESOLVER.ADR.RecipientNotFound; Recipient not found by SMTP address lookup

--9b3c4bf6-58f5-4ef0-b4a8-8d1b0c1f7c55
Content-Type: text/rfc822-headers

Subject: The weekly report
Message-ID: {message_id}

--9b3c4bf6-58f5-4ef0-b4a8-8d1b0c1f7c55--
"""


class MakeTelltale(Protocol):
    def __call__(self, *, start: bool = True, **sections: str) -> Telltale: ...


def bring(telltale: Telltale, path: str, content: str, sender: str = "") -> None:
    with smtplib.SMTP("127.0.0.1", telltale.bounce) as client:
        client.sendmail(sender, [path], content)


def reports(telltale: Telltale) -> list[dict[str, object]]:
    (row,) = telltale.log("--recipient", "reader@keeper.test", "--events")
    return [event for event in row["events"] if event["kind"] in ("report", "complaint")]


def settled(telltale: Telltale, number: int) -> None:
    """Wait until that many bounce messages are settled: each has its line."""
    wait_for("a bounce to be settled", lambda: telltale.output().count(" matched=") >= number)


def test_a_bounce_moves_sent_to_failed_once_and_a_forged_path_is_refused(make_telltale: MakeTelltale) -> None:
    with ScriptedServer() as server:
        telltale = make_telltale(delivery=f'routes = {{"*" = "smtp://127.0.0.1:{server.port}"}}')
        with smtplib.SMTP("127.0.0.1", telltale.submission) as client:
            client.sendmail("news@sender.test", ["reader@keeper.test"], HTML)
        telltale.wait_status("reader@keeper.test", "Sent")
        path = server.messages[0].sender
    dsn = M365.format(path=path, message_id="<m1@sender.test>")
    bring(telltale, path, dsn)
    row = telltale.wait_status("reader@keeper.test", "Failed")
    assert (row["category"], row["code"], row["enhanced_status"]) == ("user unknown", 550, "5.1.10")
    told = reports(telltale)
    assert [event["category"] for event in told] == ["user unknown"]
    bring(telltale, path, dsn)
    settled(telltale, 2)
    assert telltale.row("reader@keeper.test") == row
    assert reports(telltale) == told

    local, _, domain = path.partition("@")
    forged = f"{'a' if local[0] != 'a' else 'b'}{local[1:]}@{domain}"
    for sender, recipient in (("", forged), ("", f"x@{domain}"), ("eve@else.test", f"postmaster@{domain}")):
        with pytest.raises(smtplib.SMTPRecipientsRefused) as refused:
            bring(telltale, recipient, dsn, sender)
        assert refused.value.recipients[recipient][0] == 550

    raw = telltale.run("bounce", "show", str(told[0]["bounce"]))
    assert raw.replace("\r\n", "\n") == dsn
    assert telltale.run("bounce", "reclassify", "--dry-run", "--json") == ""


def test_what_speaks_of_nobody_is_shown(make_telltale: MakeTelltale) -> None:
    telltale = make_telltale()
    bring(telltale, "postmaster@bounces.relay.test", M365.format(path="x@y.test", message_id="<m1@sender.test>"))
    settled(telltale, 1)
    (shown,) = [json.loads(line) for line in telltale.run("bounce", "unmatched", "--json").splitlines()]
    assert (shown["kind"], shown["message_id"]) == ("dsn", "<m1@sender.test>")
    assert shown["reports"][0]["recipient"] == "reader@keeper.test"
    assert "reader@keeper.test" in telltale.run("bounce", "unmatched")
    assert "couldn't be delivered" in telltale.run("bounce", "show", shown["id"])
