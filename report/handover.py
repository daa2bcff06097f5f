"""What became of a draft that somebody began to hand over: whether it went, nobody but the store knows.

Rules: a draft is sent once or is still there. Its run is noted on disk before it may go, and goes in one transaction: a
run that never began, with nobody at it any more, is cancelled, and the draft is free again; else the draft was sent.
"""

from enum import Enum
from typing import Final

from report.drafts import Draft
from storage.broadcast_model import Run, RunOrder, RunState
from storage.reader import Reader
from storage.store import Store

_BROKEN_OFF: Final = "It was not sent: handing it over was broken off. Send it again, if it is still to go."


class Stand(Enum):
    """How a draft is."""

    FREE = "free"
    """To be changed, and sent."""
    UNDER_WAY = "under way"
    """Somebody is at it."""
    SENT = "sent"


async def stand(draft: Draft, store: Store, reader: Reader, now_ms: int) -> Stand:
    """Return how a draft is, once what became of it is settled."""
    if draft.sent is not None:
        return Stand.SENT
    if not draft.taken:
        return Stand.FREE
    turn = draft.turn
    if not turn.take():
        return Stand.UNDER_WAY
    try:
        return await _settled(draft, store, reader, now_ms)
    finally:
        turn.give()


async def _settled(draft: Draft, store: Store, reader: Reader, now_ms: int) -> Stand:
    if draft.sent is not None or not draft.taken:  # just now, by who was at it
        return Stand.FREE if draft.sent is None else Stand.SENT
    run_id = draft.run
    run = None if run_id is None else await reader.broadcasts.run(run_id)
    if run_id is None or (run is not None and not _went(run)):
        if run is not None and run.state is RunState.DRAFT:
            await store.broadcasts.order(run.id, RunOrder.CANCEL, now_ms, "it was not handed over")
        draft.refuse(draft.refused or _BROKEN_OFF)
        draft.free()
        return Stand.FREE
    # A run that the store knows no more has been sent, and its time in the log is over.
    draft.end(run_id)
    return Stand.SENT


def _went(run: Run) -> bool:
    began = run.started_ms is not None or run.start_ms is not None
    return began or run.state not in {RunState.DRAFT, RunState.CANCELLED}
