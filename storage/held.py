"""Whether anybody may have to be held back: a knowledge that costs the hot path nothing.

Rule: transaction-safe among all processes of the host. A verb that may make one of the answers true renews
the stamp while it holds the write lock; whoever reads the stamp holds that lock too, so nobody takes for
false under a stamp what has become true.
"""

import mmap
import os
import sqlite3
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_STAMP_BYTES: Final = 8

_ASK: Final = (
    "SELECT EXISTS (SELECT 1 FROM blocked), EXISTS (SELECT 1 FROM contact_address WHERE types IS NOT NULL)"
    " OR EXISTS (SELECT 1 FROM unsubscribed)"
)


class Stamp:
    """A number in memory that the processes share (a mapped file in the state directory)."""

    def __init__(self, state_dir: Path) -> None:
        """Map it; raises OSError."""
        file = os.open(state_dir / "held.stamp", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            os.ftruncate(file, _STAMP_BYTES)
            self._map = mmap.mmap(file, _STAMP_BYTES)
        finally:
            os.close(file)

    def read(self) -> bytes:
        """Return it; it is the present one where the caller holds the write lock."""
        return self._map[:]

    def renew(self) -> None:
        """Make it another one; the caller holds the write lock."""
        number = int.from_bytes(self._map[:], "little") + 1
        self._map[:] = (number % (1 << 8 * _STAMP_BYTES)).to_bytes(_STAMP_BYTES, "little")

    def close(self) -> None:
        """Unmap it."""
        with suppress(BufferError):
            self._map.close()


@dataclass(frozen=True, slots=True)
class Held:
    """What may hold a recipient back, as known under a stamp."""

    stamp: bytes
    blocked: bool
    """Whether the Blocked Email list has entries."""
    choosy: bool
    """Whether an address does not take every type of broadcast."""


NOT_ASKED: Final = Held(b"", blocked=True, choosy=True)


def ask(connection: sqlite3.Connection, stamp: bytes) -> Held:
    """Return what is so now, inside the caller's transaction."""
    blocked, choosy = connection.execute(_ASK).fetchone()
    return Held(stamp, bool(blocked), bool(choosy))
