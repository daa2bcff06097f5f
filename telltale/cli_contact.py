"""`telltale contact …`: who broadcasts go to, and what they take."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final, TextIO

import typer

from telltale import people
from telltale.errors import FailureError, UsageError
from telltale.options import ConfigFile, now_ms

if TYPE_CHECKING:
    from rich.progress import Progress

    from storage.contact_reader import ContactFilter
    from storage.people import Contact, NewAddress
    from storage.reader import Reader
    from storage.store import Store
    from telltale.contact_import import Wanted
    from telltale.file_import import Outcome, Source

Who = Annotated[str, typer.Argument(metavar="ADDRESS|KEY", help="One of the contact's addresses, or its key.")]
Json = Annotated[bool, typer.Option("--json", help="JSON Lines, an object a contact.")]
OfList = Annotated[str | None, typer.Option("--list", metavar="NAME", help="Only contacts of this list.")]
Types = Annotated[
    str | None,
    typer.Option("--types", metavar="TYPES", help='Broadcast types the address takes: "a,b", "*" (all) or "none".'),
]
Fields = Annotated[list[str] | None, typer.Option("--field", metavar="NAME=VALUE", help="A field; repeatable.")]
Lists = Annotated[list[str] | None, typer.Option("--list", metavar="NAME", help="Put on this list; repeatable.")]
Key = Annotated[str | None, typer.Option("--key", help="What your own system knows the contact by.")]
Name = Annotated[str | None, typer.Option("--name", help="The contact's name.")]

_SHOWN: Final = 100

contact = typer.Typer(help="Contacts: import, export, search, and which broadcasts each address takes.")


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.add_typer(contact, name="contact")


@contact.command("import")
def import_(
    ctx: typer.Context,
    file: Annotated[str, typer.Argument(metavar="FILE", help='A CSV or JSON file; "-" for standard input.')],
    *,
    config: ConfigFile = None,
    list_name: Annotated[list[str] | None, typer.Option("--list", metavar="NAME", help="Put all on this list.")] = None,
    map_: Annotated[
        list[str] | None,
        typer.Option("--map", metavar="HEADER=COLUMN", help='What a header means, as "E-mail=email"; repeatable.'),
    ] = None,
    no_header: Annotated[
        bool,
        typer.Option("--no-header", help="A CSV file has no header line: its columns are 1, 2 … for --map."),
    ] = False,
    encoding: Annotated[str | None, typer.Option(help="Of the file, if not UTF-8: latin-1, cp1252 …")] = None,
    delimiter: Annotated[str | None, typer.Option(help='Between columns, if it is not seen: ";", "tab" …')] = None,
    form: Annotated[str | None, typer.Option("--format", metavar="csv|json", help="If the name does not tell.")] = None,
    report: Annotated[Path | None, typer.Option(metavar="FILE", help="Write the lines left out there, as CSV.")] = None,
) -> None:
    """Import contacts; the ones that are there already are updated.

    Columns: email, email2 …, types, types2 …, name, key, list; any other one is a field of the contact. A JSON file
    is an array of objects, or one object a line, with the same names.
    """
    from telltale.contact_import import Wanted

    if form not in (None, "csv", "json"):
        raise UsageError(f'--format "{form}" is not known: expected csv or json')
    path = None if file == "-" else Path(file)
    mapping, lists = _mapping(map_ or ()), people.list_names(list_name or ())
    wanted = Wanted(path, form, encoding, delimiter, mapping, no_header, lists, report)
    outcome = people.write(ctx, config, lambda store: _import(store, wanted))
    counted = ", ".join(f"{outcome.counted[name]:,} {name}" for name in ("added", "updated", "unchanged"))
    people.tell_import(outcome, counted, file, report)


async def _import(store: "Store", wanted: "Wanted") -> "Outcome":
    from telltale.contact_import import run

    with _bar() as bar:
        task = bar.add_task("Importing", total=None)

        def told(source: "Source", _outcome: "Outcome") -> None:
            bar.update(task, total=source.size, completed=source.bytes_read)

        return await run(wanted, store.contacts, now_ms(), told)


def _bar() -> "Progress":
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeRemainingColumn())
    return Progress(*columns, console=console, disable=not console.is_terminal, transient=True)


@contact.command()
def export(
    ctx: typer.Context,
    text: Annotated[str | None, typer.Argument(metavar="[TEXT]", help="As for `contact search`.")] = None,
    *,
    config: ConfigFile = None,
    of_list: OfList = None,
    csv: Annotated[bool, typer.Option("--csv", help="CSV, which is the default.")] = False,
    json: Json = False,
) -> None:
    """Write contacts to standard output, in a form that `contact import` reads."""
    if csv and json:
        raise UsageError("--json and --csv cannot both be meant")
    people.ask(ctx, config, lambda reader: _export(reader, _filter(text, of_list), json=json, out=sys.stdout))


async def _export(reader: "Reader", wanted: "ContactFilter", *, json: bool, out: TextIO) -> None:
    from storage.contact_forms import contact_header, contact_line, contact_object, json_line

    await people.check_list(reader, wanted)
    if json:
        async for one in reader.contacts.stream(wanted):
            out.write(json_line(contact_object(one)))
        return
    addresses, fields = await reader.contacts.width()
    out.write(contact_header(addresses, fields))
    async for one in reader.contacts.stream(wanted):
        out.write(contact_line(one, addresses, fields))


@contact.command()
def search(
    ctx: typer.Context,
    text: Annotated[
        str, typer.Argument(metavar="TEXT", help='A key, how an address or name begins, or "@example.org".')
    ] = "",
    *,
    config: ConfigFile = None,
    of_list: OfList = None,
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, metavar="ROWS", help="At most so many.")] = _SHOWN,
    json: Json = False,
) -> None:
    """Find contacts."""
    wanted = _filter(text or None, of_list)
    found = people.ask(ctx, config, lambda reader: _page(reader, wanted, limit))
    for one in found:
        print(_line(one, json=json))
    if len(found) == limit and not json:
        print(f"The first {limit}; --limit shows more.", file=sys.stderr)


async def _page(reader: "Reader", wanted: "ContactFilter", limit: int) -> list["Contact"]:
    await people.check_list(reader, wanted)
    return await reader.contacts.page(wanted, limit=limit)


@contact.command()
def show(ctx: typer.Context, who: Who, *, config: ConfigFile = None, json: Json = False) -> None:
    """Show a contact: its addresses and what they take, its lists and fields."""

    async def told(reader: "Reader") -> list[str]:
        lines: list[str] = []
        for one in await people.found(reader, who):
            lines += [_line(one, json=True)] if json else await _shown(reader, one)
        return lines

    for line in people.ask(ctx, config, told):
        print(line)


async def _shown(reader: "Reader", one: "Contact") -> list[str]:
    from storage.contact_forms import iso
    from storage.reason import plain

    lines = [f"{one.name or '(no name)'}" + (f"  key {one.key}" if one.key else "")]
    for address in one.addresses:
        lines.append(f"  {address.address}  takes {_taken(address.types)}")
        lines += [
            f"    unsubscribed from {'all' if left.type == '*' else left.type} ({left.source}, {iso(left.at_ms)})"
            for left in await reader.unsubscribed.of(address.address)
        ]
        lines += [f"    {entry.why}" for entry in await reader.blocked.find(address.address, now_ms())]
    lines += [f"  {name}: {value}" for name, value in one.fields.items()]
    if one.lists:
        lines.append(f"  on {', '.join(one.lists)}")
    return [line[: len(line) - len(line.lstrip())] + plain(line) for line in lines]


@contact.command()
def add(
    ctx: typer.Context,
    address: Annotated[list[str], typer.Argument(metavar="ADDRESS…", help="The contact's addresses.")],
    *,
    config: ConfigFile = None,
    types: Types = None,
    name: Name = None,
    key: Key = None,
    field: Fields = None,
    list_name: Lists = None,
) -> None:
    """Add a contact."""
    from storage.people import NewContact

    new = NewContact(
        tuple([_address(one, types) for one in address]), key, name, _fields(field), people.list_names(list_name or ())
    )

    async def verb(store: "Store", reader: "Reader") -> None:
        for who in (*address, key):
            if who and await reader.contacts.find(people.plain(who)):
                raise FailureError(f'there is a contact "{who}" already; `telltale contact set` changes it')
        await people.put(store, new)

    people.change(ctx, config, verb)
    print(f"{address[0]} added")


@contact.command("set")
def set_(
    ctx: typer.Context,
    who: Who,
    *,
    config: ConfigFile = None,
    address: Annotated[list[str] | None, typer.Option("--address", help="One more address; repeatable.")] = None,
    types: Types = None,
    name: Name = None,
    key: Key = None,
    field: Fields = None,
    list_name: Lists = None,
    off_list: Annotated[
        list[str] | None, typer.Option("--off-list", metavar="NAME", help="Take off this list.")
    ] = None,
) -> None:
    """Change a contact; what is not named stays. --types is of the address that is named first (--field X= removes)."""
    from storage.people import NewContact

    async def verb(store: "Store", reader: "Reader") -> None:
        one = await people.only(reader, who)
        if key and one.key not in (None, key):
            raise FailureError(f'{who} has the key "{one.key}", which stays: imports know the contact by it')
        theirs = [each.address for each in one.addresses]
        named = who if "@" in who and who != one.key else theirs[0]
        addresses = [*theirs, *(address or ())]
        new = tuple([_address(each, types if _same(each, named) else None) for each in addresses])
        await people.put(
            store, NewContact(new, key or one.key, name, _fields(field), people.list_names(list_name or ()))
        )
        for left in off_list or ():
            await store.contacts.leave_list(left, [one.id])

    people.change(ctx, config, verb)
    print(f"{who} changed")


@contact.command()
def remove(ctx: typer.Context, who: Who, *, config: ConfigFile = None) -> None:
    """Remove a contact; what its addresses unsubscribed from stays known."""

    async def verb(store: "Store", reader: "Reader") -> None:
        await store.contacts.remove([(await people.only(reader, who)).id])

    people.change(ctx, config, verb)
    print(f"{who} removed")


def _line(one: "Contact", *, json: bool) -> str:
    from storage.contact_forms import contact_object, json_line
    from storage.reason import plain

    if json:
        return json_line(contact_object(one)).rstrip("\n")
    addresses = ", ".join(each.address for each in one.addresses)
    words = (
        addresses,
        one.name,
        f"key {one.key}" if one.key else "",
        f"on {', '.join(one.lists)}" if one.lists else "",
    )
    return "  ".join(plain(word) for word in words if word)


def _taken(types: Sequence[str] | None) -> str:
    return "all broadcasts" if types is None else ", ".join(types) or "no broadcasts"


def _address(text: str, types: str | None) -> "NewAddress":
    from storage.contact_rows import types_of
    from storage.people import NewAddress

    return NewAddress(people.checked(text), None if types is None else types_of(types))


def _same(one: str, other: str) -> bool:
    return one.lower() == people.plain(other).lower()


def _fields(given: Sequence[str] | None) -> dict[str, str]:
    return _pairs(given or (), "--field", "NAME=VALUE")


def _mapping(given: Sequence[str]) -> dict[str, str]:
    from storage.contact_rows import column_known

    mapping = _pairs(given, "--map", "HEADER=COLUMN")
    for header, column in mapping.items():
        if not column_known(column):
            raise UsageError(
                f'--map "{header}={column}": expected email, email2 …, types, types2 …, name, key, list,'
                " field:NAME or -"
            )
    return mapping


def _pairs(given: Sequence[str], option: str, form: str) -> dict[str, str]:
    pairs = {}
    for one in given:
        name, sign, value = one.partition("=")
        if not sign or not name.strip():
            raise UsageError(f'{option} "{one}": expected {form}')
        pairs[name.strip()] = value.strip()
    return pairs


def _filter(text: str | None, of_list: str | None) -> "ContactFilter":
    from storage.contact_reader import ContactFilter

    return ContactFilter(text, of_list)
