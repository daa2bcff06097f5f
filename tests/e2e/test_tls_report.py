"""A domain asks for reports on TLS, and the real process sends it one: from sessions to a signed message."""

import email
import gzip
import json
import signal
import smtplib
import sqlite3
from collections.abc import Iterator
from email import policy
from typing import Protocol

import pytest

from tests.peers.dkim import verified
from tests.peers.dns import DnsServer
from tests.peers.smtp import Script, ScriptedServer
from tests.peers.telltale import HTML, Telltale, wait_for

pytestmark = pytest.mark.e2e

ADDRESS = "127.0.0.14"


class MakeTelltale(Protocol):
    def __call__(self, *, start: bool = True, **sections: str) -> Telltale: ...


@pytest.fixture
def zone() -> Iterator[DnsServer]:
    with DnsServer() as server:
        server.mx("example.test", "mx.example.test")
        server.mx("reports.test", "mx.example.test")
        server.add("mx.example.test", "A", ADDRESS)
        server.add("_smtp._tls.example.test", "TXT", '"v=TLSRPTv1; rua=mailto:tls@reports.test"')
        yield server


def printed(said: str) -> dict[str, str]:
    """Return the records as the command printed them for a form."""
    lines = said.splitlines()
    names = {line.removesuffix("  TXT"): number for number, line in enumerate(lines) if line.endswith("  TXT")}
    return {name: lines[number + 1] for name, number in names.items()}


def test_sessions_are_counted_and_reported_once(make_telltale: MakeTelltale, zone: DnsServer) -> None:
    """The process that reports is killed, and started again: there is one report, signed and untracked."""
    with ScriptedServer(Script(tls=True), address=ADDRESS) as server:
        telltale = make_telltale(
            start=False,
            dns=f'nameservers = ["{zone.endpoint}"]\ntimeout = 3',
            delivery=f"port = {server.port}\nallow_private_destinations = true",
            tls_report='organization = "Example"\ncontact = "tls@relay.test"',
        )
        records = printed(telltale.run("dkim", "generate", "relay.test", "--selector", "s1"))
        telltale.start()
        with smtplib.SMTP("127.0.0.1", telltale.submission) as client:
            client.sendmail("news@sender.test", ["reader@example.test"], HTML)
        telltale.wait_status("reader@example.test", "Delivered")
        telltale.stop()
        # Three days pass.
        with sqlite3.connect(telltale.root / "state" / "telltale.db") as store:
            assert store.execute("UPDATE tls_session SET day = day - 3").rowcount == 1
        store.close()
        telltale.start()
        telltale.wait_status("tls@reports.test", "Delivered")
        assert telltale.child is not None
        telltale.child.send_signal(signal.SIGKILL)
        telltale.child.wait()
        telltale.start()
        telltale.stop()
        (_, report) = server.messages
        assert (report.sender, report.recipients) == ("", ("tls@reports.test",))
        assert verified(report.content, records) == [True, True]
        assert b"<img" not in report.content
        message = email.message_from_bytes(report.content, policy=policy.default)
        assert (message["From"], message["TLS-Report-Domain"]) == ("tls@relay.test", "example.test")
        _, attached = message.iter_parts()
        found = json.loads(gzip.decompress(attached.get_content()))
        assert found["organization-name"] == "Example"
        assert found["policies"] == [
            {
                "policy": {"policy-type": "no-policy-found", "policy-domain": "example.test"},
                "summary": {"total-successful-session-count": 1, "total-failure-session-count": 0},
            }
        ]
        assert wait_for("one row", lambda: len(telltale.log("--recipient", "tls@reports.test")) == 1)
