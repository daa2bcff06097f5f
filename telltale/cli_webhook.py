"""`telltale webhook …`: where events are sent to.

Rule: a webhook's secret is shown when it is made, and not again.
"""

import json as jsonlib
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from telltale.cli_log import Json
from telltale.errors import FailureError, UsageError
from telltale.options import ConfigFile, load_config, now_ms, since_ms
from telltale.people import actor
from telltale.state import awaited, with_store

if TYPE_CHECKING:
    from report.hooks.order import Wrong
    from storage.feed import EventType
    from storage.reader import Reader
    from storage.store import Store
    from storage.webhook_model import HookAttempt, Waiting, Webhook
    from telltale.config import Config

T = TypeVar("T")

Id = Annotated[str, typer.Argument(metavar="ID", help="As `telltale webhook list` shows it.")]

webhook = typer.Typer(help="Events sent to endpoints of yours: add, set, list, test, attempts, replay, rotate, enable.")


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.add_typer(webhook, name="webhook")


@webhook.command()
def add(
    ctx: typer.Context,
    url: Annotated[str, typer.Argument(metavar="URL", help="Such as https://example.org/hook.")],
    *,
    types: Annotated[
        list[str] | None, typer.Option("--type", metavar="TYPE", help="Such as delivered; repeatable. Default: all.")
    ] = None,
    user: Annotated[str | None, typer.Option(metavar="USER", help="Tell of this user's mail only.")] = None,
    config: ConfigFile = None,
) -> None:
    """Add a webhook, which is told of all that happens from now on; prints its id and its secret."""
    from report.hooks import order

    found = load_config(ctx, config)
    wanted = order.Wanted(url, [_type(text) for text in types or ()], user)

    async def made(store: "Store", reader: "Reader") -> "Webhook | Wrong":
        return await order.add(store, reader, wanted, actor(), now_ms(), found.webhooks)

    hook = _told(found, made)
    if isinstance(hook, order.Wrong):
        told = f'"{url}": ' if hook.field == "url" else ""
        raise (UsageError if hook.field else FailureError)(f"{told}{hook.words}")
    print(f"{hook.id}\n{hook.secret}")


def _type(text: str) -> "EventType":
    from report.hooks.order import event_type
    from storage.feed import EventType

    found = event_type(text)
    if isinstance(found, EventType):
        return found
    raise UsageError(f"--type {found}")


@webhook.command("set")
def set_(
    ctx: typer.Context,
    id_: Id,
    *,
    url: Annotated[str | None, typer.Option(metavar="URL", help="Send its events there.")] = None,
    types: Annotated[
        list[str] | None, typer.Option("--type", metavar="TYPE", help="Tell of these alone; repeatable.")
    ] = None,
    all_types: Annotated[bool, typer.Option("--all-types", help="Tell of all.")] = False,
    config: ConfigFile = None,
) -> None:
    """Change where a webhook's events go, or which; what it did not take yet stays to be sent."""
    from report.hooks import order

    found = load_config(ctx, config)
    wanted = [_type(text) for text in types or ()]
    if bool(wanted) + all_types + (url is not None) == 0 or (wanted and all_types):
        raise UsageError("say what is to be otherwise: --url, and --type or --all-types")

    async def changed(store: "Store", reader: "Reader") -> "Wrong | None":
        hook = await _one(reader, id_)
        kept = wanted or (() if all_types else hook.types)
        return await order.change(store, hook, url or hook.url, kept, actor(), now_ms(), found.webhooks)

    if wrong := _told(found, changed):
        raise (UsageError if wrong.field else FailureError)(f'"{url or id_}": {wrong.words}')
    print(f"webhook {id_} changed")


@webhook.command("list")
def list_(ctx: typer.Context, *, config: ConfigFile = None, json: Json = False) -> None:
    """List the webhooks, with how it goes and what went wrong last."""
    for hook, waiting in _asked(load_config(ctx, config), _all):
        print(jsonlib.dumps(_object(hook, waiting)) if json else _line(hook, waiting))


async def _all(reader: "Reader") -> "list[tuple[Webhook, Waiting]]":
    hooks = await reader.webhooks.all()
    return list(zip(hooks, await reader.webhooks.waiting([hook.id for hook in hooks]), strict=True))


def _object(hook: "Webhook", waiting: "Waiting") -> dict[str, object]:
    from report.hooks.plain import next_try_ms
    from report.words import rfc3339

    return {
        "id": hook.id,
        "url": hook.url,
        "types": sorted(hook.types),
        "user": hook.user,
        "active": hook.active,
        "failing": hook.failing_ms is not None,
        "failing_since": rfc3339(hook.failing_ms),
        "next_try": rfc3339(next_try_ms(hook, waiting)),
        "last_taken": rfc3339(hook.taken_ms),
        "note": hook.note or None,
        "waiting": waiting.events,
        "waiting_since": rfc3339(waiting.since_ms),
    }


def _line(hook: "Webhook", waiting: "Waiting") -> str:
    from report.hooks.plain import next_try_ms

    next_ms = next_try_ms(hook, waiting)
    state = "stopped" if not hook.active else "active"
    if hook.active and hook.failing_ms is not None:
        state = f"failing since {_time(hook.failing_ms)}"
        state += f", next try {_time(next_ms)}" if next_ms else ""
    types = " ".join(sorted(one.removeprefix("recipient.") for one in hook.types)) or "all events"
    of = f" of {hook.user}" if hook.user else ""
    again = f"; {waiting.events} to be tried again" if waiting.events else ""
    return f"{hook.id}  {hook.url}  {types}{of}  {state}{again}{f': {hook.note}' if hook.note else ''}"


def _time(at_ms: int) -> str:
    from report.words import short_time

    return short_time(at_ms, now_ms(), None)


@webhook.command()
def attempts(
    ctx: typer.Context,
    id_: Id,
    *,
    failed: Annotated[bool, typer.Option("--failed", help="Those alone that were not taken.")] = False,
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, metavar="ROWS", help="At most so many rows.")] = 50,
    config: ConfigFile = None,
    json: Json = False,
) -> None:
    """Tell what was sent to a webhook lately, and what it answered; the newest last."""

    async def asked(reader: "Reader") -> "list[HookAttempt]":
        await _one(reader, id_)
        return await reader.webhooks.attempts(id_, limit, failed=failed)

    for one in reversed(_asked(load_config(ctx, config), asked)):
        print(jsonlib.dumps(_attempt_object(one)) if json else _attempt_line(one))


def _attempt_object(one: "HookAttempt") -> dict[str, object]:
    from report.words import rfc3339
    from storage.feed import id_of

    return {
        "at": rfc3339(one.at_ms),
        "event": None if one.place is None else id_of(one.place),
        "type": one.type,
        "recipient": one.recipient,
        "taken": one.taken,
        "status": one.status or None,
        "detail": one.words,
        "duration_ms": one.duration_ms,
        "tries": one.tries,
        "next_try": rfc3339(one.next_ms),
    }


def _attempt_line(one: "HookAttempt") -> str:
    again = f"; again {_time(one.next_ms)}" if one.next_ms else ""
    of = f" of {one.recipient}" if one.recipient else ""
    tries = f", try {one.tries}" if one.tries > 1 else ""
    took = "taken" if one.taken else "not taken"
    return (
        f"{_time(one.at_ms)}  {one.type.removeprefix('recipient.')}{of}{tries}  {took} in {one.duration_ms} ms:"
        f" {one.words}{again}"
    )


async def _one(reader: "Reader", id_: str) -> "Webhook":
    hook = await reader.webhooks.one(id_)
    if hook is None:
        raise _nobody(id_)
    return hook


@webhook.command()
def remove(ctx: typer.Context, id_: Id, *, config: ConfigFile = None) -> None:
    """Remove a webhook."""
    from report.hooks import order

    yes = _told(load_config(ctx, config), lambda store, _: order.remove(store, id_, actor()))
    _done(id_, "removed", yes=yes)


@webhook.command()
def stop(ctx: typer.Context, id_: Id, *, config: ConfigFile = None) -> None:
    """Send a webhook nothing more until it is enabled; events wait for four days."""
    yes = _told(load_config(ctx, config), lambda store, _: store.webhooks.stop(id_, now_ms(), actor()))
    _done(id_, "stopped", yes=yes)


@webhook.command()
def enable(ctx: typer.Context, id_: Id, *, config: ConfigFile = None) -> None:
    """Send a webhook events again, from where it was; what it did not take is tried at once."""
    yes = _told(load_config(ctx, config), lambda store, _: store.webhooks.enable(id_, now_ms(), actor()))
    _done(id_, "enabled", yes=yes)


@webhook.command()
def rotate(ctx: typer.Context, id_: Id, *, config: ConfigFile = None) -> None:
    """Make a new secret and print it; for a day, events are signed with the former one, too."""
    from report.hooks import order

    secret = _told(load_config(ctx, config), lambda store, _: order.rotate(store, id_, actor(), now_ms()))
    if secret is None:
        raise _nobody(id_)
    print(secret)


@webhook.command()
def replay(
    ctx: typer.Context,
    id_: Id,
    *,
    since: Annotated[str | None, typer.Option(metavar="TIME", help='"2h" ago, or "2026-11-27T08:00".')] = None,
    after: Annotated[str | None, typer.Option(metavar="CURSOR", help="`next` of an answer of the API.")] = None,
    config: ConfigFile = None,
) -> None:
    """Send a webhook events again from a time or a cursor on; they keep their ids."""
    from report.hooks import order
    from storage.feed import Place

    if (since is None) == (after is None):
        raise UsageError('say from where on: --since "2h", or --after CURSOR')
    place = Place.read(after) if after is not None else None
    if after is not None and place is None:
        raise UsageError(f'--after "{after}" is no cursor such as 4711-0')
    at_ms = since_ms(since, now_ms())

    async def told(store: "Store", reader: "Reader") -> bool:
        hook = await _one(reader, id_)
        if place is not None:
            return await order.replay_after(store, hook, place, actor(), now_ms())
        return await order.replay_since(store, reader, hook, at_ms or 0, actor(), now_ms())

    _done(id_, "goes on from there", yes=_told(load_config(ctx, config), told))


@webhook.command("test")
def try_out(ctx: typer.Context, id_: Id, *, config: ConfigFile = None) -> None:
    """Send a webhook an event of type "test", and say what came of it."""
    from report.hooks import order

    found = load_config(ctx, config)

    async def tried(store: "Store", reader: "Reader") -> tuple[str, bool, str]:
        hook = await _one(reader, id_)
        answer = await order.try_out(store, hook, now_ms(), found.webhooks)
        return hook.url, answer.taken, answer.words

    url, taken, words = _told(found, tried)
    if not taken:
        raise FailureError(f"{url} did not take it: {words}")
    print(f"{url} took it: {words}")


def _told(found: "Config", order: "Callable[[Store, Reader], Awaitable[T]]") -> T:
    """Run what orders something of the store and asks its reader."""
    state_dir = found.server.state_dir

    async def opened(store: "Store") -> T:
        return await _reading(state_dir, lambda reader: order(store, reader))

    return awaited(state_dir, with_store(state_dir, found.policy, opened))


def _asked(found: "Config", question: "Callable[[Reader], Awaitable[T]]") -> T:
    return awaited(found.server.state_dir, _reading(found.server.state_dir, question))


async def _reading(state_dir: Path, question: "Callable[[Reader], Awaitable[T]]") -> T:
    from storage.reader import Reader

    reader = await Reader.open(state_dir)
    try:
        return await question(reader)
    finally:
        await reader.close()


def _nobody(id_: str) -> FailureError:
    return FailureError(f'there is no webhook "{id_}"; `telltale webhook list` names all')


def _done(id_: str, what: str, *, yes: bool) -> None:
    if not yes:
        raise _nobody(id_)
    print(f"webhook {id_} {what}")
