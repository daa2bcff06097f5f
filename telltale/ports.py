"""Whether all that the configuration listens on can be had, asked before anything starts.

The relay's workers share their ports (SO_REUSEPORT), so a second installation of the same user would
silently take half of the first one's connections: here the ports are asked for alone.
"""

import errno
import os
import socket
import time
from collections.abc import Iterable
from typing import Final

from storage.settings import Endpoint
from telltale.errors import FailureError

# Parts whose supervisor was killed close their listeners at once, but not in no time.
PATIENCE_SECONDS: Final = 1.0
_PAUSE_SECONDS: Final = 0.05


def check_ports(wanted: Iterable[tuple[str, Endpoint]], patience_seconds: float = PATIENCE_SECONDS) -> None:
    """Raise FailureError, one sentence each, for the (configuration key, endpoint) pairs that cannot be had."""
    last = time.monotonic() + patience_seconds
    told = [_trouble(key, endpoint, last) for key, endpoint in wanted]
    if sentences := [sentence for sentence in told if sentence]:
        raise FailureError("\n".join(sentences))


def _trouble(key: str, endpoint: Endpoint, last: float) -> str | None:
    while True:
        try:
            _bind(endpoint)
        except OSError as error:
            if error.errno != errno.EADDRINUSE or time.monotonic() >= last:
                return f"{key}: cannot listen on {endpoint}: {_why(error, endpoint)}"
            time.sleep(_PAUSE_SECONDS)
        else:
            return None


def _bind(endpoint: Endpoint) -> None:
    found = socket.getaddrinfo(endpoint.host or None, endpoint.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    for family, kind, protocol, _, address in found:
        with socket.socket(family, kind, protocol) as trial:
            trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                trial.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            trial.bind(address)


def _why(error: OSError, endpoint: Endpoint) -> str:
    if isinstance(error, socket.gaierror):
        return f"the name {endpoint.host} has no address"
    if error.errno == errno.EADDRINUSE:
        return "another program listens there"
    if error.errno == errno.EACCES:
        return "ports below 1024 need root or CAP_NET_BIND_SERVICE"
    if error.errno == errno.EADDRNOTAVAIL:
        return "this machine has no such address"
    return os.strerror(error.errno) if error.errno else str(error)
