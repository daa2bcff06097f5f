"""The state directory as commands meet it: whose it is, and what may go wrong with it.

Rule: a command run by root never leaves files behind that the service's user cannot read.
"""

import logging
import os
import sqlite3
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from storage.kv import kv
from telltale.errors import FailureError

if TYPE_CHECKING:
    from storage.people import Policy
    from storage.store import Store

T = TypeVar("T")

_log = logging.getLogger("telltale.serve")


def awaited(state_dir: Path, question: Coroutine[Any, Any, T]) -> T:
    """Run what a command asks of the store in `state_dir`, as the directory's owner; raises FailureError."""
    import asyncio

    become_owner(state_dir)
    private_files()
    with speaking(state_dir):
        return asyncio.run(question)


async def with_store(state_dir: Path, policy: "Policy", verb: Callable[["Store"], Awaitable[T]]) -> T:
    """Open the store, run what `verb` asks of it under the configuration's policy, and close it."""
    from storage.store import Store

    store = await Store.open(state_dir, policy)
    try:
        return await verb(store)
    finally:
        await store.close()


def private_files() -> None:
    """Let whatever this process makes be its user's alone: the store holds mail."""
    os.umask(0o077)


@contextmanager
def speaking(state_dir: Path) -> Iterator[None]:
    """Turn what the system says of the store in `state_dir` into FailureErrors."""
    try:
        yield
    except PermissionError as error:
        raise FailureError(f"{error.filename or state_dir}: permission denied; try it with sudo") from error
    except sqlite3.Error as error:
        raise FailureError(f"the store in {state_dir} cannot be used: {error}") from error


def become_owner(state_dir: Path) -> None:
    """Give up root for the user who owns `state_dir`, where that is another.

    SQLite makes files beside the store (-wal, -shm) even for readers: left to root, they would lock the
    service out of its own queue.
    """
    if os.geteuid() != 0:
        return
    try:
        owner = state_dir.stat()
    except OSError:
        return
    if owner.st_uid != 0:
        os.setgroups([])
        os.setresgid(owner.st_gid, owner.st_gid, owner.st_gid)
        os.setresuid(owner.st_uid, owner.st_uid, owner.st_uid)


def warn_root(state_dir: Path) -> None:
    """Say so where root serves a state directory of another user, who could not go on with it."""
    owner = state_dir.stat().st_uid
    if os.geteuid() == 0 and owner != 0:
        _log.warning(kv(event="runs-as-root", state_dir=state_dir, owner=owner))
