"""Connections that a worker may have in all, shared by its sites.

Rule: no site keeps others from connecting by connections that it does not use: where none is free, the one
that has been idle longest is closed, and sites that wait get theirs in turn.
"""

from collections import OrderedDict
from collections.abc import Callable


class Slots:
    """Counts connections; sites wait for one by name."""

    def __init__(self, most: int) -> None:
        """Take how many connections there may be."""
        self._free = most
        self._waiting: OrderedDict[object, Callable[[], None]] = OrderedDict()
        self._idle: OrderedDict[object, Callable[[], None]] = OrderedDict()

    def take(self, site: object, retry: Callable[[], None]) -> bool:
        """Take a slot for `site`; where none is free, `retry` is called when one may be."""
        if self._free:
            self._free -= 1
            self._waiting.pop(site, None)
            return True
        self._waiting.setdefault(site, retry)
        if self._idle:
            _, close = self._idle.popitem(last=False)
            close()
        return False

    def give(self) -> None:
        """Give a slot back: the site that waits longest may take it."""
        self._free += 1
        while self._free and self._waiting:
            _, retry = self._waiting.popitem(last=False)
            retry()

    def idles(self, connection: object, close: Callable[[], None]) -> None:
        """Note that a connection is unused; `close` is called when its slot is needed elsewhere."""
        if self._waiting:
            close()
        else:
            self._idle[connection] = close

    def works(self, connection: object) -> None:
        """Note that a connection is used again, or gone."""
        self._idle.pop(connection, None)
