"""Content too large for the database: one file each in `state_dir/content/`.

Rules: a file is durable, its name too, before the commit that refers to it, and is deleted only after
the commit that drops it; what neither a row nor a living process knows is swept at the next opening.
"""

import json
import os
import sqlite3
from pathlib import Path
from typing import Final

from storage import owners

# Up to this, content is a blob in the database. A file of its own costs two more fsyncs, a blob is written
# twice, to the log and to the database. Measured as blob and as file, messages a second and CPU a message:
# 64 KiB 4,500 and 0.2 ms, 630 and 0.7 ms; 256 KiB 630 and 0.6 ms, 420 and 1.0 ms; 512 KiB 600 and 1.2 ms, 370
# and 1.1 ms; 1 MiB 170 and 3.0 ms, 280 and 1.2 ms (bench/store.py --bytes, one process, 20 sessions).
LARGE_BYTES: Final = 256 << 10


def write(state_dir: Path, owner: int, message_id: int, content: bytes) -> str:
    """Write a message's content durably; return the file's name. Raises OSError, and leaves nothing then."""
    directory = state_dir / "content"
    directory.mkdir(mode=0o700, exist_ok=True)
    name = f"{owner}-{message_id}"
    path = directory / name
    try:
        with open(path, "wb", opener=_private) as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        _sync_directory(directory)
    except BaseException:
        path.unlink(missing_ok=True)
        raise
    return name


def path_of(state_dir: Path, file: str) -> Path:
    """Return where the content of this name is kept."""
    return state_dir / "content" / file


def remove(state_dir: Path, file: str) -> None:
    """Delete a content that nothing refers to (any more)."""
    path_of(state_dir, file).unlink(missing_ok=True)


def _private(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_CLOEXEC, 0o600)


def _sync_directory(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sweep(state_dir: Path, connection: sqlite3.Connection) -> int:
    """Delete files of processes that are gone and that no row refers to; return how many.

    The caller holds the write lock.
    """
    directory = state_dir / "content"
    if not directory.is_dir():
        return 0
    alive = {str(owner) for owner in owners.living(state_dir)}
    names = [name for name in (path.name for path in directory.iterdir()) if name.partition("-")[0] not in alive]
    sql = "SELECT json_group_array(file) FROM content WHERE file IN (SELECT value FROM json_each(?))"
    kept = set(json.loads(connection.execute(sql, (json.dumps(names),)).fetchone()[0])) if names else set()
    for name in names:
        if name not in kept:
            (directory / name).unlink(missing_ok=True)
    return len(names) - len(kept)
