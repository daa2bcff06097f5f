"""Connections that a worker may have in all, shared by its sites, and those to one provider, or to the same servers.

Rule: no site keeps others from connecting by connections that it does not use, nor dead ones by connections
that they do not get: where no slot is free, the connection that has been idle longest is closed; sites that
failed last time have half of the slots at most; and those that wait get theirs in turn, the doubtful ones too.
"""

from collections import OrderedDict
from collections.abc import Callable
from weakref import WeakValueDictionary

_Waiting = OrderedDict[object, Callable[[], None]]


class Slots:
    """Counts connections; sites wait for one by name."""

    def __init__(self, most: int) -> None:
        """Take how many connections there may be."""
        self._free = most
        self._for_suspects = max(1, most // 2)
        self._waiting: _Waiting = OrderedDict()
        self._suspects: _Waiting = OrderedDict()
        self._suspects_first = False
        self._idle: _Waiting = OrderedDict()
        # As long as a site holds them.
        self._shared: WeakValueDictionary[object, Slots] = WeakValueDictionary()

    def shared(self, key: object, most: int) -> "Slots":
        """Return the slots, `most` at first, of all who ask for them by this key."""
        slots = self._shared.get(key)
        if slots is None:
            slots = self._shared[key] = Slots(most)
        return slots

    def wanted(self, besides: object = None) -> bool:
        """Return whether anybody, besides one, waits who would get a slot that is given back."""
        suspects = self._suspects if self._for_suspects > 0 else ()
        return len(self._waiting) > (besides in self._waiting) or len(suspects) > (besides in suspects)

    def free(self, *, suspect: bool) -> bool:
        """Return whether `take` would give a slot."""
        return self._free > 0 and (not suspect or self._for_suspects > 0)

    def take(self, site: object, retry: Callable[[], None], *, suspect: bool = False) -> bool:
        """Take a slot for `site`; where none is free for it, `retry` is called when one may be.

        `suspect`: the site's last connection failed.
        """
        if self.free(suspect=suspect):
            self._free -= 1
            self._for_suspects -= suspect
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

    def trust(self) -> None:
        """Count a suspect's slot as any other's: its connection has come to life."""
        self._for_suspects += 1

    def give(self, *, suspect: bool = False) -> None:
        """Give a slot back: the site that waits longest may take it, or the next if it needs none now."""
        self._free += 1
        self._for_suspects += suspect
        self._suspects_first = not self._suspects_first
        if self._suspects_first:
            self._offer_suspects()
        _offer(self._waiting, lambda: self.free(suspect=False))
        if not self._suspects_first:
            self._offer_suspects()

    def _offer_suspects(self) -> None:
        _offer(self._suspects, lambda: self.free(suspect=True))

    def idles(self, connection: object, close: Callable[[], None]) -> None:
        """Note that a connection is unused; `close` is called when its slot is needed elsewhere."""
        if self.wanted():
            close()
        else:
            self._idle[connection] = close

    def works(self, connection: object) -> None:
        """Note that a connection is used again, or gone."""
        self._idle.pop(connection, None)


class SlotsWithin:
    """Slots that several sites share within those of all: each connection takes one of both."""

    def __init__(self, every: "Slots | SlotsWithin", own: Slots) -> None:
        self._every = every
        self._own = own

    def wanted(self, besides: object = None) -> bool:
        """As `Slots.wanted`."""
        return self._own.wanted(besides) or self._every.wanted(besides)

    def free(self, *, suspect: bool) -> bool:
        """As `Slots.free`."""
        return self._own.free(suspect=suspect) and self._every.free(suspect=suspect)

    def take(self, site: object, retry: Callable[[], None], *, suspect: bool = False) -> bool:
        """As `Slots.take`."""
        if self._every.free(suspect=suspect) and not self._own.take(site, retry, suspect=suspect):
            return False
        return self._every.take(site, retry, suspect=suspect)

    def trust(self) -> None:
        """As `Slots.trust`."""
        self._own.trust()
        self._every.trust()

    def give(self, *, suspect: bool = False) -> None:
        """As `Slots.give`."""
        self._own.give(suspect=suspect)
        self._every.give(suspect=suspect)

    def idles(self, connection: object, close: Callable[[], None]) -> None:
        """As `Slots.idles`."""
        self._own.idles(connection, close)
        self._every.idles(connection, close)

    def works(self, connection: object) -> None:
        """As `Slots.works`."""
        self._own.works(connection)
        self._every.works(connection)


def _offer(waiting: _Waiting, free: Callable[[], bool]) -> None:
    """Let those who wait try in turn, each once, while there is something to take."""
    for _ in range(len(waiting)):
        if not free() or not waiting:
            return
        _, retry = waiting.popitem(last=False)
        retry()
