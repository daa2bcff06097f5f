"""Broadcasts by the API: sent now or later, paused, resumed, cancelled, and how far they are.

Rule: what is sent goes the way of a draft in the browser, by what the front door hands over; senders see their own.
"""

import asyncio
import json
import time
from http import HTTPStatus
from pathlib import Path
from typing import Annotated, Final

from pydantic import FailFast, Field, model_validator

from report.api.messages import MailboxText
from report.api.model import At, Given, Line, Taken, Time, ms_of, time_of
from report.api.operation import Call, Operation
from report.api.reading import cursor_id, parsed, read
from report.asked import Asked
from report.drafts import Draft
from report.handed import Broadcasting, Refusal, When
from report.problem import ProblemError
from storage.access import Scope
from storage.broadcast_model import Run, RunOrder, RunState
from storage.broadcast_settings import TypeOf
from storage.model import message_id_of, queue_id
from storage.status import Status

_MOST_BYTES: Final = 16 << 20
# Some 300,000 recipients with a field or two.
_MOST_VALUES: Final = 1_500_000
_MESSAGE: Final = "message.html"
_RECIPIENTS: Final = "recipients.jsonl"


class BroadcastRecipient(Taken):
    """Who is to get it."""

    address: Annotated[str, Field(min_length=3, max_length=320)]
    name: Annotated[str, Field(max_length=300)] = ""
    fields: Annotated[dict[str, str], Field(default_factory=dict, description="What placeholders of the HTML find.")]


class NewBroadcast(Taken):
    """A message to many."""

    name: Annotated[Line, Field(max_length=300, description="An address gets what has one name once.")]
    type: TypeOf | None = None
    from_: Annotated[MailboxText, Field(alias="from")]
    subject: Annotated[Line, Field(max_length=500)]
    html: Annotated[str, Field(min_length=1, description="May hold placeholders such as {{ name }}.")]
    list: Annotated[Line | None, Field(description="The list of contacts that it goes to.")] = None
    recipients: Annotated[
        tuple[BroadcastRecipient, ...], FailFast(), Field(description="Whom it goes to, instead of a list.")
    ] = ()
    start: Annotated[Time | None, Field(description="When it begins; null: now.")] = None
    per_hour: Annotated[int | None, Field(ge=1, le=10**9, description="Copies at most; null: as they go.")] = None

    @model_validator(mode="after")
    def _somebody(self) -> "NewBroadcast":
        if (self.list is None) == (not self.recipients):
            raise ValueError("expected list, or recipients")
        return self


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

    cursor: Annotated[str | None, Field(pattern=r"^[0-9A-Za-z]{1,20}$")] = None
    limit: Annotated[int, Field(ge=1, le=200)] = 50


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


async def _run(asked: Asked, id_: int) -> Run:
    run = await asked.desk.reader.broadcasts.run(id_)
    if run is None or asked.who.own not in {None, run.owner}:
        raise ProblemError(HTTPStatus.NOT_FOUND, "There is no such broadcast.")
    return run


async def show(asked: Asked, _query: None, _body: None) -> BroadcastStory:
    """Return a broadcast with what became of its recipients."""
    return await _story(asked, await _run(asked, _id(asked.request.match_info["id"])))


async def _story(asked: Asked, run: Run) -> BroadcastStory:
    found = await asked.desk.reader.stats.broadcast(run.broadcast_id)
    counted: dict[str, object] = {"statuses": {}, "opened": 0, "trackable": 0}
    if found is not None:
        statuses = {status: number for status, number in found.counts.by_status.items() if number}
        counted = {"statuses": statuses, "opened": found.reading.opened, "trackable": found.reading.trackable}
    return BroadcastStory.model_validate(_values(run) | counted)


async def send(asked: Asked, _query: None, _body: None) -> BroadcastStory:
    """Send a broadcast now, or at its time."""
    rooms = asked.desk.handed.broadcasting
    if rooms is None:
        raise ProblemError(HTTPStatus.SERVICE_UNAVAILABLE, "Nothing is sent from here.")
    body = await asyncio.to_thread(parsed, NewBroadcast, await read(asked, _MOST_BYTES), _MOST_VALUES)
    if body.list is not None and not asked.who.may(Scope.CONTACTS_READ):
        raise ProblemError(HTTPStatus.FORBIDDEN, f"A list takes {Scope.CONTACTS_READ.value}; or name recipients.")
    user = await asked.desk.reader.user(asked.who.user)
    if user is None:
        raise ProblemError(HTTPStatus.UNAUTHORIZED, "The token's user is gone.")
    folder = await asyncio.to_thread(asked.desk.drafts.new_folder, time.time())
    try:
        sent = await _sent(rooms, folder, body, user.name, user.senders)
    finally:
        await asyncio.to_thread(asked.desk.drafts.remove, folder)
    if isinstance(sent, Refusal):
        raise ProblemError(HTTPStatus.UNPROCESSABLE_ENTITY, sent.why)
    return await _story(asked, await _run(asked, sent))


async def _sent(
    rooms: Broadcasting, folder: Path, body: NewBroadcast, user: str, senders: tuple[str, ...]
) -> int | Refusal:
    def write() -> None:
        (folder / _MESSAGE).write_text(body.html, "utf-8")
        with (folder / _RECIPIENTS).open("w", encoding="utf-8") as file:
            for one in body.recipients:
                file.write(json.dumps({"email": one.address, "name": one.name, "fields": one.fields}) + "\n")

    await asyncio.to_thread(write)
    recipients = _RECIPIENTS if body.recipients else ""
    draft = Draft(
        folder.name,
        user,
        body.name,
        body.type or "",
        body.from_,
        body.subject,
        body.list or "",
        _MESSAGE,
        recipients,
        folder,
    )
    return await rooms.send(draft, senders, When(ms_of(body.start) if body.start else None, body.per_hour))


def _ordering(order: RunOrder) -> Call:
    async def ordered(asked: Asked, _query: None, _body: None) -> BroadcastStory:
        run = await _run(asked, _id(asked.request.match_info["id"]))
        if not await asked.desk.store.broadcasts.order(run.id, order, asked.desk.clock_ms()):
            raise ProblemError(HTTPStatus.CONFLICT, f"It cannot be told to {order.value}: it is {run.state.value}.")
        return await _story(asked, await _run(asked, run.id))

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
    Operation(
        "POST",
        "/broadcasts",
        "sendBroadcast",
        "Send a broadcast.",
        Scope.SEND,
        send,
        body=NewBroadcast,
        answer=BroadcastStory,
        status=HTTPStatus.CREATED,
        reads=True,
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
