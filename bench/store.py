"""What the store costs: accept and settle of one-recipient messages, against SQLite's own floor.

    python bench/store.py [--seconds 4] [--processes 2] [--sessions 50] [--bytes 4096] [--busy-us 150]
        [--network-ms 0]

Each process runs an event loop with as many sessions; a session accepts a message, settles it as
Delivered, and burns `--busy-us` of the loop's time in between, as SMTP would, and may wait for its peer.
Printed are messages a second and the store's CPU a message: all CPU of the processes, the kernel's share
too, less what was burnt and what the same sessions cost with a store that only lets the loop turn. The
floor is a bare executemany of the same content, in groups of 50, synchronous=FULL, in one process.
"""

import argparse
import asyncio
import multiprocessing
import os
import random
import resource
import sqlite3
import statistics
import sys
import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path

from storage.model import Attempt, BodyType, Job, Message, NewRecipient, Phase, Reply, Result
from storage.people import POLICY
from storage.status import Event, Status
from storage.store import Store

_GROUP = 50


@dataclass(frozen=True, slots=True)
class Load:
    """What to ask of the store."""

    seconds: float
    sessions: int
    size: int
    busy_us: int
    network_ms: float
    switch_ms: float | None
    uvloop: bool


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of it."""

    messages: int
    seconds: float
    cpu_us: float
    median_ms: float


def cpu_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


class Burner:
    """Spends the loop's time as a protocol would: Python byte code, no system calls."""

    def __init__(self, busy_us: int) -> None:
        self.spent = 0.0
        began = time.thread_time()
        _spin(200_000)
        self._turns = int(200_000 * busy_us / 1e6 / (time.thread_time() - began))

    def burn(self) -> None:
        """Spend it."""
        began = time.thread_time()
        _spin(self._turns)
        self.spent += time.thread_time() - began


def _spin(turns: int) -> None:
    total = 0
    for turn in range(turns):
        total += turn & 7


class Nothing:
    """A store that keeps nothing: what is left is the cost of the sessions themselves."""

    def __init__(self) -> None:
        self._last = 0

    def next_id(self) -> int:
        """Return a number."""
        self._last += 1
        return self._last

    async def accept(
        self, message: Message, content: bytes, recipients: list[NewRecipient], *, lifetime_ms: int, leased: bool
    ) -> list[Job]:
        """Let the loop turn."""
        await asyncio.sleep(0)
        (new,) = recipients
        status = Status.UNSENT
        return [Job(message, new.id, new.address, new.domain, status, 0, lifetime_ms, int(leased), content=content)]

    async def settle(self, _: Result) -> None:
        """Let the loop turn."""
        await asyncio.sleep(0)


async def session(store: Store | Nothing, load: Load, burner: Burner, until: float, waits: list[float]) -> int:
    content = os.urandom(load.size // 2).hex().encode()
    count = 0
    while time.monotonic() < until:
        now_ms = time.time_ns() // 1_000_000
        message = Message(
            id=store.next_id(),
            received_ms=now_ms,
            sender="news@sender.example",
            body=BodyType.SEVEN_BIT,
            smtputf8=False,
            size=len(content),
            plan=b"x" * 40,
            client="127.0.0.1",
            message_id=f"<{os.urandom(12).hex()}@sender.example>",
            from_header="News <news@sender.example>",
            subject="A subject of the usual length, about so",
        )
        address = f"{os.urandom(4).hex()}.person@d{count % 97}.example"
        recipient = NewRecipient(store.next_id(), address, address.rpartition("@")[2])
        await elsewhere(load)
        burner.burn()
        began = time.monotonic()
        (job,) = await store.accept(message, content, [recipient], lifetime_ms=432_000_000, leased=True)
        waits.append(time.monotonic() - began)
        await elsewhere(load)
        burner.burn()
        reply = Reply(250, "2.0.0", "2.0.0 Ok: queued as 4B6sWn0Zq3z1k")
        attempt = Attempt(now_ms, 12, Phase.AFTER_DOT, reply, "mx1.there.example", "192.0.2.25", "TLSv1.3 x")
        await store.settle(Result(job, attempt, Event.DELIVER))
        count += 1
    return count


async def elsewhere(load: Load) -> None:
    """Wait as for a peer, each session at its own pace."""
    if load.network_ms:
        await asyncio.sleep(random.random() * load.network_ms / 500)


async def work(state_dir: Path, load: Load) -> Outcome:
    store = await Store.open(state_dir, POLICY)
    if load.switch_ms is not None:
        sys.setswitchinterval(load.switch_ms / 1000)
    burner = Burner(load.busy_us // 2)
    own_us = await sessions_alone(load)
    waits: list[float] = []
    began, cpu = time.monotonic(), cpu_seconds()
    until = began + load.seconds
    counts = await asyncio.gather(*(session(store, load, burner, until, waits) for _ in range(load.sessions)))
    seconds = time.monotonic() - began
    spent = cpu_seconds() - cpu - burner.spent
    await store.close()
    return Outcome(sum(counts), seconds, spent / sum(counts) * 1e6 - own_us, statistics.median(waits) * 1000)


async def sessions_alone(load: Load) -> float:
    burner, load = Burner(0), replace(load, network_ms=0)
    cpu, until = cpu_seconds(), time.monotonic() + 0.5
    counts = await asyncio.gather(*(session(Nothing(), load, burner, until, []) for _ in range(load.sessions)))
    return (cpu_seconds() - cpu - burner.spent) / sum(counts) * 1e6


def worker(state_dir: Path, load: Load, outcomes: "multiprocessing.Queue[Outcome]") -> None:
    if load.uvloop:
        import uvloop  # noqa: PLC0415 - the loop under test

        outcomes.put(uvloop.run(work(state_dir, load)))
    else:
        outcomes.put(asyncio.run(work(state_dir, load)))


def floor(state_dir: Path, load: Load) -> Outcome:
    connection = sqlite3.connect(state_dir / "floor.db", isolation_level=None)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("CREATE TABLE content (id INTEGER PRIMARY KEY, body BLOB)")
    rows = [(os.urandom(load.size // 2).hex().encode(),) for _ in range(_GROUP)]
    began, cpu, count, waits = time.monotonic(), cpu_seconds(), 0, []
    while (now := time.monotonic()) < began + load.seconds / 2:
        connection.execute("BEGIN IMMEDIATE")
        connection.executemany("INSERT INTO content (body) VALUES (?)", rows)
        connection.execute("COMMIT")
        waits.append(time.monotonic() - now)
        count += _GROUP
    seconds = time.monotonic() - began
    cpu = cpu_seconds() - cpu
    connection.close()
    return Outcome(count, seconds, cpu / count * 1e6, statistics.median(waits) * 1000)


def told(name: str, outcomes: list[Outcome]) -> None:
    rate = sum(outcome.messages / outcome.seconds for outcome in outcomes)
    messages = sum(outcome.messages for outcome in outcomes)
    cpu = sum(outcome.cpu_us * outcome.messages for outcome in outcomes) / messages
    wait = max(outcome.median_ms for outcome in outcomes)
    print(f"{name:28} {rate:8.0f} messages/s {cpu:8.1f} us CPU/message, median wait {wait:6.1f} ms")


def loaded(state_dir: Path, load: Load, processes: int) -> list[Outcome]:
    context = multiprocessing.get_context("spawn")
    outcomes: multiprocessing.Queue[Outcome] = context.Queue()
    workers = [context.Process(target=worker, args=(state_dir, load, outcomes)) for _ in range(processes)]
    for process in workers:
        process.start()
    found = [outcomes.get(timeout=60 + load.seconds * 5) for _ in workers]
    for process in workers:
        process.join()
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description="messages a second and CPU a message of the store")
    parser.add_argument("--seconds", type=float, default=4)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--sessions", type=int, default=50, help="a process")
    parser.add_argument("--bytes", type=int, default=4096)
    parser.add_argument("--busy-us", type=int, default=150, help="the loop's own work a message")
    parser.add_argument("--network-ms", type=float, default=0, help="mean wait for a peer before each verb")
    parser.add_argument("--switch-ms", type=float, help="try another interpreter switch interval")
    parser.add_argument("--uvloop", action="store_true")
    parser.add_argument("--dir", type=Path, help="where to put the store (a directory on the disk to measure)")
    asked = parser.parse_args()
    load = Load(
        asked.seconds, asked.sessions, asked.bytes, asked.busy_us, asked.network_ms, asked.switch_ms, asked.uvloop
    )
    with tempfile.TemporaryDirectory(dir=asked.dir) as directory:
        told("floor: executemany of 50", [floor(Path(directory), load)])
        told(f"store, {asked.processes} processes", loaded(Path(directory), load, asked.processes))


if __name__ == "__main__":
    main()
