"""Broadcasts: which there are, how far each came, who reads it, and why others did not get it.

Rules: what a sender sees and orders is that user's own; a viewer sees all and orders nothing.
"""

import asyncio
from http import HTTPStatus
from typing import Final

from aiohttp import web

from report import advice, figures, query
from report.asked import Asked, NavItem, Route
from report.forms import posted
from report.html import page, see_other
from report.problem import ProblemError
from storage.access import Role, Scope
from storage.broadcast_model import OPEN, Run, RunOrder, RunState
from storage.model import message_id_of, queue_id
from storage.stats_model import BroadcastStats, Shares
from storage.status import Status

ROWS: Final = 50
MISSED: Final = (
    Status.UNSENT,
    Status.SOFT_BOUNCED,
    Status.BOUNCED,
    Status.FAILED,
    Status.BLOCKED,
    Status.NO_EMAIL_SELECTED,
)
"""Statuses of who did not get it, or not yet. A Duplicate is nobody's: the address has another row, which tells."""
_MOST_DOMAINS: Final = 25
_MOST_RUNS: Final = 20
_ORDERS: Final = {
    RunState.SCHEDULED: (RunOrder.PAUSE, RunOrder.CANCEL),
    RunState.SENDING: (RunOrder.PAUSE, RunOrder.CANCEL),
    RunState.PAUSED: (RunOrder.RESUME, RunOrder.CANCEL),
    RunState.DRAFT: (RunOrder.CANCEL,),
}


async def show(asked: Asked) -> web.Response:
    """Show a page of broadcasts, the newest first."""
    before = message_id_of(asked.request.query.get("before", ""))
    found = await asked.desk.reader.stats.broadcasts(asked.who.own, limit=ROWS + 1, before_id=before)
    runs = await asked.desk.reader.broadcasts.runs(ROWS)
    facts = {
        "rows": found[:ROWS],
        "together": figures.total(one.counts for one in found[:ROWS]),
        "older": queue_id(found[ROWS - 1].id) if len(found) > ROWS else None,
        "first": before is None,
        # Of several runs of one broadcast, the newest counts: they come newest first.
        "states": {run.broadcast_id: run.state for run in reversed(runs) if run.state in OPEN},
        "code_of": queue_id,
        "unsent": await asyncio.to_thread(_unsent, asked) if asked.who.may(Scope.SEND) else 0,
        "serial": await asked.desk.reader.serial(),
    }
    return page(asked, "broadcasts.html", facts)


def _unsent(asked: Asked) -> int:
    return sum(one.sent is None for one in asked.desk.drafts.of(asked.who.user))


async def story(asked: Asked) -> web.Response:
    """Show all that is known of a broadcast."""
    serial = await asked.desk.reader.serial()
    one = await found(asked)
    stats = asked.desk.reader.stats
    shares = await stats.shares(one.id)
    runs = await _runs(asked, one)
    facts = {
        "one": one,
        "code": queue_id(one.id),
        "runs": runs,
        "orders": {run.id: _allowed(asked, run) for run in runs},
        "plots": [figures.opens_over_time(shares.opens, None), figures.time_to_open(shares.waits)],
        "rhythm": [figures.opens_by_hour(shares.opens, None), figures.opens_by_weekday(shares.opens, None)],
        "domains": await stats.domains(one.id, _MOST_DOMAINS),
        "reasons": _reasons(shares),
        "missed_by": MISSED,
        "code_of": queue_id,
        "slug": query.slug,
        "serial": serial,
    }
    return page(asked, "broadcast.html", facts)


async def found(asked: Asked) -> BroadcastStats:
    """Return the broadcast that the page is of; raises ProblemError where the visitor sees none such."""
    id_ = message_id_of(asked.request.match_info["code"])
    one = None if id_ is None else await asked.desk.reader.stats.broadcast(id_, asked.who.own)
    if one is None:
        raise ProblemError(HTTPStatus.NOT_FOUND, "There is no such broadcast; its time in the log may be over.")
    return one


async def _runs(asked: Asked, one: BroadcastStats) -> list[Run]:
    named = await asked.desk.reader.broadcasts.runs_named(one.name)
    return [run for run in named if run.broadcast_id == one.id][:_MOST_RUNS]


def _reasons(shares: Shares) -> list[tuple[Status, str, advice.Reason, int]]:
    found = sorted(shares.reasons.items(), key=lambda item: (-item[1], item[0]))
    return [(status, category, advice.reason(category), number) for (status, category), number in found]


def _allowed(asked: Asked, run: Run) -> tuple[RunOrder, ...]:
    """Return what the visitor may tell a run: administrators all, senders their own."""
    who = asked.who
    if not who.may(Scope.SEND) or (who.role is not Role.ADMIN and run.owner != who.user):
        return ()
    return _ORDERS.get(run.state, ())


async def order(asked: Asked) -> web.Response:
    """Pause, resume or cancel a run."""
    fields = await posted(asked)
    one = await found(asked)
    run_id, told = message_id_of(fields.get("run", "")), fields.get("order", "")
    run = next((run for run in await _runs(asked, one) if run.id == run_id), None)
    if run is None or told not in set(RunOrder):
        raise ProblemError(HTTPStatus.BAD_REQUEST, "Expected a run of this broadcast, and: pause, resume or cancel.")
    if RunOrder(told) not in _allowed(asked, run):
        detail = f"A run that is {run.state} cannot be told to {told}, or not by you: load the page anew."
        raise ProblemError(HTTPStatus.CONFLICT, detail)
    note = f"by {asked.who.user}"
    await asked.desk.store.broadcasts.order(run.id, RunOrder(told), asked.desk.clock_ms(), note)
    return see_other(asked, f"/broadcasts/{queue_id(one.id)}")


NAV: Final = (NavItem("/broadcasts", "Broadcasts", Scope.LOG_READ),)
ROUTES: Final = (
    Route("GET", "/broadcasts", show, Scope.LOG_READ),
    Route("GET", "/broadcasts/{code}", story, Scope.LOG_READ),
    Route("POST", "/broadcasts/{code}/order", order, Scope.SEND),
)
