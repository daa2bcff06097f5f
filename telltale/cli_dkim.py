"""`telltale dkim …`: the keys that sign mail, and the records that let others verify it."""

import json as jsonlib
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from telltale.errors import FailureError, UsageError
from telltale.options import ConfigFile, load_config
from telltale.state import become_owner, private_files, speaking

if TYPE_CHECKING:
    from relay.deliver.dkim import Key
    from relay.deliver.keys import Folder
    from telltale.config import Config

Domain = Annotated[str, typer.Argument(metavar="DOMAIN", help="The domain of From addresses, such as example.org.")]
Selector = Annotated[str, typer.Argument(metavar="SELECTOR", help="As `telltale dkim list` names it.")]

_RELOAD: Final = "systemctl reload telltale-relay"

dkim = typer.Typer(help="The keys that sign mail with DKIM.")


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.add_typer(dkim, name="dkim")


@dkim.command()
def generate(
    ctx: typer.Context,
    domain: Domain,
    *,
    config: ConfigFile = None,
    selector: Annotated[
        str | None, typer.Option(metavar="NAME", help="Name of the keys in DNS [default: dated, such as tt202611].")
    ] = None,
    rsa_only: Annotated[bool, typer.Option("--rsa-only", help="No Ed25519 key beside the RSA key.")] = False,
    take_over: Annotated[
        bool, typer.Option("--take-over", help="Let them sign from the next reload on, though others sign now.")
    ] = False,
) -> None:
    """Make keys for a domain and print the TXT records that they need in DNS."""
    from relay.deliver.dkim import Algorithm
    from relay.deliver.keys import folders, key_file, signing_selector, write
    from relay.deliver.keys import generate as new_key

    found, name = load_config(ctx, config), _domain(domain)
    given, state_dir = _selector(selector), found.server.state_dir
    with _state(state_dir):
        folder = folders(state_dir).get(name, {})
        chosen = given or _dated(folder, datetime.now(UTC))
        if chosen in folder:
            raise FailureError(f'{name} has a selector "{chosen}" already; choose another one with --selector')
        if not take_over:
            _check_order(name, chosen, folder, found)
        keys = [new_key(each, name, chosen) for each in Algorithm if each is Algorithm.RSA or not rsa_only]
        for key in keys:
            write(key_file(state_dir, name, chosen, key.algorithm), key)
        signs = signing_selector(name, {**folder, chosen: {}}, found.dkim)
    print("\n".join([*_told(name, keys), *_next(name, chosen, signs)]))


@dkim.command()
def show(ctx: typer.Context, domain: Domain, selector: Selector, *, config: ConfigFile = None) -> None:
    """Print the TXT records of keys once more."""
    from relay.deliver.keys import keys_of

    state_dir, name = load_config(ctx, config).server.state_dir, _domain(domain)
    with _state(state_dir):
        folder = _folder(state_dir, name, selector)
        keys = keys_of(name, selector, folder)
    print("\n".join(_records(keys)))


@dkim.command("list")
def list_(
    ctx: typer.Context,
    *,
    config: ConfigFile = None,
    json: Annotated[bool, typer.Option("--json", help="JSON Lines, an object a selector.")] = False,
) -> None:
    """List domains and selectors, and which of them sign."""
    from relay.deliver.dkim import Algorithm
    from relay.deliver.keys import folders, signing_selector

    found = load_config(ctx, config)
    with _state(found.server.state_dir):
        for domain, folder in folders(found.server.state_dir).items():
            signs = signing_selector(domain, folder, found.dkim)
            for selector in sorted(folder):
                kinds = [str(algorithm) for algorithm in Algorithm if algorithm in folder[selector]]
                row = {"domain": domain, "selector": selector, "algorithms": kinds, "signs": selector == signs}
                line = f"{domain}  {selector}  {', '.join(kinds)}{'  signs' if selector == signs else ''}"
                print(jsonlib.dumps(row) if json else line)


@dkim.command()
def retire(
    ctx: typer.Context,
    domain: Domain,
    selector: Selector,
    *,
    config: ConfigFile = None,
    force: Annotated[bool, typer.Option("--force", help="Also where it is the one that signs.")] = False,
) -> None:
    """Delete the keys of a selector that no longer signs; its records stay in DNS for a week."""
    from relay.deliver.keys import ED25519_SUFFIX, signing_selector

    found, name = load_config(ctx, config), _domain(domain)
    with _state(found.server.state_dir):
        folder = _folder(found.server.state_dir, name, selector)
        if not force and signing_selector(name, folder, found.dkim) == selector:
            raise FailureError(f'"{selector}" signs for {name}; make new keys first, or say --force')
        for path in folder[selector].values():
            path.unlink()
    print(
        f"The keys of {selector} for {name} are deleted. Messages that they signed may be on their way for days:\n"
        f"leave {selector}._domainkey.{name} and {selector}{ED25519_SUFFIX}._domainkey.{name} in DNS for a week."
    )


@contextmanager
def _state(state_dir: Path) -> Iterator[None]:
    """Work on the keys as the owner of the state directory; raises FailureError where one cannot be used."""
    from relay.deliver.keys import DkimKeyError

    become_owner(state_dir)
    private_files()
    try:
        with speaking(state_dir):
            yield
    except DkimKeyError as error:
        raise FailureError(str(error)) from error


def _domain(text: str) -> str:
    from storage.settings import parse_domain

    try:
        return parse_domain(text)
    except ValueError:
        raise UsageError(f'"{text}" is no domain: write one such as "example.org"') from None


def _selector(text: str | None) -> str | None:
    from relay.deliver.keys import DkimKeyError, check_selector

    if text is None:
        return None
    try:
        check_selector(text.lower())
    except DkimKeyError as error:
        raise UsageError(f"--selector {error}") from None
    return text.lower()


def _dated(folder: "Folder", now: datetime) -> str:
    """Return a selector of this month that is not taken: tt202611, then tt202611b and so on."""
    month = f"tt{now:%Y%m}"
    names = [month, *[f"{month}{letter}" for letter in "bcdefghijklmnopqrstuvwxyz"]]
    return next((name for name in names if name not in folder), names[-1])


def _check_order(domain: str, selector: str, folder: "Folder", config: "Config") -> None:
    """Raise FailureError where new keys would sign from the next restart on, before anybody can verify that."""
    from relay.deliver.keys import signing_selector

    if not folder:
        return
    signs = signing_selector(domain, folder, config.dkim)
    if signing_selector(domain, {**folder, selector: {}}, config.dkim) != signs:
        raise FailureError(
            f"{domain} signs with {signs}, and {selector} would take over at the next start or reload, before its "
            f'records are in DNS: first say [dkim] selectors = {{"{domain}" = "{signs}"}} in the configuration, '
            "or take the risk with --take-over"
        )


def _folder(state_dir: Path, domain: str, selector: str) -> "Folder":
    from relay.deliver.keys import folders

    folder = folders(state_dir).get(domain, {})
    if selector not in folder:
        raise FailureError(f'{domain} has no selector "{selector}"; `telltale dkim list` names all')
    return folder


def _told(domain: str, keys: "list[Key]") -> Iterator[str]:
    yield f"Keys for {domain} are made. Publish in DNS:"
    yield ""
    yield from _records(keys)
    yield ""


def _next(domain: str, selector: str, signs: str) -> Iterator[str]:
    yield "When they are there (dig TXT shows them), let the relay sign with these keys:"
    if selector != signs:
        yield f'    [dkim] selectors = {{"{domain}" = "{selector}"}} in the configuration, instead of "{signs}"'
    yield f"    {_RELOAD}"


def _records(keys: "list[Key] | tuple[Key, ...]") -> Iterator[str]:
    """Yield each record twice: as a line of a zone file, and for a form that asks for name and value."""
    from relay.deliver.keys import record

    for key in keys:
        found = record(key)
        yield f"; {key.algorithm}, as a line of a zone file"
        yield found.zone_line
        yield f"; {key.algorithm}, as name and value"
        yield f"{found.name}  TXT"
        yield found.value
