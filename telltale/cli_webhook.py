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
from telltale.state import awaited, with_store

if TYPE_CHECKING:
    from storage.feed import EventType, Place
    from storage.webhook_model import Webhook
    from storage.webhooks import Webhooks
    from telltale.config import Config

T = TypeVar("T")

Id = Annotated[str, typer.Argument(metavar="ID", help="As `telltale webhook list` shows it.")]

webhook = typer.Typer(help="Events sent to endpoints of yours: add, list, test, replay, enable.")


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
    from report.hooks.order import made

    found = load_config(ctx, config)
    hook = made(url, [_type(text) for text in types or ()], user, now_ms(), found.webhooks)
    if isinstance(hook, str):
        raise UsageError(f'"{url}": {hook}')
    _told(found, lambda hooks: hooks.add(hook))
    print(f"{hook.id}\n{hook.secret}")


def _type(text: str) -> "EventType":
    from storage.feed import EventType

    word = text.lower().replace("-", "_")
    word = word if word.startswith("recipient.") else f"recipient.{word}"
    if word not in set(EventType):
        there = ", ".join(one.value.removeprefix("recipient.") for one in EventType)
        raise UsageError(f'--type "{text}" is no type of events; there are {there}')
    return EventType(word)


@webhook.command("list")
def list_(ctx: typer.Context, *, config: ConfigFile = None, json: Json = False) -> None:
    """List the webhooks, with what went wrong last."""
    for hook, waiting in awaited(state := load_config(ctx, config).server.state_dir, _all(state)):
        print(jsonlib.dumps(_object(hook, waiting)) if json else _line(hook, waiting))


def _object(hook: "Webhook", waiting: int) -> dict[str, object]:
    return {
        "id": hook.id,
        "url": hook.url,
        "types": sorted(hook.types),
        "user": hook.user,
        "active": hook.active,
        "failing": hook.failing_ms is not None,
        "note": hook.note or None,
        "waiting": waiting,
    }


def _line(hook: "Webhook", waiting: int) -> str:
    state = ("failing" if hook.failing_ms else "active") if hook.active else "stopped"
    types = " ".join(sorted(one.removeprefix("recipient.") for one in hook.types)) or "all events"
    of = f" of {hook.user}" if hook.user else ""
    again = f"; {waiting} to be tried again" if waiting else ""
    return f"{hook.id}  {hook.url}  {types}{of}  {state}{again}{f': {hook.note}' if hook.note else ''}"


async def _all(state_dir: Path) -> "list[tuple[Webhook, int]]":
    from storage.reader import Reader

    reader = await Reader.open(state_dir)
    try:
        return [(hook, await reader.webhooks.waiting(hook.id)) for hook in await reader.webhooks.all()]
    finally:
        await reader.close()


@webhook.command()
def remove(ctx: typer.Context, id_: Id, *, config: ConfigFile = None) -> None:
    """Remove a webhook."""
    _done(id_, "removed", yes=_told(load_config(ctx, config), lambda hooks: hooks.remove(id_)))


@webhook.command()
def stop(ctx: typer.Context, id_: Id, *, config: ConfigFile = None) -> None:
    """Send a webhook nothing more until it is enabled; events wait for four days."""
    note = "stopped on the command line"
    _done(id_, "stopped", yes=_told(load_config(ctx, config), lambda hooks: hooks.stop(id_, now_ms(), note)))


@webhook.command()
def enable(ctx: typer.Context, id_: Id, *, config: ConfigFile = None) -> None:
    """Send a stopped webhook events again, from where it was."""
    _done(id_, "enabled", yes=_told(load_config(ctx, config), lambda hooks: hooks.enable(id_)))


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
    from storage.feed import Place

    if (since is None) == (after is None):
        raise UsageError('say from where on: --since "2h", or --after CURSOR')
    place = Place.read(after) if after is not None else None
    if after is not None and place is None:
        raise UsageError(f'--after "{after}" is no cursor such as 4711-0')
    found = load_config(ctx, config)
    at_ms = since_ms(since, now_ms())
    if at_ms is not None:
        place = awaited(found.server.state_dir, _place(found.server.state_dir, at_ms))
    at = place or Place(0, 0)
    _done(id_, "goes on from there", yes=_told(found, lambda hooks: hooks.replay(id_, at)))


async def _place(state_dir: Path, at_ms: int) -> "Place":
    from storage.reader import Reader

    reader = await Reader.open(state_dir)
    try:
        return await reader.feed.since(at_ms)
    finally:
        await reader.close()


def _told(found: "Config", verb: "Callable[[Webhooks], Awaitable[T]]") -> T:
    state_dir = found.server.state_dir
    return awaited(state_dir, with_store(state_dir, found.policy, lambda store: verb(store.webhooks)))


@webhook.command("test")
def try_out(ctx: typer.Context, id_: Id, *, config: ConfigFile = None) -> None:
    """Send a webhook an event of type "test", and say what came of it."""
    from report.hooks.order import tried_out

    found = load_config(ctx, config)
    state_dir = found.server.state_dir
    hooks = {hook.id: hook for hook, _ in awaited(state_dir, _all(state_dir))}
    if id_ not in hooks:
        _done(id_, "", yes=False)
    answer = awaited(state_dir, tried_out(hooks[id_], now_ms(), found.webhooks))
    if not answer.taken:
        raise FailureError(f"{hooks[id_].url} did not take it: {answer.words}")
    print(f"{hooks[id_].url} took it: {answer.words}")


def _done(id_: str, what: str, *, yes: bool) -> None:
    if not yes:
        raise FailureError(f'there is no webhook "{id_}"; `telltale webhook list` names all')
    print(f"webhook {id_} {what}")
