"""`telltale block …`: the Blocked Email list."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from telltale import people
from telltale.errors import FailureError, UsageError
from telltale.options import ConfigFile, now_ms, since_ms

if TYPE_CHECKING:
    from storage.blocked_query import BlockedFilter
    from storage.people import Blocked, Source
    from storage.reader import Reader
    from storage.store import Store

Json = Annotated[bool, typer.Option("--json", help="JSON Lines, an object an entry.")]
Csv = Annotated[bool, typer.Option("--csv", help="CSV, which is the default.")]
Text = Annotated[str | None, typer.Argument(metavar="[TEXT]", help='How an address begins, or "@example.org".')]
Sources = Annotated[
    list[str] | None,
    typer.Option("--source", metavar="SOURCE", help="manual, import, failed, complaint or bounces; repeatable."),
]
Category = Annotated[str | None, typer.Option(help='Why: "user unknown", "reputation" … as judged then or now.')]
Since = Annotated[str | None, typer.Option(metavar="TIME", help='"10:00" (today), "2h", "3d" or an ISO time.')]
Until = Annotated[str | None, typer.Option(metavar="TIME", help="As --since.")]
Reason = Annotated[str, typer.Option(help="Why, for people.")]
For = Annotated[str | None, typer.Option("--for", metavar="TIME", help='How long, as "30d"; for ever without it.')]

_SHOWN: Final = 100
_AT_ONCE: Final = 1000

block = typer.Typer(help="The Blocked Email list: nothing is sent to who is on it.")


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.add_typer(block, name="block")


@block.command()
def add(
    ctx: typer.Context,
    address: Annotated[list[str], typer.Argument(metavar="ADDRESS|@DOMAIN…", help="Whom to block.")],
    *,
    config: ConfigFile = None,
    reason: Reason = "",
    for_: For = None,
) -> None:
    """Block addresses, or whole domains ("@example.org")."""
    from storage.people import Blocked, Source

    now = now_ms()
    ends = _ends(for_, now)
    entries = [Blocked(_blockable(one), Source.MANUAL, now, _reason(reason), expires_ms=ends) for one in address]
    added = people.write(ctx, config, lambda store: store.blocked.add(entries, people.actor()))
    print(f"{added} blocked" if added == len(entries) else f"{added} blocked, {len(entries) - added} were already")


@block.command()
def remove(
    ctx: typer.Context,
    address: Annotated[list[str], typer.Argument(metavar="ADDRESS|@DOMAIN…", help="Whom to block no more.")],
    *,
    config: ConfigFile = None,
) -> None:
    """Take addresses or domains off the list, whatever they were on it for."""
    wanted = [_blockable(one) for one in address]
    removed = people.write(ctx, config, lambda store: store.blocked.remove(wanted, people.actor(), now_ms()))
    if not removed:
        raise FailureError(f"{', '.join(address)}: not on the list; `telltale block search` shows who is")
    print(f"{removed} removed")


@block.command("import")
def import_(
    ctx: typer.Context,
    file: Annotated[str, typer.Argument(metavar="FILE", help='Addresses; "-" for standard input.')],
    *,
    config: ConfigFile = None,
    reason: Reason = "",
    for_: For = None,
    report: Annotated[Path | None, typer.Option(metavar="FILE", help="Write the lines left out there, as CSV.")] = None,
) -> None:
    """Block what a file names: an address or @domain a line, or CSV as `block export` writes it."""
    from telltale.block_file import Wanted, run

    now = now_ms()
    wanted = Wanted(None if file == "-" else Path(file), people.actor(), _reason(reason), _ends(for_, now), report)
    outcome = people.write(ctx, config, lambda store: run(wanted, store.blocked, now, lambda *_: None))
    added, known = outcome.counted["added"], outcome.counted["known"]
    people.tell_import(outcome, f"{added:,} blocked, {known:,} were already or are past", file, report)


@block.command()
def export(
    ctx: typer.Context,
    text: Text = None,
    *,
    config: ConfigFile = None,
    source: Sources = None,
    category: Category = None,
    csv: Csv = False,
    json: Json = False,
) -> None:
    """Write the list to standard output, newest first; `block import` reads the CSV."""
    from storage.contact_forms import BLOCKED_COLUMNS, blocked_line, blocked_object, json_line
    from storage.table import line

    if csv and json:
        raise UsageError("--json and --csv cannot both be meant")
    wanted = _filter(text, source, category, None, None)

    async def written(reader: "Reader") -> None:
        if not json:
            sys.stdout.write(line(BLOCKED_COLUMNS))
        async for entry in reader.blocked.stream(wanted):
            sys.stdout.write(json_line(blocked_object(entry)) if json else blocked_line(entry))

    people.ask(ctx, config, written)


@block.command()
def search(
    ctx: typer.Context,
    text: Text = None,
    *,
    config: ConfigFile = None,
    source: Sources = None,
    category: Category = None,
    since: Since = None,
    until: Until = None,
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, metavar="ROWS", help="At most so many.")] = _SHOWN,
    json: Json = False,
) -> None:
    """Find who is on the list, newest first."""
    wanted = _filter(text, source, category, since, until)
    found = people.ask(ctx, config, lambda reader: reader.blocked.page(wanted, limit=limit))
    for entry in found:
        print(_line(entry, json=json))
    if len(found) == limit and not json:
        print(f"The newest {limit}; --limit shows more.", file=sys.stderr)


@block.command()
def show(
    ctx: typer.Context,
    address: Annotated[str, typer.Argument(metavar="ADDRESS|@DOMAIN")],
    *,
    config: ConfigFile = None,
) -> None:
    """Tell what blocks an address, and what was done about it by whom."""
    from storage.contact_forms import iso

    at = _blockable(address)

    async def told(reader: "Reader") -> list[str]:
        lines = [_line(entry, json=False) for entry in await reader.blocked.find(at, now_ms())]
        lines = lines or [f"{at} is not blocked"]
        for one in await reader.blocked.history(at):
            said = ": ".join(word for word in (one.category, one.reason) if word)
            lines.append(f"  {iso(one.at_ms)}  {one.change} by {one.actor} ({one.source}){'  ' if said else ''}{said}")
        return lines

    for line in people.ask(ctx, config, told):
        print(line)


@block.command()
def undo(
    ctx: typer.Context,
    *,
    config: ConfigFile = None,
    since: Since = None,
    until: Until = None,
    category: Category = None,
    domain: Annotated[str | None, typer.Option(help="Only addresses of this domain.")] = None,
    source: Sources = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would be taken off; change nothing.")] = False,
) -> None:
    """Take off what an incident put on the list: what came on it by itself, between two times."""
    from storage.people import AUTOMATIC

    if since is None:
        raise UsageError('when did it begin? --since "10:00", "2h" or an ISO time')
    text = None if domain is None else f"@{domain.lstrip('@')}"
    incident = _filter(text, source or sorted(AUTOMATIC), category, since, until)
    if dry_run:
        count = people.ask(ctx, config, lambda reader: _show_all(reader, incident))
        print(f"{count:,} would be taken off", file=sys.stderr)
        return
    print(f"{people.write(ctx, config, lambda store: _undo(store, incident)):,} taken off")


async def _show_all(reader: "Reader", incident: "BlockedFilter") -> int:
    count = 0
    async for entry in reader.blocked.stream(incident):
        print(_line(entry, json=False))
        count += 1
    return count


async def _undo(store: "Store", incident: "BlockedFilter") -> int:
    undone, now = 0, now_ms()
    while some := await store.blocked.undo(incident, people.actor(), now, _AT_ONCE):
        undone += some
    return undone


def _line(entry: "Blocked", *, json: bool) -> str:
    from storage.contact_forms import blocked_object, iso, json_line
    from storage.reason import plain

    if json:
        return json_line(blocked_object(entry)).rstrip("\n")
    said = ": ".join(word for word in (entry.category, entry.reason) if word)
    ends = "" if entry.expires_ms is None else f"until {iso(entry.expires_ms)}"
    words = (entry.address, entry.source, f"since {iso(entry.created_ms)}", ends, said)
    return "  ".join(plain(word) for word in words if word)


def _filter(
    text: str | None, sources: Sequence[str] | None, category: str | None, since: str | None, until: str | None
) -> "BlockedFilter":
    from storage.blocked_query import BlockedFilter

    now = now_ms()
    named = tuple([_source(one) for one in sources or ()])
    return BlockedFilter(text, named, category, since_ms(since, now), since_ms(until, now, "--until"))


def _source(text: str) -> "Source":
    from storage.people import Source

    try:
        return Source(text.lower())
    except ValueError:
        raise UsageError(f'--source "{text}" is not one of {", ".join(Source)}') from None


def _blockable(text: str) -> str:
    from storage.typed import blockable

    found = blockable(text)
    if isinstance(found, str):
        return found
    raise UsageError(f'"{text}" is neither an address nor "@domain": {found.why}')


def _reason(text: str) -> str:
    from storage.typed import MAX_REASON_CHARS, wrong_reason

    if wrong_reason(text):
        raise UsageError(f"--reason is one line of at most {MAX_REASON_CHARS} printable characters")
    return text


def _ends(text: str | None, now: int) -> int | None:
    from report.words import LAST_MS
    from storage.settings import parse_seconds

    if text is None:
        return None
    try:
        seconds = parse_seconds(text)
    except ValueError:
        raise UsageError(f'--for "{text}" is no duration; say "12h", "30d" or "4w"') from None
    if not seconds:
        raise UsageError("--for 0 blocks nobody")
    if now + seconds * 1000 >= LAST_MS:
        raise UsageError(f"--for {text} is longer than anything lasts; for ever is without --for")
    return now + seconds * 1000
