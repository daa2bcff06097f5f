"""`telltale doctor`: whether everything is in place for mail, bounces and images."""

from typing import TYPE_CHECKING, Annotated

import typer

from telltale.errors import FailureError, UsageError
from telltale.options import ConfigFile, load_config
from telltale.state import awaited

if TYPE_CHECKING:
    from storage.settings import Endpoint
    from telltale.config import Config


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(doctor)


def doctor(
    ctx: typer.Context,
    *,
    config: ConfigFile = None,
    reach: Annotated[
        list[str] | None,
        typer.Option(metavar="HOST[:PORT]", help="Also try to reach this mail server; sends nothing. Repeatable."),
    ] = None,
) -> None:
    """Look whether everything is in place.

    DNS, ports, disk, clock, certificate, users, and the images' address: each with what to do about it.
    """
    from telltale.config import with_names
    from telltale.doctor import examine
    from telltale.findings import Level
    from telltale.host import machine_name

    found = with_names(load_config(ctx, config), machine_name())
    servers = [_server(each, found) for each in reach or ()]
    findings = awaited(found.server.state_dir, examine(found, servers))
    for finding in findings:
        print(f"{finding.level:<5} {finding.subject}: {finding.text}")
        if finding.advice:
            print(f"      → {finding.advice}")
    failed = sum(finding.level is Level.FAIL for finding in findings)
    if failed:
        raise FailureError(f"{failed} of {len(findings)} checks failed")


def _server(text: str, config: "Config") -> "Endpoint":
    from storage.settings import parse_endpoint

    try:
        return parse_endpoint(text if text.rpartition(":")[2].isdecimal() else f"{text}:{config.delivery.port}")
    except ValueError:
        raise UsageError(f'--reach "{text}" is no server: write "mx.example.org" or "mx.example.org:25"') from None
