"""Splits what a client sends into command lines; pure, linear, bounded.

A bare LF ends a line too: people who type commands send it, and only in content can it smuggle anything.
"""

from typing import Final

OVERLONG: Final = b"\n"
"""Stands for a line that was too long: no line can be it."""


class LineBuffer:
    """Bytes in, lines out; of a line that is too long only its length is kept."""

    __slots__ = ("_bytes", "_max_line_bytes", "_searched", "skipped")

    def __init__(self, max_line_bytes: int) -> None:
        """Give lines of at most `max_line_bytes`, their ends not counted."""
        self._bytes = bytearray()
        self._searched = 0
        self._max_line_bytes = max_line_bytes
        self.skipped = 0
        """Bytes of the present line that were too many and are gone."""

    def __len__(self) -> int:
        """Return how many bytes are held."""
        return len(self._bytes)

    @property
    def has_news(self) -> bool:
        """Whether bytes came since `next` last found no line."""
        return len(self._bytes) > self._searched

    def add(self, data: bytes) -> None:
        """Take bytes."""
        self._bytes += data

    def next(self) -> bytes | None:
        """Return the next line without its end, OVERLONG, or None where there is no whole line yet."""
        end = self._bytes.find(b"\n", self._searched)
        if end < 0:
            self._searched = len(self._bytes)
            if self._searched > self._max_line_bytes + 1:  # the end's CR may be there
                self.skipped += self._searched
                self.take()
            return None
        line = bytes(self._bytes[:end]).removesuffix(b"\r")
        del self._bytes[: end + 1]
        self._searched = 0
        if self.skipped or len(line) > self._max_line_bytes:
            self.skipped = 0
            return OVERLONG
        return line

    def take(self) -> bytes:
        """Return all that is held, and hold nothing."""
        held = bytes(self._bytes)
        self._bytes.clear()
        self._searched = 0
        return held
