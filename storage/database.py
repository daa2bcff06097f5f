"""The SQLite file: where it is, how it is opened, and which version its schema has.

Rules: WAL with synchronous=FULL on every connection that writes; migrations only go forward, one
transaction each; a version that this program does not know is refused in a sentence.
"""

import os
import sqlite3
from contextlib import suppress
from importlib.resources import files
from pathlib import Path
from typing import Final

FILE_NAME: Final = "telltale.db"

# UPDATE … FROM (3.33), JSON built in (3.38); Debian 12 has 3.40.
_OLDEST_SQLITE: Final = (3, 38, 0)

# Pages of 4 KiB. Content that is delivered soon frees its pages, and the next message takes them again:
# a longer log between checkpoints writes those pages to the database file once, not once a message.
_CHECKPOINT_PAGES: Final = 8192
# After a long reader let the write-ahead log grow, its file is cut to this again.
_LOG_BYTES: Final = 64 << 20
_CACHE_KIB: Final = 32 * 1024
# Writers wait on a file lock of our own before they begin; SQLite's own waiting (it sleeps and polls)
# is only met where a foreign program, such as the sqlite3 shell, holds the database.
_BUSY_SECONDS: Final = 30.0
# A multi-row statement is prepared for each power of two of rows, some 20 statements in all.
_CACHED_STATEMENTS: Final = 512


class StoreVersionError(Exception):
    """The database was written by a newer Telltale, or is none of ours; the message is a sentence."""


class StoreMissingError(Exception):
    """There is no store in the directory yet; the message is a sentence."""


def _migrations() -> list[tuple[int, str]]:
    """Return (version, SQL) of all steps, first to last; the file's number is the version it leads to."""
    steps = [file for file in files("storage").joinpath("sql").iterdir() if file.name.endswith(".sql")]
    return sorted((int(file.name[:3]), file.read_text("utf-8")) for file in steps)


def newest_version() -> int:
    """Return the schema version that this program writes."""
    return _migrations()[-1][0]


def _refuse_unknown(version: int, path: Path) -> None:
    if version > newest_version():
        raise StoreVersionError(
            f"{path} has schema version {version}, but this telltale knows only up to {newest_version()}: "
            "install the newer version again, or restore an older copy of the file"
        )


def _version(connection: sqlite3.Connection, path: Path) -> int:
    try:
        version: int = connection.execute("PRAGMA user_version").fetchone()[0]
    except sqlite3.DatabaseError as error:
        raise StoreVersionError(f"{path} cannot be read as a Telltale database ({error})") from None
    _refuse_unknown(version, path)
    return version


def _make_private(path: Path) -> None:
    """Make the file, readable by the owner alone: it holds people's mail. Its log takes the same mode.

    Only where there is none: to close a file that this process has open elsewhere drops SQLite's locks.
    """
    with suppress(FileExistsError):
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))


def open_writing(state_dir: Path) -> sqlite3.Connection:
    """Open the database for writing, made or brought to the newest version first.

    The caller holds the write lock (two processes must not migrate at once). Raises StoreVersionError,
    sqlite3.Error.
    """
    if sqlite3.sqlite_version_info < _OLDEST_SQLITE:
        raise StoreVersionError(f"SQLite {sqlite3.sqlite_version} is too old: 3.38 or later is needed")
    path = state_dir / FILE_NAME
    _make_private(path)
    connection = sqlite3.connect(
        path,
        timeout=_BUSY_SECONDS,
        isolation_level=None,
        cached_statements=_CACHED_STATEMENTS,
        check_same_thread=False,  # opened by one thread, used by another ever after
    )
    try:
        version = _version(connection, path)
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        # Debian builds SQLite to overwrite what is deleted; that would write every message's content twice.
        connection.execute("PRAGMA secure_delete = OFF")
        connection.execute(f"PRAGMA wal_autocheckpoint = {_CHECKPOINT_PAGES}")
        connection.execute(f"PRAGMA journal_size_limit = {_LOG_BYTES}")
        connection.execute(f"PRAGMA cache_size = -{_CACHE_KIB}")
        connection.execute("PRAGMA temp_store = MEMORY")
        for step, sql in _migrations():
            if step > version:
                connection.executescript(f"BEGIN IMMEDIATE;\n{sql}\nPRAGMA user_version = {step};\nCOMMIT;")
    except BaseException:
        connection.close()
        raise
    return connection


def open_reading(state_dir: Path) -> sqlite3.Connection:
    """Open an existing database of the newest version for questions; for one thread at a time."""
    return sqlite3.connect(
        reading_uri(state_dir), uri=True, timeout=_BUSY_SECONDS, isolation_level=None, check_same_thread=False
    )


def reading_uri(state_dir: Path) -> str:
    """Return the URI to open the existing database with, for questions only.

    Raises StoreMissingError. The mode is not "ro": a reader of a WAL database may have to make its
    shared-memory file; `PRAGMA query_only` keeps it from writing.
    """
    path = state_dir / FILE_NAME
    if not path.exists():
        raise StoreMissingError(
            f"there is no store in {state_dir} yet: start telltale serve once, or name its state_dir"
        )
    return f"{path.absolute().as_uri()}?mode=rw"


def check_readable(version: int, state_dir: Path) -> None:
    """Raise StoreVersionError unless a reader of this program understands schema `version`."""
    path = state_dir / FILE_NAME
    _refuse_unknown(version, path)
    if version < newest_version():
        raise StoreVersionError(
            f"{path} has schema version {version} and must be brought to {newest_version()} first: "
            "start telltale serve once"
        )
