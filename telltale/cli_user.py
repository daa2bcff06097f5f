"""`telltale user …`: who may submit mail with a password, and see what became of it in the browser."""

import json as jsonlib
import sys
from collections.abc import Awaitable, Callable
from getpass import getpass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from telltale.errors import FailureError, UsageError
from telltale.options import ConfigFile, load_config, now_ms
from telltale.state import awaited, with_store

if TYPE_CHECKING:
    from storage.access import Role
    from storage.model import User
    from storage.store import Store


Name = Annotated[str, typer.Argument(metavar="NAME", help="The name the user logs in with.")]
Stdin = Annotated[bool, typer.Option("--password-stdin", help="Read the password's one line from standard input.")]
Senders = Annotated[
    list[str] | None,
    typer.Option("--sender", metavar="ADDRESS|@DOMAIN", help="May send from this only; repeatable. Default: any."),
]

RoleOf = Annotated[
    str | None,
    typer.Option("--role", metavar="ROLE", help="admin, sender (sees own mail; default) or viewer (sees all mail)."),
]

user = typer.Typer(help="Who may submit mail with a password, and log in to the Email Log.")


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.add_typer(user, name="user")


@user.command()
def add(
    ctx: typer.Context,
    name: Name,
    *,
    config: ConfigFile = None,
    sender: Senders = None,
    role: RoleOf = None,
    admin: Annotated[bool, typer.Option("--admin", help="The same as --role admin.")] = False,
    password_stdin: Stdin = False,
) -> None:
    """Add a user; asks for the password."""
    from storage.model import User

    _check_name(name)
    senders = tuple([_sender(each) for each in sender or ()])
    if admin and role not in {None, "admin"}:
        raise UsageError("--admin and another --role cannot both be meant")
    wanted = _role("admin" if admin else role or "sender")
    new = User(name, _hashed(_password(stdin=password_stdin)), senders, now_ms(), wanted)
    if not _written(ctx, config, lambda store: store.add_user(new)):
        raise FailureError(f'there is a user "{name}" already; `telltale user passwd` changes the password')
    print(f"user {name} added")


@user.command()
def passwd(
    ctx: typer.Context, name: Name, *, config: ConfigFile = None, sender: Senders = None, password_stdin: Stdin = False
) -> None:
    """Give a user another password; with --sender, other addresses to send from too."""
    senders = tuple([_sender(each) for each in sender]) if sender else None
    hashed = _hashed(_password(stdin=password_stdin))
    if not _written(ctx, config, lambda store: store.set_user(name, password_hash=hashed, senders=senders)):
        raise _unknown(name)
    print(f"password of {name} changed")


@user.command()
def role(
    ctx: typer.Context,
    name: Name,
    wanted: Annotated[str, typer.Argument(metavar="ROLE", help="admin, sender or viewer.")],
    *,
    config: ConfigFile = None,
) -> None:
    """Say what a user may see: all (admin, viewer) or own mail only (sender)."""
    given = _role(wanted)
    if not _written(ctx, config, lambda store: store.set_user(name, role=given)):
        raise _unknown(name)
    print(f"{name} is {given} now")


@user.command()
def answers(
    ctx: typer.Context,
    name: Name,
    wanted: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[failures=each|digest|no] [delay=on|off|8h] [success=on|off] [forward=on|off] | default",
            help="What to change; without any, what is set is shown.",
            show_default=False,
        ),
    ] = None,
    *,
    config: ConfigFile = None,
) -> None:
    """Say what a user is told of mail that fails, is late, arrives, or is answered; otherwise as in [answers]."""
    from relay.answer.settings import parse_wishes, wishes_of

    state_dir = load_config(ctx, config).server.state_dir
    found = [each for each in awaited(state_dir, _users(state_dir)) if each.name == name]
    if not found:
        raise _unknown(name)
    try:
        wishes = parse_wishes(tuple(wanted or ()), wishes_of(found[0].answers))
    except ValueError as error:
        raise UsageError(str(error)) from None
    stored = wishes.model_dump_json(exclude_none=True)
    if wanted and not _written(ctx, config, lambda store: store.set_user(name, answers=stored)):
        raise _unknown(name)
    print(f"{name}: {wishes.words()}")


@user.command()
def remove(ctx: typer.Context, name: Name, *, config: ConfigFile = None) -> None:
    """Remove a user, with all sessions in browsers and all tokens; what is being submitted goes on to its end."""
    if not _written(ctx, config, lambda store: store.remove_user(name)):
        raise _unknown(name)
    print(f"user {name} removed")


@user.command("list")
def list_(
    ctx: typer.Context,
    *,
    config: ConfigFile = None,
    json: Annotated[bool, typer.Option("--json", help="JSON Lines, an object a user.")] = False,
) -> None:
    """List the users and what they may send from."""
    state_dir = load_config(ctx, config).server.state_dir
    for each in awaited(state_dir, _users(state_dir)):
        print(
            _line(each) if not json else jsonlib.dumps({"name": each.name, "role": each.role, "senders": each.senders})
        )


def _line(each: "User") -> str:
    return f"{each.name}  {each.role}  {', '.join(each.senders) or 'any sender'}"


def _role(text: str) -> "Role":
    from storage.access import Role

    if text not in set(Role):
        raise UsageError(f'"{text}" is no role: a user is {", ".join(Role)}')
    return Role(text)


async def _users(state_dir: Path) -> list["User"]:
    from storage.reader import Reader

    reader = await Reader.open(state_dir)
    try:
        return await reader.users()
    finally:
        await reader.close()


def _written(ctx: typer.Context, config: Path | None, verb: Callable[["Store"], Awaitable[bool]]) -> bool:
    found = load_config(ctx, config)
    return awaited(found.server.state_dir, with_store(found.server.state_dir, found.policy, verb))


def _password(*, stdin: bool) -> str:
    """Ask for a password twice, or read a line; raises UsageError for one that no client could send."""
    from storage.passwords import MAX_PASSWORD_CHARS

    password = _line_of_stdin() if stdin else _asked()
    if not password:
        raise UsageError("the password is empty")
    if len(password) > MAX_PASSWORD_CHARS or not password.isprintable():
        raise UsageError(f"a password has at most {MAX_PASSWORD_CHARS} characters, all printable")
    return password


def _line_of_stdin() -> str:
    try:
        return sys.stdin.readline().rstrip("\r\n")
    except UnicodeDecodeError:
        raise UsageError("the password on standard input is no text in the terminal's charset") from None


def _asked() -> str:
    if not sys.stdin.isatty():
        raise UsageError("there is no terminal to ask for the password on: give it with --password-stdin")
    password = getpass("Password: ")
    if password != getpass("Again: "):
        raise UsageError("the two passwords differ; nothing was changed")
    return password


def _hashed(password: str) -> str:
    from storage.passwords import hash_password

    return hash_password(password)


def _check_name(name: str) -> None:
    from storage.passwords import MAX_NAME_CHARS

    if not 0 < len(name) <= MAX_NAME_CHARS or not name.isprintable() or any(char.isspace() for char in name):
        raise UsageError(f"a user's name has 1 to {MAX_NAME_CHARS} printable characters and no blanks")


def _sender(text: str) -> str:
    """Return an address or "@domain" as the store holds it: the domain in lower-case A-labels."""
    from storage.address import Fault, parse_domain, parse_mailbox

    found = parse_domain(text[1:]) if text.startswith("@") else parse_mailbox(text, utf8=True)
    if isinstance(found, Fault) or "@" not in text:
        raise UsageError(f'--sender "{text}" is neither an address nor "@domain"')
    return f"@{found}" if text.startswith("@") else str(found)


def _unknown(name: str) -> FailureError:
    return FailureError(f'there is no user "{name}"; `telltale user list` names all')
