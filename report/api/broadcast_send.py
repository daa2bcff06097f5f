"""Sending a broadcast by the API, now or later; or telling what would become of everybody.

Rule: what is sent goes the way of a draft in the browser, by what the front door hands over.
"""

import asyncio
import json
import time
from base64 import b64decode
from http import HTTPStatus
from pathlib import Path
from typing import Annotated, Any, Final, TypeVar

from aiohttp import web
from pydantic import ConfigDict, FailFast, Field, model_validator

from report.api.broadcasts import BroadcastStory, run_of, story_of
from report.api.compose import compose
from report.api.letters import Base64, Content, MailboxText, letter
from report.api.model import Format, Given, Line, Taken, Time, ms_of
from report.api.operation import Operation, as_json
from report.api.reading import parsed, read
from report.asked import Asked
from report.drafts import Draft
from report.handed import PreFlight, Refusal, When
from report.problem import ProblemError
from storage.access import Scope
from storage.broadcast_settings import TypeOf
from storage.status import Status

_MOST_BYTES: Final = 16 << 20
# Some 300,000 recipients with a field or two.
_MOST_VALUES: Final = 1_500_000
_PAGE: Final = "message.html"
_MESSAGE: Final = "message.eml"
_RECIPIENTS: Final = "recipients.jsonl"


_EXAMPLE: Final[dict[str, Any]] = {
    "name": "News of May",
    "from": "News <news@example.org>",
    "subject": "Hello {{ name }}",
    "html": "<p>Dear {{ name }}, your code is {{ code }}.</p>",
    "recipients": [{"address": "bob@example.net", "name": "Bob", "fields": {"code": "4711"}}],
}
T = TypeVar("T")


class BroadcastRecipient(Taken):
    """Who is to get it."""

    address: Annotated[str, Field(min_length=3, max_length=320, description="Of the recipient."), Format("email")]
    name: Annotated[str, Field(max_length=300, description="Of the recipient; {{ name }} in texts.")] = ""
    fields: Annotated[dict[str, str], Field(default_factory=dict, description="What placeholders of the HTML find.")]


class NewBroadcast(Content):
    """A message to many: html and text, which may hold placeholders such as {{ name }}, or a whole message."""

    model_config = ConfigDict(json_schema_extra={"examples": [_EXAMPLE]})

    name: Annotated[Line, Field(max_length=300, description="An address gets what has one name once.")]
    type: Annotated[TypeOf | None, Field(description="Contacts choose which they take; null: the default.")] = None
    from_: Annotated[MailboxText, Field(alias="from", description="Who sends; also MAIL FROM.")]
    subject: Annotated[
        Line | None, Field(max_length=500, description="May hold placeholders; null: that of `raw`.")
    ] = None
    raw: Annotated[
        Base64 | None, Field(description="A whole message (RFC 5322) instead, in base64; its texts hold placeholders.")
    ] = None
    list: Annotated[Line | None, Field(description="The list of contacts that it goes to.")] = None
    recipients: Annotated[
        tuple[BroadcastRecipient, ...], FailFast(), Field(description="Whom it goes to, instead of a list.")
    ] = ()
    start: Annotated[Time | None, Field(description="When it begins; null: now.")] = None
    per_hour: Annotated[int | None, Field(ge=1, le=10**9, description="Copies at most; null: as they go.")] = None

    @model_validator(mode="after")
    def _complete(self) -> "NewBroadcast":
        if (self.list is None) == (not self.recipients):
            raise ValueError("expected list, or recipients")
        if self.raw is None and self.text is None and self.html is None:
            raise ValueError("expected html, text, or both; or a whole message in raw")
        if self.raw is not None and (self.text is not None or self.html is not None or not self._is_bare):
            raise ValueError("expected nothing of what the whole message in raw says itself")
        if self.raw is None and self.subject is None:
            raise ValueError("expected a subject")
        return self

    @property
    def is_page(self) -> bool:
        """Whether an HTML page is all that there is."""
        return self.html is not None and self.text is None and self._is_bare

    @property
    def _is_bare(self) -> bool:
        return self.track and not (self.attachments or self.headers or self.reply_to)


class BroadcastQuery(Taken):
    """Whether anything is sent."""

    dry_run: Annotated[bool, Field(description="Tell what would become of everybody (200); send nothing.")] = False


class MissingField(Given):
    """A field that the message needs and some recipients lack."""

    field: str
    recipients: int
    first: Annotated[list[str], Field(description="Addresses of some of them.")]


class BadLine(Given):
    """A recipient that is none."""

    line: Annotated[int, Field(description="Its place, from 1 on.")]
    column: str
    why: str


class BroadcastDryRun(Given):
    """What would become of everybody, if it were sent now."""

    subject: str
    total: int
    statuses: Annotated[dict[Status, int], Field(description="Unsent: those whom it would be sent to.")]
    missing: Annotated[tuple[MissingField, ...], Field(description="With any, nothing can be sent.")]
    bad: int
    first_bad: tuple[BadLine, ...]
    without_address: Annotated[int, Field(description="Contacts of the list that have no address.")]


async def send(asked: Asked, given: BroadcastQuery, _body: None) -> BroadcastStory | web.Response:
    """Send a broadcast now, or at its time; or tell what would become of it."""
    rooms, mailing = asked.desk.handed.broadcasting, asked.desk.mailing
    if rooms is None or mailing is None:
        raise ProblemError(HTTPStatus.SERVICE_UNAVAILABLE, "Nothing is sent from here.")
    whole = await read(asked, _MOST_BYTES + mailing.max_bytes * 4 // 3)
    body = await asyncio.to_thread(parsed, NewBroadcast, whole, _MOST_VALUES)
    del whole
    if body.list is not None and not asked.who.may(Scope.CONTACTS_READ):
        raise ProblemError(HTTPStatus.FORBIDDEN, f"A list takes {Scope.CONTACTS_READ.value}; or name recipients.")
    user = await asked.desk.reader.user(asked.who.user)
    if user is None:
        raise ProblemError(HTTPStatus.UNAUTHORIZED, "The token's user is gone.")
    folder = await asyncio.to_thread(asked.desk.drafts.new_folder, time.time())
    try:
        draft = await asyncio.to_thread(_drafted, folder, body, user.name)
        if given.dry_run:
            return as_json(_told(_done(await rooms.try_out(draft, user.senders))))
        when = When(ms_of(body.start) if body.start else None, body.per_hour)
        run_id = _done(await rooms.send(draft, user.senders, when))
    finally:
        await asyncio.to_thread(asked.desk.drafts.remove, folder)
    return await story_of(asked, await run_of(asked, run_id))


def _done(came: T | Refusal) -> T:
    if isinstance(came, Refusal):
        raise ProblemError(HTTPStatus.UNPROCESSABLE_ENTITY, came.why)
    return came


def _told(found: PreFlight) -> BroadcastDryRun:
    return BroadcastDryRun(
        subject=found.subject,
        total=found.total,
        statuses={status: number for status, number in found.counts.items() if number},
        missing=tuple(
            MissingField(field=one.field, recipients=one.count, first=list(one.first)) for one in found.missing
        ),
        bad=found.bad,
        first_bad=tuple(BadLine(line=one.line, column=one.column, why=one.why) for one in found.first_bad),
        without_address=found.without_address,
    )


def _drafted(folder: Path, body: NewBroadcast, user: str) -> Draft:
    """Write the message and the recipients as files, as the browser's form does."""
    if body.recipients:
        with (folder / _RECIPIENTS).open("w", encoding="utf-8") as file:
            for one in body.recipients:
                file.write(json.dumps({"email": one.address, "name": one.name, "fields": one.fields}) + "\n")
    if body.raw is not None:
        message, content = _MESSAGE, b64decode(body.raw)
    elif body.html is not None and body.is_page:
        message, content = _PAGE, body.html.encode()  # it gets a text of its own
    else:
        message, content = _MESSAGE, compose(letter(body, (), ()))
    (folder / message).write_bytes(content)
    return Draft(
        id=folder.name,
        user=user,
        name=body.name,
        type=body.type or "",
        sender=body.from_,
        subject=body.subject or "",
        list=body.list or "",
        message=message,
        recipients=_RECIPIENTS if body.recipients else "",
        folder=folder,
    )


OPERATIONS: Final = (
    Operation(
        "POST",
        "/broadcasts",
        "sendBroadcast",
        "Send a broadcast.",
        Scope.SEND,
        send,
        BroadcastQuery,
        NewBroadcast,
        BroadcastStory,
        HTTPStatus.CREATED,
        others=((HTTPStatus.OK, BroadcastDryRun),),
        reads=True,
    ),
)
