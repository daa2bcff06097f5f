"""Who may try to log in, and when: what slows down who guesses passwords.

Rules: pure, the time is an argument; the table is bounded. An IPv6 client is its /64, since that is the
least that one customer is given.
"""

import ipaddress
from collections import OrderedDict
from typing import Final

_CLIENT_PREFIX_BITS: Final = 64


def client_of(address: str) -> str:
    """Return what a peer's address is counted as: itself, or the /64 of an IPv6 address."""
    if ":" not in address:
        return address
    try:
        parsed = ipaddress.IPv6Address(address.partition("%")[0])
    except ValueError:
        return address
    if parsed.ipv4_mapped:
        return str(parsed.ipv4_mapped)
    return str(ipaddress.IPv6Network((parsed, _CLIENT_PREFIX_BITS), strict=False))


class Logins:
    """Slows a client down that guesses passwords: after a few failures each one doubles its wait.

    A try counts as a failure from its beginning, so that many at once gain nothing; a success takes back
    its own try only, or one known password would pay for guessing others.
    """

    FREE: Final = 5
    MAX_WAIT_SECONDS: Final = 900.0
    FORGET_SECONDS: Final = 3600.0
    MAX_CLIENTS: Final = 10_000

    __slots__ = ("_free", "_max_wait_seconds", "_tries")

    def __init__(self, *, free: int = FREE, max_wait_seconds: float = MAX_WAIT_SECONDS) -> None:
        """Know nobody; let `free` failures pass at once, and nobody wait longer than `max_wait_seconds`."""
        self._free = free
        self._max_wait_seconds = max_wait_seconds
        self._tries: OrderedDict[str, tuple[int, float]] = OrderedDict()

    def begin(self, client: str, now: float) -> bool:
        """Count a try of `client`; False, and nothing counted, where it still has to wait."""
        failures, last = self._tries.get(client, (0, now))
        if now - last >= self.FORGET_SECONDS:
            failures = 0
        if now < last + self._wait(failures):
            return False
        self._tries[client] = (failures + 1, now)
        self._tries.move_to_end(client)
        if len(self._tries) > self.MAX_CLIENTS:
            self._tries.popitem(last=False)
        return True

    def succeeded(self, client: str) -> None:
        """Take back a try of `client`."""
        failures, last = self._tries.get(client, (1, 0.0))
        if failures > 1:
            self._tries[client] = (failures - 1, last)
        else:
            self._tries.pop(client, None)

    def _wait(self, failures: int) -> float:
        # The exponent is bounded, or the power would be a number of thousands of digits.
        excess = min(failures - self._free, 16)
        return min(float(1 << excess), self._max_wait_seconds) if excess >= 0 else 0.0
