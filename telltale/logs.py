"""Logging to stderr: one line a fact, for journald where it listens and for people elsewhere.

Rules: a line is one line, whatever remote text went into it; an error's place is kept on the same line,
and its whole traceback only where TELLTALE_DEBUG asks for it. Lines of a busy event loop are written
together, at most a moment later; warnings and errors take all that waits with them at once.
"""

import asyncio
import contextlib
import logging
import os
import sys
import time
import traceback
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Final, TextIO

from storage.kv import kv

DEBUG_VARIABLE: Final = "TELLTALE_DEBUG"
# Levels as journald reads them at a line's start (sd-daemon(3), syslog(3)).
_PRIORITIES: Final = ((logging.CRITICAL, 2), (logging.ERROR, 3), (logging.WARNING, 4), (logging.INFO, 6))
_DEBUG_PRIORITY: Final = 7
_FRAMES: Final = 4
_GROUP_SECONDS: Final = 0.02
_MOST_LINES: Final = 500


def start_logging(part: str, environ: Mapping[str, str] = os.environ, stream: TextIO = sys.stderr) -> None:
    """Send this process's log to `stream`; `part` ("relay/0") names the process in each line."""
    # What no line shows need not be looked up for each of ten thousand lines a second (logging's own advice): who
    # called is a third of what a line costs.
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
    logging._srcfile = None  # noqa: SLF001 - so its HOWTO says, under "Optimization"
    to = GroupedLines(stream)
    debug = bool(environ.get(DEBUG_VARIABLE))
    to.setFormatter(LineFormatter(part, journal="JOURNAL_STREAM" in environ, debug=debug))
    root = logging.getLogger()
    root.handlers[:] = [to]
    root.setLevel(logging.WARNING)  # libraries speak up only when something is wrong
    logging.getLogger("telltale").setLevel(logging.DEBUG if debug else logging.INFO)


class GroupedLines(logging.StreamHandler[TextIO]):
    """Writes the lines of some milliseconds with one system call: each costs more than all else about a line."""

    def __init__(self, stream: TextIO) -> None:
        super().__init__(stream)
        self._lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keep the line for a moment where an event loop can write it then; else write."""
        try:
            self._lines.append(self.format(record))
        except Exception:  # noqa: BLE001 - logging's own way: a line that cannot be made stops nobody
            self.handleError(record)
            return
        if record.levelno >= logging.WARNING or len(self._lines) >= _MOST_LINES:
            self.flush()
        elif len(self._lines) == 1:
            self._write_soon()

    def _write_soon(self) -> None:
        try:
            asyncio.get_running_loop().call_later(_GROUP_SECONDS, self.flush)
        except RuntimeError:  # no event loop in this thread
            self.flush()

    def flush(self) -> None:
        """Write what waits."""
        with self.lock or contextlib.nullcontext():
            lines, self._lines = self._lines, []
            # A stream that is gone (a closed terminal, a full disk) stops nobody either.
            with contextlib.suppress(OSError, ValueError):
                if lines:
                    self.stream.write("\n".join(lines) + "\n")
                self.stream.flush()


class LineFormatter(logging.Formatter):
    """Formats a record as one printable line: "<6>relay/0: …" for journald, else time, level and part before it."""

    def __init__(self, part: str, *, journal: bool, debug: bool) -> None:
        super().__init__()
        self._part = part
        self._journal = journal
        self._debug = debug

    def format(self, record: logging.LogRecord) -> str:
        """Return the line; a message that is no printable text is escaped, never cut into lines."""
        text = record.getMessage()
        if not text.isprintable():
            text = "".join([char if char.isprintable() else _escaped(char) for char in text])
        if record.exc_info and record.exc_info[1] is not None:
            text += " " + kv(error=_named(record.exc_info[1]), at=_place(record.exc_info[1]))
            if self._debug:
                text += "\n" + self.formatException(record.exc_info)
        return self._start(record) + text

    def _start(self, record: logging.LogRecord) -> str:
        if self._journal:
            priority = next((number for level, number in _PRIORITIES if record.levelno >= level), _DEBUG_PRIORITY)
            return f"<{priority}>{self._part}: "
        clock = _second(int(record.created))
        level = "" if record.levelno == logging.INFO else f"{record.levelname} "
        return f"{clock}.{int(record.msecs):03d} {self._part}: {level}"


@lru_cache(maxsize=2)
def _second(since_epoch: int) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(since_epoch))


def _named(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}"


def _place(error: BaseException) -> str:
    """Return the innermost frames of an error, the deepest first: "file.py:12 in send < …"."""
    frames = traceback.extract_tb(error.__traceback__)[-_FRAMES:]
    return " < ".join([f"{Path(f.filename).name}:{f.lineno} in {f.name}" for f in reversed(frames)])


def _escaped(char: str) -> str:
    return char.encode("unicode_escape").decode("ascii")
