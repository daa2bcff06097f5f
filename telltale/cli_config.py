"""`telltale config check` and `telltale config show`."""

import os
from pathlib import Path
from typing import Annotated, Final

import typer

from telltale.options import ConfigFile, config_file

config_commands = typer.Typer(help="Check the configuration, or show what is in force.")

File = Annotated[
    Path | None, typer.Argument(metavar="[FILE]", help="The file to read; default: the one that would be used.")
]
_NO_FILE: Final = "the embedded default (there is no file)"


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.add_typer(config_commands, name="config")


@config_commands.command()
def check(ctx: typer.Context, file: File = None, *, config: ConfigFile = None) -> None:
    """Read the configuration and tell every mistake in it; exit 2 where there is one."""
    from telltale.config import load, locate
    from telltale.config_shaping import load as load_shaping

    path = locate(file or config_file(ctx, config), os.environ)
    shaping = load(path).delivery.shaping
    load_shaping(shaping)
    print(f"{path or _NO_FILE}: good" + (f"; {shaping}: good" if shaping else ""))


@config_commands.command()
def show(ctx: typer.Context, file: File = None, *, config: ConfigFile = None) -> None:
    """Print the whole configuration with its defaults as TOML, passwords masked."""
    from telltale.config import load, locate, with_names
    from telltale.config_toml import dump, without_passwords
    from telltale.host import machine_name

    path = locate(file or config_file(ctx, config), os.environ)
    found = with_names(load(path), machine_name())
    print(f"# {path or _NO_FILE}\n{dump(without_passwords(found))}", end="")
