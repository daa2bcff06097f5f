"""Whose turn it is, among the processes of the host: a lock on a file, which the kernel drops however a process ends.

Rule: it never waits; who has it not asks again later.
"""

import fcntl
import os
from pathlib import Path


class Turn:
    """One task that one process at a time does."""

    def __init__(self, path: Path) -> None:
        """Name the file; it is made where it is missing."""
        self._path = path
        self._file: int | None = None

    def take(self) -> bool:
        """Return whether it is this process's turn, now or already; raises OSError where the file cannot be had."""
        if self._file is not None:
            return True
        file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(file)
            return False
        self._file = file
        return True

    def is_taken(self) -> bool:
        """Return whether some process has it, this one included; where the file cannot be had, nobody does."""
        if self._file is not None:
            return True
        try:
            free = self.take()
        except OSError:
            return False
        self.give()
        return not free

    def give(self) -> None:
        """Let another process have it."""
        if self._file is not None:
            os.close(self._file)
            self._file = None
