"""Law 1 for answers: at any kill -9 each sender is told exactly once."""

import asyncio
import random
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from storage.model import LogFilter
from storage.people import POLICY
from storage.reader import Reader
from storage.store import Store
from tests.relay.test_answers import Desk, fail

_ROOT = Path(__file__).resolve().parents[2]
_MESSAGES = 240


def killed_soon(state_dir: Path, told: int) -> None:
    """Let a process tell some senders, and kill it while it goes on."""
    command = [sys.executable, str(Path(__file__).with_name("answering.py")), str(state_dir)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env={"PYTHONPATH": str(_ROOT)}) as process:
        assert process.stdout is not None
        for _ in range(told):
            assert process.stdout.readline() == "told\n"
        process.kill()


@pytest.mark.parametrize("seed", range(2))
async def test_each_sender_is_told_exactly_once_whoever_is_killed(tmp_path: Path, seed: int) -> None:
    chance = random.Random(seed)
    store, reader = await Store.open(tmp_path, POLICY), await Reader.open(tmp_path)
    for number in range(_MESSAGES):
        await fail(store, sender=f"s{number}@a.example")
    for _ in range(3):
        await asyncio.to_thread(killed_soon, tmp_path, chance.randint(1, 20))
    assert 3 <= len([row for row in await reader.log(LogFilter(), limit=1000) if row.sender == ""]) < _MESSAGES
    desk = Desk(store, reader, tmp_path)
    await desk.answers.answer()
    told = Counter([row.recipient for row in await reader.log(LogFilter(), limit=1000) if row.sender == ""])
    assert told == {f"s{number}@a.example": 1 for number in range(_MESSAGES)}
    await reader.close()
    await store.close()
