"""The writing service of a store: groups of verbs, one transaction each.

Rules: the write lock is taken before BEGIN IMMEDIATE, and before it is settled which verbs are in the group: what
is called while another process has it need not wait for it again. If one verb of a group raises, the group is
replayed one by one, so that only that verb fails; an error at the commit fails everything in it.
"""

import errno
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final

from storage import stretch
from storage.held import Stamp
from storage.lane import Call
from storage.owners import Ids, Owner, WriteLock
from storage.people import Policy
from storage.stretch import Hours
from storage.transaction import Kept, MisjudgedError, Place, Transaction

_FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT})


class StoreFullError(Exception):
    """The disk is full or the database cannot grow: answer 452 4.3.1. Nothing was stored."""


class StoreFailedError(Exception):
    """The database could not be read or written (an I/O error, a lock of a foreign program).

    Nothing was stored as far as can be known: answer 451 4.3.0.
    """


class Writer:
    """Holds the writing connection; all of it runs in one thread, the opening aside."""

    def __init__(
        self,
        connection: sqlite3.Connection,
        lock: WriteLock,
        owner: Owner,
        stamp: Stamp,
        state_dir: Path,
        policy: Policy,
    ) -> None:
        self.policy = policy
        """May be replaced by any thread; a transaction keeps to the one that it began with."""
        self._connection = connection
        self._lock = lock
        self._has_lock = False
        self._owner = owner
        self._place = Place(state_dir, owner.id, Ids(owner.id), stamp)
        # What a process that was killed left is entered with the first that come.
        self._kept = Kept(Hours(), stretch.count(connection))

    def ready(self) -> None:
        """Take the write lock, which the next transaction gives back."""
        with suppress(OSError):  # the transaction meets it, too, and tells its callers
            self._take_lock()

    def _take_lock(self) -> None:
        if not self._has_lock:
            self._lock.take()
            self._has_lock = True

    @contextmanager
    def _locked(self) -> Iterator[None]:
        self._take_lock()
        try:
            yield
        finally:
            self._lock.give()
            self._has_lock = False

    def serve(self, calls: Sequence[Call]) -> None:
        """Run the calls in one transaction, or one each where that fails."""
        try:
            try:
                self._transact(calls, trusting=True)
            except MisjudgedError:
                self._transact(calls, trusting=False)
        except Exception as error:  # noqa: BLE001 - whatever it is, it belongs to the callers
            if len(calls) == 1:
                calls[0].error = told(error)
                return
            for call in calls:
                self.serve([call])

    def _transact(self, calls: Sequence[Call], *, trusting: bool) -> None:
        with self._locked():
            transaction = Transaction(self._connection, self._place, self.policy, self._kept, trusting=trusting)
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                for verb, group in _by_verb(calls).items():
                    answers = verb(transaction, [call.argument for call in group])
                    for call, answer in zip(group, answers, strict=True):
                        call.answer = answer
                transaction.finish()
                self._connection.execute("COMMIT")
            except BaseException:
                self._roll_back()
                raise
        self._kept = transaction.kept
        for done in transaction.after:
            with suppress(OSError):  # a file that stays is swept at the next opening
                done()

    def _roll_back(self) -> None:
        # After some errors (disk full, I/O) SQLite has rolled back by itself.
        if self._connection.in_transaction:
            self._connection.execute("ROLLBACK")

    def close(self) -> None:
        """Close the connection and stop being an owner."""
        self._connection.close()
        self._place.stamp.close()
        self._owner.retire()
        self._lock.close()


def _by_verb(calls: Sequence[Call]) -> dict[Callable[..., Sequence[Any]], list[Call]]:
    """Return the calls by verb, in the order of their first call; all of them wait, so any order is right."""
    groups: dict[Callable[..., Sequence[Any]], list[Call]] = {}
    for call in calls:
        groups.setdefault(call.verb, []).append(call)
    return groups


def told(error: Exception) -> Exception:
    """Return the error that callers of the store see."""
    if isinstance(error, sqlite3.Error):
        code = getattr(error, "sqlite_errorcode", None)
        if code == sqlite3.SQLITE_FULL:
            return StoreFullError(f"the store cannot grow: {error}")
        if isinstance(error, sqlite3.OperationalError):
            return StoreFailedError(f"the store failed: {error}")
    if isinstance(error, OSError) and error.errno in _FULL:
        return StoreFullError(f"the store cannot grow: {error.strerror}")
    return error
