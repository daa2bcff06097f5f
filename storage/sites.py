"""What each worker does at each site, for whoever asks: one small file a worker in `state_dir/sites/`.

Rules: a file is written whole or not at all, and only when something changed; delivery never reads it, and nothing is
lost with it; one whose owner is dead (storage/owners.py) counts nothing.
"""

import json
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Final

from storage import owners


@dataclass(frozen=True, slots=True)
class SiteState:
    """A site as one worker sees it."""

    name: str
    """Its best MX host."""
    shape: str
    """The entry of the shaping file that it is served by."""
    source: str | None
    """The address of ours that it is served from, as the configuration calls it."""
    domains: tuple[str, ...]
    """Whose mail goes there; some of them where there are many."""
    domain_count: int
    ready: int
    """Recipients in memory that wait for a connection."""
    trying: int
    """Recipients that are being delivered."""
    connections: int
    """Open, or being opened or closed."""
    window: int
    """Connections that there may be now."""
    most: int
    """Connections that there may ever be."""
    rate: str | None
    """Messages of the whole host, such as "10/s"; None: no limit."""
    slowness: int
    """By what rate and connections are divided now, for a reply of the site; 1: by nothing."""
    reply: str
    """Its last one; "" where there was none yet."""
    reply_ms: int
    until_ms: int
    """Until when it is left alone; 0: it is not."""


_KEYS: Final = frozenset(field.name for field in fields(SiteState))


class SitesFile:
    """The file of one owner; its methods block."""

    def __init__(self, state_dir: Path, owner: int, number: int, worker: int) -> None:
        """Take the owner of the leases, a number that no other file of it has, and which worker it is."""
        self._directory = state_dir / "sites"
        self._path = self._directory / f"{owner}.{number}"
        self._worker = worker
        self._written: tuple[SiteState, ...] | None = None

    def write(self, sites: Sequence[SiteState]) -> bool:
        """Write what changed; False where nothing has. Raises OSError."""
        states = tuple(sites)
        if states == self._written:
            return False
        self._directory.mkdir(mode=0o700, exist_ok=True)
        text = json.dumps({"worker": self._worker, "sites": [_told(each) for each in states]}, separators=(",", ":"))
        fresh = self._path.with_suffix(f"{self._path.suffix}.new")
        fresh.write_text(text)
        fresh.replace(self._path)
        self._written = states
        return True

    def remove(self) -> None:
        """Take the file away."""
        with suppress(OSError):
            self._path.unlink(missing_ok=True)


def sweep(state_dir: Path) -> None:
    """Remove what dead owners left; blocks."""
    for path, owner in _files(state_dir):
        if not owners.lives(state_dir, owner):
            with suppress(OSError):
                path.unlink(missing_ok=True)


def read(state_dir: Path) -> list[tuple[int, list[SiteState]]]:
    """Return (which worker, its sites) for each file of a living owner; blocks. Raises PermissionError."""
    found = []
    for path, owner in _files(state_dir):
        if path.suffix != ".new" and owners.lives(state_dir, owner):
            try:
                told = json.loads(path.read_bytes())
            except FileNotFoundError:
                continue  # its worker has ended since
            found.append((int(told["worker"]), [state for each in told["sites"] if (state := _state(each))]))
    return sorted(found, key=lambda each: each[0])


def _told(state: SiteState) -> dict[str, Any]:
    return {key: getattr(state, key) for key in _KEYS}


def _state(told: dict[str, Any]) -> SiteState | None:
    """Read one site; None where a worker of another version, during an update, does not tell all of it."""
    if not told.keys() >= _KEYS:
        return None
    return SiteState(**{key: told[key] for key in _KEYS if key != "domains"}, domains=tuple(told["domains"]))


def _files(state_dir: Path) -> list[tuple[Path, int]]:
    try:
        names = sorted(path.name for path in (state_dir / "sites").iterdir())
    except FileNotFoundError:
        return []
    owned = [(name, name.partition(".")[0]) for name in names]
    return [(state_dir / "sites" / name, int(owner)) for name, owner in owned if owner.isascii() and owner.isdigit()]
