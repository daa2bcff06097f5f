"""Broadcasts by the API: how far they are, paused, resumed, cancelled.

Rule: senders see their own.
"""

from http import HTTPStatus
from typing import Annotated, Final

from pydantic import Field

from report.api.model import CODE, At, Given, Limit, Taken, time_of
from report.api.operation import Call, Operation
from report.api.reading import cursor_id
from report.asked import Asked
from report.problem import ProblemError
from storage.access import Scope
from storage.broadcast_model import Run, RunOrder, RunState
from storage.model import message_id_of, queue_id
from storage.status import Status


class BroadcastRecord(Given):
    """A broadcast."""

    id: str
    name: str
    type: str
    state: RunState
    owner: str | None
    sender: str
    subject: str
    created: At
    start: At | None
    started: At | None
    ended: At | None
    per_hour: int | None
    total: int
    done: Annotated[int, Field(description="Recipients decided on, of the total.")]
    blocked: int
    duplicate: int
    no_email_selected: int
    note: str | None


class BroadcastStory(BroadcastRecord):
    """A broadcast with what became of its recipients."""

    statuses: Annotated[
        dict[Status, int], Field(description="Of all mail of this name and owner, however it was sent.")
    ]
    opened: int
    trackable: Annotated[int, Field(description="Taken with an image in it: of whom an open would be seen.")]


class BroadcastRecords(Given):
    """Some broadcasts, the newest first."""

    broadcasts: list[BroadcastRecord]
    next: str | None


class BroadcastsQuery(Taken):
    """Which broadcasts."""

    cursor: Annotated[str | None, Field(pattern=CODE, description="`next` of the answer before.")] = None
    limit: Limit = 50


async def find(asked: Asked, given: BroadcastsQuery, _body: None) -> BroadcastRecords:
    """Return broadcasts."""
    before = cursor_id(given.cursor)
    runs = await asked.desk.reader.broadcasts.runs(given.limit + 1, owner=asked.who.own, before_id=before)
    more = queue_id(runs[given.limit - 1].id) if len(runs) > given.limit else None
    return BroadcastRecords(
        broadcasts=[BroadcastRecord.model_validate(_values(run)) for run in runs[: given.limit]], next=more
    )


def _id(code: str) -> int:
    id_ = message_id_of(code)
    if id_ is None:
        raise ProblemError(HTTPStatus.NOT_FOUND, "There is no such broadcast.")
    return id_


def _values(run: Run) -> dict[str, object]:
    times = {
        name: None if at_ms is None else time_of(at_ms)
        for name, at_ms in (
            ("created", run.created_ms),
            ("start", run.start_ms),
            ("started", run.started_ms),
            ("ended", run.ended_ms),
        )
    }
    names = ("name", "type", "state", "sender", "subject", "per_hour", "total", "done", "blocked", "duplicate")
    same = {name: getattr(run, name) for name in (*names, "no_email_selected")}
    return same | times | {"id": queue_id(run.id), "owner": run.owner or None, "note": run.note or None}


async def run_of(asked: Asked, id_: int) -> Run:
    """Return a broadcast that the visitor may see; raises ProblemError."""
    run = await asked.desk.reader.broadcasts.run(id_)
    if run is None or asked.who.own not in {None, run.owner}:
        raise ProblemError(HTTPStatus.NOT_FOUND, "There is no such broadcast.")
    return run


async def show(asked: Asked, _query: None, _body: None) -> BroadcastStory:
    """Return a broadcast with what became of its recipients."""
    return await story_of(asked, await run_of(asked, _id(asked.request.match_info["id"])))


async def story_of(asked: Asked, run: Run) -> BroadcastStory:
    """Return a broadcast with what became of its recipients."""
    found = await asked.desk.reader.stats.broadcast(run.broadcast_id)
    counted: dict[str, object] = {"statuses": {}, "opened": 0, "trackable": 0}
    if found is not None:
        statuses = {status: number for status, number in found.counts.by_status.items() if number}
        counted = {"statuses": statuses, "opened": found.reading.opened, "trackable": found.reading.trackable}
    return BroadcastStory.model_validate(_values(run) | counted)


def _ordering(order: RunOrder) -> Call:
    async def ordered(asked: Asked, _query: None, _body: None) -> BroadcastStory:
        run = await run_of(asked, _id(asked.request.match_info["id"]))
        if not await asked.desk.store.broadcasts.order(run.id, order, asked.desk.clock_ms()):
            raise ProblemError(HTTPStatus.CONFLICT, f"It cannot be told to {order.value}: it is {run.state.value}.")
        return await story_of(asked, await run_of(asked, run.id))

    return ordered


_ONE: Final = "/broadcasts/{id}"
OPERATIONS: Final = (
    Operation(
        "GET",
        "/broadcasts",
        "findBroadcasts",
        "List broadcasts.",
        Scope.LOG_READ,
        find,
        BroadcastsQuery,
        answer=BroadcastRecords,
    ),
    Operation("GET", _ONE, "getBroadcast", "Show a broadcast.", Scope.LOG_READ, show, answer=BroadcastStory),
    *(
        Operation(
            "POST",
            f"{_ONE}/{order.value}",
            f"{order.value}Broadcast",
            f"{order.value.title()} a broadcast.",
            Scope.SEND,
            _ordering(order),
            answer=BroadcastStory,
            problems=(HTTPStatus.CONFLICT,),
        )
        for order in RunOrder
    ),
)
