"""Who holds leases: one file a process in `state_dir/owners/`, locked as long as the process lives.

Rules: an owner is alive exactly as long as its file is locked (the kernel drops the lock at the
process's end, however it comes); ids are unique over processes, since each carries its owner's slot,
and no two living owners share one.
"""

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_SLOT_BITS: Final = 10
SLOTS: Final = 1 << _SLOT_BITS
SLOT_MASK: Final = SLOTS - 1


class WriteLock:
    """The lock that every writing process of a store takes in turn: a blocking flock on a file.

    Waiters are woken by the kernel; SQLite's own busy handler sleeps and polls.
    """

    def __init__(self, state_dir: Path) -> None:
        """Open the lock file; raises OSError."""
        self._file = os.open(state_dir / "write.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)

    def take(self) -> None:
        """Wait for the lock."""
        fcntl.flock(self._file, fcntl.LOCK_EX)

    def give(self) -> None:
        """Let others have it."""
        fcntl.flock(self._file, fcntl.LOCK_UN)

    def close(self) -> None:
        """Close the file; the lock is gone with it."""
        os.close(self._file)

    @contextmanager
    def held(self) -> Iterator[None]:
        """Hold the lock for a block."""
        self.take()
        try:
            yield
        finally:
            self.give()


class Ids:
    """New ids: microseconds since the epoch, shifted left by the bits of the owner's slot, and the slot.

    They rise within one object, are unique over owners, and stay below 2^63 until the year 2255. For
    one thread only.
    """

    def __init__(self, owner: int) -> None:
        """Begin above the owner's own id."""
        self._last = owner >> _SLOT_BITS
        self._slot = owner & SLOT_MASK

    def next(self) -> int:
        """Return a new id."""
        now_us = time.time_ns() // 1000
        # A clock that stands or goes back must not repeat an id.
        self._last = now_us if now_us > self._last else self._last + 1
        return self._last << _SLOT_BITS | self._slot


@dataclass(frozen=True, slots=True)
class Owner:
    """This process (or one store in it) as a holder of leases."""

    id: int
    path: Path
    file: int

    def retire(self) -> None:
        """Take the owner's file away; the lock goes last, so that nobody meets the file unlocked."""
        self.path.unlink(missing_ok=True)
        os.close(self.file)


def register(state_dir: Path, highest_id: int) -> Owner:
    """Become an owner with a slot that no other has and ids above `highest_id`.

    A dead owner's slot is free again only after its leases were given back (`forget`). The caller
    holds the write lock. Raises OSError, also where all slots are taken.
    """
    directory = state_dir / "owners"
    directory.mkdir(mode=0o700, exist_ok=True)
    taken = {owner & SLOT_MASK for owner in listed(directory)}
    slot = next((slot for slot in range(SLOTS) if slot not in taken), None)
    if slot is None:
        raise OSError(f"{directory} lists {SLOTS} owners: no more can open the store")
    # A clock that went back since the last run must not lead to ids that are stored already.
    id_ = max(time.time_ns() // 1000, (highest_id >> _SLOT_BITS) + 1) << _SLOT_BITS | slot
    path = directory / str(id_)
    file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    fcntl.flock(file, fcntl.LOCK_EX)
    return Owner(id_, path, file)


def ms_of(id_: int) -> int:
    """Return when an id was made, in milliseconds since the epoch."""
    return (id_ >> _SLOT_BITS) // 1000


def lowest_id_at(at_ms: int) -> int:
    """Return an id below all that were made from a time on, in milliseconds since the epoch."""
    return at_ms * 1000 << _SLOT_BITS


def slot_of(owner: int) -> int:
    """Return the slot: the low bits of all ids and leases of this owner."""
    return owner & SLOT_MASK


def listed(directory: Path) -> list[int]:
    """Return the owners that have a file, dead or alive."""
    names = [path.name for path in directory.iterdir()]
    return [int(name) for name in names if name.isascii() and name.isdigit()]


def dead(state_dir: Path) -> list[int]:
    """Return the owners whose process is gone. The caller holds the write lock."""
    directory = state_dir / "owners"
    return [owner for owner in listed(directory) if not _locked(directory / str(owner))]


def living(state_dir: Path) -> set[int]:
    """Return the owners whose process lives. The caller holds the write lock."""
    directory = state_dir / "owners"
    return {owner for owner in listed(directory) if _locked(directory / str(owner))}


def lives(state_dir: Path, owner: int) -> bool:
    """Return whether an owner's process lives; needs no lock, and disturbs nobody for long. Raises PermissionError."""
    try:
        file = os.open(state_dir / "owners" / str(owner), os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(file)
    return False


def _locked(path: Path) -> bool:
    try:
        file = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(file)
    return False


def forget(state_dir: Path, owner: int) -> None:
    """Remove a dead owner's file, after its leases were given back."""
    (state_dir / "owners" / str(owner)).unlink(missing_ok=True)
