"""Runs a program that asks the system's resolver, with records of our own in place of DNS.

    unshare --map-root-user --net --mount python with_dns.py RECORDS.json PROGRAM [ARGUMENT…]

In namespaces of its own, port 53 of 127.0.0.1 is free and /etc/resolv.conf can be another one; nothing outside
changes. RECORDS.json maps names to values of TXT records. Exits as the program does.
"""

import fcntl
import json
import socket
import struct
import subprocess
import sys
import tempfile
from pathlib import Path

# A script's own folder comes first on the path, and a file in this one bears a package's name.
sys.path[0] = str(Path(__file__).parents[2])

from tests.peers.dns import DnsServer  # noqa: E402 - see above

_SIOCSIFFLAGS, _IFF_UP, _IFF_RUNNING = 0x8914, 0x1, 0x40  # netdevice(7)


def main() -> None:
    records = json.loads(Path(sys.argv[1]).read_text())
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        fcntl.ioctl(any_socket, _SIOCSIFFLAGS, struct.pack("16sH14x", b"lo", _IFF_UP | _IFF_RUNNING))
    with tempfile.NamedTemporaryFile("w", suffix=".conf") as conf, DnsServer(port=53) as server:
        conf.write("nameserver 127.0.0.1\n")
        conf.flush()
        subprocess.run(["mount", "--bind", conf.name, "/etc/resolv.conf"], check=True)
        for name, value in records.items():
            strings = [f'"{value[cut : cut + 255]}"' for cut in range(0, len(value), 255)]
            server.add(name, "TXT", " ".join(strings))
        sys.exit(subprocess.run(sys.argv[2:], check=False).returncode)


if __name__ == "__main__":
    main()
