"""CPU of delivery alone, a message: scheduler, site, client, verdict and log line, to a sink on loopback.

    .venv/bin/python bench/deliver.py [--messages 20000] [--connections 20] [--bytes 4096] [--profile] [--dead 200]

The sink is Postfix's smtp-sink, a process of its own. The store is left out: its verbs answer at once, so
that what is measured is relay/deliver. `--real-store` puts the real one in, on a temporary directory. `--dead` lets so
many sites that take connections and never greet have ten recipients each before the others come: their time should not
grow by that.
"""

import argparse
import asyncio
import cProfile
import logging
import os
import pstats
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import uvloop

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from relay.deliver.copy import Copy
from relay.deliver.delivery import Delivery
from relay.deliver.settings import DeliverySettings, DnsSettings, RetrySettings
from storage.model import BodyType, Job, Message, NewRecipient, Result, Settled
from storage.people import POLICY
from storage.settings import ServerSettings
from storage.status import Status
from storage.store import Store


class NoStore:
    """The verbs that delivery uses, answered at once; nothing is kept."""

    owner_id = 0

    def __init__(self) -> None:
        self.settled = 0

    def next_id(self) -> int:
        """Name the file in which delivery tells of its sites."""
        return 0

    async def postpone(self, *_: object) -> None:
        """Take leases back."""

    def settle(self, _: Result) -> asyncio.Future[Settled]:
        """Take a result."""
        self.settled += 1
        answer = asyncio.get_running_loop().create_future()
        answer.set_result(Settled(Status.SENT, accepted=True))
        return answer

    def held_stamp(self) -> bytes:
        """Hold nobody back."""
        return b""

    async def recover(self, *_: object) -> int:
        """Recover nobody."""
        return 0

    async def claim(self, *_: object) -> list[Job]:
        """Give no work."""
        return []

    async def next_due_ms(self) -> int | None:
        """Promise no work."""
        return None

    async def content(self, message_id: int) -> bytes | None:
        """Refuse: all contents are at hand here."""
        raise AssertionError(message_id)


def _message(number: int, content: bytes, now_ms: int) -> Message:
    return Message(number, now_ms, "ann@relay.test", BodyType.SEVEN_BIT, False, len(content), b"")


def _jobs(first: int, count: int, content: bytes) -> list[Job]:
    now_ms = time.time_ns() // 1_000_000
    return [
        Job(
            _message(n, content, now_ms),
            n,
            f"r{n}@d.test",
            "d.test",
            Status.UNSENT,
            0,
            now_ms + 10**9,
            n,
            None,
            None,
            content,
        )
        for n in range(first, first + count)
    ]


async def _stored_jobs(store: Store, count: int, content: bytes) -> list[Job]:
    now_ms = time.time_ns() // 1_000_000
    accepted = [
        store.accept(
            _message(store.next_id(), content, now_ms),
            content,
            [NewRecipient(store.next_id(), "r@d.test", "d.test")],
            lifetime_ms=10**9,
            leased=True,
        )
        for _ in range(count)
    ]
    return [job for jobs in await asyncio.gather(*accepted) for job in jobs]


async def _run(port: int, wanted: argparse.Namespace, state_dir: Path, dead: list[str]) -> tuple[float, float, float]:
    content = (
        b"Subject: bench\r\n\r\n" + b"a line of a message, as long as lines are in mail that people write.\r\n" * 500
    )
    content = content[: wanted.bytes - 2] + b"\r\n"
    store: Any = await Store.open(state_dir, POLICY) if wanted.real_store else NoStore()
    delivery = Delivery(
        store,
        lambda job, stored, _: Copy(f"{job.recipient_id}@relay.test", stored),
        DeliverySettings(
            routes={"*": f"smtp://127.0.0.1:{port}"} | {f"dead{n}.test": route for n, route in enumerate(dead)},
            max_connections_per_site=wanted.connections,
            max_queue_in_memory=10**9,
        ),
        DnsSettings(),
        RetrySettings(),
        ServerSettings(hostname="relay.test", state_dir=state_dir),
    )
    await delivery.start()
    now_ms = time.time_ns() // 1_000_000
    for n in range(10 * len(dead)):
        message = _message(10**9 + n, content, now_ms)
        domain = f"dead{n % len(dead)}.test"
        delivery.submit([Job(message, n, f"r@{domain}", domain, Status.UNSENT, 0, 10**15, n, None, None, content)])
    full = delivery.room()
    jobs = (
        await _stored_jobs(store, wanted.messages, content) if wanted.real_store else _jobs(1, wanted.messages, content)
    )
    profile = cProfile.Profile()
    if wanted.profile:
        profile.enable()
    cpu, wall, user = time.process_time(), time.perf_counter(), os.times().user
    delivery.submit(jobs)
    while store.settled < wanted.messages if dead else delivery.room() < full:  # noqa: ASYNC110 - an event would be a call a message in what is measured
        await asyncio.sleep(0.005)
    cpu, wall, user = time.process_time() - cpu, time.perf_counter() - wall, os.times().user - user
    if wanted.profile:
        profile.disable()
        pstats.Stats(profile).sort_stats("tottime").print_stats(35)
    await delivery.drain(1)
    if wanted.real_store:
        await store.close()
    return cpu, wall, user


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--messages", type=int, default=20_000)
    parser.add_argument("--connections", type=int, default=20)
    parser.add_argument("--bytes", type=int, default=4096)
    parser.add_argument("--profile", action="store_true")
    parser.add_argument("--dead", type=int, default=0, help="sites that never greet, with ten recipients each")
    parser.add_argument("--real-store", action="store_true")
    parser.add_argument("--quiet", action="store_true", help="no log lines, as if the log cost nothing")
    wanted = parser.parse_args()
    sink = shutil.which("smtp-sink", path="/usr/sbin:/usr/bin")
    if sink is None:
        print("smtp-sink is missing: apt install postfix", file=sys.stderr)
        return 1
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    logging.basicConfig(level=logging.WARNING if wanted.quiet else logging.INFO, filename="/dev/null")
    process = subprocess.Popen([sink, "-u", "nobody", "-8", f"127.0.0.1:{port}", "500"])
    try:
        while socket.socket().connect_ex(("127.0.0.1", port)):
            time.sleep(0.05)
        # It takes connections in its backlog, and nobody ever greets.
        with socket.create_server(("", 0), backlog=4096) as silent, tempfile.TemporaryDirectory() as folder:
            dead = [f"smtp://127.1.{n // 250}.{n % 250 + 1}:{silent.getsockname()[1]}" for n in range(wanted.dead)]
            cpu, wall, user = uvloop.run(_run(port, wanted, Path(folder), dead))
    finally:
        process.terminate()
        process.wait()
    each = 1e6 / wanted.messages
    print(
        f"{wanted.messages} messages of {wanted.bytes} bytes, {wanted.connections} connections: "
        f"{wanted.messages / wall:,.0f} a second, {cpu * each:.1f} us of CPU each, "
        f"{user * each:.1f} of them not the kernel's"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
