"""Events in their order, from a cursor on: what happened to recipients, for programs that follow.

Rule: who goes on from `next` misses nothing, and may meet an event twice where an answer was lost. What is kept no more
is told (410), with where to go on.
"""

import time
from http import HTTPStatus
from typing import Annotated, Final

from pydantic import Field

from report.api.model import At, Given, Taken, Time, ms_of, time_of
from report.api.operation import Operation
from report.api.records import Fact, fact_of
from report.asked import Asked
from report.problem import ProblemError
from storage.access import Scope
from storage.feed import EventType, FeedEvent, FeedPage, Place
from storage.model import LogFilter, queue_id

MOST_WAIT_SECONDS: Final = 30
_LOOK_SECONDS: Final = 5.0
# Pages that one answer looks through for events that somebody may see.
_MOST_PAGES: Final = 5


class EventRecipient(Given):
    """Whom an event is about."""

    id: str
    queue_id: str
    recipient: str
    sender: str
    subject: str
    broadcast: str | None


class Event(Given):
    """One thing that happened to a recipient."""

    id: Annotated[str, Field(description="The same whenever it is told.")]
    type: EventType
    timestamp: At
    data: "EventData"


class EventData(EventRecipient):
    """Whom it is about, and what happened."""

    event: Fact


class Events(Given):
    """Some events, the oldest first."""

    events: list[Event]
    next: Annotated[str, Field(description="Give this as `after` to go on.")]
    more: Annotated[bool, Field(description="Whether there are more now.")]


class EventsQuery(Taken):
    """Which events."""

    after: Annotated[
        str | None, Field(pattern=r"^[0-9]{1,18}-[0-9]{1,18}$", description="`next` of the answer before.")
    ] = None
    since: Annotated[
        Time | None,
        Field(description="Begin with what happened then. Without `after` and this: with what happens now."),
    ] = None
    type: Annotated[tuple[EventType, ...], Field(max_length=20, description="Only these.")] = ()
    wait: Annotated[int, Field(ge=0, le=MOST_WAIT_SECONDS, description="Seconds to wait for one to happen.")] = 0
    limit: Annotated[int, Field(ge=1, le=500, description="How many at most.")] = 100


def event_of(told: FeedEvent) -> Event:
    """Return an event as programs are told it."""
    row = told.row
    data = EventData(
        id=queue_id(row.recipient_id),
        queue_id=row.queue_id,
        recipient=row.recipient,
        sender=row.sender,
        subject=row.subject,
        broadcast=row.broadcast,
        event=fact_of(told.entry),
    )
    return Event(id=told.id, type=told.type, timestamp=time_of(told.entry.at_ms), data=data)


async def events(asked: Asked, given: EventsQuery, _body: None) -> Events:
    """Return what happened since the cursor; waits for something to happen."""
    place = await _begin(asked, given)
    if not given.wait:
        return _answer(*await _some(asked, given, place))
    with asked.desk.hub.place(asked.who.user) as free:
        if not free:
            detail = "Too many requests of yours wait already; ask without `wait`, or later."
            raise ProblemError(HTTPStatus.TOO_MANY_REQUESTS, detail, headers={"Retry-After": "5"})
        return await _awaited(asked, given, place)


async def _awaited(asked: Asked, given: EventsQuery, place: Place) -> Events:
    until = time.monotonic() + given.wait
    while True:
        found, page = await _some(asked, given, place)
        left = until - time.monotonic()
        if found or page.more or left <= 0 or asked.desk.hub.closed or asked.request.transport is None:
            return _answer(found, page)
        place = page.next
        await asked.desk.hub.changes(place.serial - 1, min(left, _LOOK_SECONDS))


async def _begin(asked: Asked, given: EventsQuery) -> Place:
    feed = asked.desk.reader.feed
    if given.after is not None:
        if given.since is not None:
            raise ProblemError(HTTPStatus.BAD_REQUEST, "Give `after` or `since`, not both.")
        place = Place.read(given.after)
        if place is None:
            raise ProblemError(HTTPStatus.BAD_REQUEST, "`after` is no cursor: expected `next` of an answer.")
        return place
    return await (feed.end() if given.since is None else feed.since(ms_of(given.since)))


async def _some(asked: Asked, given: EventsQuery, place: Place) -> tuple[list[FeedEvent], FeedPage]:
    """Return events that are wanted, and the last page that was looked at."""
    wanted, found = asked.seen(LogFilter()), list[FeedEvent]()
    for _ in range(_MOST_PAGES):
        page = await asked.desk.reader.feed.page(place, wanted, given.limit - len(found))
        if page.torn:
            detail = "What happened then is not kept any more: look at the log, and go on from `next`."
            raise ProblemError(HTTPStatus.GONE, detail, next=str(page.next))
        found += [event for event in page.events if not given.type or event.type in given.type]
        place = page.next
        if not page.more or len(found) >= given.limit:
            break
    return found, page


def _answer(found: list[FeedEvent], page: FeedPage) -> Events:
    return Events(events=[event_of(event) for event in found], next=str(page.next), more=page.more)


OPERATIONS: Final = (
    Operation(
        "GET",
        "/events",
        "getEvents",
        "Tell what happened since a cursor, in order.",
        Scope.LOG_READ,
        events,
        EventsQuery,
        answer=Events,
        problems=(HTTPStatus.GONE, HTTPStatus.TOO_MANY_REQUESTS),
    ),
)
