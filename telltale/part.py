"""One part in a process of its own: `python -m telltale.part NAME INDEX FD`, started by the supervisor.

It is told its configuration over a socket, says there when it listens, and drains when the socket closes:
a part never outlives its supervisor. Rules: SIGTERM drains, within bounds; SIGINT and SIGHUP are the
supervisor's business (a terminal sends them to the whole group).
"""

import asyncio
import gc
import json
import logging
import os
import signal
import socket
import sys
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Final

from storage.kv import kv
from telltale.config import Config, parse
from telltale.descriptors import raise_limit
from telltale.errors import sentence_of
from telltale.logs import start_logging
from telltale.partname import PartName
from telltale.spec import Spec

# A relay gives its sessions 30 seconds and then settles what it has; a part that needs longer than this hangs, and
# what it leaves is tried again when its leases are found dead. systemd's TimeoutStopSec lies above both.
DRAIN_SECONDS: Final = 40.0
_LINE_BYTES: Final = 16 << 20
# Nearly all that a part makes is gone by itself after some milliseconds; a look for cycles at each 700 new objects, as
# Python ships, met a few hundred messages under way again and again, at 3 % of a relay's time.
_OBJECTS_BETWEEN_COLLECTIONS: Final = 20_000

_log = logging.getLogger("telltale.part")


@dataclass(frozen=True, slots=True)
class Running:
    """A part that was built: how to start it, give it another configuration, and let it finish."""

    start: Callable[[], Awaitable[None]]
    reload: Callable[[Config], Awaitable[None]]
    drain: Callable[[], Awaitable[None]]


def build(spec: Spec, config: Config) -> Running:
    """Build a part; each imports its own room only."""
    if spec.part is PartName.RELAY:
        return _relay(config, spec.index)
    return _pixel(config) if spec.part is PartName.PIXEL else _report(config)


def _relay(config: Config, index: int) -> Running:
    from relay.deliver.shape import Share
    from relay.worker import RelaySettings, Worker
    from telltale.config_shaping import load as load_shaping

    def settings(config: Config) -> RelaySettings:
        return RelaySettings(
            server=config.server,
            submission=config.submission,
            bounce=config.bounce,
            tracking=config.tracking,
            delivery=config.delivery,
            dns=config.dns,
            retry=config.retry,
            dkim=config.dkim,
            tls_report=config.tls_report,
            retention=config.retention,
            broadcast=config.broadcast,
            policy=config.policy,
            shaping=load_shaping(config.delivery.shaping),
            share=Share(index, config.server.workers or len(os.sched_getaffinity(0))),
            answers=config.answers,
        )

    worker = Worker(settings(config))
    return Running(worker.start, lambda new: worker.reload(settings(new)), worker.drain)


def _pixel(config: Config) -> Running:
    from pixel.server import PixelServer

    server = PixelServer(config.pixel, config.tracking, config.server, config.policy)
    return Running(
        server.start, lambda new: server.reload(new.pixel, new.tracking, new.server, new.policy), server.drain
    )


def _report(config: Config) -> Running:
    from relay.posting import Posting, PostingSettings
    from report.given import Given
    from report.server import ReportServer
    from telltale.for_pages import handed

    def given(config: Config) -> Given:
        at = PostingSettings(
            config.server, config.submission, config.retry, config.tracking, config.broadcast, config.dkim
        )
        return Given(
            settings=config.report,
            server=config.server,
            policy=config.policy,
            mailing=lambda store: Posting(store, at),
            webhooks=config.webhooks,
            handed=handed(config),
        )

    server = ReportServer(given(config))
    return Running(server.start, lambda new: server.reload(given(new)), server.drain)


def main() -> None:
    """Run the part named on the command line."""
    name, index, channel = sys.argv[1:]
    spec = Spec(PartName(name), int(index))
    for ignored in (signal.SIGINT, signal.SIGHUP):
        signal.signal(ignored, signal.SIG_IGN)
    start_logging(str(spec))
    raise_limit()
    gc.set_threshold(_OBJECTS_BETWEEN_COLLECTIONS)
    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        code = runner.run(live(lambda config: build(spec, config), socket.socket(fileno=int(channel))))
    sys.exit(code)


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop]:
    import uvloop

    return uvloop.new_event_loop


async def live(build: Callable[[Config], Running], channel: socket.socket) -> int:
    """Run a part from its first configuration to its end; return the exit code."""
    reader, writer = await asyncio.open_unix_connection(sock=channel, limit=_LINE_BYTES)
    ending = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, ending.set)
    try:
        told = await _told(reader)
        if told is None:
            return 0
        try:
            running = build(parse(told["config"], "the supervisor"))
            await running.start()
        except Exception as error:  # noqa: BLE001 - whatever keeps a part from starting is the supervisor's to tell
            _log.debug("not started", exc_info=True)
            _say(writer, failed=sentence_of(error))
            return 1
        _say(writer, ready=True)
        orders = asyncio.create_task(_obey(reader, writer, running, ending))
        await ending.wait()
        orders.cancel()
        return await _drained(running)
    finally:
        writer.close()


async def _obey(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, running: Running, ending: asyncio.Event
) -> None:
    """Reload as told, until the supervisor closes the channel or is gone."""
    while told := await _told(reader):
        try:
            await running.reload(parse(told["config"], "the supervisor"))
        except Exception as error:  # noqa: BLE001 - a configuration that cannot be taken leaves the old one in force
            _log.exception("not reloaded")
            _say(writer, kept=sentence_of(error))
        else:
            _say(writer, reloaded=True)
    ending.set()


async def _drained(running: Running) -> int:
    try:
        async with asyncio.timeout(DRAIN_SECONDS):
            await running.drain()
    except TimeoutError:
        _log.warning(kv(event="drain-cut-short", seconds=DRAIN_SECONDS))
        logging.shutdown()
        os._exit(0)  # threads and sockets that are still at work would hold the process; the store takes kill -9
    return 0


async def _told(reader: asyncio.StreamReader) -> dict[str, Any] | None:
    try:
        line = await reader.readline()
    except ConnectionError:
        return None
    told: dict[str, Any] | None = json.loads(line) if line else None
    return told


def _say(writer: asyncio.StreamWriter, **said: object) -> None:
    writer.write(json.dumps(said).encode() + b"\n")


if __name__ == "__main__":
    main()
