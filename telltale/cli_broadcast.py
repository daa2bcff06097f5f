"""`telltale broadcast …`: what became of messages to many, and what operators may tell a run of one."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from telltale.broadcast_print import print_json, tell_statuses, time_of
from telltale.cli_broadcast_send import send
from telltale.errors import FailureError
from telltale.options import ConfigFile, load_config, now_ms
from telltale.state import awaited

if TYPE_CHECKING:
    from storage.broadcast_model import Run, RunOrder
    from storage.status import Status
    from telltale.config import Config

Json = Annotated[bool, typer.Option("--json", help="JSON Lines, an object a broadcast.")]
Name = Annotated[str, typer.Argument(metavar="NAME", help="The broadcast's name.")]

broadcast = typer.Typer(help="One message to many: send, list, show, pause, resume, cancel.")
broadcast.command()(send)


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.add_typer(broadcast, name="broadcast")


@broadcast.command("list")
def list_runs(
    ctx: typer.Context,
    *,
    config: ConfigFile = None,
    limit: Annotated[int, typer.Option(min=1, help="How many at most.")] = 50,
    json: Json = False,
) -> None:
    """List what was sent by `telltale broadcast send`, the newest first."""
    from rich.console import Console
    from rich.table import Table

    from telltale.broadcast_forms import run_object

    state_dir = load_config(ctx, config).server.state_dir
    runs = awaited(state_dir, _runs(state_dir, limit))
    if json:
        for run in runs:
            print_json(run_object(run))
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("name", "type", "state", "done", "of", "made", "started", "ended"):
        table.add_column(column, justify="right" if column in {"done", "of"} else "left")
    for run in runs:
        times = [time_of(at) if at else "" for at in (run.created_ms, run.started_ms, run.ended_ms)]
        table.add_row(run.name, run.type, str(run.state), f"{run.done:,}", f"{run.total:,}", *times)
    Console().print(table)


async def _runs(state_dir: Path, limit: int) -> "list[Run]":
    from storage.reader import Reader

    reader = await Reader.open(state_dir)
    try:
        return await reader.broadcasts.runs(limit)
    finally:
        await reader.close()


@broadcast.command()
def show(ctx: typer.Context, name: Name, *, config: ConfigFile = None, json: Json = False) -> None:
    """Show how far a broadcast is, and what became of its recipients."""
    from rich.console import Console

    from telltale.broadcast_forms import shown_object

    state_dir = load_config(ctx, config).server.state_dir
    console = Console()
    runs = awaited(state_dir, _shown(state_dir, name))
    if not runs:
        raise FailureError(f'no broadcast "{name}" was sent by `telltale broadcast send` or the pages')
    for run, statuses, waiting in runs:
        if json:
            print_json(shown_object(run, statuses, waiting))
            continue
        print(f"{run.name}: {run.state}, {run.done:,} of {run.total:,} decided, {waiting:,} waiting in the queue")
        print(f"  type {run.type}, from <{run.sender}>, subject {run.subject}")
        if run.note:
            print(f"  {run.note}")
        at = {"made": run.created_ms, "begins": run.start_ms, "started": run.started_ms, "ended": run.ended_ms}
        print("  " + ", ".join(f"{word} {time_of(ms)}" for word, ms in at.items() if ms))
        tell_statuses(console, statuses)


async def _shown(state_dir: Path, name: str) -> "list[tuple[Run, dict[Status, int], int]]":
    from storage.reader import Reader

    reader = await Reader.open(state_dir)
    try:
        ask = reader.broadcasts
        return [
            (run, await ask.statuses(run), (await ask.waiting(run.id, run.first_message or 0))[0])
            for run in await ask.runs_named(name)
        ]
    finally:
        await reader.close()


@broadcast.command()
def pause(ctx: typer.Context, name: Name, *, config: ConfigFile = None) -> None:
    """Let no more copies into the queue; those that are there go on."""
    _order(ctx, config, name, "pause")


@broadcast.command()
def resume(ctx: typer.Context, name: Name, *, config: ConfigFile = None) -> None:
    """Go on with a paused broadcast, where it was."""
    _order(ctx, config, name, "resume")


@broadcast.command()
def cancel(ctx: typer.Context, name: Name, *, config: ConfigFile = None) -> None:
    """End a broadcast for good; copies that are in the queue go on."""
    _order(ctx, config, name, "cancel")


def _order(ctx: typer.Context, config: Path | None, name: str, word: str) -> None:
    from storage.broadcast_model import RunOrder

    found = load_config(ctx, config)
    told = RunOrder(word)
    run = awaited(found.server.state_dir, _ordered(found, name, told))
    done = {RunOrder.PAUSE: "paused", RunOrder.RESUME: "goes on", RunOrder.CANCEL: "cancelled"}[told]
    print(f"{run.name}: {done}, {run.done:,} of {run.total:,} decided")


async def _ordered(config: "Config", name: str, told: "RunOrder") -> "Run":
    from storage.reader import Reader
    from storage.store import Store

    reader = await Reader.open(config.server.state_dir)
    try:
        runs = await reader.broadcasts.runs_named(name)
        if not runs:
            raise FailureError(f'no broadcast "{name}" was sent by `telltale broadcast send` or the pages')
        store = await Store.open(config.server.state_dir, config.policy)
        try:
            for run in runs:
                if await store.broadcasts.order(run.id, told, now_ms()):
                    return await reader.broadcasts.run(run.id) or run
        finally:
            await store.close()
        raise FailureError(f"cannot {told} {name}: it is {runs[0].state}")
    finally:
        await reader.close()
