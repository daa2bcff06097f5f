"""Debian's Postfix as the MX of a signed zone of our own: DANE proves it, or it gets nothing."""

import hashlib
import json
import re
import shutil
import smtplib
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from tests.peers import postfix
from tests.peers.dns import DnsServer
from tests.peers.smtp import free_port
from tests.peers.telltale import HTML, Telltale, listening, require, wait_for

pytestmark = pytest.mark.e2e

ADDRESS = "127.0.0.6"


class MakeTelltale(Protocol):
    def __call__(self, *, start: bool = True, **sections: str) -> Telltale: ...


@pytest.fixture
def peer() -> Iterator[postfix.Postfix]:
    require("postfix")
    # Not below the test's own folder: Postfix's daemons give up root, and could not reach theirs.
    root = Path(tempfile.mkdtemp(prefix="postfix-"))
    port = free_port(ADDRESS)
    instance = postfix.start(root, ADDRESS, port, tls=True)
    wait_for("postfix to listen", lambda: listening(ADDRESS, port))
    yield instance
    instance.stop()
    shutil.rmtree(root, ignore_errors=True)


@pytest.fixture
def zone() -> Iterator[DnsServer]:
    with DnsServer() as server:
        server.secure("good.test")
        server.mx("good.test", "mx.good.test")
        server.add("mx.good.test", "A", ADDRESS)
        yield server


def submit(telltale: Telltale, *people: str) -> None:
    with smtplib.SMTP("127.0.0.1", telltale.submission) as client:
        client.sendmail("news@sender.test", list(people), HTML)


def last_attempt(telltale: Telltale, person: str) -> dict[str, str]:
    shown = json.loads(telltale.run("show", person, "--json"))
    attempts = [entry for entry in shown["events"] if entry["kind"] == "attempt"]
    found: dict[str, str] = attempts[-1]
    return found


def test_tlsa_records_prove_postfix_and_others_keep_mail_from_it(
    make_telltale: MakeTelltale, peer: postfix.Postfix, zone: DnsServer
) -> None:
    key = x509.load_pem_x509_certificate((peer.root / "cert.pem").read_bytes()).public_key()
    digest = hashlib.sha256(key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).hexdigest()
    name = f"_{peer.port}._tcp.mx.good.test"
    zone.add(name, "TLSA", f"3 1 1 {digest}", ttl=1)
    telltale = make_telltale(
        dns=f'nameservers = ["{zone.endpoint}"]\ntimeout = 3',
        delivery=f"port = {peer.port}\nallow_private_destinations = true",
        retry='schedule = ["1h"]',
    )
    submit(telltale, "one@good.test", "two@good.test")
    for person in ("one@good.test", "two@good.test"):
        telltale.wait_status(person, "Delivered")
        assert re.fullmatch(r"TLSv1\.3 TLS_\w+ dane", last_attempt(telltale, person)["tls"])
    assert " dane" in telltale.run("show", "one@good.test")
    assert len(list(peer.messages())) == 2
    # Another key is published: what still speaks with the old one gets nothing, in clear neither.
    telltale.stop()
    zone.add(name, "TLSA", f"3 1 1 {'00' * 32}")
    telltale.start()
    submit(telltale, "three@good.test")
    row = telltale.wait_status("three@good.test", "Soft Bounced")
    assert (row["enhanced_status"], row["diagnostic"][:5]) == ("4.7.5", "DANE:")
    assert len(list(peer.messages())) == 2
