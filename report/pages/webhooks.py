"""Webhooks in the browser: where events are sent, how that goes, what was tried; and the orders to them.

Rules: orders are those of `telltale webhook` and the API, by the same functions (report/hooks/order.py). A sender has
to do with webhooks of own mail only. A secret is shown once, when it is made.
"""

import time
from http import HTTPStatus
from typing import Any, Final

from aiohttp import web

from report.asked import Asked, NavItem, Route
from report.fields import Form
from report.forms import posted
from report.hooks import order
from report.hooks.plain import TYPES, hint, next_try_ms, state_of
from report.html import page, see_other
from report.pages.live import is_the_same, serial_of, streamed, write
from report.problem import ProblemError
from report.words import local
from storage.access import Scope
from storage.feed import EventType
from storage.model import queue_id
from storage.webhook_model import TEST, Waiting, Webhook
from storage.webhook_verbs import KEPT_FAILED, KEPT_TAKEN

ROWS: Final = 25
_KEPT: Final = KEPT_TAKEN + KEPT_FAILED
_CHANGES: Final = 20
_LOOK_SECONDS: Final = 1.0
_BEAT_SECONDS: Final = 15.0
_PAST_ALL: Final = (1 << 63) - 1
_HOUR_MS: Final = 3_600_000
# What waits for so long is more than what is just being sent.
_BEHIND_MS: Final = 60_000
_DONE: Final = {
    "removed": "The webhook is removed: nothing more is sent there.",
    "stopped": "It is stopped: what happens from now on waits for it, for four days.",
    "enabled": "It goes on from where it was, at once.",
    "changed": "The changes are saved.",
    "replayed": "What happened since then is sent again, with the same ids.",
}


async def show_all(asked: Asked) -> web.Response:
    """Show the endpoints that the visitor has to do with."""
    serial = await asked.desk.reader.webhooks.serial()
    hooks = await asked.desk.reader.webhooks.all(asked.who.own)
    waiting = await asked.desk.reader.webhooks.waiting([hook.id for hook in hooks])
    facts = {
        "rows": [_standing(asked, *one) for one in zip(hooks, waiting, strict=True)],
        "done": _DONE.get(asked.request.query.get("done", "")),
        "serial": serial,
    }
    return page(asked, "webhooks.html", facts)


def _standing(asked: Asked, hook: Webhook, waiting: Waiting) -> dict[str, Any]:
    """Return what a template tells of an endpoint."""
    since_ms = waiting.since_ms
    stale = since_ms is not None and asked.desk.clock_ms() - since_ms >= _BEHIND_MS
    stops_ms = None if hook.failing_ms is None else hook.failing_ms + asked.desk.webhooks.stop_after * 1000
    return {
        "hook": hook,
        "state": state_of(hook),
        "waiting": waiting.events,
        "due_ms": waiting.due_ms,
        "behind_ms": since_ms if stale or not hook.active or hook.failing_ms is not None else None,
        "next_ms": next_try_ms(hook, waiting),
        "stops_ms": stops_ms,
    }


async def new(asked: Asked) -> web.Response:
    """Show the form that adds an endpoint."""
    return await _form(asked, {}, [])


async def edit(asked: Asked) -> web.Response:
    """Show the form that changes an endpoint."""
    hook = await _hook(asked)
    which = {"which": "some" if hook.types else "all"}
    return await _form(asked, {"url": hook.url, **which, **{one.value: "1" for one in hook.types}}, [], hook)


async def _form(asked: Asked, given: dict[str, str], wrong: list[str], hook: Webhook | None = None) -> web.Response:
    facts = {
        "hook": hook,
        "users": [] if asked.who.own is not None else await asked.desk.reader.users(),
        "types": TYPES,
        "given": given,
        "wrong": wrong,
        "private": asked.desk.webhooks.allow_private,
    }
    return page(asked, "webhook_form.html", facts, status=HTTPStatus.UNPROCESSABLE_ENTITY if wrong else HTTPStatus.OK)


async def add(asked: Asked) -> web.Response:
    """Add an endpoint, and show its secret once."""
    fields = await posted(asked)
    desk, form = asked.desk, Form(fields)
    types = _types(form)
    user = asked.who.own or fields.get("user") or None
    if not form.wrong:
        wanted = order.Wanted(fields.get("url", "").strip(), types, user)
        hook = await order.add(desk.store, desk.reader, wanted, asked.who.user, desk.clock_ms(), desk.webhooks)
        if isinstance(hook, Webhook):
            return page(asked, "webhook_secret.html", {"hook": hook, "secret": hook.secret, "rotated": False})
        form.wrong.append(_sentence(hook))
    return await _form(asked, dict(fields), form.wrong)


async def change(asked: Asked) -> web.Response:
    """Change where an endpoint is, and what it is told of."""
    fields = await posted(asked)
    desk, form, hook = asked.desk, Form(fields), await _hook(asked)
    types, url = _types(form), fields.get("url", "").strip()
    if not form.wrong:
        wrong = await order.change(desk.store, hook, url, types, asked.who.user, desk.clock_ms(), desk.webhooks)
        if wrong is None:
            return see_other(asked, f"/webhooks/{hook.id}?done=changed")
        form.wrong.append(_sentence(wrong))
    return await _form(asked, dict(fields), form.wrong, hook)


def _types(form: Form) -> list[EventType]:
    """Return the types that were chosen; none: all."""
    if form.fields.get("which") == "all":
        return []
    types = [one for one in EventType if form.fields.get(one.value)]
    if not types:
        form.wrong.append("Events: choose one type at least, or all.")
    return types


def _sentence(wrong: order.Wrong) -> str:
    called = {"url": "URL: ", "user": "Whose mail: "}.get(wrong.field, "")
    return f"{called}{wrong.words}." if called else f"{wrong.words[0].upper()}{wrong.words[1:]}."


async def show(asked: Asked) -> web.Response:
    """Show an endpoint: how it goes, what was tried, what may be ordered."""
    return await _shown(asked, await _hook(asked), [])


async def _hook(asked: Asked) -> Webhook:
    found = await order.found(asked.desk.reader, asked.request.match_info["id"], asked.who.own)
    if found is None:
        raise ProblemError(HTTPStatus.NOT_FOUND, "There is no such webhook (any more).")
    return found


async def _shown(asked: Asked, hook: Webhook, wrong: list[str]) -> web.Response:
    query, reader, now_ms = asked.request.query, asked.desk.reader.webhooks, asked.desk.clock_ms()
    serial = await reader.serial()
    failed = query.get("show") == "failed"
    most = _KEPT if "all" in query else ROWS
    tested = query.get("done") == "tested"
    attempts = await reader.attempts(hook.id, _KEPT if tested else most + 1, failed=failed)
    hook = await reader.one(hook.id) or hook  # as it is after the calls that are shown
    (waiting,) = await reader.waiting([hook.id])
    facts = {
        **_standing(asked, hook, waiting),
        "attempts": attempts[:most],
        "more": len(attempts) > most,
        "failed": failed,
        "changes": await reader.changes(hook.id, _CHANGES),
        "signs_along_ms": max((one.until_ms for one in hook.former if one.until_ms > now_ms), default=None),
        "since": f"{local(hook.failing_ms or now_ms - _HOUR_MS, None):%Y-%m-%dT%H:%M}",
        "hint": hint,
        "code_of": queue_id,
        "tested": tested,
        "test": next((one for one in attempts if one.type == TEST), None) if tested else None,
        "wrong": wrong,
        "done": _DONE.get(query.get("done", "")),
        "serial": serial,
    }
    status = HTTPStatus.UNPROCESSABLE_ENTITY if wrong else HTTPStatus.OK
    return page(asked, "webhook.html", facts, status=status)


async def live(asked: Asked) -> web.StreamResponse:
    """Tell a page that something was sent or ordered, so that it loads itself anew; until the browser goes away."""
    serial = serial_of(asked)
    return await streamed(asked, lambda answer: _follow(asked, answer, serial))


async def _follow(asked: Asked, answer: web.StreamResponse, serial: int) -> None:
    hub, said = asked.desk.hub, time.monotonic()
    while not hub.closed and asked.request.transport is not None:
        now = await hub.reader.webhooks.serial()
        if now != serial:
            serial = now
            await write(answer, f"id: {serial}\nevent: change\ndata: {{}}\n\n")
        if time.monotonic() - said >= _BEAT_SECONDS:
            if not await is_the_same(asked):
                return
            await write(answer, ": still here\n\n")
            said = time.monotonic()
        await hub.changes(_PAST_ALL, _LOOK_SECONDS)  # whatever happens to mail; but the server's end is told


async def test(asked: Asked) -> web.Response:
    """Send an endpoint an event of type "test"."""
    await posted(asked)
    hook = await _hook(asked)
    await order.try_out(asked.desk.store, hook, asked.desk.clock_ms(), asked.desk.webhooks)
    return see_other(asked, f"/webhooks/{hook.id}?done=tested")


async def stop(asked: Asked) -> web.Response:
    """Send an endpoint nothing more for now."""
    await posted(asked)
    hook = await _hook(asked)
    await asked.desk.store.webhooks.stop(hook.id, asked.desk.clock_ms(), asked.who.user)
    return see_other(asked, f"/webhooks/{hook.id}?done=stopped")


async def enable(asked: Asked) -> web.Response:
    """Send an endpoint events again."""
    await posted(asked)
    hook = await _hook(asked)
    await asked.desk.store.webhooks.enable(hook.id, asked.desk.clock_ms(), asked.who.user)
    return see_other(asked, f"/webhooks/{hook.id}?done=enabled")


async def replay(asked: Asked) -> web.Response:
    """Send an endpoint again what happened since a time."""
    form, hook = Form(await posted(asked)), await _hook(asked)
    at_ms = form.point_ms("since", "Since")
    if at_ms is None and not form.wrong:
        form.wrong.append("Since: say when it began.")
    if form.wrong or at_ms is None:
        return await _shown(asked, hook, form.wrong)
    desk = asked.desk
    await order.replay_since(desk.store, desk.reader, hook, at_ms, asked.who.user, desk.clock_ms())
    return see_other(asked, f"/webhooks/{hook.id}?done=replayed")


async def rotate(asked: Asked) -> web.Response:
    """Give an endpoint another secret, and show it once."""
    await posted(asked)
    hook = await _hook(asked)
    secret = await order.rotate(asked.desk.store, hook.id, asked.who.user, asked.desk.clock_ms())
    if secret is None:
        raise ProblemError(HTTPStatus.NOT_FOUND, "There is no such webhook any more.")
    return page(asked, "webhook_secret.html", {"hook": hook, "secret": secret, "rotated": True})


async def remove(asked: Asked) -> web.Response:
    """Forget an endpoint."""
    await posted(asked)
    await order.remove(asked.desk.store, (await _hook(asked)).id, asked.who.user)
    return see_other(asked, "/webhooks?done=removed")


NAV: Final = (NavItem("/webhooks", "Webhooks", Scope.WEBHOOKS),)
_ONE: Final = "/webhooks/{id}"
ROUTES: Final = (
    Route("GET", "/webhooks", show_all, Scope.WEBHOOKS),
    Route("GET", "/webhooks/new", new, Scope.WEBHOOKS),
    Route("POST", "/webhooks/new", add, Scope.WEBHOOKS),
    Route("GET", "/webhooks/live", live, Scope.WEBHOOKS),
    Route("GET", _ONE, show, Scope.WEBHOOKS),
    Route("GET", f"{_ONE}/edit", edit, Scope.WEBHOOKS),
    Route("POST", f"{_ONE}/edit", change, Scope.WEBHOOKS),
    Route("POST", f"{_ONE}/test", test, Scope.WEBHOOKS),
    Route("POST", f"{_ONE}/stop", stop, Scope.WEBHOOKS),
    Route("POST", f"{_ONE}/enable", enable, Scope.WEBHOOKS),
    Route("POST", f"{_ONE}/replay", replay, Scope.WEBHOOKS),
    Route("POST", f"{_ONE}/secret", rotate, Scope.WEBHOOKS),
    Route("POST", f"{_ONE}/remove", remove, Scope.WEBHOOKS),
)
