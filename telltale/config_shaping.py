"""The operator's shaping file: read, laid over what is shipped, every mistake told with file, section and key."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from relay.deliver.shaping import Shaping, build, laid_over, parts, problems, shipped, shipped_raw
from storage.typed import nearest
from telltale.config_file import read_text, read_toml
from telltale.config_sentences import validated_section
from telltale.errors import ConfigError


def load(path: Path | None) -> Shaping:
    """Return the shaping in force; None: as shipped. Raises ConfigError."""
    return shipped() if path is None else parse(read_text(path), str(path))


def parse(text: str, source: str) -> Shaping:
    """Read and check TOML; `source` names it in the sentences of ConfigError."""
    own = read_toml(text, source)
    told = [
        sentence for name, model, keys in parts(own) for sentence in validated_section(model, name, keys)[1].values()
    ]
    joined = laid_over(shipped_raw(), own)
    if not told:
        told = [f"[{section}] {why}{_meant(section, joined)}" for section, why in problems(own, joined)]
    if told:
        raise ConfigError([f"{source}: {sentence}" for sentence in told])
    return build(joined, own)


def _meant(section: str, joined: Mapping[str, Any]) -> str:
    """Return a question where a section is new and its name is like a known one."""
    name, _, rule = section.partition(".rules.")
    known = shipped_raw().get(name, {}).get("rules", {}) if rule else shipped_raw()
    if (rule or name) in known or (not rule and "mx" in joined[name]):
        return ""
    meant = nearest(rule or name, known)
    start = f"{name}.rules." if rule else ""
    return f"; did you mean [{start}{meant}]?" if meant else ""
