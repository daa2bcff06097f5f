"""One `telltale serve` a part and state directory: a lock that the kernel drops with the process, however it ends."""

import fcntl
import os
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from telltale.errors import FailureError

_FOLDER = "serve"


@contextmanager
def locked(state_dir: Path, parts: Iterable[str]) -> Iterator[None]:
    """Hold the locks of `parts` in `state_dir`; raises FailureError where another process holds one."""
    with ExitStack() as held:
        for part in parts:
            held.enter_context(_one(state_dir, part))
        yield


@contextmanager
def _one(state_dir: Path, part: str) -> Iterator[None]:
    folder = state_dir / _FOLDER
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    file = os.open(folder / f"{part}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise FailureError(_held(state_dir, part, os.pread(file, 20, 0))) from None
        os.ftruncate(file, 0)
        os.pwrite(file, b"%d" % os.getpid(), 0)
        yield
    finally:
        os.close(file)


def _held(state_dir: Path, part: str, pid: bytes) -> str:
    by = f" (process {int(pid)})" if pid.isdigit() else ""
    return f"another telltale{by} runs the {part} on {state_dir}; stop it first, or set another server.state_dir"
