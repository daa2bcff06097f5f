"""How many connections a site bears, learned from what it does with them: Postfix's concurrency feedback. Pure.

The rules are those of Postfix's queue manager (SCHEDULER_README, "Concurrency scheduling"; qmgr_queue.c) with its
default feedback of 1: the window begins small, each delivery opens it by one as far as it is used, each failure of a
connection closes it by one, and a whole window of failures in a row says that the site is not to be had now. Added
is the refusal by policy (4.7.x): one window of those closes it by one, and never ends the site, since a greylist
says 4.7.1 to everyone once.
"""

from typing import Final

# Thirds do not add up to one in floats.
_ALMOST: Final = 1e-9


class Concurrency:
    """The window of one site: how many connections may be used at once."""

    __slots__ = ("_failed", "_first", "_most", "_refused", "window")

    def __init__(self, first: int, most: int) -> None:
        """Begin with `first` connections and open up to `most`; both are 1 or more."""
        self._first = min(first, most)
        self._most = most
        self.restart()

    def restart(self) -> None:
        """Begin anew, as after a rest."""
        self.window = self._first
        """Connections that may be used now."""
        self._failed = 0.0
        self._refused = 0.0

    def succeed(self, busy: int) -> None:
        """Note a delivery, or an answer about mail, while `busy` connections were in use."""
        self._failed = self._refused = 0.0
        if self.window < self._most and self.window < busy + self._first:
            self.window += 1

    def refuse(self) -> None:
        """Note a refusal for now by the site's policy."""
        self._refused += 1.0 / self.window
        if self._refused >= 1.0 - _ALMOST:
            self._refused = 0.0
            self.window = max(1, self.window - 1)

    def fail(self) -> bool:
        """Note a connection or handshake that failed, or broke; True where a whole window of them did in a row."""
        self._failed += 1.0 / self.window
        self.window = max(1, self.window - 1)
        return self._failed >= 1.0 - _ALMOST
