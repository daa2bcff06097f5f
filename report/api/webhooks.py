"""Webhooks by the API: where events are sent to."""

from http import HTTPStatus
from typing import Annotated, Final

from aiohttp import web
from pydantic import BeforeValidator, Field

from report.api.model import At, Given, Limit, Line, Taken, Time, ms_of, time_of
from report.api.operation import Operation
from report.asked import Asked
from report.hooks import order
from report.hooks.plain import next_try_ms
from report.problem import ProblemError
from storage.access import Scope
from storage.feed import EventType, Place, id_of
from storage.model import queue_id
from storage.webhook_model import HookAttempt, Waiting, Webhook


def _known(text: object) -> object:
    if isinstance(text, str) and text not in set(EventType):
        meant = order.event_type(text)
        raise ValueError(f'did you mean "{meant}"?' if isinstance(meant, EventType) else meant)
    return text


Type = Annotated[EventType, BeforeValidator(_known)]


class NewWebhook(Taken):
    """An endpoint to be told of events."""

    url: Annotated[Line, Field(max_length=2000, description="Where events are sent to.")]
    types: Annotated[tuple[Type, ...], Field(description="What it is told of; none: all.")] = ()
    user: Annotated[Line | None, Field(description="Whose mail alone it is told of; null: all that you see.")] = None


class WebhookRecord(Given):
    """An endpoint."""

    id: str
    url: str
    types: list[EventType]
    user: str | None
    created: At
    active: bool
    failing_since: At | None
    note: Annotated[str | None, Field(description="What went wrong last, or why it was stopped.")]
    waiting: Annotated[int, Field(description="Events that were not taken and are tried again.")]
    last_taken: Annotated[At | None, Field(description="When it took an event last.")]
    next_try: Annotated[At | None, Field(description="While it fails: when it is called next.")]
    waiting_since: Annotated[
        At | None, Field(description="Since when there is more that it was not sent at all; null: there is none.")
    ]


class WebhookMade(WebhookRecord):
    """A new endpoint with the secret that its events are signed with, which is not shown again."""

    secret: str


class ChangedWebhook(Taken):
    """What is to be otherwise with an endpoint; what is left out stays."""

    url: Annotated[Line | None, Field(max_length=2000)] = None
    types: Annotated[tuple[Type, ...] | None, Field(description="What it is told of from now on; none: all.")] = None


class Secret(Given):
    """What a webhook's events are signed with from now on, which is not shown again."""

    secret: str
    former_until: Annotated[At, Field(description="Until then the former secret signs along.")]


class Attempts(Given):
    """The last calls of an endpoint that are kept: some that it took, and more that it did not."""

    attempts: list["AttemptRecord"]


class AttemptRecord(Given):
    """One call of an endpoint."""

    at: At
    event: Annotated[str | None, Field(description="The id of the event; null: a test.")]
    type: str
    recipient: str | None
    recipient_id: str | None
    taken: bool
    status: Annotated[int | None, Field(description="HTTP status; null: there was no answer.")]
    detail: str
    duration_ms: int
    tries: Annotated[int, Field(description="How often this event was tried, with this one.")]
    next_try: At | None


class AttemptsQuery(Taken):
    """Which calls."""

    failed: Annotated[bool, Field(description="Those alone that were not taken.")] = False
    limit: Limit = 50


class WebhookRecords(Given):
    """All endpoints."""

    webhooks: list[WebhookRecord]


class Replay(Taken):
    """From where on events are sent again: one of these."""

    since: Annotated[Time | None, Field(description="From this time on.")] = None
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
    hooks = await asked.desk.reader.webhooks.all(asked.who.own)
    waiting = await asked.desk.reader.webhooks.waiting([hook.id for hook in hooks])
    return WebhookRecords(webhooks=list(map(_record, hooks, waiting)))


async def add(asked: Asked, _query: None, body: NewWebhook) -> WebhookMade:
    """Add an endpoint."""
    desk, own = asked.desk, asked.who.own
    if own is not None and body.user not in {None, own}:
        raise _wrong("/user", f'expected "{own}": you are told of your own mail')
    wanted = order.Wanted(body.url, body.types, own or body.user)
    hook = await order.add(desk.store, desk.reader, wanted, asked.who.user, desk.clock_ms(), desk.webhooks)
    if isinstance(hook, order.Wrong) and not hook.field:
        raise ProblemError(HTTPStatus.CONFLICT, f"{hook.words[0].upper()}{hook.words[1:]}.")
    if isinstance(hook, order.Wrong):
        raise _wrong(f"/{hook.field}", hook.words)
    return WebhookMade(**_record(hook, Waiting()).model_dump(), secret=hook.secret)


def _wrong(pointer: str, detail: str) -> ProblemError:
    errors = [{"pointer": pointer, "detail": detail}]
    return ProblemError(HTTPStatus.UNPROCESSABLE_ENTITY, f"{pointer}: {detail}", errors=errors)


def _record(hook: Webhook, waiting: Waiting) -> WebhookRecord:
    return WebhookRecord(
        id=hook.id,
        url=hook.url,
        types=sorted(hook.types),
        user=hook.user,
        created=time_of(hook.created_ms),
        active=hook.active,
        failing_since=_time(hook.failing_ms),
        note=hook.note or None,
        waiting=waiting.events,
        last_taken=_time(hook.taken_ms),
        next_try=_time(next_try_ms(hook, waiting)),
        waiting_since=_time(waiting.since_ms),
    )


def _time(at_ms: int | None) -> At | None:
    return None if at_ms is None else time_of(at_ms)


async def _hook(asked: Asked) -> Webhook:
    found = await order.found(asked.desk.reader, asked.request.match_info["id"], asked.who.own)
    if found is None:
        raise _gone()
    return found


def _gone() -> ProblemError:
    return ProblemError(HTTPStatus.NOT_FOUND, "There is no such webhook.")


async def show(asked: Asked, _query: None, _body: None) -> WebhookRecord:
    """Return an endpoint."""
    hook = await _hook(asked)
    (waiting,) = await asked.desk.reader.webhooks.waiting([hook.id])
    return _record(hook, waiting)


async def attempts(asked: Asked, given: AttemptsQuery, _body: None) -> Attempts:
    """Return the last calls of an endpoint, the newest first."""
    hook = await _hook(asked)
    found = await asked.desk.reader.webhooks.attempts(hook.id, given.limit, failed=given.failed)
    return Attempts(attempts=list(map(_attempt, found)))


def _attempt(one: HookAttempt) -> AttemptRecord:
    return AttemptRecord(
        at=time_of(one.at_ms),
        event=None if one.place is None else id_of(one.place),
        type=one.type,
        recipient=one.recipient,
        recipient_id=None if one.recipient_id is None else queue_id(one.recipient_id),
        taken=one.taken,
        status=one.status or None,
        detail=one.words,
        duration_ms=one.duration_ms,
        tries=one.tries,
        next_try=_time(one.next_ms),
    )


async def change(asked: Asked, _query: None, body: ChangedWebhook) -> WebhookRecord:
    """Give an endpoint another URL, or other types."""
    desk, hook = asked.desk, await _hook(asked)
    url, types = body.url or hook.url, hook.types if body.types is None else body.types
    wrong = await order.change(desk.store, hook, url, types, asked.who.user, desk.clock_ms(), desk.webhooks)
    if wrong is not None:
        raise _wrong("/url", wrong.words) if wrong.field else _gone()
    return await show(asked, None, None)


async def remove(asked: Asked, _query: None, _body: None) -> web.Response:
    """Forget an endpoint."""
    await order.remove(asked.desk.store, (await _hook(asked)).id, asked.who.user)
    return web.Response(status=HTTPStatus.NO_CONTENT)


async def stop(asked: Asked, _query: None, _body: None) -> WebhookRecord:
    """Send an endpoint nothing more for now."""
    await asked.desk.store.webhooks.stop((await _hook(asked)).id, asked.desk.clock_ms(), asked.who.user)
    return await show(asked, None, None)


async def enable(asked: Asked, _query: None, _body: None) -> WebhookRecord:
    """Send an endpoint events again."""
    await asked.desk.store.webhooks.enable((await _hook(asked)).id, asked.desk.clock_ms(), asked.who.user)
    return await show(asked, None, None)


async def replay(asked: Asked, _query: None, body: Replay) -> WebhookRecord:
    """Send an endpoint events again from a place on."""
    hook = await _hook(asked)
    if (body.since is None) == (body.after is None):
        raise _wrong("", "expected since, or after")
    desk, who = asked.desk, asked.who.user
    if body.since is not None:
        await order.replay_since(desk.store, desk.reader, hook, ms_of(body.since), who, desk.clock_ms())
    elif place := Place.read(body.after or ""):
        await order.replay_after(desk.store, hook, place, who, desk.clock_ms())
    else:
        raise _wrong("/after", "expected a cursor of GET /events")
    return await show(asked, None, None)


async def test(asked: Asked, _query: None, _body: None) -> Tried:
    """Send an endpoint an event of type "test"."""
    desk = asked.desk
    answer = await order.try_out(desk.store, await _hook(asked), desk.clock_ms(), desk.webhooks)
    return Tried(taken=answer.taken, status=answer.status or None, detail=answer.words)


async def rotate(asked: Asked, _query: None, _body: None) -> Secret:
    """Give an endpoint another secret; the former one signs along for a day."""
    hook, now_ms = await _hook(asked), asked.desk.clock_ms()
    secret = await order.rotate(asked.desk.store, hook.id, asked.who.user, now_ms)
    if secret is None:
        raise _gone()
    return Secret(secret=secret, former_until=time_of(now_ms + order.BOTH_SIGN_HOURS * 3_600_000))


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
    Operation(
        "PATCH", _ONE, "changeWebhook", "Change a webhook.", _NEEDS, change, body=ChangedWebhook, answer=WebhookRecord
    ),
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
    Operation(
        "GET",
        f"{_ONE}/attempts",
        "getWebhookAttempts",
        "Tell the last calls of a webhook.",
        _NEEDS,
        attempts,
        AttemptsQuery,
        answer=Attempts,
    ),
    Operation("POST", f"{_ONE}/secret", "rotateWebhookSecret", "Make a new secret.", _NEEDS, rotate, answer=Secret),
    Operation("POST", f"{_ONE}/test", "testWebhook", "Try a webhook out.", _NEEDS, test, answer=Tried),
)
