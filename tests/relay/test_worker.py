"""One relay process: its rooms are joined, replaced by a reload, and drained."""

import asyncio
import smtplib
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from relay.deliver.dkim import Algorithm
from relay.deliver.keys import DkimKeyError, generate, key_file, write
from relay.deliver.settings import DeliverySettings, DkimSettings, DnsSettings, RetrySettings
from relay.receive.settings import BounceSettings, SubmissionSettings
from relay.worker import RelaySettings, Worker
from storage.model import LogFilter, LogRow
from storage.people import POLICY
from storage.reader import Reader
from storage.secret import load_secret
from storage.settings import RetentionSettings, ServerSettings
from storage.status import Status
from storage.store import Store
from storage.token import Purpose, TokenBox
from storage.tracking import TrackingSettings
from tests.peers.dkim import records_of, verified
from tests.peers.smtp import ScriptedServer, free_port

HTML = b"From: a@sender.test\r\nSubject: s\r\nMIME-Version: 1.0\r\nContent-Type: text/html\r\n\r\n<p>hello</p>\r\n"
DSN = """\
From: MAILER-DAEMON@mx.test
To: {path}
Subject: Undelivered Mail Returned to Sender
MIME-Version: 1.0
Content-Type: multipart/report; report-type=delivery-status; boundary=b

--b

I could not deliver your message.
--b
Content-Type: message/delivery-status

Reporting-MTA: dns; mx.test

Final-Recipient: rfc822; reader@example.test
Action: failed
Status: 5.1.1
Diagnostic-Code: smtp; 550 5.1.1 no such user
--b--
""".replace("\n", "\r\n")


def settings(state_dir: Path, submission: int, bounce: int, route: int, **delivery: object) -> RelaySettings:
    routes = {"*": f"smtp://127.0.0.1:{route}"}
    return RelaySettings(
        server=ServerSettings(hostname="relay.test", state_dir=state_dir, workers=1),
        submission=SubmissionSettings(listen=(f"127.0.0.1:{submission}",)),  # type: ignore[arg-type]
        bounce=BounceSettings(listen=(f"127.0.0.1:{bounce}",), domain="bounces.test"),  # type: ignore[arg-type]
        tracking=TrackingSettings(),
        delivery=DeliverySettings.model_validate({"routes": routes, **delivery}),
        dns=DnsSettings(),
        retry=RetrySettings(),
        retention=RetentionSettings(),
        dkim=DkimSettings(),
    )


def submit(port: int, recipient: str, content: bytes = HTML, sender: str = "a@sender.test") -> None:
    with smtplib.SMTP("127.0.0.1", port, timeout=10) as client:
        client.sendmail(sender, [recipient], content)


async def row_of(reader: Reader, recipient: str, *statuses: Status) -> LogRow:
    """Ask until the recipient has one of the statuses."""
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        rows = await reader.log(LogFilter(recipient=recipient), limit=1)
        if rows and rows[0].status in statuses:
            return rows[0]
        await asyncio.sleep(0.02)
    raise AssertionError(f"{recipient}: {rows}")


@pytest.fixture
async def reader(tmp_path: Path) -> AsyncIterator[Reader]:
    found: Reader = await _reader(tmp_path)
    yield found
    await found.close()


async def _reader(state_dir: Path) -> Reader:

    await (await Store.open(state_dir, POLICY)).close()
    return await Reader.open(state_dir)


async def test_a_reload_takes_over_every_setting_and_refuses_nobody(tmp_path: Path, reader: Reader) -> None:
    """Mail goes by the old route before, by the new one after, and each submission in between is taken."""
    submission, bounce = free_port(), free_port()
    with ScriptedServer() as old, ScriptedServer() as new:
        worker = Worker(settings(tmp_path, submission, bounce, old.port))
        await worker.start()
        try:
            await asyncio.to_thread(submit, submission, "one@example.test")
            await row_of(reader, "one@example.test", Status.SENT)

            async def go_on() -> int:
                for number in range(30):
                    await asyncio.to_thread(submit, submission, f"n{number}@example.test")
                return 30

            flow = asyncio.create_task(go_on())
            await worker.reload(settings(tmp_path, submission, bounce, new.port))
            assert await flow == 30
            await asyncio.to_thread(submit, submission, "two@example.test")
            await row_of(reader, "two@example.test", Status.SENT)
            for number in range(30):
                await row_of(reader, f"n{number}@example.test", Status.SENT)
        finally:
            await worker.drain()
        assert old.messages[0].recipients == ("one@example.test",)
        assert ("two@example.test",) in [message.recipients for message in new.messages]
        assert len(old.messages) + len(new.messages) == 32


async def test_a_bad_reload_leaves_the_old_rooms_in_force(tmp_path: Path, reader: Reader) -> None:
    submission, bounce = free_port(), free_port()
    with ScriptedServer() as server:
        worker = Worker(settings(tmp_path, submission, bounce, server.port))
        await worker.start()
        try:
            bad = settings(tmp_path, submission, bounce, server.port)
            missing = bad.submission.model_copy(update={"tls_cert": tmp_path / "no", "tls_key": tmp_path / "no"})
            object.__setattr__(bad, "submission", missing)
            with pytest.raises(OSError, match="no"):
                await worker.reload(bad)
            await asyncio.to_thread(submit, submission, "still@example.test")
            await row_of(reader, "still@example.test", Status.SENT)
        finally:
            await worker.drain()


async def test_a_port_in_use_is_an_error_that_leaves_nothing_open(tmp_path: Path) -> None:
    with ScriptedServer() as server:
        worker = Worker(settings(tmp_path, free_port(), server.port, server.port))
        with pytest.raises(OSError, match=str(server.port)):
            await worker.start()


async def test_a_bounce_message_that_was_only_stored_is_settled_by_the_next_start(
    tmp_path: Path, reader: Reader
) -> None:
    """The 250 of a bounce message is a promise that a crash before its reading does not break."""

    submission, bounce = free_port(), free_port()
    with ScriptedServer() as server:
        worker = Worker(settings(tmp_path, submission, bounce, server.port))
        await worker.start()
        await asyncio.to_thread(submit, submission, "reader@example.test")
        row = await row_of(reader, "reader@example.test", Status.SENT)
        await worker.drain()
        path = f"{TokenBox(load_secret(tmp_path), Purpose.RETURN_PATH).seal(row.recipient_id)}@bounces.test"
        assert server.messages[0].sender == path
        store = await Store.open(tmp_path, POLICY)
        await store.accept_dsn(DSN.format(path=path).encode(), row.recipient_id, "", time.time_ns() // 1_000_000)
        await store.close()
        again = Worker(settings(tmp_path, submission, bounce, server.port))
        await again.start()
        try:
            failed = await row_of(reader, "reader@example.test", Status.FAILED)
            assert failed.enhanced_status == "5.1.1"
        finally:
            await again.drain()


async def test_a_null_sender_stays_null_and_is_still_tracked(tmp_path: Path, reader: Reader) -> None:
    """RFC 5321, 4.5.5: a notification goes out with the null sender, or bounces could go round."""
    submission, bounce = free_port(), free_port()
    with ScriptedServer() as server:
        worker = Worker(settings(tmp_path, submission, bounce, server.port))
        await worker.start()
        try:
            await asyncio.to_thread(submit, submission, "reader@example.test", HTML, "")
            await row_of(reader, "reader@example.test", Status.SENT)
            assert server.messages[0].sender == ""
            assert b"<img" in server.messages[0].content
        finally:
            await worker.drain()


async def test_a_flush_by_another_process_wakes_a_site_that_rests(tmp_path: Path, reader: Reader) -> None:
    """An operator who mended the way does not wait for the site's rest to end."""
    submission, closed = free_port(), free_port()
    worker = Worker(settings(tmp_path, submission, free_port(), closed))
    await worker.start()
    try:
        await asyncio.to_thread(submit, submission, "reader@example.test")
        row = await row_of(reader, "reader@example.test", Status.SOFT_BOUNCED)
        with ScriptedServer(port=closed) as server:
            operator = await Store.open(tmp_path, POLICY)
            assert await operator.flush([row.recipient_id], time.time_ns() // 1_000_000) == 1
            await operator.close()
            assert (await row_of(reader, "reader@example.test", Status.SENT)).attempts == 2
            assert len(server.messages) == 1
    finally:
        await worker.drain()


async def test_what_goes_out_is_signed_anew_for_the_author_only(tmp_path: Path, reader: Reader) -> None:
    """A signature of the author's domain is replaced; one of another domain of ours would be lost, and stays."""
    keys = [generate(Algorithm.ED25519, domain, "s1") for domain in ("sender.test", "other.test")]
    for key in keys:
        write(key_file(tmp_path, key.domain, "s1", key.algorithm), key)
    old = b"DKIM-Signature: v=1; d=sender.test; b=AAAA\r\n"
    submission, bounce = free_port(), free_port()
    with ScriptedServer() as server:
        worker = Worker(settings(tmp_path, submission, bounce, server.port))
        await worker.start()
        try:
            for recipient, content in (
                ("one@example.test", old + HTML),
                ("two@example.test", old + HTML.replace(b"sender.test", b"other.test")),
                ("three@example.test", HTML.replace(b"sender.test", b"nokey.test")),
            ):
                await asyncio.to_thread(submit, submission, recipient, content)
                await row_of(reader, recipient, Status.SENT)
        finally:
            await worker.drain()
        one, two, three = [message.content for message in server.messages]
    records = records_of(keys)
    assert verified(one, records) == [True]
    assert b"<img" in one
    assert old not in one
    assert verified(two, records)[0]
    assert old in two
    assert b"<img" not in two
    assert b"<img" in three
    assert b"DKIM-Signature" not in three


async def test_a_key_that_cannot_be_read_keeps_the_relay_from_starting(tmp_path: Path) -> None:
    path = key_file(tmp_path, "sender.test", "s1", Algorithm.RSA)
    path.parent.mkdir(parents=True)
    path.write_text("nothing")
    worker = Worker(settings(tmp_path, free_port(), free_port(), 1))
    with pytest.raises(DkimKeyError, match="is no private key in PEM form"):
        await worker.start()
