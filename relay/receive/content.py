"""Reads the content of a message after DATA: chunks in, the content out (RFC 5321, 4.1.1.4 and 4.5.2).

Only CR LF "." CR LF ends it. What another server might take for an end (`LF . LF`, `CR . CR LF` …) is how
mail is smuggled past a relay (CVE-2023-51764 and kin), so it never leaves this file as it came: a bare LF
becomes CR LF, as Postfix does, since scripts send it without malice; a bare CR has no one meaning, and
refuses the message.

Rules: pure; one pass, a chunk at a time, so that a large message does not hold up the others; lines may be
of any length; memory is bounded by `max_bytes` and by the budget, and past either the rest is read over.
"""

from enum import Enum
from typing import Final

from relay.receive.limits import Budget

_END: Final = b"\r\n.\r\n"
_DOT: Final = b"\r\n."
# What a chunk may end with that could be the beginning of the end, the longest first.
_BEGINNINGS: Final = (b"\r\n.\r", b"\r\n.", b"\r\n", b"\r")


class Reading(Enum):
    """How far the reading came."""

    GOING_ON = "going on"
    COMPLETE = "complete"
    """`take` gives the content."""
    TOO_BIG = "too big"
    """It ended, with more than `max_bytes`."""
    NO_ROOM = "no room"
    """It ended, and the budget had no room for it."""
    BARE_CR = "bare CR"
    """It ended, and holds a CR that is not part of CR LF."""
    ENDLESS = "endless"
    """More than `max_bytes + patience_bytes` came without an end: nobody has to read on."""


def with_line_ends(content: bytes) -> bytes | None:
    """Return content whose bare line feeds are line ends; None where it has a carriage return that ends no line."""
    carriage_returns, line_feeds, pairs = content.count(b"\r"), content.count(b"\n"), content.count(b"\r\n")
    if carriage_returns == line_feeds == pairs:
        return content
    return content.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n") if pairs == carriage_returns else None


class ContentReader:
    """Reads one message; `feed` it until `state` says how it ended, then `close` it."""

    __slots__ = (
        "_carry",
        "_first",
        "_left_bytes",
        "_max_bytes",
        "_more",
        "_repair",
        "_skip",
        "budget",
        "rest",
        "size",
        "state",
    )

    def __init__(self, max_bytes: int, patience_bytes: int, budget: Budget, *, repair: bool = True) -> None:
        """Read at most `max_bytes`, and `patience_bytes` more in vain.

        `repair` False leaves bare CR and LF as they came, for what is kept and never passed on.
        """
        self._max_bytes = max_bytes
        self._left_bytes = max_bytes + patience_bytes
        self._repair = repair
        # The first piece, as a rule the only one, and one buffer for all others: a list of what may be pieces
        # of a byte each would take forty times the memory that the budget knows of.
        self._first = b""
        self._more = bytearray()
        # The line end before the content, of the DATA command, so that an end or a dot on the first line is seen.
        self._carry = b"\r\n"
        self._skip = 2
        self.budget = budget
        self.state = Reading.GOING_ON
        self.size = 0
        """Bytes held, as long as they are; charged to the budget."""
        self.rest = b""
        """What came after the end."""

    def feed(self, chunk: bytes) -> bool:
        """Take the next bytes; True once `state` is final, with what came after the end in `rest`."""
        block = self._carry + chunk
        # One search for both, the end and stuffed dots: most chunks hold neither.
        dot = block.find(_DOT)
        end = block.find(_END, dot) if dot >= 0 else -1
        if end >= 0:
            self._add(block, end + 2, stuffed=dot < end)
            self.rest = block[end + len(_END) :]
            if self.state is Reading.GOING_ON:
                self.state = Reading.COMPLETE
            self._left_bytes = -1
            return True
        self._carry = next((beginning for beginning in _BEGINNINGS if block.endswith(beginning)), b"")
        self._add(block, len(block) - len(self._carry), stuffed=dot >= 0)
        self._left_bytes -= len(chunk)
        if self._left_bytes < 0:
            self._refuse(Reading.ENDLESS)
            return True
        return False

    def take(self) -> bytes:
        """Return the content of a COMPLETE reading; it stays charged to the budget until `close`."""
        content = b"".join((self._first, self._more)) if self._more else self._first
        self._drop()
        return content

    def close(self) -> None:
        """Give back what is charged to the budget; may be called again."""
        self._drop()
        self.budget.give(self.size)
        self.size = 0

    def _drop(self) -> None:
        self._first = b""
        self._more = bytearray()

    def _add(self, block: bytes, end: int, *, stuffed: bool) -> None:
        if not end or self.state is not Reading.GOING_ON:
            return
        # No end is inside of CR LF, so the first piece begins with the line end of the command, whole.
        piece = block[:end].replace(_DOT, b"\r\n")[self._skip :] if stuffed else block[self._skip : end]
        self._skip = 0
        if self._repair:
            repaired = with_line_ends(piece)
            if repaired is None:
                self._refuse(Reading.BARE_CR)
                return
            piece = repaired
        self._keep(piece)

    def _keep(self, piece: bytes) -> None:
        if self.size + len(piece) > self._max_bytes:
            self._refuse(Reading.TOO_BIG)
        elif not self.budget.take(len(piece)):
            self._refuse(Reading.NO_ROOM)
        else:
            if self.size:
                self._more += piece
            else:
                self._first = piece
            self.size += len(piece)

    def _refuse(self, why: Reading) -> None:
        self.close()
        self.state = why
