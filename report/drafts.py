"""Broadcasts that somebody prepares in the browser: the form and its files, in folders of the state directory.

Rules: each draft is its maker's alone; it is sent once, whoever clicks twice, since whoever sends it takes it first, by
a file that one alone can make. The run that it becomes in the store is noted before that may go: whatever is killed
then, the store knows whether it went (report/handover.py). What is older than a day goes.
"""

import json
import os
import re
import secrets
import shutil
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from storage.turn import Turn

FOLDER: Final = "drafts"
KEPT_SECONDS: Final = 86_400
MOST_A_USER: Final = 20
_ID: Final = re.compile(r"[A-Za-z0-9_-]{22}")
_FORM: Final = "form.json"
_TAKEN: Final = "taken"
_RUN: Final = "run"
_SENT: Final = "sent"
_REFUSED: Final = "refused"
_LOCK: Final = ".at-work"


@dataclass(frozen=True, slots=True)
class Draft:
    """What a form says."""

    id: str
    user: str
    name: str
    type: str
    sender: str
    """As people write it: ann@example.org, or Ann <ann@example.org>."""
    subject: str
    """Instead of the message's own; "" where it has one."""
    list: str
    """The list that it goes to; "" where it goes to a file."""
    message: str
    """Name of the file in the draft's folder: message.html or message.eml."""
    recipients: str
    """Name of the file of recipients; "" where it goes to a list."""
    folder: Path = Path()
    """Where its files are."""

    @property
    def message_file(self) -> Path:
        """The message."""
        return self.folder / self.message

    @property
    def recipients_file(self) -> Path | None:
        """Who gets it, unless a list does."""
        return self.folder / self.recipients if self.recipients else None

    @property
    def turn(self) -> Turn:
        """The lock of who hands it over."""
        return Turn(self.folder / _LOCK)

    @property
    def taken(self) -> bool:
        """Whether somebody began to hand it over, and did not end yet."""
        return (self.folder / _TAKEN).exists()

    @property
    def run(self) -> int | None:
        """The run that it was to become; whether it did, the store knows."""
        return _number(self.folder / _RUN)

    @property
    def sent(self) -> int | None:
        """The run that it became."""
        return _number(self.folder / _SENT)

    @property
    def refused(self) -> str:
        """Why it was not sent when somebody sent it last; "" where nobody did."""
        try:
            return (self.folder / _REFUSED).read_text()
        except OSError:
            return ""

    @property
    def kept_at(self) -> float:
        """When its form was written, in seconds since the epoch."""
        return (self.folder / _FORM).stat().st_mtime

    def at_work(self) -> bool:
        """Return whether somebody hands it over just now, in whichever process."""
        return self.turn.is_taken()

    def take(self) -> Turn | None:
        """Take it to be handed over; None where somebody did before. The turn is to be given when that has ended."""
        turn = self.turn
        try:
            if not turn.take():
                return None
            (self.folder / _TAKEN).open("x").close()
        except OSError:  # it is taken, or was removed just now
            turn.give()
            return None
        if self.sent is not None:
            self.end(self.sent)
            turn.give()
            return None
        (self.folder / _REFUSED).unlink(missing_ok=True)
        return turn

    def note(self, run_id: int) -> None:
        """Write which run it is to become, on the disk itself: before that run may go."""
        file = os.open(self.folder / _RUN, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        try:
            os.write(file, str(run_id).encode())
            os.fsync(file)
        finally:
            os.close(file)
        folder = os.open(self.folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)

    def refuse(self, why: str) -> None:
        """Write why it was not sent."""
        (self.folder / _REFUSED).write_text(why)

    def free(self) -> None:
        """Let what surely was not sent be changed, or sent, again."""
        for name in (_RUN, _TAKEN):
            (self.folder / name).unlink(missing_ok=True)

    def end(self, run_id: int) -> None:
        """Note that it went; its files are needed no more."""
        (self.folder / _SENT).write_text(str(run_id))
        for name in filter(None, (self.message, self.recipients, _RUN, _TAKEN)):
            (self.folder / name).unlink(missing_ok=True)


def _number(path: Path) -> int | None:
    try:
        return int(path.read_text())
    except (OSError, ValueError):
        return None


class Drafts:
    """All drafts in a state directory."""

    def __init__(self, state_dir: Path) -> None:
        """Name the folder; it is made with the first draft."""
        self._root = state_dir / FOLDER

    def new_folder(self, now_seconds: float) -> Path:
        """Make a folder for a draft, and forget old ones; its name is the draft's id."""
        self._root.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.purge(now_seconds)
        folder = self._root / secrets.token_urlsafe(16)
        folder.mkdir(mode=0o700)
        return folder

    def purge(self, now_seconds: float) -> None:
        """Forget old drafts that nobody is at."""
        for old in self._root.iterdir() if self._root.is_dir() else ():
            with suppress(OSError):  # another process may do the same
                if old.stat().st_mtime < now_seconds - KEPT_SECONDS:
                    self._remove_old(old)

    def _remove_old(self, folder: Path) -> None:
        found = self._read(folder)
        if found is None or not found.at_work():
            self.remove(folder)

    def keep(self, draft: Draft) -> None:
        """Write what the form says; the maker's oldest drafts go, where there are too many."""
        facts = asdict(draft)
        del facts["folder"]
        (draft.folder / _FORM).write_text(json.dumps(facts))
        for old in self.of(draft.user)[MOST_A_USER:]:
            if not old.at_work():
                self.remove(old.folder)

    def of(self, user: str) -> list[Draft]:
        """Return a user's drafts, the newest first."""
        try:
            folders = list(self._root.iterdir())
        except OSError:
            return []
        found = [one for folder in folders if (one := self._read(folder)) is not None and one.user == user]
        return sorted(found, key=lambda one: -one.kept_at)

    def find(self, id_: str, user: str) -> Draft | None:
        """Return a user's draft; None where there is none (any more)."""
        found = self._read(self._root / id_) if _ID.fullmatch(id_) else None
        return found if found is not None and found.user == user else None

    def _read(self, folder: Path) -> Draft | None:
        try:
            return Draft(**json.loads((folder / _FORM).read_text()), folder=folder)
        except (OSError, ValueError, TypeError):
            return None

    def remove(self, folder: Path) -> None:
        """Forget a draft."""
        shutil.rmtree(folder, ignore_errors=True)
