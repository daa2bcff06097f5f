"""The Typer application `telltale`: its commands in the order that help shows them.

Rule: commands import what they need when they run; this file and theirs import little.
"""

from typing import Annotated, Final

import typer

from telltale import (
    cli_block,
    cli_bounce,
    cli_broadcast,
    cli_config,
    cli_contact,
    cli_dkim,
    cli_doctor,
    cli_list,
    cli_log,
    cli_mail,
    cli_queue,
    cli_serve,
    cli_token,
    cli_unsubscribed,
    cli_user,
    cli_webhook,
)
from telltale.options import ConfigFile
from telltale.version import version_line

# Typer carries a copy of click in newer versions and uses the package in older ones: either way these are its classes.
USAGE_ERROR: Final = typer.BadParameter.__mro__[1]
CLICK_ERROR: Final = typer.BadParameter.__mro__[2]
ABORT: Final = typer.Abort

app = typer.Typer(
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for part in (
    cli_serve,
    cli_log,
    cli_queue,
    cli_contact,
    cli_list,
    cli_unsubscribed,
    cli_block,
    cli_user,
    cli_token,
    cli_webhook,
    cli_config,
    cli_dkim,
    cli_doctor,
    cli_mail,
    cli_bounce,
    cli_broadcast,
):
    part.register(app)


@app.callback(invoke_without_command=True, help="An outbound SMTP relay that tells what became of every message.")
def telltale(
    ctx: typer.Context,
    config: ConfigFile = None,
    version: Annotated[bool, typer.Option("--version", help="Print the version and exit.")] = False,
) -> None:
    """Take what stands before the command."""
    ctx.obj = config
    if version:
        print(version_line())
        raise typer.Exit
    if ctx.invoked_subcommand is None:
        typer.echo(ctx.get_help(), err=True)
        raise typer.Exit(2)
