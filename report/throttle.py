"""Slows down who guesses passwords: by network address, by name, and by both.

Rules: pure, the time is an argument; memory is bounded. A name alone is given more tries and shorter waits, or
anybody could keep its owner out.
"""

from typing import Final

from storage.logins import Logins, client_of

_NAME_FREE: Final = 20
_NAME_WAIT_SECONDS: Final = 60.0


class Throttle:
    """Counts tries to log in."""

    __slots__ = ("_clients", "_names")

    def __init__(self) -> None:
        """Know nobody."""
        self._clients = Logins()
        self._names = Logins(free=_NAME_FREE, max_wait_seconds=_NAME_WAIT_SECONDS)

    def begin(self, name: str, address: str, now: float) -> bool:
        """Count a try; False where name or address still has to wait. Known and unknown names are treated alike."""
        return self._clients.begin(client_of(address), now) and self._names.begin(name, now)

    def succeeded(self, name: str, address: str) -> None:
        """Take back a try that was right."""
        self._clients.succeeded(client_of(address))
        self._names.succeeded(name)
