"""Laws of the commit: what cannot be stored is never acknowledged, and takes nothing else with it."""

import asyncio
import errno
import sqlite3
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from storage.commit import StoreFailedError, StoreFullError, told
from storage.model import LogFilter
from storage.reader import Reader
from storage.status import Event, Status
from storage.store import Store
from tests.storage import makers
from tests.storage.makers import DAY, accept, message, result


def rows_of(state_dir: Path, sql: str) -> list[tuple]:
    connection = sqlite3.connect(state_dir / "telltale.db")
    found = connection.execute(sql).fetchall()
    connection.close()
    return found


async def test_one_verb_of_a_group_that_fails_fails_alone(store: Store, reader: Reader) -> None:
    (job,) = await accept(store)
    twice = makers.NewRecipient(job.recipient_id, "a@x.example", "x.example")
    answers = await asyncio.gather(
        accept(store, "before@x.example"),
        store.accept(message(store), b"hello", [twice], lifetime_ms=DAY, leased=True),
        accept(store, "after@x.example"),
        store.settle(result(job, Event.DELIVER)),
        return_exceptions=True,
    )
    assert isinstance(answers[1], sqlite3.IntegrityError)
    assert [job.address for jobs in (answers[0], answers[2]) for job in jobs] == ["before@x.example", "after@x.example"]
    assert answers[3].accepted
    rows = await reader.log(LogFilter(), limit=9)
    assert sorted(row.recipient for row in rows) == ["after@x.example", "before@x.example", "bob@there.example"]


async def test_a_message_is_stored_whole_or_not_at_all(store: Store, tmp_path: Path) -> None:
    (job,) = await accept(store)
    fine = makers.new_recipient(store, "fine@x.example")
    twice = makers.NewRecipient(job.recipient_id, "a@x.example", "x.example")
    with pytest.raises(sqlite3.IntegrityError):
        await store.accept(message(store), b"hello", [fine, twice], lifetime_ms=DAY, leased=True)
    for table in ("message", "recipient", "content"):
        assert rows_of(tmp_path, f"SELECT count(*) FROM {table}") == [(1,)]
    assert rows_of(tmp_path, "SELECT unsent FROM change ORDER BY serial DESC LIMIT 1") == [(1,)]


async def test_a_full_store_says_so_and_goes_on_when_there_is_room(store: Store, reader: Reader) -> None:
    connection = store._writer._service._connection
    (job,) = await accept(store)
    (pages,) = connection.execute("PRAGMA page_count").fetchone()
    connection.execute(f"PRAGMA max_page_count = {pages + 10}")
    answers = await asyncio.gather(*(accept(store, content=b"x" * 30_000) for _ in range(12)), return_exceptions=True)
    full = [answer for answer in answers if isinstance(answer, StoreFullError)]
    stored = [jobs[0] for jobs in answers if isinstance(jobs, list)]
    assert full
    assert len(full) + len(stored) == 12
    assert (await reader.status_counts())[Status.UNSENT] == 1 + len(stored)
    for kept in stored:
        assert await store.content(kept.message.id) == b"x" * 30_000
    connection.execute("PRAGMA max_page_count = 1000000")
    assert (await store.settle(result(job, Event.DELIVER))).accepted
    await accept(store, content=b"x" * 30_000)


# A child, since a limit on the size of files is the whole process's. It prints what was acknowledged.
_LIMITED = """
    import asyncio, pathlib, resource, signal, sys
    from storage.commit import StoreFailedError, StoreFullError
    from storage.people import POLICY
    from storage.store import Store
    from tests.storage.makers import accept

    async def main():
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        state_dir = pathlib.Path(sys.argv[1])
        store = await Store.open(state_dir, POLICY)
        made = (state_dir / "telltale.db-wal").stat().st_size
        resource.setrlimit(resource.RLIMIT_FSIZE, (made + 200_000, resource.RLIM_INFINITY))
        failed = 0
        while failed < 3:
            try:
                (job,) = await accept(store, content=b"x" * 20_000)
            except (StoreFailedError, StoreFullError) as error:
                failed += 1
                print("failed", type(error).__name__, flush=True)
            else:
                print("stored", job.recipient_id, flush=True)
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        (job,) = await accept(store, content=b"x" * 20_000)
        print("stored", job.recipient_id, flush=True)
        await store.close()

    asyncio.run(main())
"""


async def test_an_error_of_the_disk_never_looks_like_success(tmp_path: Path) -> None:
    """The kernel refuses to let the write-ahead log grow: a real error, at a real write."""
    command = [sys.executable, "-c", textwrap.dedent(_LIMITED), str(tmp_path)]
    child = await asyncio.to_thread(subprocess.run, command, capture_output=True, text=True, check=True, timeout=30)
    lines = [line.split() for line in child.stdout.splitlines()]
    stored = [int(words[1]) for words in lines if words[0] == "stored"]
    assert lines.count(["failed", "StoreFailedError"]) == 3
    assert len(stored) > 3
    assert rows_of(tmp_path, "SELECT id FROM recipient ORDER BY id") == [(id_,) for id_ in stored]
    assert rows_of(tmp_path, "PRAGMA integrity_check") == [("ok",)]


async def test_an_error_that_is_none_of_sqlite_s_reaches_its_caller(store: Store) -> None:
    (job,) = await accept(store)
    with pytest.raises(AttributeError):
        await store.record_hits([None])  # type: ignore[list-item]
    assert (await store.settle(result(job, Event.DELIVER))).accepted


def full_error() -> sqlite3.OperationalError:
    connection = sqlite3.connect(":memory:", isolation_level=None)
    connection.execute("PRAGMA max_page_count = 1")
    try:
        connection.execute("CREATE TABLE t (a)")
        connection.execute("INSERT INTO t VALUES (zeroblob(100000))")
    except sqlite3.OperationalError as error:
        return error
    finally:
        connection.close()
    raise AssertionError("the database took more than it can hold")


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (full_error(), StoreFullError),
        (OSError(errno.ENOSPC, "No space left on device"), StoreFullError),
        (OSError(errno.EDQUOT, "Disk quota exceeded"), StoreFullError),
        (sqlite3.OperationalError("disk I/O error"), StoreFailedError),
        (sqlite3.IntegrityError("UNIQUE constraint failed"), sqlite3.IntegrityError),
        (PermissionError(errno.EACCES, "Permission denied"), PermissionError),
        (ValueError("a bug"), ValueError),
    ],
)
def test_callers_see_what_they_can_answer(error: Exception, kind: type[Exception]) -> None:
    assert type(told(error)) is kind
