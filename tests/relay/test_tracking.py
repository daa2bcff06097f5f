"""What the settings and the envelope say about tracking reaches the copies of a real relay process."""

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from relay.deliver.dkim import Algorithm
from relay.deliver.keys import generate, key_file, write
from relay.worker import Worker
from storage.model import LogRow
from storage.people import POLICY
from storage.reader import Reader
from storage.status import Status
from storage.tracking import ForeignDkim, TextOnly, TrackingSettings
from storage.untracked import UntrackedReason as R
from tests.peers.smtp import ScriptedServer, free_port
from tests.relay.test_worker import row_of, settings, submit

_HEADER = b"From: a@sender.test\r\nTo: b@example.test\r\nSubject: s\r\nDate: Mon, 1 Jan 2024 00:00:00 +0000\r\n"
TEXT = _HEADER + b"Message-ID: <x@sender.test>\r\n\r\nplain text\r\n"
FOREIGN = b"DKIM-Signature: v=1; a=rsa-sha256; d=other.test; s=s; h=from; bh=x; b=y\r\n"
OURS = FOREIGN.replace(b"other.test", b"sender.test")
HTML = _HEADER + b"MIME-Version: 1.0\r\nContent-Type: text/html\r\n\r\n<p>hello</p>\r\n"


async def _copy(state_dir: Path, content: bytes, **tracking: Any) -> tuple[bytes, LogRow]:
    """Send a message through a relay with these settings of `[tracking]`; return what arrives and what is logged."""
    from storage.store import Store

    await (await Store.open(state_dir, POLICY)).close()
    reader = await Reader.open(state_dir)
    submission = free_port()
    with ScriptedServer() as server:
        at = settings(state_dir, submission, free_port(), server.port)
        worker = Worker(replace(at, tracking=TrackingSettings(**tracking)))
        await worker.start()
        try:
            await asyncio.to_thread(submit, submission, "b@example.test", content)
            row = await row_of(reader, "b@example.test", Status.SENT)
        finally:
            await worker.drain()
            await reader.close()
        (arrived,) = server.messages
        return arrived.content, row


@pytest.mark.parametrize(
    ("tracking", "reason"),
    [
        ({}, None),
        ({"leave_text_from": ("sender.test",)}, R.TEXT_WANTED),
        ({"leave_text_to": ("test",)}, R.TEXT_WANTED),
        ({"leave_text_from": ("example.test",), "leave_text_to": ("sender.test",)}, None),
        ({"text_only": TextOnly.LEAVE}, R.TEXT_ONLY),
    ],
)
async def test_text_is_kept_plain_for_domains_and_as_a_whole(
    tmp_path: Path, tracking: dict[str, Any], reason: R | None
) -> None:
    arrived, row = await _copy(tmp_path, TEXT, **tracking)
    assert (row.tracked, row.untracked_reason) == (reason is None, reason)
    # What is logged as tracked holds the whole URL, as the pixel server will be asked for it.
    assert (b'src="http://127.0.0.1:8025/o/' in arrived) is (reason is None)
    assert (b"multipart/alternative" in arrived) is (reason is None)
    assert arrived.count(b"\r\n\r\nplain text\r\n") == 1


@pytest.mark.parametrize(
    ("foreign_dkim", "tracked", "kept"),
    [
        (ForeignDkim.KEEP, False, True),
        (ForeignDkim.BREAK, True, True),
        (ForeignDkim.REMOVE, True, False),
    ],
)
async def test_foreign_signatures(tmp_path: Path, foreign_dkim: ForeignDkim, tracked: bool, kept: bool) -> None:
    arrived, row = await _copy(tmp_path, FOREIGN + HTML, foreign_dkim=foreign_dkim)
    assert (row.tracked, row.untracked_reason) == (tracked, None if tracked else R.FOREIGN_DKIM)
    assert (b"<img" in arrived, FOREIGN in arrived) == (tracked, kept)


@pytest.mark.parametrize("opted_out", [False, True])
async def test_an_old_signature_of_ours_gives_way_to_the_new_one(tmp_path: Path, opted_out: bool) -> None:
    """Tracked or not: a copy leaves with the one signature that holds."""
    key = generate(Algorithm.ED25519, "sender.test", "new")
    write(key_file(tmp_path, "sender.test", "new", Algorithm.ED25519), key)
    wish = b"X-Track-Opens: no\r\n" if opted_out else b""
    arrived, row = await _copy(tmp_path, wish + OURS + HTML)
    assert (row.tracked, b"<img" in arrived) == (not opted_out, not opted_out)
    assert OURS not in arrived
    assert arrived.count(b"DKIM-Signature:") == 1
    assert b"s=new" in arrived
    assert b"X-Track-Opens" not in arrived
