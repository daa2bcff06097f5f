"""Tells systemd how the service is (sd_notify(3)): a datagram to $NOTIFY_SOCKET, nothing where there is none."""

import os
import socket
import time
from collections.abc import Mapping


def notify(*lines: str, environ: Mapping[str, str] = os.environ) -> bool:
    """Send lines such as "READY=1"; return whether they went out. A service manager that is gone is no error."""
    address = environ.get("NOTIFY_SOCKET", "")
    if not address.startswith(("/", "@")):
        return False
    if address.startswith("@"):  # an abstract socket (unix(7))
        address = "\0" + address[1:]
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as out:
        try:
            out.sendto("\n".join(lines).encode(), address)
        except OSError:
            return False
    return True


def reloading() -> tuple[str, str]:
    """Return the lines that announce a reload (Type=notify-reload wants the time too)."""
    return "RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}"


def watchdog_seconds(environ: Mapping[str, str] = os.environ, pid: int | None = None) -> float | None:
    """Return how often to send WATCHDOG=1 (half of what systemd allows); None where nobody watches this process."""
    allowed = environ.get("WATCHDOG_USEC", "")
    meant = environ.get("WATCHDOG_PID", "")
    if not allowed.isdecimal() or not int(allowed) or (meant and meant != str(pid or os.getpid())):
        return None
    return int(allowed) / 2_000_000
