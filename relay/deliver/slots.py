"""Connections that a worker may have in all, shared by its sites.

Rule: no site keeps others from connecting by connections that it does not use, nor dead ones by connections
that they do not get: where no slot is free, the connection that has been idle longest is closed; sites that
failed last time have half of the slots at most; and those that wait get theirs in turn.
"""

from collections import OrderedDict
from collections.abc import Callable


class Slots:
    """Counts connections; sites wait for one by name."""

    def __init__(self, most: int) -> None:
        """Take how many connections there may be."""
        self._most = most
        self._free = most
        self._waiting: OrderedDict[object, Callable[[], None]] = OrderedDict()
        self._suspects: OrderedDict[object, Callable[[], None]] = OrderedDict()
        self._idle: OrderedDict[object, Callable[[], None]] = OrderedDict()

    def take(self, site: object, retry: Callable[[], None], *, suspect: bool = False) -> bool:
        """Take a slot for `site`; where none is free for it, `retry` is called when one may be.

        `suspect`: the site's last connection failed.
        """
        if self._free > (self._most // 2 if suspect else 0):
            self._free -= 1
            self._waiting.pop(site, None)
            self._suspects.pop(site, None)
            return True
        if suspect:
            self._suspects.setdefault(site, retry)
            return False
        self._waiting.setdefault(site, retry)
        if self._idle:
            _, close = self._idle.popitem(last=False)
            close()
        return False

    def give(self) -> None:
        """Give a slot back: the site that waits longest may take it, or the next if it needs none now."""
        self._free += 1
        _offer(self._waiting, lambda: self._free > 0)
        _offer(self._suspects, lambda: self._free > self._most // 2)

    def idles(self, connection: object, close: Callable[[], None]) -> None:
        """Note that a connection is unused; `close` is called when its slot is needed elsewhere."""
        if self._waiting:
            close()
        else:
            self._idle[connection] = close

    def works(self, connection: object) -> None:
        """Note that a connection is used again, or gone."""
        self._idle.pop(connection, None)


def _offer(waiting: "OrderedDict[object, Callable[[], None]]", free: Callable[[], bool]) -> None:
    """Let those who wait try in turn, each once, while there is something to take."""
    for _ in range(len(waiting)):
        if not free() or not waiting:
            return
        _, retry = waiting.popitem(last=False)
        retry()
