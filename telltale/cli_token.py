"""`telltale token …`: programs that act for a user, by the HTTP API.

Rule: a token is shown once, when it is made; the store keeps its hash.
"""

import json as jsonlib
import secrets
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final, TypeVar

import typer

from telltale.cli_log import Json
from telltale.errors import FailureError, UsageError
from telltale.options import ConfigFile, load_config, now_ms
from telltale.state import awaited, with_store

if TYPE_CHECKING:
    from storage.access import ApiToken, Scope
    from storage.store import Store

T = TypeVar("T")

_MOST_NAME_CHARS: Final = 100

token = typer.Typer(help="Programs that act for a user, by the HTTP API.")


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.add_typer(token, name="token")


@token.command()
def add(
    ctx: typer.Context,
    name: Annotated[str, typer.Argument(metavar="NAME", help="What the token is for, in your words.")],
    *,
    user: Annotated[str, typer.Option(metavar="USER", help="Whom the program acts for.")],
    scope: Annotated[list[str], typer.Option(metavar="SCOPE", help="What it may do, such as log:read; repeatable.")],
    expires: Annotated[
        str | None, typer.Option(metavar="TIME", help='When it ends, such as "90d". Default: never.')
    ] = None,
    config: ConfigFile = None,
) -> None:
    """Make a token and print it: it is not shown again."""
    from storage.access import TOKEN_MARK, TOKEN_PREFIX_CHARS, ApiToken, hashed

    if not name or len(name) > _MOST_NAME_CHARS or not name.isprintable():
        raise UsageError(f"a token's name has 1 to {_MOST_NAME_CHARS} printable characters")
    scopes = frozenset([_scope(text) for text in scope])
    made_ms = now_ms()
    secret = TOKEN_MARK + secrets.token_urlsafe(30)
    new = ApiToken(
        hashed(secret), secret[:TOKEN_PREFIX_CHARS], user, name, scopes, made_ms, _expires_ms(expires, made_ms)
    )
    if not _written(ctx, config, lambda store: store.add_token(new)):
        raise FailureError(f'there is no user "{user}"; `telltale user list` names all')
    print(secret)


@token.command("list")
def list_(ctx: typer.Context, *, config: ConfigFile = None, json: Json = False) -> None:
    """List the tokens by their first characters, with what they may do."""
    state_dir = load_config(ctx, config).server.state_dir
    for each in awaited(state_dir, _tokens(state_dir)):
        print(jsonlib.dumps(_object(each)) if json else _line(each))


@token.command()
def remove(
    ctx: typer.Context,
    prefix: Annotated[
        str | None, typer.Argument(metavar="PREFIX", help="Its first characters, as `telltale token list` shows.")
    ] = None,
    *,
    user: Annotated[str | None, typer.Option(metavar="USER", help="All tokens of this user.")] = None,
    config: ConfigFile = None,
) -> None:
    """Remove a token, or all of a user: they open nothing from now on."""
    if (prefix is None) == (user is None):
        raise UsageError("say which token by its PREFIX, or --user for all tokens of a user")
    if user is not None:
        print(f"{_written(ctx, config, lambda store: store.remove_tokens_of(user))} tokens of {user} removed")
    elif _written(ctx, config, lambda store: store.remove_token(prefix or "")):
        print(f"token {prefix} removed")
    else:
        raise FailureError(f'there is no token "{prefix}"; `telltale token list` names all')


def _scope(text: str) -> "Scope":
    from storage.access import Scope

    if text not in set(Scope):
        raise UsageError(f'--scope "{text}" is no scope; the scopes are {", ".join(Scope)}')
    return Scope(text)


def _expires_ms(text: str | None, made_ms: int) -> int | None:
    from report.words import LAST_MS
    from storage.settings import parse_seconds

    if text is None:
        return None
    try:
        seconds = parse_seconds(int(text) if text.isdecimal() else text)
    except ValueError:
        seconds = 0
    if not seconds or made_ms + seconds * 1000 >= LAST_MS:
        raise UsageError(f'--expires "{text}" is no duration such as "12h" or "90d"')
    return made_ms + seconds * 1000


def _written(ctx: typer.Context, config: Path | None, verb: Callable[["Store"], Awaitable[T]]) -> T:
    found = load_config(ctx, config)
    return awaited(found.server.state_dir, with_store(found.server.state_dir, found.policy, verb))


async def _tokens(state_dir: Path) -> list["ApiToken"]:
    from storage.reader import Reader

    reader = await Reader.open(state_dir)
    try:
        return await reader.tokens()
    finally:
        await reader.close()


def _object(each: "ApiToken") -> dict[str, object]:
    return {
        "prefix": each.prefix,
        "user": each.user,
        "name": each.name,
        "scopes": sorted(each.scopes),
        "made": _time(each.made_ms),
        "expires": _time(each.expires_ms),
        "last_used": _time(each.used_ms),
    }


def _line(each: "ApiToken") -> str:
    ends = f"until {_time(each.expires_ms)}" if each.expires_ms else "for ever"
    used = f"last used {_time(each.used_ms)}" if each.used_ms else "never used"
    return f"{each.prefix}…  {each.user}  {' '.join(sorted(each.scopes))}  {ends}, {used}  {each.name}"


def _time(at_ms: int | None) -> str | None:
    return None if at_ms is None else f"{datetime.fromtimestamp(at_ms // 1000, UTC):%Y-%m-%dT%H:%M:%SZ}"
