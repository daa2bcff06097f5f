"""Broadcasts that somebody prepares in the browser: the form and its files, in folders of the state directory.

Rules: each draft is its maker's alone; it is sent once, whoever clicks twice, since a sender takes the whole folder
away first; what is older than a day goes.
"""

import json
import re
import secrets
import shutil
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Final

FOLDER: Final = "drafts"
KEPT_SECONDS: Final = 86_400
MOST_A_USER: Final = 20
_ID: Final = re.compile(r"[A-Za-z0-9_-]{22}")
_FORM: Final = "form.json"
_SENDING: Final = ".sending"


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


class Drafts:
    """All drafts in a state directory."""

    def __init__(self, state_dir: Path) -> None:
        """Name the folder; it is made with the first draft."""
        self._root = state_dir / FOLDER

    def new_folder(self, now_seconds: float) -> Path:
        """Make a folder for a draft, and forget old ones; its name is the draft's id."""
        self._root.mkdir(mode=0o700, parents=True, exist_ok=True)
        for old in self._root.iterdir():
            if old.stat().st_mtime < now_seconds - KEPT_SECONDS:
                shutil.rmtree(old, ignore_errors=True)
        folder = self._root / secrets.token_urlsafe(16)
        folder.mkdir(mode=0o700)
        return folder

    def keep(self, draft: Draft) -> None:
        """Write what the form says; the maker's oldest drafts go, where there are too many."""
        facts = asdict(draft)
        del facts["folder"]
        (draft.folder / _FORM).write_text(json.dumps(facts))
        own = [one for one in self._all() if one.user == draft.user]
        own.sort(key=lambda one: (one.folder / _FORM).stat().st_mtime, reverse=True)
        for old in own[MOST_A_USER:]:
            self.remove(old.folder)

    def _all(self) -> list[Draft]:
        return [one for folder in self._root.iterdir() if (one := self._read(folder)) is not None]

    def find(self, id_: str, user: str) -> Draft | None:
        """Return a user's draft; None where there is none, or it was sent."""
        found = self._read(self._root / id_) if _ID.fullmatch(id_) else None
        return found if found is not None and found.user == user else None

    def file(self, id_: str, name: str) -> Path | None:
        """Return a file of ours in a folder by its id; None where it is not there (any more)."""
        path = self._root / id_ / name
        return path if _ID.fullmatch(id_) and path.is_file() else None

    def _read(self, folder: Path) -> Draft | None:
        try:
            return Draft(**json.loads((folder / _FORM).read_text()), folder=folder)
        except (OSError, ValueError, TypeError):
            return None

    def take(self, draft: Draft) -> Draft | None:
        """Take a draft to be sent; None where somebody took it before."""
        taken = draft.folder.with_name(draft.id + _SENDING)
        try:
            draft.folder.rename(taken)
        except OSError:
            return None
        taken.touch()  # nobody takes it for an old one while it is sent
        return replace(draft, folder=taken)

    def give_back(self, taken: Draft) -> None:
        """Let a draft that could not be sent be changed again."""
        taken.folder.rename(taken.folder.with_name(taken.id))

    def remove(self, folder: Path) -> None:
        """Forget a draft."""
        shutil.rmtree(folder, ignore_errors=True)
