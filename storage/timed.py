"""Questions that are given up when their time is up: nothing else bounds what full-text tables do before they answer.

Rule: a thread and a connection of its own, so that to give one up disturbs nobody else's question.
"""

import asyncio
import sqlite3
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final

from storage import database
from storage.logquery import Query

# Each page of a full-text table that is read is some steps of SQLite's machine: it looks at the clock every ms or so.
_STEPS: Final = 40


class Timed:
    """Asks one question after another."""

    def __init__(self, state_dir: Path) -> None:
        """Take where the store is; it is opened for the first question."""
        self._state_dir = state_dir
        self._connection: sqlite3.Connection | None = None
        self._thread = ThreadPoolExecutor(1, "timed")

    async def ask(self, query: Query, seconds: float) -> Sequence[tuple[Any, ...]] | None:
        """Return the rows; None where they were not known within `seconds` of its own time."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._asked, query, seconds)

    async def close(self) -> None:
        """Close it; once it is closed, nothing happens."""
        opened, self._connection = self._connection, None
        if opened is not None:
            await asyncio.get_running_loop().run_in_executor(self._thread, opened.close)
        self._thread.shutdown(wait=False)

    def _asked(self, query: Query, seconds: float) -> Sequence[tuple[Any, ...]] | None:
        if self._connection is None:
            self._connection = database.open_reading(self._state_dir)
            self._connection.execute("PRAGMA query_only = ON")
        until = time.monotonic() + seconds
        self._connection.set_progress_handler(lambda: time.monotonic() > until, _STEPS)
        try:
            return self._connection.execute(query.sql, query.values).fetchall()
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode == sqlite3.SQLITE_INTERRUPT:
                return None
            raise
