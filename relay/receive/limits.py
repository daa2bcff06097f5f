"""What one client, or all of them together, may ask of a worker: connections, memory, tries to log in.

Rules: pure, the time is an argument; every table is bounded. An IPv6 client is its /64, since that is the
least that one customer is given.
"""

import ipaddress
from collections import OrderedDict
from dataclasses import dataclass
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


@dataclass(frozen=True, slots=True)
class Limits:
    """The limits of a listener's sessions; times in seconds, sizes in bytes."""

    max_message_bytes: int
    max_recipients: int
    max_connections: int
    max_connections_per_client: int
    max_bytes_in_flight: int
    command_timeout: float
    data_timeout: float
    data_grace: float = 600
    """A message may take this long, and `1 / data_bytes_per_second` more for each byte that came."""
    data_bytes_per_second: float = 1024
    """Slower than this on average, and a client only holds a place (a GPRS telephone sends some 3,000)."""
    tls_timeout: float = 30
    max_junk: int = 100
    """Commands that move nothing, between two messages; as Postfix's smtpd_junk_command_limit."""
    max_logins: int = 3
    """Failed AUTH of one session."""


class Budget:
    """A bound on bytes that all sessions share."""

    __slots__ = ("max_bytes", "used")

    def __init__(self, max_bytes: int) -> None:
        """Allow `max_bytes` in all."""
        self.max_bytes = max_bytes
        self.used = 0

    def take(self, size: int) -> bool:
        """Charge `size` bytes; False, and nothing charged, where there is no room."""
        if self.used + size > self.max_bytes:
            return False
        self.used += size
        return True

    def give(self, size: int) -> None:
        """Give back `size` bytes that were charged."""
        self.used -= size

    def has_room(self, size: int) -> bool:
        """Return whether `size` bytes could be charged now."""
        return self.used + size <= self.max_bytes


class Connections:
    """Counts connections, in all and of each client."""

    __slots__ = ("_max_all", "_max_client", "_of_client", "total")

    def __init__(self, max_all: int, max_client: int) -> None:
        """Allow `max_all` connections, `max_client` of one client."""
        self._max_all = max_all
        self._max_client = max_client
        self._of_client: dict[str, int] = {}
        self.total = 0

    def enter(self, client: str) -> bool:
        """Count a connection of `client`; False, and nothing counted, where it is one too many."""
        count = self._of_client.get(client, 0)
        if self.total >= self._max_all or count >= self._max_client:
            return False
        self._of_client[client] = count + 1
        self.total += 1
        return True

    def leave(self, client: str) -> None:
        """Undo one `enter` that was True."""
        self.total -= 1
        count = self._of_client[client] - 1
        if count:
            self._of_client[client] = count
        else:
            del self._of_client[client]


class Logins:
    """Slows a client down that guesses passwords: after a few failures each one doubles its wait.

    A try counts as a failure from its beginning, so that many at once gain nothing; a success takes back
    its own try only, or one known password would pay for guessing others.
    """

    FREE: Final = 5
    MAX_WAIT_SECONDS: Final = 900.0
    FORGET_SECONDS: Final = 3600.0
    MAX_CLIENTS: Final = 10_000

    __slots__ = ("_tries",)

    def __init__(self) -> None:
        """Know nobody."""
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
        excess = min(failures - self.FREE, 16)
        return min(float(1 << excess), self.MAX_WAIT_SECONDS) if excess >= 0 else 0.0
