"""`telltale list …`: lists of contacts."""

import json as jsonlib
from typing import TYPE_CHECKING, Annotated

import typer

from telltale import people
from telltale.errors import FailureError
from telltale.options import ConfigFile

if TYPE_CHECKING:
    from storage.reader import Reader
    from storage.store import Store

Json = Annotated[bool, typer.Option("--json", help="JSON Lines, an object a list.")]

list_ = typer.Typer(help="Lists of contacts.")


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.add_typer(list_, name="list")


@list_.command("show")
def lists(ctx: typer.Context, *, config: ConfigFile = None, json: Json = False) -> None:
    """Show all lists and how many contacts they have; `contact search --list` shows who."""
    from storage.reason import plain

    for one in people.ask(ctx, config, lambda reader: reader.contacts.lists()):
        print(
            jsonlib.dumps({"name": one.name, "contacts": one.contacts})
            if json
            else f"{plain(one.name)}  {one.contacts:,}"
        )


@list_.command("add")
def list_add(
    ctx: typer.Context, name: str, who: Annotated[list[str], typer.Argument(metavar="ADDRESS|KEY…")], *,
    config: ConfigFile = None,
) -> None:  # fmt: skip
    """Put contacts on a list; it is made where there is none."""
    from storage.people import NewAddress, NewContact

    (checked,) = people.list_names([name])

    async def verb(store: "Store", reader: "Reader") -> None:
        for each in who:
            one = await people.only(reader, each)
            await people.put(store, NewContact((NewAddress(one.addresses[0].address),), one.key, lists=(checked,)))

    people.change(ctx, config, verb)
    print(f"{len(who)} on {checked}")


@list_.command("remove")
def list_remove(
    ctx: typer.Context, name: str, who: Annotated[list[str] | None, typer.Argument(metavar="[ADDRESS|KEY]…")] = None, *,
    config: ConfigFile = None,
) -> None:  # fmt: skip
    """Take contacts off a list; without contacts, remove the list. The contacts stay."""

    async def verb(store: "Store", reader: "Reader") -> None:
        if not await reader.contacts.list_known(name):
            raise people.unknown_list(name)
        for each in who or ():
            if not await store.contacts.leave_list(name, [(await people.only(reader, each)).id]):
                raise FailureError(f"{each} is not on {name}")
        if not who:
            await store.contacts.remove_list(name)

    people.change(ctx, config, verb)
    print(f"{name} removed" if not who else f"{len(who)} taken off {name}")
