"""`telltale unsubscribed …`: who wants no more broadcasts, of a type or at all."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from telltale import people
from telltale.errors import FailureError, UsageError
from telltale.options import ConfigFile, now_ms

if TYPE_CHECKING:
    from storage.reader import Reader

Type = Annotated[str | None, typer.Option("--type", metavar="TYPE", help="A type of broadcasts; without it, all.")]
Addresses = Annotated[list[str], typer.Argument(metavar="ADDRESS…", help="Whose.")]

_ALL: Final = "all broadcasts"

unsubscribed = typer.Typer(help="Who unsubscribed: gets no more broadcasts of a type, or none at all.")


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.add_typer(unsubscribed, name="unsubscribed")


@unsubscribed.command()
def add(ctx: typer.Context, address: Addresses, *, config: ConfigFile = None, type_: Type = None) -> None:
    """Send addresses no more broadcasts of a type; mail that is no broadcast still goes there."""
    from storage.people import Unsubscription

    of_type, now = _type(type_), now_ms()
    wanted = [Unsubscription(people.checked(one), of_type, now, "operator") for one in address]
    added = people.write(ctx, config, lambda store: store.contacts.unsubscribe(wanted))
    known = len(wanted) - added
    print(f"{added:,} unsubscribed from {type_ or _ALL}" + (f", {known:,} were already" if known else ""))


@unsubscribed.command()
def remove(
    ctx: typer.Context,
    address: Annotated[str, typer.Argument(metavar="ADDRESS", help="Whose.")],
    *,
    config: ConfigFile = None,
    type_: Type = None,
) -> None:
    """Take back what an address unsubscribed from: a type, or all that there is."""
    at, of_type = people.checked(address), _type(type_)
    if not people.write(ctx, config, lambda store: store.contacts.resubscribe(at, of_type)):
        raise FailureError(f"{at} is not unsubscribed from {type_ or 'anything'}")
    print(f"{at} takes {type_ or _ALL}")


@unsubscribed.command("import")
def import_(
    ctx: typer.Context,
    file: Annotated[str, typer.Argument(metavar="FILE", help='Addresses; "-" for standard input.')],
    *,
    config: ConfigFile = None,
    type_: Type = None,
    report: Annotated[Path | None, typer.Option(metavar="FILE", help="Write the lines left out there, as CSV.")] = None,
) -> None:
    """Note whom a file names: an address a line, or CSV as `unsubscribed export`, or another service, writes it."""
    from telltale.unsubscribed_file import Wanted, run

    now = now_ms()
    wanted = Wanted(None if file == "-" else Path(file), _type(type_), report)
    outcome = people.write(ctx, config, lambda store: run(wanted, store.contacts, now, lambda *_: None))
    added, known = outcome.counted["added"], outcome.counted["known"]
    people.tell_import(outcome, f"{added:,} unsubscribed, {known:,} were already", file, report)


@unsubscribed.command()
def export(
    ctx: typer.Context,
    text: Annotated[
        str | None, typer.Argument(metavar="[TEXT]", help='How an address begins, or "@example.org".')
    ] = None,
    *,
    config: ConfigFile = None,
    type_: Annotated[
        str | None, typer.Option("--type", metavar="TYPE", help='Only from this type of broadcasts; "*": from all.')
    ] = None,
    csv: Annotated[bool, typer.Option("--csv", help="CSV, which is the default.")] = False,
    json: Annotated[bool, typer.Option("--json", help="JSON Lines, an object each.")] = False,
) -> None:
    """Write who unsubscribed from what, when, how and in which broadcast, the newest first; `import` reads the CSV."""
    from storage.contact_forms import UNSUBSCRIBED_COLUMNS, json_line, unsubscribed_line, unsubscribed_object
    from storage.table import line
    from storage.unsubscribed_reader import UnsubscribedFilter

    if csv and json:
        raise UsageError("--json and --csv cannot both be meant")

    async def written(reader: "Reader") -> None:
        if not json:
            sys.stdout.write(line(UNSUBSCRIBED_COLUMNS))
        async for left in reader.unsubscribed.stream(UnsubscribedFilter(text, type_)):
            sys.stdout.write(json_line(unsubscribed_object(left)) if json else unsubscribed_line(left))

    people.ask(ctx, config, written)


def _type(text: str | None) -> str:
    """Return the type that is meant; raises UsageError."""
    from storage.broadcast_settings import parse_type
    from storage.people import ALL_TYPES

    if text is None:
        return ALL_TYPES
    try:
        return parse_type(text)
    except ValueError as error:
        raise UsageError(f'--type "{text}": {error}') from None
