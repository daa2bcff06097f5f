"""What one client, or all of them together, may ask of a worker: connections, memory.

Rules: pure; every table is bounded.
"""

from dataclasses import dataclass


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
