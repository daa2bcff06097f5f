"""Files that somebody imports in the browser: each with a folder of the state directory, and how far it came.

Rules: an import is its maker's alone. How far it came is written after each step, so that one that was broken off,
however the process ended, says so and goes on from there; whether somebody is still at it, a lock says, which the
kernel drops. The file itself goes as soon as it is imported; what is older than a day goes.
"""

import json
import os
import re
import secrets
import shutil
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from enum import StrEnum
from pathlib import Path
from typing import Any, Final

from storage.contact_rows import Bad
from storage.turn import Turn

FOLDER: Final = "imports"
KEPT_SECONDS: Final = 86_400
MOST_A_USER: Final = 20
MOST_UNFINISHED: Final = 5
LEFT_OUT: Final = "left-out.csv"
_ID: Final = re.compile(r"[A-Za-z0-9_-]{22}")
_ORDER: Final = "order.json"
_STANDING: Final = "standing.json"
_LOCK: Final = ".at-work"


class Kind(StrEnum):
    """What is in a file."""

    CONTACTS = "contacts"
    UNSUBSCRIBED = "unsubscribed"
    BLOCKED = "blocked"


class State(StrEnum):
    """How far an import is."""

    NEW = "new"
    """Its columns are to be named."""
    UNDER_WAY = "under way"
    """It waits, or somebody is at it; where nobody is, it was broken off."""
    REFUSED = "refused"
    """The file cannot be read as what it should be."""
    DONE = "done"


@dataclass(frozen=True, slots=True)
class Standing:
    """What came of an import, so far."""

    state: State = State.NEW
    counted: Mapping[str, int] = field(default_factory=dict)
    """Records by what became of them, and "bad" ones."""
    first_bad: tuple[Bad, ...] = ()
    records: int = 0
    """How many were read, and are stored or left out."""
    report_bytes: int = 0
    """How long the report of what was left out is."""
    bytes_read: int = 0
    size: int = 0
    """Of the file, in bytes."""
    why: str = ""
    """Why it was refused, or broken off, where that is known."""


@dataclass(frozen=True, slots=True)
class Import:
    """What was asked for."""

    id: str
    user: str
    kind: Kind
    called: str
    """What the browser calls the file."""
    file: str
    """What it is called in its folder."""
    made_ms: int
    encoding: str = ""
    lists: tuple[str, ...] = ()
    mapping: Mapping[str, str] = field(default_factory=dict)
    """What its headers mean, where they do not say so themselves."""
    headless: bool = False
    """Whether it has no header line: its columns are 1, 2 …"""
    reason: str = ""
    ends_ms: int | None = None
    type: str = ""
    """Of broadcasts, where the file says none."""
    folder: Path = Path()

    @property
    def path(self) -> Path:
        """The file."""
        return self.folder / self.file

    @property
    def report(self) -> Path:
        """What was left out, as CSV."""
        return self.folder / LEFT_OUT

    @property
    def turn(self) -> Turn:
        """The lock of who is at it."""
        return Turn(self.folder / _LOCK)

    def at_work(self) -> bool:
        """Return whether somebody is at it, in whichever process."""
        return self.turn.is_taken()

    def standing(self) -> Standing:
        """Return how far it is."""
        try:
            found: dict[str, Any] = json.loads((self.folder / _STANDING).read_text())
            bad = tuple([Bad(*one) for one in found.pop("first_bad")])
            return Standing(**(found | {"state": State(found["state"]), "first_bad": bad}))
        except (OSError, ValueError, TypeError, KeyError):
            return Standing()

    def note(self, standing: Standing) -> None:
        """Write how far it is, whole or not at all."""
        facts = asdict(standing) | {"first_bad": [(one.line, one.column, one.why) for one in standing.first_bad]}
        _write(self.folder / _STANDING, facts)

    def end(self, standing: Standing) -> None:
        """Write what came of it; the file goes, unless it is still needed to go on."""
        self.note(standing)
        if standing.state in {State.DONE, State.REFUSED}:
            self.path.unlink(missing_ok=True)


def _write(path: Path, facts: Mapping[str, Any]) -> None:
    written = path.with_suffix(f".{os.getpid()}")
    written.write_text(json.dumps(facts))
    written.replace(path)


class Imports:
    """All imports in a state directory."""

    def __init__(self, state_dir: Path) -> None:
        """Name the folder; it is made with the first import."""
        self._root = state_dir / FOLDER

    def new_folder(self) -> Path:
        """Make a folder for an import, and forget old ones; its name is the import's id."""
        self._root.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.purge(time.time())
        folder = self._root / secrets.token_urlsafe(16)
        folder.mkdir(mode=0o700)
        return folder

    def purge(self, now_seconds: float) -> None:
        """Forget old imports that nobody is at."""
        for old in self._root.iterdir() if self._root.is_dir() else ():
            with suppress(OSError):  # another process may do the same
                if _touched(old) < now_seconds - KEPT_SECONDS:
                    self._remove_old(old)

    def _remove_old(self, folder: Path) -> None:
        found = self._read(folder)
        if found is None or not found.at_work():
            self.forget(folder)

    def keep(self, wanted: Import) -> None:
        """Write what is asked for; the maker's oldest imports that are over go, where there are too many."""
        facts = asdict(wanted)
        del facts["folder"]
        _write(wanted.folder / _ORDER, facts)
        for old in self.of(wanted.user)[MOST_A_USER:]:
            if not old.at_work():
                self.forget(old.folder)

    def of(self, user: str, kind: Kind | None = None) -> list[Import]:
        """Return a user's imports, the newest first."""
        try:
            folders = list(self._root.iterdir())
        except OSError:
            return []
        found = [one for folder in folders if (one := self._read(folder)) is not None and one.user == user]
        return sorted([one for one in found if kind in {None, one.kind}], key=lambda one: -one.made_ms)

    def find(self, id_: str, user: str, kind: Kind) -> Import | None:
        """Return a user's import; None where there is none (any more)."""
        found = self._read(self._root / id_) if _ID.fullmatch(id_) else None
        return found if found is not None and (found.user, found.kind) == (user, kind) else None

    def change(self, wanted: Import, mapping: Mapping[str, str], *, headless: bool) -> Import:
        """Say what the headers mean, or that there are none."""
        changed = replace(wanted, mapping=mapping, headless=headless)
        self.keep(changed)
        return changed

    @staticmethod
    def _read(folder: Path) -> Import | None:
        try:
            found: dict[str, Any] = json.loads((folder / _ORDER).read_text())
            exact = {"kind": Kind(found["kind"]), "lists": tuple(found["lists"]), "folder": folder}
            return Import(**(found | exact))
        except (OSError, ValueError, TypeError, KeyError):
            return None

    @staticmethod
    def forget(folder: Path) -> None:
        """Remove an import's folder; what it stored stays."""
        shutil.rmtree(folder, ignore_errors=True)


def _touched(folder: Path) -> float:
    """Return when something was last written to it."""
    return max(folder.stat().st_mtime, *(one.stat().st_mtime for one in folder.iterdir()), 0.0)
