"""Takes back from memory whom nothing may be sent to any more: blocked, or unsubscribed, since they were leased.

Rules: where nobody became so, it costs the reading of eight bytes a second. Only who waits is taken back; what becomes
of him, the claim decides (storage/queue_verbs.py), in a transaction. A try that is under way goes on.
"""

import logging
from collections.abc import Callable
from typing import Final

from relay.deliver.places import Places
from relay.deliver.results import Results
from storage.kv import kv
from storage.store import Store, StoreFailedError, StoreFullError

# A second look finds who was leased just before the first, and came into memory after it.
_LOOKS: Final = 2
_ASKED_AT_ONCE: Final = 1000
# Looking takes no more than this share of the time, however many come to be held back.
_SHARE: Final = 20

_log = logging.getLogger("telltale.deliver")


class Recall:
    """What one relay process has in memory, held against the lists."""

    def __init__(self, store: Store, places: Places, results: Results, clock: Callable[[], float]) -> None:
        """Take where recipients wait, and where they are given back."""
        self._store = store
        self._places = places
        self._results = results
        self._clock = clock
        self._stamp = store.held_stamp()
        self._looks = 0
        self._not_before = 0.0

    async def look(self, now_ms: int) -> None:
        """Give back who is held back now, if that may be anybody."""
        stamp, began = self._store.held_stamp(), self._clock()
        if stamp != self._stamp:
            self._stamp, self._looks = stamp, _LOOKS
        if not self._looks or began < self._not_before:
            return
        try:
            await self._take_back(now_ms)
            self._looks -= 1
        except (StoreFailedError, StoreFullError) as error:
            _log.error(kv(event="no-recall", error=error))
        ended = self._clock()
        self._not_before = ended + _SHARE * (ended - began)

    async def _take_back(self, now_ms: int) -> None:
        jobs = self._places.waiting()
        for start in range(0, len(jobs), _ASKED_AT_ONCE):
            held = await self._store.held_back(jobs[start : start + _ASKED_AT_ONCE], now_ms)
            # Some of them may be under way by now.
            if taken := self._places.take_out(held):
                _log.info(kv(event="held-back", recipients=len(taken)))
                self._results.give_back(taken, now_ms)
