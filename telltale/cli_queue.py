"""`telltale queue …`: what the queue still has to serve, and what an operator may do about it."""

import sys
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from telltale.cli_log import Json, Limit, chosen_form
from telltale.errors import FailureError, UsageError
from telltale.options import ConfigFile, load_config, now_ms
from telltale.state import awaited

if TYPE_CHECKING:
    from storage.people import Policy
    from storage.store import Store

_SITES: Final = 20  # a screenful for people
_BATCH: Final = 1000  # recipients of one transaction
_Verb = Callable[["Store", Sequence[int], int], Awaitable[int]]

Subject = Annotated[str | None, typer.Argument(metavar="[QUEUE_ID|RECIPIENT|@DOMAIN]", help="What to act on.")]
All = Annotated[bool, typer.Option("--all", help="Everything that waits.")]
Every = Annotated[bool, typer.Option("--all", help="All of them.")]
Recipient = Annotated[str | None, typer.Option(help='An address, "@domain", or a part of an address.')]

queue = typer.Typer(help="What waits: list, count, sites, flush, hold, release, remove.")


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.add_typer(queue, name="queue")


@queue.command("list")
def list_(
    ctx: typer.Context,
    *,
    config: ConfigFile = None,
    recipient: Recipient = None,
    limit: Limit = None,
    json: Json = False,
) -> None:
    """List the recipients that wait, with the reason and the next attempt."""
    from report.command import print_queue
    from storage.model import LogFilter

    state_dir = load_config(ctx, config).server.state_dir
    wanted = LogFilter(recipient=recipient, pending_only=True)
    awaited(state_dir, print_queue(state_dir, wanted, chosen_form(json=json), limit=limit, out=sys.stdout))


@queue.command()
def count(ctx: typer.Context, *, config: ConfigFile = None, recipient: Recipient = None, json: Json = False) -> None:
    """Count the recipients that wait, by status and by domain."""
    from report.command import print_queue_count
    from storage.model import LogFilter

    state_dir = load_config(ctx, config).server.state_dir
    wanted = LogFilter(recipient=recipient, pending_only=True)
    awaited(state_dir, print_queue_count(state_dir, wanted, chosen_form(json=json), out=sys.stdout))


@queue.command()
def sites(
    ctx: typer.Context, *, config: ConfigFile = None, limit: Limit = None, every: Every = False, json: Json = False
) -> None:
    """List the sites that are delivered to: what waits, connections and limits, the last reply, how long they rest."""
    from report.command import print_sites

    state_dir = load_config(ctx, config).server.state_dir
    most = None if every else limit if limit or json else _SITES
    awaited(state_dir, print_sites(state_dir, chosen_form(json=json), limit=most, out=sys.stdout))


@queue.command()
def flush(ctx: typer.Context, subject: Subject = None, *, config: ConfigFile = None, every: All = False) -> None:
    """Try what waits at once, without awaiting its next attempt; all of it where nothing is named."""
    # As postqueue -f: that everything is tried once more harms nothing, unlike a hold or a removal of everything.
    everything = every or subject is None
    _act(ctx, config, subject, everything, "due now", lambda store, ids, now: store.flush(ids, now))


@queue.command()
def hold(ctx: typer.Context, subject: Subject = None, *, config: ConfigFile = None, every: All = False) -> None:
    """Keep what waits from being tried, until it is released."""
    _act(ctx, config, subject, every, "held", lambda store, ids, now: store.hold(ids, now))


@queue.command()
def release(ctx: typer.Context, subject: Subject = None, *, config: ConfigFile = None, every: All = False) -> None:
    """Undo a hold: what was held is due at once."""
    _act(ctx, config, subject, every, "released", lambda store, ids, now: store.release(ids, now))


@queue.command()
def remove(
    ctx: typer.Context,
    subject: Subject = None,
    *,
    config: ConfigFile = None,
    every: All = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="Do not tell the senders: for spam, say.")] = False,
) -> None:
    """Give up on what waits: it ends as Bounced, removed by the operator, and the senders are told."""
    _act(ctx, config, subject, every, "removed", lambda store, ids, now: store.remove(ids, now, tell=not quiet))


def _act(ctx: typer.Context, config: Path | None, subject: str | None, every: bool, done: str, verb: _Verb) -> None:
    if every == (subject is not None):
        raise UsageError('say what to act on: a queue id, a recipient, "@domain", or --all')
    told = load_config(ctx, config)
    found, changed = awaited(told.server.state_dir, _acted(told.server.state_dir, told.policy, subject, verb))
    if subject is not None and not found:
        raise FailureError(f'no recipient waits under "{subject}"')
    kept = f", {found - changed} left as they were (being tried, or so already)" if found > changed else ""
    print(f"{changed} {'recipient' if changed == 1 else 'recipients'} {done}{kept}")


async def _acted(state_dir: Path, policy: "Policy", subject: str | None, verb: _Verb) -> tuple[int, int]:
    """Apply `verb` to what waits under `subject` (None: to everything); return how many were found and changed."""
    from storage.store import Store

    found = changed = 0
    batches = _pending(state_dir, subject)
    nothing: list[int] = []
    ids = await anext(batches, nothing)  # asked first: a command must not make a store where there is none
    store = await Store.open(state_dir, policy)
    try:
        while ids:
            found += len(ids)
            changed += await verb(store, ids, now_ms())
            ids = await anext(batches, nothing)
    finally:
        await batches.aclose()
        await store.close()
    return found, changed


async def _pending(state_dir: Path, subject: str | None) -> AsyncGenerator[list[int], None]:
    """Yield the ids of pending recipients, some at a time: memory does not grow with the queue."""
    from report.command import find_pending
    from storage.model import LogFilter
    from storage.reader import Reader

    if subject is not None:
        yield await find_pending(state_dir, subject)
        return
    reader = await Reader.open(state_dir)
    try:
        batch = []
        async for row in reader.stream(LogFilter(pending_only=True)):
            batch.append(row.recipient_id)
            if len(batch) == _BATCH:
                yield batch
                batch = []
        yield batch
    finally:
        await reader.close()
