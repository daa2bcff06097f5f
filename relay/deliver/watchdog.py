"""Walks the queue for recipients that nobody would ever try, and mends what it finds.

Rule: one process of a host does it, some recipients a step; what it finds is a bug, or damage, of ours, and is told
so. What is overdue for a reason (its site rests, or holds enough) is no finding; where its life is over, it ends.
"""

import logging
from collections.abc import Collection
from dataclasses import dataclass
from typing import Final

from storage.audit import Fault, Suspect, Walk
from storage.kv import kv
from storage.model import Job, queue_id
from storage.queue_verbs import Wait
from storage.store import Store

_A_STEP: Final = 2000
_MENDED_AT_ONCE: Final = 200

_log = logging.getLogger("telltale.deliver")


@dataclass(frozen=True, slots=True)
class Seen:
    """What a delivery knows of the queue when the watchdog comes."""

    skipped: Collection[str]
    """Domains of which nothing is claimed for now."""
    busy: bool
    """Whether more is due than there is room for."""
    room: int
    over_ms: int
    """Whose life ended before this has waited long enough for a last try."""


class Watchdog:
    """One walk after the other."""

    def __init__(self, store: Store, wait: Wait) -> None:
        """`wait` is for recipients whose lease was lost."""
        self._store = store
        self._wait = wait
        self._walk = Walk()

    async def step(self, now_ms: int, seen: Seen) -> list[Job]:
        """Look at some recipients, mend what is wrong with them; return those to be tried, or ended, by us.

        Raises StoreFailedError or StoreFullError.
        """
        step = await self._store.audit(self._walk, _A_STEP, now_ms)
        self._walk = step.walk or Walk()
        wanted = [suspect for suspect in step.suspects if _is_wrong(suspect, seen) or suspect.expires_ms < seen.over_ms]
        if not wanted:
            return []
        excused = {suspect.recipient_id for suspect in wanted if not _is_wrong(suspect, seen)}
        ids = [suspect.recipient_id for suspect in wanted[:_MENDED_AT_ONCE]]
        faults, jobs = await self._store.mend(ids, now_ms, seen.room, self._wait)
        for recipient_id, fault in faults.items():
            if recipient_id not in excused:
                # A bug of ours, or damage: nothing in the world does this to a recipient.
                _log.error(kv(event="queue-mended", recipient=queue_id(recipient_id), fault=fault.value))
        return jobs


def _is_wrong(suspect: Suspect, seen: Seen) -> bool:
    """Whether what was seen is wrong: one that is due waits with reason while its site rests, or others go first."""
    return suspect.fault is not Fault.OVERDUE or not (seen.busy or suspect.domain in seen.skipped)
