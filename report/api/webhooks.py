"""Webhooks by the API: where events are sent to."""

from datetime import datetime
from http import HTTPStatus
from typing import Annotated, Final

from aiohttp import web
from pydantic import Field

from report.api.model import Given, Line, Taken, Time, ms_of, time_of
from report.api.operation import Operation
from report.asked import Asked
from report.hooks import order
from report.problem import ProblemError
from storage.access import Scope
from storage.feed import EventType, Place
from storage.webhook_model import Webhook

_MOST: Final = 100


class NewWebhook(Taken):
    """An endpoint to be told of events."""

    url: Annotated[Line, Field(max_length=2000)]
    types: Annotated[tuple[EventType, ...], Field(description="What it is told of; none: all.")] = ()
    user: Annotated[Line | None, Field(description="Whose mail alone it is told of; null: all mail.")] = None


class WebhookRecord(Given):
    """An endpoint."""

    id: str
    url: str
    types: list[EventType]
    user: str | None
    created: datetime
    active: bool
    failing_since: datetime | None
    note: Annotated[str | None, Field(description="What went wrong last, or why it was stopped.")]
    waiting: Annotated[int, Field(description="Events that were not taken and are tried again.")]


class WebhookMade(WebhookRecord):
    """A new endpoint with the secret that its events are signed with, which is not shown again."""

    secret: str


class WebhookRecords(Given):
    """All endpoints."""

    webhooks: list[WebhookRecord]


class Replay(Taken):
    """From where on events are sent again: one of these."""

    since: Time | None = None
    after: Annotated[
        str | None, Field(pattern=r"^[0-9]{1,18}-[0-9]{1,18}$", description="A cursor of `GET /events`.")
    ] = None


class Tried(Given):
    """What an endpoint said to a test."""

    taken: bool
    status: Annotated[int | None, Field(description="HTTP status; null: there was no answer.")]
    detail: str


async def find(asked: Asked, _query: None, _body: None) -> WebhookRecords:
    """Return all endpoints."""
    return WebhookRecords(webhooks=[await _record(asked, hook) for hook in await asked.desk.reader.webhooks.all()])


async def add(asked: Asked, _query: None, body: NewWebhook) -> WebhookMade:
    """Add an endpoint."""
    desk = asked.desk
    if len(await desk.reader.webhooks.all()) >= _MOST:
        raise ProblemError(HTTPStatus.CONFLICT, f"There are {_MOST} webhooks already; that is the most.")
    if body.user is not None and await desk.reader.user(body.user) is None:
        raise _wrong("/user", "there is no such user")
    hook = order.made(body.url, body.types, body.user, desk.clock_ms(), desk.webhooks)
    if isinstance(hook, str):
        raise _wrong("/url", hook)
    await desk.store.webhooks.add(hook)
    record = await _record(asked, hook)
    return WebhookMade(**record.model_dump(), secret=hook.secret)


def _wrong(pointer: str, detail: str) -> ProblemError:
    errors = [{"pointer": pointer, "detail": detail}]
    return ProblemError(HTTPStatus.UNPROCESSABLE_ENTITY, f"{pointer}: {detail}", errors=errors)


async def _record(asked: Asked, hook: Webhook) -> WebhookRecord:
    return WebhookRecord(
        id=hook.id,
        url=hook.url,
        types=sorted(hook.types),
        user=hook.user,
        created=time_of(hook.created_ms),
        active=hook.active,
        failing_since=None if hook.failing_ms is None else time_of(hook.failing_ms),
        note=hook.note or None,
        waiting=await asked.desk.reader.webhooks.waiting(hook.id),
    )


async def _hook(asked: Asked) -> Webhook:
    found = await asked.desk.reader.webhooks.one(asked.request.match_info["id"])
    if found is None:
        raise ProblemError(HTTPStatus.NOT_FOUND, "There is no such webhook.")
    return found


async def show(asked: Asked, _query: None, _body: None) -> WebhookRecord:
    """Return an endpoint."""
    return await _record(asked, await _hook(asked))


async def remove(asked: Asked, _query: None, _body: None) -> web.Response:
    """Forget an endpoint."""
    await asked.desk.store.webhooks.remove((await _hook(asked)).id)
    return web.Response(status=HTTPStatus.NO_CONTENT)


async def stop(asked: Asked, _query: None, _body: None) -> WebhookRecord:
    """Send an endpoint nothing more for now."""
    await asked.desk.store.webhooks.stop((await _hook(asked)).id, asked.desk.clock_ms(), f"stopped by {asked.who.user}")
    return await show(asked, None, None)


async def enable(asked: Asked, _query: None, _body: None) -> WebhookRecord:
    """Send an endpoint events again."""
    await asked.desk.store.webhooks.enable((await _hook(asked)).id)
    return await show(asked, None, None)


async def replay(asked: Asked, _query: None, body: Replay) -> WebhookRecord:
    """Send an endpoint events again from a place on."""
    hook = await _hook(asked)
    if (body.since is None) == (body.after is None):
        raise _wrong("", "expected since, or after")
    place = Place.read(body.after) if body.after is not None else None
    if body.since is not None:
        place = await asked.desk.reader.feed.since(ms_of(body.since))
    if place is None:
        raise _wrong("/after", "expected a cursor of GET /events")
    await asked.desk.store.webhooks.replay(hook.id, place)
    return await show(asked, None, None)


async def test(asked: Asked, _query: None, _body: None) -> Tried:
    """Send an endpoint an event of type "test"."""
    answer = await order.tried_out(await _hook(asked), asked.desk.clock_ms(), asked.desk.webhooks)
    return Tried(taken=answer.taken, status=answer.status or None, detail=answer.words)


_ONE: Final = "/webhooks/{id}"
_NEEDS: Final = Scope.WEBHOOKS
OPERATIONS: Final = (
    Operation("GET", "/webhooks", "findWebhooks", "List all webhooks.", _NEEDS, find, answer=WebhookRecords),
    Operation(
        "POST",
        "/webhooks",
        "addWebhook",
        "Add a webhook.",
        _NEEDS,
        add,
        body=NewWebhook,
        answer=WebhookMade,
        status=HTTPStatus.CREATED,
        problems=(HTTPStatus.CONFLICT,),
    ),
    Operation("GET", _ONE, "getWebhook", "Show a webhook.", _NEEDS, show, answer=WebhookRecord),
    Operation("DELETE", _ONE, "removeWebhook", "Remove a webhook.", _NEEDS, remove, status=HTTPStatus.NO_CONTENT),
    Operation("POST", f"{_ONE}/stop", "stopWebhook", "Stop a webhook.", _NEEDS, stop, answer=WebhookRecord),
    Operation("POST", f"{_ONE}/enable", "enableWebhook", "Enable a webhook.", _NEEDS, enable, answer=WebhookRecord),
    Operation(
        "POST",
        f"{_ONE}/replay",
        "replayWebhook",
        "Send events again.",
        _NEEDS,
        replay,
        body=Replay,
        answer=WebhookRecord,
    ),
    Operation("POST", f"{_ONE}/test", "testWebhook", "Try a webhook out.", _NEEDS, test, answer=Tried),
)
