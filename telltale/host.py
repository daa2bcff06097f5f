"""What this machine is called."""

import socket


def machine_name() -> str:
    """Return the machine's full name where it has one, else its short one; may ask the resolver."""
    name = socket.gethostname()
    if "." in name:
        return name
    full = socket.getfqdn(name)
    # /etc/hosts of containers and fresh installations often leads to "localhost", which is nobody's name.
    return full if "." in full and not full.startswith("localhost") else name
