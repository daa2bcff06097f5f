"""Keeps the parts of `telltale serve` running: starts them, restarts what dies, passes on what signals ask.

Rules: a part that cannot start at first ends the whole with its sentence; one that dies later comes back,
after ever longer waits. The first SIGTERM or SIGINT drains, the second one stops at once (the store takes
a kill at any time); SIGHUP gives the running parts the new configuration.
"""

import asyncio
import contextlib
import json
import logging
import os
import signal
import socket
import sys
from collections.abc import Callable, Sequence
from typing import Any, Final

from storage.kv import kv
from telltale.config import Config
from telltale.config_toml import dump
from telltale.errors import FailureError, sentence_of
from telltale.notify import notify, reloading, watchdog_seconds
from telltale.part import DRAIN_SECONDS
from telltale.spec import WELL_SECONDS, Spec, reloaded, wait_seconds

# What a part needs beyond its own bound to say good-bye, before it is killed.
_KILL_SECONDS: Final = DRAIN_SECONDS + 5

# timeout(1), make(1) and shells signal a process and then its whole group: that is one wish, not two.
_SAME_STOP_SECONDS: Final = 1.0
_LINE_BYTES: Final = 1 << 20

_log = logging.getLogger("telltale.serve")


Command = Callable[[Spec, int], list[str]]


def part_command(spec: Spec, channel: int) -> list[str]:
    """Return the command line of a part's process."""
    # Neither looks for modules in the working directory; -I, as installed, not in the environment either.
    isolation = "-I" if sys.flags.isolated else "-P"
    return [sys.executable, isolation, "-m", "telltale.part", spec.part.value, str(spec.index), str(channel)]


class Child:
    """One process to keep running; a new one takes the place of one that died."""

    def __init__(self, spec: Spec, config: Config, command: Command) -> None:
        self.spec = spec
        self.is_ready = False
        self.was_ready = False
        self.failed = ""
        self._config = config
        self._command = command
        self._last_signal: signal.Signals | None = None
        self._process: asyncio.subprocess.Process | None = None
        self._writer: asyncio.StreamWriter | None = None

    async def live(self, on_change: Callable[[], None]) -> str:
        """Run one process to its end; return how it ended. `on_change` is called when it is ready, and after."""
        try:
            reader, self._writer = await self._born()
        except OSError as error:
            return f"not started: {sentence_of(error)}"
        try:
            self.tell(self._config)
            await self._listen(reader, on_change)
            return _how(await self._process.wait()) if self._process else ""
        finally:
            self.is_ready = False
            self._writer.close()
            on_change()

    def tell(self, config: Config) -> None:
        """Give the process a configuration: its first one, or another."""
        self._config = config
        if self._writer is not None and not self._writer.is_closing():
            self._writer.write(json.dumps({"config": dump(config)}).encode() + b"\n")

    def stop(self, number: signal.Signals) -> None:
        """Send a signal to the process; one that is just being born gets it too."""
        self._last_signal = number
        if self._process is not None and self._process.returncode is None:
            self._process.send_signal(number)

    async def _born(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        ours, theirs = socket.socketpair()
        try:
            with theirs:
                self._process = await asyncio.create_subprocess_exec(
                    *self._command(self.spec, theirs.fileno()),
                    stdin=asyncio.subprocess.DEVNULL,
                    stdout=sys.stderr,
                    pass_fds=(theirs.fileno(),),
                )
        except OSError:
            ours.close()
            raise
        if self._last_signal is not None:
            self.stop(self._last_signal)
        return await asyncio.open_unix_connection(sock=ours, limit=_LINE_BYTES)

    async def _listen(self, reader: asyncio.StreamReader, on_change: Callable[[], None]) -> None:
        while line := await _line(reader):
            said = json.loads(line)
            if "ready" in said:
                self.is_ready = self.was_ready = True
                on_change()
            elif "failed" in said:
                self.failed = said["failed"]
            elif "kept" in said:
                _log.error(kv(event="not-reloaded", part=self.spec, reason=said["kept"]))
            else:
                _log.info(kv(event="reloaded", part=self.spec))


async def _line(reader: asyncio.StreamReader) -> bytes:
    try:
        return await reader.readline()
    except ConnectionError:  # it was killed with our words unread
        return b""


def _how(code: int) -> str:
    return f"exit code {code}" if code >= 0 else f"killed by {signal.Signals(-code).name}"


class Supervisor:
    """Runs one process for each spec until it is told to stop."""

    def __init__(
        self,
        specs: Sequence[Spec],
        config: Config,
        reload: Callable[[], Config],
        *,
        announce: Callable[[], None] = lambda: None,
        command: Command = part_command,
    ) -> None:
        """Take what to run; `reload` reads the file anew (raises FailureError), `announce` is called when all is up."""
        self._children = [Child(spec, config, command) for spec in specs]
        self._config = config
        self._reload = reload
        self._announce = announce
        self._had_terminal = os.isatty(0)
        self._is_up = False
        self._stopping = asyncio.Event()
        self._at_once = asyncio.Event()
        self._stop_asked = 0.0

    async def run(self) -> None:
        """Run until SIGTERM or SIGINT; raises FailureError where a part cannot start at first."""
        self._take_signals()
        beat = asyncio.create_task(_beat())
        keepers = [asyncio.create_task(self._keep(child)) for child in self._children]
        stopping = asyncio.create_task(self._stopping.wait())
        try:
            await asyncio.wait([stopping, *keepers], return_when=asyncio.FIRST_COMPLETED)
        finally:
            beat.cancel()
            stopping.cancel()
            await self._end(keepers)
        for keeper in keepers:
            keeper.result()

    async def _keep(self, child: Child) -> None:
        loop = asyncio.get_running_loop()
        deaths = 0
        while not self._stopping.is_set():
            began = loop.time()
            how = await child.live(self._tell_status)
            if self._stopping.is_set():
                return
            if not child.was_ready:
                raise FailureError(child.failed or f"the {child.spec} part did not start ({how})")
            deaths = 1 if loop.time() - began >= WELL_SECONDS else deaths + 1
            seconds = wait_seconds(deaths)
            _log.error(kv(event="part-died", part=child.spec, how=how, reason=child.failed or None, again_in=seconds))
            child.failed = ""
            await _either(self._stopping, seconds)

    async def _end(self, keepers: Sequence[asyncio.Task[None]]) -> None:
        """Let the parts drain; kill what is left when their time is over, or when told so."""
        self._stopping.set()
        notify("STOPPING=1")
        self._signal_all(signal.SIGTERM)
        hurry = asyncio.create_task(self._at_once.wait())
        everything = asyncio.gather(*keepers, return_exceptions=True)
        waited: list[asyncio.Future[Any]] = [hurry, everything]
        await asyncio.wait(waited, timeout=_KILL_SECONDS, return_when=asyncio.FIRST_COMPLETED)
        hurry.cancel()
        if not everything.done():
            _log.warning(kv(event="killed", parts=" ".join([str(child.spec) for child in self._children])))
            self._signal_all(signal.SIGKILL)
            await everything

    def _signal_all(self, number: signal.Signals) -> None:
        for child in self._children:
            child.stop(number)

    def _take_signals(self) -> None:
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGTERM, self._on_stop)
        loop.add_signal_handler(signal.SIGINT, self._on_stop)
        loop.add_signal_handler(signal.SIGHUP, self._on_hangup)

    def _on_stop(self) -> None:
        now = asyncio.get_running_loop().time()
        if not self._stopping.is_set():
            self._stop_asked = now
            self._stopping.set()
        elif now - self._stop_asked >= _SAME_STOP_SECONDS:
            self._at_once.set()

    def _on_hangup(self) -> None:
        # A terminal that is closed sends SIGHUP too, and then nobody is there who asked for a reload.
        if self._had_terminal and not os.isatty(0):
            self._on_stop()
            return
        notify(*reloading())
        try:
            self._config, kept = reloaded(self._config, self._reload())
        except FailureError as error:
            for sentence in str(error).splitlines():
                _log.error(kv(event="configuration-kept", reason=sentence))
        else:
            if kept:
                _log.warning(kv(event="needs-restart", keys=", ".join(kept)))
            for child in self._children:
                child.tell(self._config)
        notify("READY=1")

    def _tell_status(self) -> None:
        counts: dict[str, list[bool]] = {}
        for child in self._children:
            counts.setdefault(child.spec.part, []).append(child.is_ready)
        notify("STATUS=" + ", ".join([f"{part} {sum(ready)} of {len(ready)}" for part, ready in counts.items()]))
        if not self._is_up and all(child.is_ready for child in self._children):
            self._is_up = True
            self._announce()
            notify("READY=1")


async def _either(event: asyncio.Event, seconds: float) -> None:
    """Wait for the event, or for the seconds to be over."""
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(event.wait(), seconds)


async def _beat() -> None:
    seconds = watchdog_seconds()
    while seconds is not None:
        notify("WATCHDOG=1")
        await asyncio.sleep(seconds)
