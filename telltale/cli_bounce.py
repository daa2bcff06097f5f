"""`telltale bounce …`: what bounce messages say, which ones speak of nobody, and what newer rules make of them."""

import sys
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from telltale.cli_log import Json
from telltale.errors import FailureError
from telltale.options import ConfigFile, load_config, now_ms, since_ms
from telltale.state import awaited

if TYPE_CHECKING:
    from storage.people import Policy
    from storage.reader import Reader

bounce = typer.Typer(help="Understand bounce messages: parse, unmatched, show, reclassify.")


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.add_typer(bounce, name="bounce")


@bounce.command()
def parse(
    files: Annotated[list[Path], typer.Argument(metavar="FILE…", help="Mails, or mboxes of several.")],
    recipient: Annotated[
        str | None, typer.Option(metavar="ADDRESS", help="The return path's recipient, for mails that name none.")
    ] = None,
) -> None:
    """Say what bounce messages report: JSON Lines, a line a reported recipient."""
    from relay.bounce.command import lines

    try:
        for line in lines(files, recipient):
            print(line)
    except BrokenPipeError:
        raise
    except OSError as error:
        raise FailureError(f"{error.filename}: cannot be read: {error.strerror}") from error


@bounce.command()
def unmatched(ctx: typer.Context, *, config: ConfigFile = None, json: Json = False) -> None:
    """List the bounce messages that speak of nobody the log knows, newest first."""
    state_dir = load_config(ctx, config).server.state_dir
    awaited(state_dir, _print_unmatched(state_dir, json=json))


async def _print_unmatched(state_dir: Path, *, json: bool) -> None:
    from relay.bounce.parse import parse
    from telltale.bounces import unmatched_line, unmatched_object, unmatched_title

    printed = 0
    async with _reading(state_dir) as reader:
        async for stored in reader.unmatched():
            parsed = parse(stored.raw)
            if not json and not printed:
                print(unmatched_title())
            print(unmatched_object(stored, parsed) if json else unmatched_line(stored, parsed))
            printed += 1
    if not json:
        print(f"{printed} unmatched; telltale bounce show ID prints one" if printed else "none is unmatched")


@bounce.command()
def show(
    ctx: typer.Context,
    id_: Annotated[str, typer.Argument(metavar="ID", help="As unmatched, show --json and the log name it.")],
    *,
    config: ConfigFile = None,
) -> None:
    """Print a stored bounce message as it came.

    On a terminal, what the terminal could obey is left out.
    """
    state_dir = load_config(ctx, config).server.state_dir
    raw = awaited(state_dir, _raw(state_dir, id_))
    if raw is None:
        raise FailureError(f'no bounce message "{id_}" is kept')
    if sys.stdout.isatty():
        from storage.reason import plain

        print(*(plain(line) for line in raw.decode("utf-8", "replace").splitlines()), sep="\n")
        return
    sys.stdout.buffer.write(raw)
    sys.stdout.buffer.flush()


async def _raw(state_dir: Path, id_: str) -> bytes | None:
    from storage.model import message_id_of

    dsn_id = message_id_of(id_)
    async with _reading(state_dir) as reader:
        stored = await reader.dsn(dsn_id) if dsn_id is not None else None
    return stored.raw if stored else None


@bounce.command()
def reclassify(
    ctx: typer.Context,
    *,
    config: ConfigFile = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show what would change.")] = False,
    since: Annotated[str | None, typer.Option(metavar="TIME", help='Only since: "2h", "3d" or an ISO time.')] = None,
    json: Json = False,
) -> None:
    """Judge stored replies and bounce messages anew, by the rules of this version.

    Categories change, statuses never do: what a reply did is done.
    """
    begin = since_ms(since, now_ms()) or 0
    found = load_config(ctx, config)
    state_dir = found.server.state_dir
    counted = awaited(state_dir, _reclassify(state_dir, found.policy, begin, dry_run=dry_run, json=json))
    if not json:
        for (was, now), number in counted.most_common():
            print(f"{number:>9}  {was or 'none'} → {now}")
        print(f"{counted.total()} {'would change' if dry_run else 'changed'}")


async def _reclassify(
    state_dir: Path, policy: "Policy", begin_ms: int, *, dry_run: bool, json: bool
) -> Counter[tuple[str | None, str]]:
    from relay.reclassify import changes, write
    from storage.store import Store
    from telltale.bounces import change_line, change_object

    counted: Counter[tuple[str | None, str]] = Counter()
    async with _reading(state_dir) as reader:  # asked first: a command must not make a store where there is none
        store = None if dry_run else await Store.open(state_dir, policy)
        try:
            async for some in changes(reader, begin_ms):
                if store is not None:
                    await write(store, some)
                for fact, category in some:
                    print(change_object(fact, category) if json else change_line(fact, category))
                    counted[fact.category, category] += 1
        finally:
            if store is not None:
                await store.close()
    return counted


@asynccontextmanager
async def _reading(state_dir: Path) -> AsyncIterator["Reader"]:
    from storage.reader import Reader

    reader = await Reader.open(state_dir)
    try:
        yield reader
    finally:
        await reader.close()
