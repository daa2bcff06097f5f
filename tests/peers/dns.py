"""A DNS server on loopback, UDP and TCP on one port, that answers as it is told; in a thread of its own.

    with DnsServer() as dns:
        dns.add("example.test", "MX", "10 mx.example.test.")
        dns.add("mx.example.test", "A", "127.0.0.2")
        dns.servfail("broken.test")
        dns.secure("example.test")     # DNSSEC: what is there and below carries the AD bit
        ... dns.endpoint ...           # "127.0.0.1:54321", for `[dns] nameservers`
        assert dns.asked == [("example.test", "MX")]

Names are in lower case without the final dot. A name that was never mentioned does not exist (NXDOMAIN, with
an SOA); a name that has records, but none of the type asked for, answers "no such data". Rules hold for a
name, whatever type is asked for; they may be changed at any time.
"""

import contextlib
import select
import socket
import struct
import threading
from collections import defaultdict
from typing import Self

import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdatatype
import dns.rrset

_SOA_TTL = 300


class DnsServer:
    """Answers questions; use it as a context manager."""

    def __init__(self, address: str = "127.0.0.1", port: int = 0) -> None:
        self._address = address
        self._records: dict[str, dict[str, tuple[int, list[str]]]] = defaultdict(dict)
        self._rules: dict[str, str] = {}
        self._secure: set[str] = set()
        self.exactly = False
        """Whether what is secure is the name alone, and nothing below it."""
        self.asked: list[tuple[str, str]] = []
        """Each question that came: (name, type), retries and both transports counted."""
        self.over_tcp: list[tuple[str, str]] = []
        """Those of them that came over TCP."""
        self._wanted_port = port
        self.port = port

    # What to answer.

    def add(self, name: str, kind: str, *values: str, ttl: int = 60) -> None:
        """Set the records of a name and type ("MX", "10 mx.example.test."); no values: the name exists, empty."""
        self._records[name][kind] = (ttl, list(values))

    def mx(self, domain: str, *hosts: str, ttl: int = 60) -> None:
        """Set MX records "10 host", or "host" alone for preference 10."""
        values = [host if " " in host else f"10 {host}" for host in hosts]
        self.add(domain, "MX", *(value if value.endswith(".") else f"{value}." for value in values), ttl=ttl)

    def forget(self, name: str) -> None:
        """Make a name not exist, and lift its rule."""
        self._records.pop(name, None)
        self._rules.pop(name, None)

    def servfail(self, name: str) -> None:
        """Answer SERVFAIL."""
        self._rules[name] = "servfail"

    def refuse(self, name: str) -> None:
        """Answer REFUSED."""
        self._rules[name] = "refused"

    def drop(self, name: str) -> None:
        """Never answer."""
        self._rules[name] = "drop"

    def truncate(self, name: str) -> None:
        """Answer over UDP with the TC bit and no records, over TCP in full."""
        self._rules[name] = "truncate"

    def garbage(self, name: str) -> None:
        """Answer with bytes that are no DNS message."""
        self._rules[name] = "garbage"

    def alias_alone(self, name: str) -> None:
        """Answer a CNAME without its target's records."""
        self._rules[name] = "alias"

    def secure(self, *names: str) -> None:
        """Vouch (the AD bit) for these names and all below them, where the question asks for it."""
        self._secure.update(names)

    def insecure(self, name: str) -> None:
        """Undo `secure`."""
        self._secure.discard(name)

    def _vouches(self, name: str) -> bool:
        return any(name == each or (not self.exactly and name.endswith(f".{each}")) for each in self._secure)

    @property
    def endpoint(self) -> str:
        """`host:port`."""
        return f"{self._address}:{self.port}"

    # Its life.

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        while True:
            self._tcp = socket.create_server((self._address, self._wanted_port))
            self.port = self._tcp.getsockname()[1]
            self._udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            try:
                self._udp.bind((self._address, self.port))
            except OSError:
                # Free for TCP, and another's for UDP: where any port will do, take another one.
                self._tcp.close()
                self._udp.close()
                if self._wanted_port:
                    raise
            else:
                break
        self._bell, self._rope = socket.socketpair()
        self._thread = threading.Thread(target=self._run, name="dns-peer", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._rope.close()
        self._thread.join()
        for each in (self._tcp, self._udp, self._bell):
            each.close()

    def _run(self) -> None:
        while True:
            ready, _, _ = select.select([self._tcp, self._udp, self._bell], [], [])
            if self._bell in ready:
                return
            if self._udp in ready:
                wire, peer = self._udp.recvfrom(65535)
                if answer := self._answer(wire, tcp=False):
                    self._udp.sendto(answer, peer)
            if self._tcp in ready:
                connection, _ = self._tcp.accept()
                with connection, contextlib.suppress(OSError, struct.error):
                    self._converse(connection)

    def _converse(self, connection: socket.socket) -> None:
        connection.settimeout(2)
        (length,) = struct.unpack("!H", connection.recv(2, socket.MSG_WAITALL))
        if answer := self._answer(connection.recv(length, socket.MSG_WAITALL), tcp=True):
            connection.sendall(struct.pack("!H", len(answer)) + answer)

    def _answer(self, wire: bytes, *, tcp: bool) -> bytes | None:
        query = dns.message.from_wire(wire)
        question = query.question[0]
        name = question.name.to_text(omit_final_dot=True).lower()
        kind = dns.rdatatype.to_text(question.rdtype)
        self.asked.append((name, kind))
        if tcp:
            self.over_tcp.append((name, kind))
        rule = self._rules.get(name)
        if rule == "drop":
            return None
        if rule == "garbage":
            return wire[:2] + b"\xff" * 40
        response = dns.message.make_response(query)
        response.flags |= dns.flags.RA
        if rule in {"servfail", "refused"}:
            response.set_rcode(dns.rcode.SERVFAIL if rule == "servfail" else dns.rcode.REFUSED)
        elif rule == "truncate" and not tcp:
            response.flags |= dns.flags.TC
        else:
            names = self._fill(response, name, kind, follow=rule != "alias")
            if query.flags & dns.flags.AD and all(map(self._vouches, names)):
                response.flags |= dns.flags.AD
        return response.to_wire(max_size=65535)

    def _fill(self, response: dns.message.Message, name: str, kind: str, *, follow: bool) -> set[str]:
        """Put what there is; returns the names that were met on the way."""
        met: set[str] = set()
        while name not in met and kind not in self._records.get(name, {}) and "CNAME" in self._records.get(name, {}):
            met.add(name)
            self._put(response, name, "CNAME")
            if not follow:
                return met
            name = self._records[name]["CNAME"][1][0].rstrip(".").lower()
        if name not in self._records:
            response.set_rcode(dns.rcode.NXDOMAIN)
        if self._records.get(name, {}).get(kind, (0, []))[1]:
            self._put(response, name, kind)
        elif name not in met:
            soa = f"ns.{name or 'root'}. hostmaster.{name or 'root'}. 1 3600 600 86400 {_SOA_TTL}"
            response.authority.append(dns.rrset.from_text(f"{name}.", _SOA_TTL, "IN", "SOA", soa))
        return {*met, name}

    def _put(self, response: dns.message.Message, name: str, kind: str) -> None:
        ttl, values = self._records[name][kind]
        response.answer.append(dns.rrset.from_text(f"{name}.", ttl, "IN", kind, *values))
