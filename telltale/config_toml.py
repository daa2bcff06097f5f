"""Writes a configuration as TOML: for `telltale config show`, and for the parts of `telltale serve`.

Rule: reading what was written gives an equal configuration, but for masked passwords.
"""

import json
import re
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final

from pydantic import BaseModel

if TYPE_CHECKING:
    from telltale.config import Config

_BARE_KEY: Final = re.compile(r"[A-Za-z0-9_-]+")
_PASSWORD: Final = re.compile(r"(?<=://)([^:@]*):.*@")


def dump(config: "Config") -> str:
    """Return `config` as TOML."""
    return "\n".join(_lines(config))


def without_passwords(config: "Config") -> "Config":
    """Return `config` with the passwords in its routes masked."""
    routes = {pattern: _PASSWORD.sub(r"\1:***@", route) for pattern, route in config.delivery.routes.items()}
    return config.model_copy(update={"delivery": config.delivery.model_copy(update={"routes": routes})})


def _lines(config: "Config") -> Iterator[str]:
    for section, values in config:
        yield f"[{section}]"
        for key, value in values:
            if value is not None:  # TOML has no null: a key that is not set is left out
                yield f"{key} = {_value(value)}"
        yield ""


def _value(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, tuple):
        return "[" + ", ".join([_value(each) for each in value]) + "]"
    if isinstance(value, BaseModel):
        value = dict(value)
    if isinstance(value, Mapping):
        inner = ", ".join([f"{_key(key)} = {_value(each)}" for key, each in value.items()])
        return f"{{{inner}}}" if inner else "{}"
    return _text(str(value))


def _key(key: str) -> str:
    return key if _BARE_KEY.fullmatch(key) else _text(key)


def _text(text: str) -> str:
    # JSON's escapes are TOML's too, but JSON leaves DEL as it is, which TOML forbids (TOML 1.0, "String").
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")
