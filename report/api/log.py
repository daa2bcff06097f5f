"""The Email Log by the API: recipients by filters, a message's, and one with its story."""

from http import HTTPStatus
from typing import Annotated, Final, Literal

from pydantic import BeforeValidator, Field

from report import query
from report.api.model import Code, Given, Limit, Taken, Time, ms_of
from report.api.operation import Operation
from report.api.reading import cursor_id
from report.api.records import Recipient, Story, recipient_of, story_of
from report.asked import Asked
from report.problem import ProblemError
from storage.access import Scope
from storage.logpage import Wanted
from storage.model import LogFilter, message_id_of, queue_id
from storage.status import Status

_BY_SLUG: Final = {query.slug(status): status for status in Status}


def _status(text: object) -> object:
    """Return a status by its name in answers, or in addresses of the log page: "soft-bounced"."""
    return _BY_SLUG.get(text.lower().replace(" ", "-").replace("_", "-"), text) if isinstance(text, str) else text


_Text = Annotated[str, Field(min_length=1, max_length=500)]


class LogQuery(Taken):
    """Which recipients."""

    q: Annotated[_Text | None, Field(description="Words, as the log page finds them.")] = None
    recipient: Annotated[_Text | None, Field(description="An address, @domain, or a part of an address.")] = None
    sender: Annotated[_Text | None, Field(description="As recipient.")] = None
    subject: Annotated[_Text | None, Field(description="A part of it.")] = None
    broadcast: Annotated[_Text | None, Field(description="Exactly this one.")] = None
    category: Annotated[_Text | None, Field(description='Why it was refused: "user unknown", "mailbox full" …')] = None
    queue_id: Annotated[Code | None, Field(description="Of one message.")] = None
    status: Annotated[
        tuple[Annotated[Status, BeforeValidator(_status)], ...], Field(max_length=10, description="Any of these.")
    ] = ()
    range: Annotated[
        Literal["1h", "24h", "7d", "30d"] | None, Field(description="Messages that came in so long a time till now.")
    ] = None
    since: Annotated[Time | None, Field(description="Messages that came then or later.")] = None
    until: Annotated[Time | None, Field(description="Messages that came before.")] = None
    cursor: Annotated[
        str | None,
        Field(pattern=r"^(before|below)\.[0-9A-Za-z]{1,20}$", description="`next` of the answer before."),
    ] = None
    limit: Limit = 50


class Recipients(Given):
    """Some recipients, the newest first."""

    recipients: list[Recipient]
    next: Annotated[str | None, Field(description="The cursor to go on with; null at the end.")]


async def find(asked: Asked, given: LogQuery, _body: None) -> Recipients:
    """Return a page of the log."""
    wanted = Wanted(asked.seen(_filter(given, asked.desk.clock_ms())), given.limit, **_cursor(given.cursor))
    reader = asked.desk.reader if given.q is None else asked.desk.words
    page = await reader.page(wanted)
    next_ = f"before.{queue_id(page.rows[-1].recipient_id)}" if page.more and page.rows else None
    if page.reached is not None and not page.more:
        next_ = f"below.{queue_id(page.reached)}"
    return Recipients(recipients=[recipient_of(row) for row in page.rows], next=next_)


def _filter(given: LogQuery, now_ms: int) -> LogFilter:
    times = [ms_of(given.since)] if given.since else []
    times += [now_ms - query.RANGES[given.range] * 1000] if given.range else []
    return LogFilter(
        statuses=tuple(dict.fromkeys(given.status)),
        recipient=given.recipient,
        sender=given.sender,
        since_ms=max(times, default=None),
        until_ms=ms_of(given.until) if given.until else None,
        queue_id=given.queue_id,
        subject=given.subject,
        broadcast=given.broadcast,
        category=given.category,
        words=given.q,
    )


def _cursor(text: str | None) -> dict[str, int]:
    if text is None:
        return {}
    name, _, code = text.partition(".")
    return {"before_id" if name == "before" else "below": cursor_id(code) or 0}


_NONE: Final = "The log knows no such recipient; its time in the log may be over."


async def story(asked: Asked, _query: None, _body: None) -> Story:
    """Return a recipient with its story."""
    id_ = message_id_of(asked.request.match_info["id"])
    row = None if id_ is None else await asked.desk.reader.row(id_, asked.seen(LogFilter()))
    if row is None:
        raise ProblemError(HTTPStatus.NOT_FOUND, _NONE)
    return story_of(row, await asked.desk.reader.timeline(row.recipient_id))


class MessageQuery(Taken):
    """Which of a message's recipients."""

    cursor: Annotated[
        str | None, Field(pattern=r"^(before|below)\.[0-9A-Za-z]{1,20}$", description="`next` of the answer before.")
    ] = None
    limit: Limit = 200


async def message(asked: Asked, given: MessageQuery, _body: None) -> Recipients:
    """Return a message's recipients."""
    code = asked.request.match_info["id"]
    if message_id_of(code) is None:
        raise ProblemError(HTTPStatus.NOT_FOUND, "The log knows no such message; its time in the log may be over.")
    found = await find(asked, LogQuery(queue_id=code, cursor=given.cursor, limit=given.limit), None)
    if not found.recipients and given.cursor is None:
        raise ProblemError(HTTPStatus.NOT_FOUND, "The log knows no such message; its time in the log may be over.")
    return found


OPERATIONS: Final = (
    Operation("GET", "/log", "findRecipients", "Find recipients.", Scope.LOG_READ, find, LogQuery, answer=Recipients),
    Operation("GET", "/log/{id}", "getRecipient", "Tell a recipient's story.", Scope.LOG_READ, story, answer=Story),
    Operation(
        "GET",
        "/messages/{id}",
        "getMessage",
        "Tell what became of a message.",
        Scope.LOG_READ,
        message,
        MessageQuery,
        answer=Recipients,
    ),
)
