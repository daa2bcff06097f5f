"""The pre-flights of drafts: each is a job, and what it found is told for a while.

Rule: a draft never changes, but what is blocked and sent does: what was found is told for half a minute, and for
longer, up to half an hour, only where it took long to find.
"""

import logging
import time
from dataclasses import dataclass
from typing import Final

from report.drafts import Draft
from report.handed import Broadcasting, PreFlight, Refusal
from report.jobs import Job, Jobs, StoppedError
from storage.kv import kv

_TOLD_SECONDS: Final = 30.0
_TOLD_TIMES: Final = 20
_MOST_TOLD_SECONDS: Final = 1800.0
_STALE_SECONDS: Final = 3600.0

_log = logging.getLogger("telltale.report")


@dataclass(frozen=True, slots=True)
class Check:
    """What a pre-flight found."""

    found: PreFlight | Refusal
    at_ms: int
    until: float
    """Seconds of the monotonic clock."""


class Checks:
    """What was found of drafts lately."""

    def __init__(self, jobs: Jobs) -> None:
        """Look by these jobs."""
        self._jobs = jobs
        self._found: dict[str, Check] = {}

    def found(self, draft: Draft, *, stale: bool = False) -> Check | None:
        """Return what is known of a draft; `stale`: what was found before will do."""
        now = time.monotonic()
        self._found = {id_: one for id_, one in self._found.items() if now < one.until + _STALE_SECONDS}
        known = self._found.get(draft.id)
        return known if known is not None and (stale or now < known.until) else None

    def forget(self, draft: Draft) -> None:
        """Look anew next time, and no further where somebody looks just now."""
        self._found.pop(draft.id, None)
        if job := self.job(draft):
            job.stop()

    def job(self, draft: Draft) -> Job | None:
        """Return who looks just now."""
        return self._jobs.find(f"check:{draft.id}")

    def look(self, rooms: Broadcasting, draft: Draft, senders: tuple[str, ...]) -> Job:
        """Let somebody look, unless somebody does."""
        began = time.monotonic()

        def work(job: Job) -> PreFlight | Refusal:
            try:
                return rooms.pre_flight(draft, senders, job)
            except StoppedError:
                raise
            except Exception:  # noqa: BLE001 - else who looks at it would begin it again and again
                _log.exception(kv(event="not-checked", draft=draft.id))
                return Refusal("It could not be checked, for a reason that is in the server's log.")

        def then(found: PreFlight | Refusal) -> None:
            now = time.monotonic()
            until = now + min(max(_TOLD_SECONDS, _TOLD_TIMES * (now - began)), _MOST_TOLD_SECONDS)
            self._found[draft.id] = Check(found, time.time_ns() // 1_000_000, until)

        return self.job(draft) or self._jobs.start(f"check:{draft.id}", draft.user, work, then=then)
