"""Real clients: what people and their programs use must simply work."""

import asyncio
import os
import shutil
import smtplib
import subprocess
from collections.abc import Callable
from email.message import EmailMessage
from pathlib import Path

import pytest

from tests.receive.conftest import Place, careless


def message(**headers: str) -> EmailMessage:
    made = EmailMessage()
    made["From"] = "ann@a.example"
    made["To"] = "bob@b.example"
    made["Subject"] = "Hello"
    for name, value in headers.items():
        made[name] = value
    made.set_content("Text\n.\n..dots\n")
    return made


def program(name: str) -> str:
    """Return the path of a program; the test is skipped without it, but never where all is to be tested."""
    path = shutil.which(name)
    if path is None:
        if os.environ.get("CI") == "true":
            pytest.fail(f"{name} is not installed")
        pytest.skip(f"{name} is not installed")
    return path


async def run(*command: str, stdin: bytes = b"") -> str:
    """Run a client program to its end and return what it said; it must succeed."""

    def call() -> subprocess.CompletedProcess[bytes]:
        return subprocess.run(
            command, input=stdin, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=20, check=False
        )

    done = await asyncio.to_thread(call)
    said = done.stdout.decode(errors="replace")
    assert done.returncode == 0, said
    return said


async def in_thread(call: Callable[[], object]) -> None:
    await asyncio.wait_for(asyncio.to_thread(call), 20)


@pytest.mark.parametrize("mechanism", ["PLAIN", "LOGIN"])
@pytest.mark.parametrize("implicit", [False, True])
async def test_smtplib_with_a_password(strict: Place, mechanism: str, implicit: bool) -> None:
    def client() -> None:
        if implicit:
            smtp: smtplib.SMTP = smtplib.SMTP_SSL("127.0.0.1", strict.secure.port, context=careless())
        else:
            smtp = smtplib.SMTP("127.0.0.1", strict.plain.port)
            smtp.starttls(context=careless())
        with smtp:
            smtp.ehlo()
            smtp.user, smtp.password = "ann", "secret"  # type: ignore[attr-defined]
            smtp.auth(mechanism, getattr(smtp, f"auth_{mechanism.lower()}"))
            smtp.send_message(message())

    await in_thread(client)
    (row,) = await strict.rows()
    assert (row.recipient, row.subject) == ("bob@b.example", "Hello")
    assert strict.outbox.jobs[0].message.user == "ann"
    assert (await strict.content()).endswith(b"Text\r\n.\r\n..dots\r\n")


async def test_smtplib_with_smtputf8(place: Place) -> None:
    made = message()
    del made["To"]
    made["To"] = "jörg@bücher.example"

    def client() -> None:
        with smtplib.SMTP("127.0.0.1", place.plain.port) as smtp:
            smtp.send_message(made)

    await in_thread(client)
    (row,) = await place.rows()
    assert row.recipient == "jörg@xn--bcher-kva.example"
    assert place.outbox.jobs[0].message.smtputf8


async def test_smtplib_is_told_what_it_may_not(strict: Place) -> None:
    def client() -> None:
        with smtplib.SMTP("127.0.0.1", strict.plain.port) as smtp:
            with pytest.raises(smtplib.SMTPSenderRefused) as refused:
                smtp.send_message(message())
            assert refused.value.smtp_code == 530
            with pytest.raises(smtplib.SMTPNotSupportedError):
                smtp.login("ann", "secret")

    await in_thread(client)


async def test_smtplib_sends_many_over_one_connection(place: Place) -> None:
    def client() -> None:
        with smtplib.SMTP("127.0.0.1", place.plain.port) as smtp:
            for number in range(20):
                smtp.send_message(message(Bcc=f"hidden{number}@b.example"))

    await in_thread(client)
    rows = await place.rows()
    assert len(rows) == 40
    assert all(b"hidden" not in (job.content or b"") for job in place.outbox.jobs)


async def test_swaks(place: Place) -> None:
    said = await run(
        program("swaks"), "--server", "127.0.0.1", "--port", str(place.plain.port),
        "--from", "ann@a.example", "--to", "bob@b.example,carl@c.example", "--header", "Subject: From swaks",
    )  # fmt: skip
    assert "queued as" in said
    assert [row.subject for row in await place.rows()] == ["From swaks"] * 2


@pytest.mark.parametrize("how", ["--tls", "--tlsc"])
async def test_swaks_with_a_password(strict: Place, how: str) -> None:
    port = strict.plain.port if how == "--tls" else strict.secure.port
    said = await run(
        program("swaks"), "--server", "127.0.0.1", "--port", str(port), how, "--auth", "--auth-user", "ann",
        "--auth-password", "secret", "--from", "ann@a.example", "--to", "bob@b.example",
    )  # fmt: skip
    assert "235 2.7.0" in said
    assert len(await strict.rows()) == 1


@pytest.mark.parametrize("line_end", [b"\r\n", b"\n"])
async def test_curl_sends_a_file_as_it_is(place: Place, tmp_path: Path, line_end: bytes) -> None:
    """curl does not turn the line ends of a file: this is why a bare LF is taken for one."""
    path = tmp_path / "mail.eml"
    path.write_bytes(line_end.join([b"From: ann@a.example", b"Subject: From curl", b"", b"Text", b".", b""]))
    await run(
        program("curl"), "--silent", "--show-error", "--url", f"smtp://127.0.0.1:{place.plain.port}",
        "--mail-from", "ann@a.example", "--mail-rcpt", "bob@b.example", "--upload-file", str(path),
    )  # fmt: skip
    (row,) = await place.rows()
    assert row.subject == "From curl"
    content = await place.content()
    assert b"\r\n\r\nText\r\n.\r\n" in content
    assert content.count(b"\n") == content.count(b"\r\n")


@pytest.mark.parametrize("scheme", ["smtp", "smtps"])
async def test_curl_with_a_password(strict: Place, tmp_path: Path, scheme: str) -> None:
    path = tmp_path / "mail.eml"
    path.write_bytes(b"From: ann@a.example\r\nSubject: From curl\r\n\r\nText\r\n")
    port = strict.plain.port if scheme == "smtp" else strict.secure.port
    await run(
        program("curl"), "--silent", "--show-error", "--insecure", "--ssl-reqd", "--user", "ann:secret",
        "--url", f"{scheme}://127.0.0.1:{port}", "--mail-from", "ann@a.example", "--mail-rcpt", "bob@b.example",
        "--upload-file", str(path),
    )  # fmt: skip
    assert len(await strict.rows()) == 1


async def test_msmtp(place: Place) -> None:
    await run(
        program("msmtp"), "--host=127.0.0.1", f"--port={place.plain.port}", "--from=ann@a.example", "bob@b.example",
        stdin=b"From: ann@a.example\nSubject: From msmtp\nBcc: hidden@b.example\n\nText\n",
    )  # fmt: skip
    (row,) = await place.rows()
    assert row.subject == "From msmtp"
    assert b"hidden" not in await place.content()


async def test_msmtp_with_a_password(strict: Place, tmp_path: Path) -> None:
    config = tmp_path / "msmtprc"
    config.write_text(
        f"account default\nhost 127.0.0.1\nport {strict.plain.port}\nfrom ann@a.example\n"
        "auth on\nuser ann\npassword secret\ntls on\ntls_starttls on\ntls_certcheck off\n"
    )
    config.chmod(0o600)
    await run(program("msmtp"), f"--file={config}", "bob@b.example", stdin=b"Subject: From msmtp\n\nText\n")
    assert len(await strict.rows()) == 1
