"""Laws of opening the database."""

import sqlite3
import stat
from pathlib import Path

import pytest

from storage import database
from storage.database import StoreMissingError, StoreVersionError
from storage.people import POLICY
from storage.reader import Reader
from storage.store import Store, StoreFailedError
from tests.storage.makers import accept


def version_of(state_dir: Path) -> int:
    connection = sqlite3.connect(state_dir / "telltale.db")
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    connection.close()
    return version


def names(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


def files_of(directory: Path) -> list[Path]:
    return [path for path in directory.iterdir() if path.is_file()]


def open_files() -> set[str]:
    return {str(path.readlink()) for path in Path("/proc/self/fd").iterdir() if path.is_symlink()}


def set_version(state_dir: Path, version: int) -> None:
    connection = sqlite3.connect(state_dir / "telltale.db")
    connection.execute(f"PRAGMA user_version = {version}")
    connection.close()


async def test_a_new_store_has_the_newest_version_and_is_durable(tmp_path: Path) -> None:
    store = await Store.open(tmp_path / "deep" / "var", POLICY)
    await store.close()
    connection = database.open_writing(tmp_path / "deep" / "var")
    assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    assert connection.execute("PRAGMA synchronous").fetchone() == (2,)
    assert version_of(tmp_path / "deep" / "var") == database.newest_version()
    connection.close()


async def test_an_unknown_newer_version_is_refused_and_left_alone(tmp_path: Path) -> None:
    await (await Store.open(tmp_path, POLICY)).close()
    set_version(tmp_path, 999)
    with pytest.raises(StoreVersionError, match=r"has schema version 999, but this telltale knows only up to"):
        await Store.open(tmp_path, POLICY)
    with pytest.raises(StoreVersionError, match="999"):
        await Reader.open(tmp_path)
    assert version_of(tmp_path) == 999
    assert names(tmp_path / "owners") == []


async def test_a_foreign_file_is_refused_in_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "telltale.db").write_bytes(b"this is no database, but a page of text" * 200)
    with pytest.raises(StoreVersionError, match="cannot be read as a Telltale database"):
        await Store.open(tmp_path, POLICY)
    with pytest.raises(StoreVersionError, match="holds no Telltale database"):
        await Reader.open(tmp_path)


async def test_the_database_is_the_owner_s_alone(tmp_path: Path) -> None:
    """It holds people's mail."""
    store = await Store.open(tmp_path, POLICY)
    await accept(store)
    assert {path.name: stat.S_IMODE(path.stat().st_mode) for path in files_of(tmp_path)} == {
        "telltale.db": 0o600,
        "telltale.db-shm": 0o600,
        "telltale.db-wal": 0o600,
        "held.stamp": 0o600,
        "write.lock": 0o600,
    }
    await store.close()


async def test_a_store_that_cannot_be_opened_leaves_nothing_open(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(*_: object) -> int:
        raise PermissionError("no")

    monkeypatch.setattr("storage.large.sweep", failing)
    before = open_files()
    with pytest.raises(PermissionError):
        await Store.open(tmp_path, POLICY)
    assert names(tmp_path / "owners") == []
    assert open_files() == before


async def test_a_database_that_cannot_be_made_is_an_error_of_the_store(tmp_path: Path) -> None:
    (tmp_path / "telltale.db").mkdir()
    with pytest.raises(StoreFailedError):
        await Store.open(tmp_path, POLICY)


async def test_where_there_is_no_store_a_reader_makes_none(tmp_path: Path) -> None:
    with pytest.raises(StoreMissingError, match="there is no store in"):
        await Reader.open(tmp_path)
    assert names(tmp_path) == []


async def test_a_reader_refuses_a_store_that_waits_for_its_migration(tmp_path: Path) -> None:
    (tmp_path / "telltale.db").touch()
    with pytest.raises(StoreVersionError, match="must be brought to"):
        await Reader.open(tmp_path)


async def test_a_reader_cannot_write(store: Store, reader: Reader) -> None:
    with pytest.raises(sqlite3.OperationalError, match="readonly"):
        await reader._connection.execute("DELETE FROM recipient")


async def test_an_old_sqlite_is_refused_in_a_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sqlite3.sqlite_version_info", (3, 37, 2))
    with pytest.raises(StoreVersionError, match="is too old"):
        await Store.open(tmp_path, POLICY)


def test_no_two_migrations_have_one_number() -> None:
    numbers = [version for version, _ in database._migrations()]
    assert sorted(set(numbers)) == numbers


async def test_a_migration_that_fails_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    await (await Store.open(tmp_path, POLICY)).close()
    before = database.newest_version()
    broken = [*database._migrations(), (before + 1, "CREATE TABLE half (a); CREATE TABLE nonsense (")]
    monkeypatch.setattr(database, "_migrations", lambda: broken)
    with pytest.raises(sqlite3.Error):
        database.open_writing(tmp_path)
    monkeypatch.undo()
    store = await Store.open(tmp_path, POLICY)
    await store.close()
    connection = sqlite3.connect(tmp_path / "telltale.db")
    assert connection.execute("SELECT count(*) FROM sqlite_schema WHERE name = 'half'").fetchone() == (0,)
    connection.close()
    assert version_of(tmp_path) == before
