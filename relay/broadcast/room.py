"""Who of a list may come into the queue now: a bound on how many of a run wait there, of which no domain may take all.

Rules: pure. A domain may have no more waiting than is left for all others, so that one whose server is down or slow
fills half of the bound, a second one half of the rest, and so on, and there is always room for those that are quick.
Who may not come yet goes to the end of the list; what the list still holds is known after each time through it.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence


class Room:
    """The room of one run; nobody may come before it is told who waits."""

    def __init__(self, most: int, chunks: int) -> None:
        """Take how many may wait in all, and how many chunks the list has still."""
        self._most = most
        self._waiting: Counter[str] | None = None
        self._free = 0
        self._full: set[str] = set()
        """Domains that may not come until they have half of what they might."""
        self._chunks_left = chunks
        """Until the list has been gone through once more."""
        self._put_off: set[str] = set()
        self._left: set[str] | None = None
        """All that the list can hold still; None: that is not known yet."""

    @property
    def to_count(self) -> bool:
        """Whether it would help to look who waits."""
        return self._waiting is None or bool(self._full) or self._free <= 0

    @property
    def closed(self) -> bool:
        """Whether nobody may come: it is full, or all that are left are of domains that have enough."""
        return self._free <= 0 or bool(self._left and self._left <= self._full)

    def counted(self, waiting: Mapping[str, int]) -> None:
        """Take how many of each domain wait."""
        self._waiting = Counter(waiting)
        self._free = self._most - self._waiting.total()
        self._full = {domain for domain in self._full if 2 * self._waiting[domain] > self._free}

    def choose(self, domains: Sequence[str]) -> list[bool]:
        """Return who of a chunk, given by domain, may come, and count these."""
        return [self._may_come(domain) for domain in domains]

    def _may_come(self, domain: str) -> bool:
        if self._waiting is None or domain in self._full:
            return False
        if self._waiting[domain] >= self._free:
            self._full.add(domain)
            return False
        self._waiting[domain] += 1
        self._free -= 1
        return True

    def went(self, put_off: Iterable[str], chunks: int) -> None:
        """Note that a chunk is done, but for those of the domains `put_off`, and how many chunks are left now."""
        self._put_off.update(put_off)
        self._chunks_left -= 1
        if self._chunks_left <= 0:
            self._left, self._put_off, self._chunks_left = self._put_off, set(), chunks
