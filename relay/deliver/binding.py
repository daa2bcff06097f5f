"""Connections that come from an address of ours that the operator chose.

Rule: an address that is none of this host's is told in a sentence, wherever it is met first.
"""

import errno
import os
import socket


def bind(sock: socket.socket, own: str) -> None:
    """Let a connection come from `own`; raises OSError.

    The kernel chooses a port once it knows the other end, so that one port of ours may serve many servers (ip(7)).
    """
    sock.setsockopt(socket.IPPROTO_IP, socket.IP_BIND_ADDRESS_NO_PORT, 1)
    sock.bind((own, 0))


def why_not(error: OSError) -> str:
    """Return why an address could not be bound, in a few words."""
    if error.errno == errno.EADDRNOTAVAIL:
        return "it is no address of this host"
    return os.strerror(error.errno).lower() if error.errno else str(error)


def trouble_with(own: str) -> str:
    """Return why nothing can be sent from an address, "" where it can; nothing is sent."""
    try:
        with socket.socket(socket.AF_INET6 if ":" in own else socket.AF_INET, socket.SOCK_STREAM) as trial:
            bind(trial, own)
    except OSError as error:
        return why_not(error)
    return ""
