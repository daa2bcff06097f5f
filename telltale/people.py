"""What the commands of contacts, lists and the Blocked Email list share: whom people mean, and where it is asked.

Rule: a name that nobody has is told in a sentence that says how to find the right one.
"""

import getpass
import os
import sys
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import typer

from telltale import state
from telltale.errors import FailureError, UsageError
from telltale.options import load_config, now_ms

if TYPE_CHECKING:
    from storage.contact_reader import ContactFilter
    from storage.people import Contact, NewContact
    from storage.reader import Reader
    from storage.store import Store
    from telltale.file_import import Outcome

T = TypeVar("T")


def actor() -> str:
    """Return who runs the command: the login behind sudo, where there is one."""
    return os.environ.get("SUDO_USER") or _login()


def _login() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a user without a name
        return str(os.getuid())


async def found(reader: "Reader", who: str) -> list["Contact"]:
    """Return the contacts with a key or an address; raises FailureError where there is none."""
    if contacts := await reader.contacts.find(plain(who)):
        return contacts
    raise FailureError(f'there is no contact "{who}"; `telltale contact search` finds them by how they begin')


async def only(reader: "Reader", who: str) -> "Contact":
    """Return the one contact that is meant; raises FailureError."""
    contacts = await found(reader, who)
    exact = [one for one in contacts if who == one.key or any(each.address == plain(who) for each in one.addresses)]
    if len(exact or contacts) > 1:
        raise FailureError(f'"{who}" is more than one contact: name one by its key')
    return (exact or contacts)[0]


def plain(who: str) -> str:
    """Return an address as the store holds it, anything else as it is."""
    from storage.address import Fault
    from storage.contact_rows import parsed

    address = parsed(who)
    return who if isinstance(address, Fault) else address


def checked(text: str) -> str:
    """Return an address as the store holds it; raises UsageError for what is none."""
    from storage.address import Fault
    from storage.contact_rows import parsed

    address = parsed(text)
    if isinstance(address, Fault):
        raise UsageError(f'"{text}": {address}')
    return address


async def put(store: "Store", new: "NewContact") -> None:
    """Store a contact; raises FailureError where that cannot be."""
    (answer,) = await store.contacts.put([new], now_ms())
    from storage.people import Stored

    if not isinstance(answer, Stored):
        raise FailureError(answer)


def tell_import(outcome: "Outcome", words: str, file: str, report: Path | None) -> None:
    """Print what came of an import (`words`) and what was left out; raises FailureError where that is all."""
    bad, named = outcome.counted["bad"], "standard input" if file == "-" else file
    print(f"{words}, {bad:,} left out")
    for one in outcome.first_bad:
        column = f" {one.column}:" if one.column else ""
        print(f"{named}, line {one.line}:{column} {one.why}", file=sys.stderr)
    if bad > len(outcome.first_bad):
        where = f"{report} has all" if report else "--report FILE writes all of them"
        print(f"… and {bad - len(outcome.first_bad):,} more; {where}", file=sys.stderr)
    if bad and bad == outcome.counted.total():
        raise FailureError("nothing was imported")


def list_names(given: Sequence[str]) -> tuple[str, ...]:
    """Return names of lists; raises UsageError for what cannot be one."""
    from storage.typed import wrong_list

    for name in given:
        if wrong := wrong_list(name):
            raise UsageError(wrong)
    return tuple(given)


async def check_list(reader: "Reader", wanted: "ContactFilter") -> None:
    """Raise FailureError where there is no such list."""
    if wanted.list is not None and not await reader.contacts.list_known(wanted.list):
        raise unknown_list(wanted.list)


def unknown_list(name: str) -> FailureError:
    """Return what to say of a list that there is not."""
    return FailureError(f'there is no list "{name}"; `telltale list show` names all')


def ask(ctx: typer.Context, config: Path | None, question: Callable[["Reader"], Awaitable[T]]) -> T:
    """Run a question to the store."""
    state_dir = load_config(ctx, config).server.state_dir
    return state.awaited(state_dir, _reading(state_dir, question))


def write(ctx: typer.Context, config: Path | None, verb: Callable[["Store"], Awaitable[T]]) -> T:
    """Run verbs of the store, under the configuration's policy."""
    loaded = load_config(ctx, config)
    return state.awaited(loaded.server.state_dir, state.with_store(loaded.server.state_dir, loaded.policy, verb))


def change(ctx: typer.Context, config: Path | None, verb: Callable[["Store", "Reader"], Awaitable[T]]) -> T:
    """Run verbs of the store that need its answers to questions."""
    state_dir = load_config(ctx, config).server.state_dir

    async def both(store: "Store") -> T:
        return await _reading(state_dir, lambda reader: verb(store, reader))

    return write(ctx, config, both)


async def _reading(state_dir: Path, question: Callable[["Reader"], Awaitable[T]]) -> T:
    from storage.reader import Reader

    reader = await Reader.open(state_dir)
    try:
        return await question(reader)
    finally:
        await reader.close()
