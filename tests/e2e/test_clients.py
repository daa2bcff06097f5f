"""docs/clients.md, as it stands: its lines submit with a password, over TLS with a checked certificate."""

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from tests.peers import certificates, keeper, npm, postfix
from tests.peers.telltale import Telltale, require, wait_for

pytestmark = pytest.mark.e2e

PAGE = (Path(__file__).parents[2] / "docs" / "clients.md").read_text()


def block(begins: str) -> str:
    """Return the code block of the page that begins so."""
    (found,) = [text for text in re.findall(r"```\w+\n(.*?)```", PAGE, re.DOTALL) if text.startswith(begins)]
    return str(found)


class Server:
    """A Telltale that takes mail with a password only, and how the page's lines are made to mean it."""

    def __init__(self, telltale: Telltale, root: str) -> None:
        self.telltale = telltale
        self.root = root

    def lines(self, begins: str) -> str:
        text = block(begins).replace("mail.example.org", "localhost").replace("587", str(self.telltale.submission))
        return text.replace("/etc/ssl/certs/ca-certificates.crt", self.root)

    def run(self, *words: str | Path, stdin: str | None = None, cwd: Path, **env: str) -> str:
        done = subprocess.run(
            words, input=stdin, text=True, capture_output=True, timeout=60, cwd=cwd, env=os.environ | env, check=False
        )
        assert done.returncode == 0, done.stderr + done.stdout + self.telltale.output()[-2000:]
        return done.stdout


@pytest.fixture
def server(make_telltale: Callable[..., Telltale], mailbox: tuple[keeper.Keeper, int], tmp_path: Path) -> Server:
    authority = certificates.make("Authority", authority=True)
    own = certificates.make("localhost", authority)
    cert, key = certificates.pem_file(tmp_path, own), tmp_path / "key.pem"
    key.write_bytes(own.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    telltale = make_telltale(
        delivery=f'routes = {{"*" = "smtp://127.0.0.1:{mailbox[1]}"}}',
        submission=f'trusted_networks = []\ntls_cert = "{cert}"\ntls_key = "{key}"',
    )
    senders = ("--sender", "@example.org", "--sender", "@mx.good.test")
    telltale.run("user", "add", "shop", *senders, "--password-stdin", stdin=b"SECRET\n")
    return Server(telltale, str(certificates.pem_file(tmp_path, authority)))


def arrived(box: keeper.Keeper) -> bytes:
    """Wait for Bob's copy, which has his image."""
    kept = wait_for("Bob's copy", box.messages)[0]
    assert kept.recipients == ("bob@example.net",)
    assert b"/o/" in kept.content.replace(b"=\r\n", b"")
    return kept.content


def test_python(server: Server, mailbox: tuple[keeper.Keeper, int], tmp_path: Path) -> None:
    server.run(sys.executable, "-c", server.lines("import smtplib"), cwd=tmp_path, SSL_CERT_FILE=server.root)
    assert b"Thank <b>you</b>" in arrived(mailbox[0])


def test_nodemailer(server: Server, mailbox: tuple[keeper.Keeper, int], tmp_path: Path) -> None:
    npm.fetch("nodemailer", tmp_path)
    (tmp_path / "send.js").write_text(server.lines("const nodemailer"))
    said = server.run(require("node"), "send.js", cwd=tmp_path, NODE_EXTRA_CA_CERTS=server.root)
    assert said.startswith("250 2.0.0 ")
    assert b"X-Broadcast" not in arrived(mailbox[0])
    row = server.telltale.wait_status("bob@example.net", "Sent")
    assert (row["broadcast"], row["queue_id"] in said) == ("Orders", True)


def test_msmtp(server: Server, mailbox: tuple[keeper.Keeper, int], tmp_path: Path) -> None:
    file = tmp_path / "msmtprc"
    file.write_text(server.lines("account telltale"))
    file.chmod(0o600)
    server.run(
        require("msmtp"), f"--file={file}", "--read-recipients", cwd=tmp_path,
        stdin="From: shop@example.org\nTo: bob@example.net\nSubject: cron\n\nbackup done\n",
    )  # fmt: skip
    assert b"backup done" in arrived(mailbox[0])


def test_postfix(
    server: Server, mailbox: tuple[keeper.Keeper, int], make_postfix: Callable[..., postfix.Postfix], tmp_path: Path
) -> None:
    """What is submitted to that Postfix goes through Telltale, and so do its own bounces, which have no sender."""
    passwords = tmp_path / "telltale"
    passwords.write_text(f"[localhost]:{server.telltale.submission} shop:SECRET\n")
    extra = server.lines("relayhost").replace("/etc/postfix/telltale", str(passwords))
    instance = make_postfix(server.telltale.bounce, extra)
    swaks = [require("swaks"), "--server", f"{instance.address}:{instance.port}"]
    server.run(*swaks, "--from", "shop@example.org", "--to", "bob@example.net", cwd=tmp_path)
    arrived(mailbox[0])
    server.run(*swaks, "--from", "eve@example.net", "--to", "no-such-user@bounce.test", cwd=tmp_path)
    bounce = wait_for(
        "Eve's bounce",
        lambda: [kept for kept in mailbox[0].messages() if kept.recipients == ("eve@example.net",)],
    )[0]
    assert bounce.sender == "<>"
    assert b"no-such-user@bounce.test" in bounce.content
