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
        self._providers: dict[object, Slots] = {}

    def within(self, provider: object, most: int) -> "Slots | SlotsOfProvider":
        """Return the slots for a provider that takes `most` connections for all its sites together; 0: any number."""
        if not most:
            return self
        return SlotsOfProvider(self, self._providers.setdefault(provider, Slots(most)))

    def free(self, *, suspect: bool) -> bool:
        """Return whether `take` would give a slot."""
        return self._free > (self._most // 2 if suspect else 0)

    def take(self, site: object, retry: Callable[[], None], *, suspect: bool = False) -> bool:
        """Take a slot for `site`; where none is free for it, `retry` is called when one may be.

        `suspect`: the site's last connection failed.
        """
        if self.free(suspect=suspect):
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


class SlotsOfProvider:
    """A worker's slots as the sites of one provider get them: each takes one of the provider's and one of all."""

    def __init__(self, every: Slots, own: Slots) -> None:
        self._every = every
        self._own = own

    def take(self, site: object, retry: Callable[[], None], *, suspect: bool = False) -> bool:
        """As `Slots.take`."""
        if self._every.free(suspect=suspect) and not self._own.take(site, retry, suspect=suspect):
            return False
        return self._every.take(site, retry, suspect=suspect)

    def give(self) -> None:
        """As `Slots.give`."""
        self._own.give()
        self._every.give()

    def idles(self, connection: object, close: Callable[[], None]) -> None:
        """As `Slots.idles`."""
        self._own.idles(connection, close)
        self._every.idles(connection, close)

    def works(self, connection: object) -> None:
        """As `Slots.works`."""
        self._own.works(connection)
        self._every.works(connection)


def _offer(waiting: "OrderedDict[object, Callable[[], None]]", free: Callable[[], bool]) -> None:
    """Let those who wait try in turn, each once, while there is something to take."""
    for _ in range(len(waiting)):
        if not free() or not waiting:
            return
        _, retry = waiting.popitem(last=False)
        retry()
