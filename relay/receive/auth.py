"""AUTH: who may submit, by the users' names and passwords.

Rule: the reply tells nobody whether a name is known.
"""

import time
from collections.abc import Callable
from types import MappingProxyType
from typing import Final

from relay.receive import replies
from storage.access import Role
from storage.model import Reply, User
from storage.passwords import Passwords, Unproven, Users

_REFUSALS: Final = MappingProxyType({Unproven.WRONG: replies.WRONG_CREDENTIALS, Unproven.BUSY: replies.AUTH_BUSY})


class Authenticator:
    """Says who may submit mail; one object a process."""

    def __init__(self, users: Users, clock: Callable[[], float] = time.monotonic) -> None:
        """Look users up in `users`; `clock` gives seconds."""
        self._passwords = Passwords(users, clock)

    async def verify(self, name: str, password: str) -> User | Reply:
        """Return the user, or the refusal to answer AUTH with. Raises what the look-up raises."""
        found = await self._passwords.verify(name, password)
        if isinstance(found, Unproven):
            return _REFUSALS[found]
        return replies.READS_ONLY if found.role is Role.VIEWER else found

    async def still(self, user: User) -> User | Reply:
        """Return a user who was verified before, as the user is now, or the refusal. Raises what the look-up raises."""
        found = await self._passwords.still(user)
        if found is None:
            return replies.WRONG_CREDENTIALS
        return replies.READS_ONLY if found.role is Role.VIEWER else found
