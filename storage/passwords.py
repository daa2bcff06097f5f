"""Who is who: names and passwords against the users' argon2id hashes, off the event loop.

Rules: an unknown name costs what a known one costs; no password is kept, in memory neither; a changed or removed
password counts at once, since the user is looked up each time and the hash is part of what is remembered.
"""

import asyncio
import hmac
import secrets
import time
from base64 import b64encode
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from enum import Enum, auto
from typing import Final, Protocol

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from storage.model import User

MAX_NAME_CHARS: Final = 256
MAX_PASSWORD_CHARS: Final = 1024

# One verification takes some 50 ms and 64 MiB. Clients with a connection a message would pay that for each.
_REMEMBER_SECONDS: Final = 300.0
_REMEMBERED: Final = 4096
_THREADS: Final = 2
# Past this the wait would be longer than clients' patience (2 threads, 50 ms: 3 s).
_MAX_WAITING: Final = 128

_HASHER: Final = PasswordHasher()  # RFC 9106, 4, second recommended option: argon2id, t=3, 64 MiB, p=4


def hash_password(password: str) -> str:
    """Return the argon2id hash of `password` in PHC form; takes some 50 ms."""
    return _HASHER.hash(password)


class Users(Protocol):
    """Where users are looked up: a `storage.reader.Reader`."""

    async def user(self, name: str) -> User | None:
        """Return a user; None where there is no such user."""


class Unproven(Enum):
    """Why a name and a password prove nobody."""

    WRONG = auto()
    """No such user, or another password: nobody is told which."""
    BUSY = auto()
    """Too many are being verified at once; the same may work later."""


class Passwords:
    """Verifies names and passwords; one object a process."""

    def __init__(self, users: Users, clock: Callable[[], float] = time.monotonic) -> None:
        """Look users up in `users`; `clock` gives seconds."""
        self._users = users
        self._clock = clock
        self._key = secrets.token_bytes(32)
        self._nobody = _hash_of_nobody()
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="argon2")
        self._proven: OrderedDict[bytes, float] = OrderedDict()
        self._running: dict[bytes, asyncio.Future[bool]] = {}

    async def verify(self, name: str, password: str) -> User | Unproven:
        """Return the user, or why it is none. Raises what the look-up raises."""
        if len(name) > MAX_NAME_CHARS or len(password) > MAX_PASSWORD_CHARS:
            return Unproven.WRONG
        user = await self._users.user(name)
        stored = user.password_hash if user else self._nobody
        proof = self._proof(name, password, stored)
        if not self._remembers(proof):
            matches = await self._verify(proof, stored, password)
            if matches is None:
                return Unproven.BUSY
            if not matches:
                return Unproven.WRONG
        # Nothing matches the hash of nobody, so a proof means a user; the type checker cannot know.
        return user or Unproven.WRONG

    async def still(self, proven: User) -> User | None:
        """Return the user that somebody proved to be, as the user is now; None: removed, or with another password."""
        user = await self._users.user(proven.name)
        return user if user is not None and user.password_hash == proven.password_hash else None

    async def hashed(self, password: str) -> str:
        """Return `hash_password(password)` without keeping the event loop."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, hash_password, password)

    async def _verify(self, proof: bytes, stored: str, password: str) -> bool | None:
        running = self._running.get(proof)
        if running is None:
            if len(self._running) >= _MAX_WAITING:
                return None
            running = asyncio.get_running_loop().run_in_executor(self._threads, _matches, stored, password)
            self._running[proof] = running
            running.add_done_callback(lambda done: self._finished(proof, done))
        # Shielded: another session may wait for the same, and one that goes away must not stop it.
        return await asyncio.shield(running)

    def _finished(self, proof: bytes, done: asyncio.Future[bool]) -> None:
        del self._running[proof]
        if not done.cancelled() and not done.exception() and done.result():
            self._proven[proof] = self._clock() + _REMEMBER_SECONDS
            if len(self._proven) > _REMEMBERED:
                self._proven.popitem(last=False)

    def _remembers(self, proof: bytes) -> bool:
        until = self._proven.get(proof)
        if until is not None and until <= self._clock():
            del self._proven[proof]
            return False
        return until is not None

    def _proof(self, name: str, password: str, stored: str) -> bytes:
        """Return what proves these three without telling them: a MAC under a key that lives as long as we do."""
        parts = [part.encode("utf-8", "surrogatepass") for part in (name, password, stored)]
        return hmac.digest(self._key, b"".join(len(part).to_bytes(4, "big") + part for part in parts), "sha256")


def _matches(stored: str, password: str) -> bool:
    try:
        return _HASHER.verify(stored, password)
    except (VerificationError, InvalidHashError):
        return False


def _hash_of_nobody() -> str:
    """Return a hash with today's parameters that no password has: the cost of a look at an unknown user."""
    at = _HASHER
    salt, digest = (b64encode(secrets.token_bytes(size)).decode().rstrip("=") for size in (at.salt_len, at.hash_len))
    return f"$argon2id$v=19$m={at.memory_cost},t={at.time_cost},p={at.parallelism}${salt}${digest}"
