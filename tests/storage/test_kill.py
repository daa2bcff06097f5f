"""Law 1: no message lost, at any kill -9."""

import asyncio
import random
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from storage.people import POLICY
from storage.reader import Reader
from storage.store import Store
from tests.storage.makers import NOW

_ROOT = Path(__file__).resolve().parents[2]


def killed_after(state_dir: Path, acknowledged: int) -> list[int]:
    """Let a process accept until it has acknowledged so many messages, kill it; what it had acknowledged."""
    command = [sys.executable, str(Path(__file__).with_name("acceptor.py")), str(state_dir)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env={"PYTHONPATH": str(_ROOT)}) as process:
        lines = [process.stdout.readline() for _ in range(acknowledged)]
        process.kill()
        # What it wrote before it died was acknowledged too; the last line may be cut short.
        lines += process.stdout.read().splitlines(keepends=True)
    return [int(line) for line in lines if line.endswith("\n")]


@pytest.mark.parametrize("seed", range(4))
async def test_what_was_acknowledged_is_there_after_kill_9(tmp_path: Path, seed: int) -> None:
    acknowledged = random.Random(seed).randrange(1, 250)
    message_ids = await asyncio.to_thread(killed_after, tmp_path, acknowledged)
    store, reader = await Store.open(tmp_path, POLICY), await Reader.open(tmp_path)
    assert len(message_ids) >= acknowledged
    leased = await store.recover(NOW)
    assert leased >= 2 * len(message_ids)
    assert await store.recover(NOW) == 0
    claimed = {job.message.id for job in await store.claim(NOW, 10 * leased)}
    assert claimed >= set(message_ids)
    for message_id in claimed:
        assert len(await reader.recipients_of(message_id)) == 2, "a message is there whole or not at all"
        assert (await store.content(message_id)) is not None
    await reader.close()
    await store.close()
    connection = sqlite3.connect(tmp_path / "telltale.db")
    assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    connection.close()
