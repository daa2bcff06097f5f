"""`telltale broadcast send`: first says what will become of everybody, and only then stores anything."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import KW_ONLY, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from telltale.broadcast_print import print_json, tell_statuses, time_of
from telltale.errors import FailureError, UsageError
from telltale.options import ConfigFile, load_config, now_ms
from telltale.state import become_owner, private_files, speaking

if TYPE_CHECKING:
    from rich.console import Console

    from telltale.broadcast_send import PreFlight, Told, Wanted
    from telltale.config import Config


def send(
    ctx: typer.Context,
    message: Annotated[Path, typer.Argument(metavar="MESSAGE", help="message.eml, or message.html with --subject.")],
    *,
    config: ConfigFile = None,
    name: Annotated[str, typer.Option("--name", help="An address gets what has one name once.")],
    sender: Annotated[str, typer.Option("--from", metavar="ADDRESS", help='Who sends: "Ann <ann@example.org>".')],
    type_: Annotated[str | None, typer.Option("--type", metavar="TYPE", help="general, emergency …")] = None,
    subject: Annotated[str | None, typer.Option(help="Instead of the message's own.")] = None,
    to: Annotated[Path | None, typer.Option("--to", metavar="CSV", help="Recipients, with a column address.")] = None,
    list_: Annotated[str | None, typer.Option("--list", metavar="LIST", help="A list of contacts.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Count only; send nothing.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    schedule: Annotated[str | None, typer.Option(metavar="TIME", help='"2h" from now, or "2026-11-27T08:00".')] = None,
    rate: Annotated[str | None, typer.Option(metavar="RATE", help="At most so many copies: 100/s, 5000/h.")] = None,
    detach: Annotated[bool, typer.Option("--detach", help="Do not follow what goes out.")] = False,
    report: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write the lines passed over there, as CSV.")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="With --dry-run: one object.")] = False,
) -> None:
    """Send a message to many; first says what will become of everybody."""
    from rich.console import Console

    from telltale.broadcast_send import read_time

    if (to is None) == (list_ is None):
        raise UsageError("say to whom: --to FILE.csv, or --list LIST")
    if json and not dry_run:
        raise UsageError("--json tells what --dry-run counts: say both")
    if report and list_ is not None:
        raise UsageError("--report is of the lines of a file: a list has none")
    found = load_config(ctx, config)
    start_ms = read_time(schedule, now_ms())
    wanted = _wanted(found, message, name, sender, type_, subject, to, list_, rate, report)
    console = Console()
    become_owner(found.server.state_dir)
    private_files()
    with speaking(found.server.state_dir):
        how = _How(start_ms, dry_run=dry_run, yes=yes, detach=detach, json=json)
        _send(found, wanted, console, how)


def _wanted(
    config: "Config",
    message: Path,
    name: str,
    sender: str,
    type_: str | None,
    subject: str | None,
    to: Path | None,
    list_: str | None,
    rate: str | None,
    report: Path | None,
) -> "Wanted":
    from storage.broadcast_settings import parse_type
    from telltale.broadcast_send import Wanted, read_rate, read_sender, read_template

    title = " ".join(name.split())
    if not title or not title.isprintable():
        raise UsageError("--name must be a name")
    try:
        of_type = parse_type(type_) if type_ is not None else config.broadcast.default_type
    except ValueError as error:
        raise UsageError(f'--type "{type_}": {error}') from None
    mail_from, header = read_sender(sender)
    template, letter = read_template(message, subject, header)
    return Wanted(
        title,
        of_type,
        mail_from,
        template,
        letter,
        letter.subject,
        list_,
        to,
        read_rate(rate),
        fold=config.contacts.fold_local_part,
        report=report,
    )


@dataclass(frozen=True, slots=True)
class _How:
    """What the options say of the sending."""

    start_ms: int | None
    _: KW_ONLY
    dry_run: bool
    yes: bool
    detach: bool
    json: bool


def _send(config: "Config", wanted: "Wanted", console: "Console", how: _How) -> None:
    import asyncio

    from storage.status import Status
    from telltale.broadcast_forms import pre_flight_object
    from telltale.broadcast_send import pre_flight

    state_dir = config.server.state_dir
    with _counting(console, json=how.json) as told:
        audience, found = pre_flight(state_dir, wanted, now_ms(), told)
    try:
        if how.json:
            print_json(pre_flight_object(wanted, found))
        else:
            _tell_pre_flight(console, wanted, found)
        _refuse_missing(found)
        if how.dry_run:
            return
        if not found.total:
            raise FailureError("there is nobody to send to")
        if not how.yes:
            _ask(f"Send it to {found.counts[Status.UNSENT]:,} recipients?")
        run_id = asyncio.run(_stored(config, wanted, audience, found.total, console, how.start_ms))
    finally:
        audience.close()
    _tell_started(state_dir, run_id, console, how.start_ms, detach=how.detach)


@contextmanager
def _counting(console: "Console", *, json: bool) -> Iterator["Told"]:
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, disable=json or not console.is_terminal, transient=True) as bar:
        task = bar.add_task("Counting …", total=None)
        yield lambda step, done, total: bar.update(task, description=step, completed=done, total=total)


def _tell_pre_flight(console: "Console", wanted: "Wanted", found: "PreFlight") -> None:
    from rich.table import Table

    print(f"Broadcast “{wanted.name}”, type {wanted.type}, from <{wanted.sender}>")
    print(f"Subject: {wanted.subject}")
    table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 2))
    table.add_column(justify="left")
    table.add_column(justify="right")
    table.add_column(style="dim")
    for status, count in found.counts.items():
        table.add_row(str(status), f"{count:,}", _MEANING[status])
    table.add_row("invalid", f"{found.bad:,}", "lines that are passed over")
    console.print(table)
    for bad in found.first_bad:
        print(f"  line {bad.line}{f', {bad.column}' if bad.column else ''}: {bad.why}")
    if found.bad > len(found.first_bad):
        where = f"{wanted.report} has all" if wanted.report else "--report FILE writes all of them"
        print(f"  … and {found.bad - len(found.first_bad):,} more; {where}")
    if found.without_address:
        print(f"{found.without_address:,} contacts of the list have no address at all")


_MEANING: "dict[str, str]" = {
    "Unsent": "will be sent",
    "Blocked": "on the Blocked Email list",
    "Duplicate": "twice in the list, or sent before under this name",
    "No Email Selected": "no address takes this type",
}


def _refuse_missing(found: "PreFlight") -> None:
    if not found.missing:
        return
    lines = []
    for missing in found.missing:
        more = " …" if missing.count > len(missing.first) else ""
        some = f"{missing.count:,} {'recipient lacks' if missing.count == 1 else 'recipients lack'}"
        lines.append(f'{some} the field "{missing.field}": {", ".join(missing.first)}{more}')
    field = found.missing[0].field
    lines.append(f"nothing was sent; fill the fields in, or say what to write then: {{{{ {field}|default('…') }}}}")
    raise FailureError("\n".join(lines))


def _ask(question: str) -> None:
    if not sys.stdin.isatty():
        raise UsageError("nobody can be asked here: say --yes to send it, or --dry-run to count only")
    typer.confirm(question, abort=True)


async def _stored(
    config: "Config",
    wanted: "Wanted",
    audience: "object",
    total: int,
    console: "Console",
    start_ms: int | None,
) -> int:
    from rich.progress import Progress

    from storage.broadcast_audience import Audience
    from storage.store import Store
    from telltale.broadcast_send import draft

    assert isinstance(audience, Audience)  # noqa: S101 - its type would be imported at every start of the program
    store = await Store.open(config.server.state_dir, config.policy)
    try:
        with Progress(console=console, transient=True) as progress:
            task = progress.add_task("Storing the recipients", total=total)
            run_id = await draft(store, wanted, audience, now_ms(), lambda some: progress.advance(task, some))
        await store.broadcasts.start(run_id, start_ms, now_ms())
    finally:
        await store.close()
    return run_id


def _tell_started(state_dir: Path, run_id: int, console: "Console", start_ms: int | None, *, detach: bool) -> None:
    import asyncio

    from telltale.broadcast_send import relay_runs

    if start_ms is not None:
        print(f"It begins at {time_of(start_ms)}. `telltale broadcast show` tells how far it is.")
    elif not relay_runs(state_dir):
        print("No relay runs on this host: it goes out as soon as `telltale serve` does.")
    elif detach:
        print("It is going out. `telltale broadcast show` tells how far it is.")
    else:
        try:
            asyncio.run(_followed(state_dir, run_id, console))
        except KeyboardInterrupt:
            print("It goes on without this command. `telltale broadcast show` tells how far it is.")
            raise


async def _followed(state_dir: Path, run_id: int, console: "Console") -> None:
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    from storage.broadcast_model import RunState
    from storage.reader import Reader
    from telltale.broadcast_send import follow

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    reader = await Reader.open(state_dir)
    try:
        with Progress(*columns, console=console) as progress:
            task = progress.add_task("Going out")
            run = await follow(reader, run_id, lambda run, out: progress.update(task, completed=out, total=run.total))
        if run.state is RunState.PAUSED:
            raise FailureError(f"it was paused{f': {run.note}' if run.note else ''}")
        tell_statuses(console, await reader.broadcasts.statuses(run))
    finally:
        await reader.close()
