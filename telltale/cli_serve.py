"""`telltale serve`: the whole relay, or one part of it."""

from typing import Annotated

import typer

from telltale.options import ConfigFile, config_file
from telltale.partname import PartName


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(serve)


def serve(
    ctx: typer.Context,
    *,
    config: ConfigFile = None,
    only: Annotated[PartName | None, typer.Option(help="Run this part alone.")] = None,
) -> None:
    """Run the relay, pixel and report servers.

    SIGTERM (or Ctrl-C) lets what is under way finish and stops; SIGHUP reloads configuration and certificates.
    """
    from telltale.serve import run

    run(config_file(ctx, config), only)
