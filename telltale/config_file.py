"""Reads a TOML file of an operator's, with a sentence for whatever keeps it from being read."""

import tomllib
from pathlib import Path
from typing import Any

from telltale.errors import ConfigError


def read_text(path: Path) -> str:
    """Return the text of a file; raises ConfigError."""
    try:
        return path.read_bytes().decode()
    except OSError as error:
        advice = "; try it with sudo" if isinstance(error, PermissionError) else ""
        raise ConfigError([f"{path}: cannot be read: {(error.strerror or str(error)).lower()}{advice}"]) from None
    except UnicodeDecodeError as error:
        raise ConfigError(
            [f"{path}: is not UTF-8 text (byte {error.start} is 0x{error.object[error.start]:02x})"]
        ) from None


def read_toml(text: str, source: str) -> dict[str, Any]:
    """Return what TOML says; `source` names it in the sentence of ConfigError."""
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError([f"{source}: is not TOML: {_first_lower(str(error))}"]) from None
    except RecursionError:
        raise ConfigError([f"{source}: is not a configuration: its values are nested too deeply"]) from None


def _first_lower(text: str) -> str:
    return text[:1].lower() + text[1:]
