"""The installation's secret key: the one thing that makes our tokens ours.

Rule: made once, readable by the owner alone, never changed by the program: every image and return path
that is still out there was signed with it.
"""

import os
import secrets
from pathlib import Path
from typing import Final

from storage.token import KEY_BYTES

FILE_NAME: Final = "secret.key"


class SecretError(Exception):
    """The key cannot be used; the message is a sentence."""


def load_secret(state_dir: Path) -> bytes:
    """Return the secret key (KEY_BYTES long), made on first use.

    `$CREDENTIALS_DIRECTORY/secret.key` (systemd's LoadCredential) goes before `state_dir/secret.key`.
    Raises SecretError where the file has another length, OSError where it cannot be read or made.
    """
    credentials = os.environ.get("CREDENTIALS_DIRECTORY")
    if credentials and (given := Path(credentials) / FILE_NAME).exists():
        return _read(given)
    path = state_dir / FILE_NAME
    if not path.exists():
        _make(path)
    return _read(path)


def _read(path: Path) -> bytes:
    key = path.read_bytes()
    if len(key) != KEY_BYTES:
        raise SecretError(f"{path} must have exactly {KEY_BYTES} bytes, it has {len(key)}: restore it from a copy")
    return key


def _make(path: Path) -> None:
    """Write a new key under its final name in one step; whoever comes first wins, others use theirs."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    draft = path.with_name(f".{FILE_NAME}.{os.getpid()}.{secrets.token_hex(4)}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(secrets.token_bytes(KEY_BYTES))
            file.flush()
            os.fsync(file.fileno())
        try:
            os.link(draft, path)
        except FileExistsError:
            return
        _sync_directory(path.parent)
    finally:
        draft.unlink()


def _sync_directory(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
