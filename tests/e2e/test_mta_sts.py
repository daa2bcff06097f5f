"""A domain's MTA-STS policy, fetched by the real process from port 443 of a loopback address, and kept to."""

import asyncio
import json
import smtplib
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

import pytest

from tests.peers.certificates import make, pem_file
from tests.peers.dns import DnsServer
from tests.peers.https import HttpsServer
from tests.peers.smtp import Script, ScriptedServer
from tests.peers.telltale import HTML, Telltale

pytestmark = pytest.mark.e2e

MAIL, WEB = "127.0.0.15", "127.0.0.16"
ROOT = make("Root", authority=True)
POLICY = "version: STSv1\nmode: enforce\nmx: *.example.test\nmax_age: 86400\n"


class MakeTelltale(Protocol):
    def __call__(self, *, start: bool = True, **sections: str) -> Telltale: ...


@contextmanager
def serving(text: str) -> Iterator[HttpsServer]:
    """Serve the policy's host on its real port, in a thread of its own; skip where that needs more rights."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((WEB, 443))
        except PermissionError:
            pytest.skip("port 443 needs root")
    server = HttpsServer(make("mta-sts.example.test", ROOT).context(), address=WEB, port=443)
    server.text(text)
    loop, ready, stop = asyncio.new_event_loop(), threading.Event(), asyncio.Event()

    async def serve() -> None:
        async with server:
            ready.set()
            await stop.wait()

    thread = threading.Thread(target=lambda: loop.run_until_complete(serve()))
    thread.start()
    assert ready.wait(10)
    try:
        yield server
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join()
        loop.close()


def test_an_enforced_policy_is_fetched_once_and_kept_to(
    make_telltale: MakeTelltale, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The host that the policy names, with a certificate that is right, gets mail; the other one none."""
    monkeypatch.setenv("SSL_CERT_FILE", str(pem_file(tmp_path, ROOT)))
    script = Script(tls=True, certificate=make("mx.example.test", ROOT).context())
    with DnsServer() as zone, serving(POLICY) as web, ScriptedServer(script, address=MAIL) as server:
        zone.add("_mta-sts.example.test", "TXT", '"v=STSv1; id=1;"')
        zone.add("mta-sts.example.test", "A", WEB)
        zone.mx("example.test", "10 mx.elsewhere.test", "20 mx.example.test")
        for host in ("mx.example.test", "mx.elsewhere.test"):
            zone.add(host, "A", MAIL)
        telltale = make_telltale(
            dns=f'nameservers = ["{zone.endpoint}"]\ntimeout = 3',
            delivery=f"port = {server.port}\nallow_private_destinations = true",
            retry='schedule = ["1h"]',
        )
        people = [f"r{number}@example.test" for number in range(6)]
        for person in people:
            with smtplib.SMTP("127.0.0.1", telltale.submission) as client:
                client.sendmail("news@sender.test", [person], HTML)
        for person in people:
            row = telltale.wait_status(person, "Delivered")
            assert row["mx"] == "mx.example.test"
        shown = json.loads(telltale.run("show", people[0], "--json"))
        assert shown["events"][-1]["tls"].endswith(" mta-sts")
        # A process each fetches it at most; a restart not at all.
        fetched = len(web.asked)
        assert 1 <= fetched <= 2
        telltale.stop()
        zone.mx("example.test", "10 mx.elsewhere.test")
        telltale.start()
        with smtplib.SMTP("127.0.0.1", telltale.submission) as client:
            client.sendmail("news@sender.test", ["late@example.test"], HTML)
        row = telltale.wait_status("late@example.test", "Soft Bounced")
        assert row["diagnostic"] == "the MTA-STS policy of the domain does not name mx.elsewhere.test"
        assert len(web.asked) == fetched
