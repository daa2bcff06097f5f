"""What all sessions of a listener share: the limits and what is used of them, the certificate, who is there."""

import ssl
from typing import TYPE_CHECKING

from relay.receive.limits import Budget, Connections, Limits
from storage.logins import Logins

if TYPE_CHECKING:
    from relay.receive.wire import Wire


class Service:
    """The shared state of a listener; lives in one event loop."""

    def __init__(self, hostname: str, limits: Limits, tls: ssl.SSLContext | None) -> None:
        """Serve as `hostname`; `tls` None offers no TLS."""
        self.hostname = hostname
        self.limits = limits
        self.tls = tls
        """For connections and STARTTLS from now on; may be replaced."""
        self.budget = Budget(limits.max_bytes_in_flight)
        self.connections = Connections(limits.max_connections, limits.max_connections_per_client)
        self.logins = Logins()
        self.sessions: set[Wire] = set()
        self.draining = False
