"""CPU that a submission session costs: 4 KB messages on reused, pipelined connections, server CPU only.

    python -m bench.session [--messages 5000] [--sessions 10] [--size 4096] [--store] [--tls] [--fresh]

Prints microseconds of the server's CPU a message: the session alone (the message is dropped), or with
`--store` the whole acceptance (header, plan, commit). `--fresh` opens a connection for each message.
"""

import argparse
import asyncio
import multiprocessing
import socket
import ssl
import tempfile
import time
from pathlib import Path
from typing import cast

import uvloop

from relay.inject.plan import InjectOptions
from relay.receive.accept import Acceptor
from relay.receive.auth import Authenticator
from relay.receive.listener import SubmissionListener
from relay.receive.settings import SubmissionSettings
from relay.receive.tls import server_context
from storage.people import POLICY
from storage.settings import ServerSettings
from storage.store import Store


class Sink:
    """Takes messages and jobs, and drops them."""

    async def accept(self, *_: object) -> str:
        """Take a message and drop it."""
        return "0" * 13

    def room(self) -> int:
        """Leave all recipients in the store."""
        return 0

    def submit(self, jobs: object) -> None:
        """Drop what should not come."""


def content_of(size: int) -> bytes:
    head = b"From: a@a.example\r\nTo: b@b.example\r\nSubject: bench\r\nContent-Type: text/html\r\n\r\n"
    line = b"<p>" + b"x" * 70 + b"</p>\r\n"
    return head + line * ((size - len(head)) // len(line))


def read_replies(file: socket.SocketIO, count: int) -> None:
    for _ in range(count):
        while file.readline()[3:4] == b"-":
            pass


def client(port: int, messages: int, size: int, tls: bool, fresh: bool) -> None:
    content = content_of(size) + b".\r\n"
    group = b"MAIL FROM:<a@a.example>\r\nRCPT TO:<b@b.example>\r\nDATA\r\n"
    context = ssl._create_unverified_context()  # noqa: SLF001 - a self-signed certificate on loopback
    left = messages
    while left:
        with socket.create_connection(("127.0.0.1", port)) as plain:
            plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            sock = context.wrap_socket(plain) if tls else plain
            file = cast("socket.SocketIO", sock.makefile("rb"))
            sock.sendall(b"EHLO bench\r\n")
            read_replies(file, 2)
            for _ in range(1 if fresh else left):
                sock.sendall(group)
                read_replies(file, 3)
                sock.sendall(content)
                if not file.readline().startswith(b"250 "):
                    raise SystemExit("a message was refused")
                left -= 1


async def measure(args: argparse.Namespace, state_dir: Path) -> float:
    server = ServerSettings(hostname="relay.example", state_dir=state_dir)
    store = await Store.open(state_dir, POLICY)
    sink = Sink()
    real = Acceptor(store, InjectOptions(), "relay.example", sink, lifetime_ms=10**9)
    acceptor = real if args.store else cast("Acceptor", sink)
    endpoint = ("127.0.0.1:0",)
    settings = SubmissionSettings(listen=() if args.tls else endpoint, tls_listen=endpoint if args.tls else ())
    tls = server_context(None, None, state_dir, "relay.example")
    listener = SubmissionListener(settings, server, acceptor, cast("Authenticator", None), tls)
    await listener.start()
    spawn = multiprocessing.get_context("spawn")
    each = args.messages // args.sessions
    port = listener.addresses[0].port
    clients = [
        spawn.Process(target=client, args=(port, each, args.size, args.tls, args.fresh)) for _ in range(args.sessions)
    ]
    before, begun = time.process_time(), time.perf_counter()
    for one in clients:
        one.start()
    spawned = time.process_time() - before
    while any(one.is_alive() for one in clients):  # noqa: ASYNC110 - a process's end is no event of the loop
        await asyncio.sleep(0.01)
    cpu, wall = time.process_time() - before - spawned, time.perf_counter() - begun
    await listener.drain(1)
    await store.close()
    if any(one.exitcode for one in clients):
        raise SystemExit("a client failed")
    print(f"{each * args.sessions} messages of {args.size} bytes in {wall:.2f} s (client start included)")
    return cpu / (each * args.sessions)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--messages", type=int, default=5000)
    parser.add_argument("--sessions", type=int, default=2)
    parser.add_argument("--size", type=int, default=4096)
    for flag in ("--store", "--tls", "--fresh"):
        parser.add_argument(flag, action="store_true")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as state_dir:
        print(f"{uvloop.run(measure(args, Path(state_dir))) * 1e6:.0f} us of CPU a message")


if __name__ == "__main__":
    main()
