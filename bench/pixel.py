"""Hits a second of the pixel server, against a bare aiohttp handler that answers the same bytes, in one run.

The pixel server does all its work: token, judgement, and every hit committed to a store with fsync on; the
bare handler does none of it. Both are asked by the same client over kept connections, in turns. Also
printed: how long answers to real and to forged tokens take.

    .venv/bin/python bench/pixel.py [--connections 50] [--seconds 2] [--rounds 3]
"""

import argparse
import asyncio
import multiprocessing
import statistics
import sys
import tempfile
import time
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Final, cast

import uvloop
from aiohttp import web

# The place of this file on the path would stand for the package of its name.
sys.path[0] = str(Path(__file__).resolve().parent.parent)

from pixel.answer import IMAGE, IMAGE_ANSWER  # noqa: E402 - the path is set above
from pixel.server import PixelServer  # noqa: E402 - the path is set above
from pixel.settings import PixelSettings  # noqa: E402 - the path is set above
from storage.model import Attempt, BodyType, LogFilter, Message, NewRecipient, Phase, Reply, Result  # noqa: E402 - the path is set above
from storage.people import POLICY  # noqa: E402 - the path is set above
from storage.reader import Reader  # noqa: E402 - the path is set above
from storage.secret import load_secret  # noqa: E402 - the path is set above
from storage.settings import ServerSettings  # noqa: E402 - the path is set above
from storage.status import Event  # noqa: E402 - the path is set above
from storage.store import Store  # noqa: E402 - the path is set above
from storage.token import Purpose, TokenBox  # noqa: E402 - the path is set above
from storage.tracking import TrackingSettings  # noqa: E402 - the path is set above

RECIPIENTS: Final = 5000
LONG_AGO: Final = 1_700_000_000_000
AGENT: Final = "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0"


async def fill(state_dir: Path) -> list[int]:
    """Make a store with delivered recipients and return their ids."""
    store = await Store.open(state_dir, POLICY)
    message = Message(store.next_id(), LONG_AGO, "a@sender.test", BodyType.SEVEN_BIT, False, 1, b"plan")
    people = [NewRecipient(store.next_id(), f"r{one}@x.test", "x.test") for one in range(RECIPIENTS)]
    jobs = await store.accept(message, b"x", people, lifetime_ms=1000, leased=True)
    attempt = Attempt(LONG_AGO, 1, Phase.AFTER_DOT, Reply(250, None, "Ok"), "mx.test", "198.51.100.25")
    await asyncio.gather(*(store.settle(Result(job, attempt, Event.DELIVER)) for job in jobs))
    await store.close()
    return [one.id for one in people]


async def serve_pixel(state_dir: Path, told: Connection) -> None:
    listen = PixelSettings(listen=("127.0.0.1:0",))
    server = PixelServer(listen, TrackingSettings(), ServerSettings(state_dir=state_dir), POLICY)
    await server.start()
    told.send(server.addresses[0].port)
    await asyncio.to_thread(told.recv)
    started = time.perf_counter()
    await server.drain()
    told.send((server.counts.taken, server.counts.committed, server.counts.turned_away, time.perf_counter() - started))


async def serve_bare(_: Path, told: Connection) -> None:
    headers = {"Cache-Control": IMAGE_ANSWER.cache_control, "Content-Type": IMAGE_ANSWER.content_type}

    async def image(_: web.Request) -> web.Response:
        return web.Response(body=IMAGE, headers=headers)

    application = web.Application()
    application.router.add_get("/o/{token}", image)
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    told.send(runner.addresses[0][1])
    await asyncio.to_thread(told.recv)
    await runner.cleanup()
    told.send(None)


def run(serve: str, state_dir: Path, told: Connection) -> None:
    uvloop.run({"pixel": serve_pixel, "bare": serve_bare}[serve](state_dir, told))


class Client(asyncio.Protocol):
    """Asks again as soon as an answer is whole."""

    def __init__(self, requests: list[bytes], first: int, until: float) -> None:
        self.requests = requests
        self.next = first
        self.until = until
        self.answers = 0
        self.waits: list[float] = []
        self.seen = b""
        self.done = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Ask for the first time."""
        self.transport = cast("asyncio.Transport", transport)
        self.ask()

    def ask(self) -> None:
        """Ask for the next image."""
        self.asked = time.perf_counter()
        self.transport.write(self.requests[self.next % len(self.requests)])
        self.next += 1

    def data_received(self, data: bytes) -> None:
        """Count an answer and ask again, until the time is up."""
        self.seen += data
        if not self.seen.endswith(IMAGE):
            return
        self.seen = b""
        now = time.perf_counter()
        self.waits.append(now - self.asked)
        self.answers += 1
        if now < self.until:
            self.ask()
        else:
            self.transport.close()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - the library's signature
        """Say that it is over."""
        if not self.done.done():
            self.done.set_result(None)


def ask_for(token: str) -> bytes:
    return (
        f"GET /o/{token}.gif HTTP/1.1\r\nHost: images.example\r\nUser-Agent: {AGENT}\r\nAccept: image/*\r\n"
        "Accept-Language: en\r\nAccept-Encoding: gzip, br\r\nX-Forwarded-For: 10.1.2.3\r\n\r\n"
    ).encode()


async def load(port: int, requests: list[bytes], connections: int, seconds: float) -> tuple[float, list[float]]:
    """Return answers a second and how long each took."""
    loop = asyncio.get_running_loop()
    started = time.perf_counter()
    step = len(requests) // connections or 1
    clients = [
        (await loop.create_connection(lambda n=n: Client(requests, n * step, started + seconds), "127.0.0.1", port))[1]
        for n in range(connections)
    ]
    await asyncio.gather(*(client.done for client in clients))
    waits = [wait for client in clients for wait in client.waits]
    return sum(client.answers for client in clients) / (time.perf_counter() - started), waits


async def opens(state_dir: Path) -> int:
    reader = await Reader.open(state_dir)
    total = sum([row.opens async for row in reader.stream(LogFilter())])
    await reader.close()
    return total


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--connections", type=int, default=50)
    options.add_argument("--seconds", type=float, default=2.0)
    options.add_argument("--rounds", type=int, default=3)
    wanted = options.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        compare(Path(directory), wanted.connections, wanted.seconds, wanted.rounds)


def compare(state_dir: Path, connections: int, seconds: float, rounds: int) -> None:
    ids = asyncio.run(fill(state_dir))
    box = TokenBox(load_secret(state_dir), Purpose.PIXEL)
    real = [ask_for(box.seal(one)) for one in ids]
    other = TokenBox(b"forger's key, of the same length", Purpose.PIXEL)
    forged = [ask_for(other.seal(one)) for one in ids]
    ports, told, children = {}, {}, []
    for name in ("bare", "pixel"):
        told[name], theirs = multiprocessing.Pipe()
        child = multiprocessing.Process(target=run, args=(name, state_dir, theirs), daemon=True)
        child.start()
        children.append(child)
        ports[name] = told[name].recv()
    rates: dict[str, list[float]] = {"bare": [], "pixel": []}
    for _ in range(rounds):
        for name, port in ports.items():
            rates[name].append(uvloop.run(load(port, real, connections, seconds))[0])
    # Alone on one connection and in turns, so that both wait for the same beside their own work.
    turns = [request for pair in zip(real, forged, strict=True) for request in pair]
    waits = uvloop.run(load(ports["pixel"], turns, 1, min(seconds, 2.0)))[1]
    for name, some in (("real", waits[::2]), ("forged", waits[1::2])):
        middle, late = statistics.median(some), statistics.quantiles(some, n=100)[98]
        print(f"{name:>6} tokens: median {middle * 1e6:.0f} µs, 99th percentile {late * 1e6:.0f} µs")
    for pipe in told.values():
        pipe.send(None)
    told["bare"].recv()
    taken, committed, turned_away, drained = told["pixel"].recv()
    for child in children:
        child.join()
    counted = asyncio.run(opens(state_dir))
    for name, measured in rates.items():
        rounds_said = ", ".join(f"{rate:.0f}" for rate in measured)
        print(f"{name:>6}: {statistics.median(measured):8.0f} answers/s (rounds: {rounds_said})")
    print(f"  hits: {taken} taken, {committed} committed, {turned_away} turned away, {counted} in the log")
    print(f" drain: {drained:.2f} s")
    ratio = statistics.median(rates["pixel"]) / statistics.median(rates["bare"])
    print(f" ratio: {ratio:.2f} (pixel server to bare handler)")


if __name__ == "__main__":
    main()
