"""Laws of the store over processes: no recipient is delivered twice, none is forgotten."""

import asyncio
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

from storage.people import POLICY
from storage.reader import Reader
from storage.status import Event, Status
from storage.store import Store
from tests.storage.makers import DAY, NOW, result

_ROOT = Path(__file__).resolve().parents[2]
_WORKERS = 3


def work(state_dir: Path) -> list[list[str]]:
    """Let workers run, one of them until kill -9; the answers of each that the store took."""
    program = str(Path(__file__).with_name("stalling.py"))
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    workers = [
        subprocess.Popen(
            [sys.executable, program, str(state_dir), str(number)], text=True, env={"PYTHONPATH": str(_ROOT)}, **pipes
        )
        for number in range(_WORKERS)
    ]
    for worker in workers:
        assert worker.stdout.readline() == "ready\n"
    began_ns = time.monotonic_ns()
    for worker in workers:
        worker.stdin.write(f"{began_ns}\n")
        worker.stdin.flush()
    killed = [workers[0].stdout.readline() for _ in range(20)]
    workers[0].kill()
    outputs = [worker.communicate(timeout=60)[0] for worker in workers]
    assert [worker.returncode for worker in workers[1:]] == [0] * (_WORKERS - 1)
    return [killed + outputs[0].splitlines()] + [output.splitlines() for output in outputs[1:]]


async def test_workers_that_stall_and_die_deliver_each_recipient_once(tmp_path: Path) -> None:
    taken = await asyncio.to_thread(work, tmp_path)
    delivered = Counter(line.split()[0] for lines in taken for line in lines if line.strip().endswith("deliver"))
    assert max(delivered.values()) == 1
    store, reader = await Store.open(tmp_path, POLICY), await Reader.open(tmp_path)
    later_ms = NOW + DAY
    await store.recover(later_ms)
    while jobs := await store.claim(later_ms, 500):
        assert not delivered.keys() & {str(job.recipient_id) for job in jobs}
        await asyncio.gather(*(store.settle(result(job, Event.DELIVER, at_ms=later_ms)) for job in jobs))
    counts = {status: count for status, count in (await reader.status_counts()).items() if count}
    assert counts.keys() == {Status.DELIVERED}
    assert counts[Status.DELIVERED] >= 2 * 8 * 8
    await reader.close()
    await store.close()
    connection = sqlite3.connect(tmp_path / "telltale.db")
    assert connection.execute("SELECT count(*) FROM content").fetchone() == (0,)
    assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    attempts = connection.execute(
        "SELECT count(*) FROM recipient r WHERE attempts <>"
        " (SELECT count(*) FROM attempt a WHERE a.recipient_id = r.id)"
    ).fetchone()[0]
    connection.close()
    assert attempts > 0, "no lease was ever lost, so nothing was shown"
