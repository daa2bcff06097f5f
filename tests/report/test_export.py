"""report/pages/export.py: who goes away in the middle of an export, or does not read it, leaves nothing behind."""

import asyncio
import sqlite3
import threading
from contextlib import closing

import pytest

from report.server import ReportServer
from storage.access import Role
from tests.report.asking import add_token, serving
from tests.report.mailing import Mail


def _readers() -> int:
    """How many readers are open: each has a thread."""
    return sum("_connection_worker_thread" in thread.name for thread in threading.enumerate())


def _checkpoint(mail: Mail) -> tuple[int, int, int]:
    """Whether a reader was in the way, what the write-ahead log has left, and what of it was not copied."""
    with closing(sqlite3.connect(mail.state_dir / "telltale.db", timeout=5)) as connection:
        found: tuple[int, int, int] = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    return found


async def _asked(server: ReportServer, token: str, path: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    reader, writer = await asyncio.open_connection(server.addresses[0].host, server.addresses[0].port, limit=1024)
    head = f"GET {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\nConnection: close\r\n\r\n"
    writer.write(head.encode())
    assert b" 200 " in await reader.readline()
    return reader, writer


@pytest.mark.parametrize("path", ["/log.csv", "/log.jsonl", "/contacts.csv"])
@pytest.mark.parametrize("leaves", [True, False], ids=["goes away", "does not read"])
async def test_who_does_not_read_on_leaves_nothing_open_and_no_fault_in_the_log(
    mail: Mail, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, path: str, *, leaves: bool
) -> None:
    """A connection that hangs keeps neither a place, nor a reader, nor a snapshot of the store."""
    monkeypatch.setattr("report.pages.export._WRITE_SECONDS", 60 if leaves else 0.05)
    token = await add_token(mail.store, "prog", Role.ADMIN)
    long = "x" * 60_000
    for number in range(400):
        await mail.accept(f"a{number}@example.test", subject=long)
    async with serving(mail.state_dir) as server, asyncio.timeout(30):
        assert server._desk
        before = _readers()
        _, writer = await _asked(server, token, path)
        await mail.accept("late@example.test")
        assert _checkpoint(mail) == (0, 0, 0)
        if leaves:
            writer.close()
        while _readers() > before:  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(0.01)
        _, other = await _asked(server, token, "/log.csv?q=nothing")
        for each in (writer, other):
            each.close()
    assert not [record for record in caplog.records if record.exc_info]
