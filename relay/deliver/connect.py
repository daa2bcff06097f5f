"""From a destination to a connection that is ready for MAIL: hosts and addresses in order, and what TLS must come to.

On a socket that we connected, `greet.py` speaks up to MAIL; from there on `client.py` has the transport. Rule: what
fails comes back as a Failure, with the phase and the server's words.
"""

import asyncio
import ipaddress
import os
import socket
import ssl
from collections import OrderedDict
from collections.abc import Callable, Collection
from dataclasses import dataclass, field, replace
from typing import Final, cast

from relay.deliver import tls
from relay.deliver.binding import bind, why_not
from relay.deliver.client import Extensions, Session, Timeouts
from relay.deliver.demand import Demand, Proof, Tlsas, demand
from relay.deliver.destination import Destination
from relay.deliver.dns import Resolver
from relay.deliver.failure import FailureType, Mishap
from relay.deliver.greet import WHILE, Smtp, StopError, greet
from relay.deliver.mx import Found, in_turn
from relay.deliver.reply import ours
from relay.deliver.source import Source
from relay.deliver.tls import TlsClient
from relay.deliver.tlsa import tlsas
from storage.model import Phase, Reply
from storage.reach import is_public

# As Postfix's smtp_mx_address_limit.
MAX_ADDRESSES: Final = 5
# As Postfix's smtp_mx_session_limit: servers that took the connection and then failed; each may take minutes.
MAX_SESSIONS: Final = 2
# An address that did not let us connect is asked after the others for so long.
_LAST_SECONDS: Final = 300.0
_ADDRESSES_KEPT: Final = 10_000
# Of a failure's words, in a report to the domain.
_SHOWN: Final = 200


@dataclass(frozen=True, slots=True)
class Failure:
    """Why there is no connection."""

    reply: Reply
    phase: Phase
    host: str | None = None
    address: str | None = None
    source: str | None = None
    """The address of ours that it was tried from, where one was chosen."""
    own: str = ""
    """The address of ours that it was tried from; "" where no connection was made."""
    trouble: FailureType | None = None
    """What was wrong with TLS, where it was that."""
    mishaps: tuple[Mishap, ...] = ()
    """All that went wrong with TLS before we gave up."""

    @property
    def final(self) -> bool:
        """Whether no later try can do better: our own words, a permanent fact of DNS."""
        return not self.reply.code and (self.reply.enhanced or "").startswith("5")


@dataclass(slots=True, eq=False)
class Connection:
    """A server that waits for MAIL."""

    session: Session
    host: str
    address: str
    tls: str | None
    born: float
    used: int = 0
    """Transactions begun."""
    served: bool = False
    """Whether the server gave an answer that spoke of the mail, not of itself."""
    spent: bool = False
    """Whether no further transaction should be begun."""
    source: str | None = None
    """The address of ours that it comes from, where one was chosen."""
    own: str = ""
    """The address of ours that it comes from."""
    other_four: bool = False
    """Whether it went to an IPv6 address and the host has an IPv4 address, too."""
    secured: tuple[ssl.SSLObject, Demand] | None = None
    """Its TLS, and what that was to come to."""
    as_asked: bool = False
    """Whether TLS came to what was asked for first."""
    mishaps: tuple[Mishap, ...] = ()
    """What went wrong with TLS before, on the way to this connection."""
    counted: set[str] = field(default_factory=set)
    """Domains that it was counted for (`tally.py`)."""

    def keep_tls_session(self) -> None:
        """Let the next connection to this server resume this one's TLS."""
        if self.secured is not None:
            tls.keep(*self.secured)


class Dialer:
    """Opens connections for all sites."""

    def __init__(
        self,
        resolver: Resolver,
        tls_client: TlsClient,
        *,
        ehlo_name: str,
        timeouts: Timeouts,
        chance: Callable[[], float],
        clock: Callable[[], float],
    ) -> None:
        """`ehlo_name` is our name; `chance` gives 0 … 1; `clock` counts seconds."""
        self._resolver = resolver
        self._tls = tls_client
        self._ehlo_name = ehlo_name
        self._timeouts = timeouts
        self._chance = chance
        self._clock = clock
        self._unreached: OrderedDict[str, float] = OrderedDict()

    async def dial(
        self, destination: Destination, avoided: Collection[str] = (), *, without_six: bool = False
    ) -> Connection | Failure:
        """Return a connection to the first host that takes us, in RFC 5321, 5.1's order; those `avoided` last.

        `without_six`: to no IPv6 address of a host that has an IPv4 address.
        """
        mishaps: list[Mishap] = []
        dialed = await self._dial(destination, avoided, mishaps, without_six=without_six)
        if isinstance(dialed, Failure):
            return replace(dialed, mishaps=tuple(mishaps)) if mishaps else dialed
        dialed.mishaps = tuple(mishaps)
        return dialed

    async def _dial(
        self, destination: Destination, avoided: Collection[str], mishaps: list[Mishap], *, without_six: bool
    ) -> Connection | Failure:
        hosts = destination.hosts.in_order(self._chance)
        hosts.sort(key=lambda host: host in avoided)
        failure: Failure | None = None
        tries_left, sessions_left = MAX_ADDRESSES, MAX_SESSIONS
        for host in hosts:
            addresses = await self._addresses(host, destination)
            if isinstance(addresses, Reply):
                failure = _worse(failure, Failure(addresses, Phase.DNS, host))
                continue
            asked = await self._asked(destination, host)
            if isinstance(asked, Failure):
                mishaps.append(_mishap(asked, host))
                failure = _worse(failure, asked)
                continue
            fours = [address for address in addresses if ":" not in address]
            for address in (fours or addresses if without_six else addresses)[:tries_left]:
                tries_left -= 1
                tried = await self._open(destination, host, address, asked, mishaps)
                if isinstance(tried, Connection):
                    tried.other_four = ":" in address and bool(fours)
                    return tried
                failure = _worse(failure, tried)
                sessions_left -= tried.phase is not Phase.CONNECT
                if not sessions_left:
                    return failure
        return failure or Failure(ours("5.4.4", "there is no mail host"), Phase.DNS)

    async def _addresses(self, host: str, destination: Destination) -> list[str] | Reply:
        """Return the addresses of a host in the order to try them, or our words why there are none."""
        if _is_address(host):
            found = [host]
        else:
            answer = await self._resolver.addresses(host)
            if answer.found is Found.TROUBLE:
                return ours("4.4.3", f"address lookup of {host} failed: {answer.why}")
            found = in_turn(answer.addresses)
            if not found and not destination.final_hop:
                found = await self._system_addresses(host)
            if not found:
                # A route that names no host is the operator's mistake: nobody's mail ends for that.
                enhanced = "5.4.4" if destination.final_hop else "4.4.4"
                return ours(enhanced, f"mail host {host} has no address ({answer.found})")
        allowed = [address for address in found if destination.any_address or is_public(address)]
        if not allowed:
            return ours("5.7.1", f"mail host {host} has private addresses only ({found[0]}); they are not connected to")
        source = destination.source
        if source is not None:
            allowed = [address for address in allowed if source.towards(address) is not None]
            if not allowed:
                family = "an IPv6" if source.six is None else "an IPv4"
                return ours(
                    "4.4.4",
                    f"mail host {host} is reached from {family} address only: {source.name} has none",
                )
        now = self._clock()
        return sorted(allowed, key=lambda address: self._unreached.get(address, 0.0) > now)

    async def _system_addresses(self, host: str) -> list[str]:
        """Return what this system calls `host`: an operator may name a machine as /etc/hosts does."""
        try:
            found = await asyncio.get_running_loop().getaddrinfo(host, None, type=socket.SOCK_STREAM)
        except OSError:
            return []
        return in_turn(list(dict.fromkeys(cast("str", info[4][0]) for info in found)))

    async def _asked(self, destination: Destination, host: str) -> Demand | Failure:
        """Return what TLS with a host must come to, or why the host must not be used."""
        found: Tlsas | Reply | None = None
        if destination.dane and not _is_address(host):
            found = await tlsas(self._resolver, host, destination.port)
        if isinstance(found, Reply):
            return Failure(found, Phase.DNS, host, trouble=FailureType.DNSSEC_INVALID)
        asked = demand(destination, host, found)
        if isinstance(asked, Demand):
            return asked
        return Failure(ours("4.7.5", asked.text), Phase.TLS, host, trouble=asked.failure)

    async def _open(
        self, destination: Destination, host: str, address: str, first: Demand, mishaps: list[Mishap]
    ) -> Connection | Failure:
        asked, known = self._tls.asked(host, first)
        mishaps += known
        while True:
            opened = await self._try(destination, host, address, asked)
            if isinstance(opened, Connection):
                opened.as_asked = asked is first
                if opened.secured is None and asked.proof is not None:
                    mishaps.append(Mishap(FailureType.NO_STARTTLS, host, address, _told(opened.own)))
                return opened
            if opened.phase is not Phase.TLS:
                return opened
            mishaps.append(_mishap(opened, host, asked))
            self._tls.remember_failure(host, asked, mishaps[-1])
            if asked.otherwise is None:
                return opened
            asked = asked.otherwise

    async def _try(self, destination: Destination, host: str, address: str, asked: Demand) -> Connection | Failure:
        smtp: Smtp | None = None
        try:
            smtp = self._smtp(await self._connected(host, address, destination), destination, asked)
            secured = await greet(smtp, destination, address, asked)
            connection = self._take_over(smtp, host, address, secured, asked)
        except StopError as stop:
            own = smtp.own if smtp is not None else ""
            source = _source_of(destination, address)
            failure = Failure(stop.reply, stop.phase, host, address, source, own, stop.trouble)
        except BaseException:
            if smtp is not None:
                smtp.close()
            raise
        else:
            connection.source, connection.own = _source_of(destination, address), smtp.own
            return connection
        if smtp is not None:
            smtp.close()
        return failure

    async def _connected(self, host: str, address: str, destination: Destination) -> socket.socket:
        port = destination.port
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        sock = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        try:
            # Commands and content are written whole; a delay for more would only add a round trip.
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if destination.source is not None:
                _bind(sock, destination.source, address)
            async with asyncio.timeout(self._timeouts.connect):
                await asyncio.get_running_loop().sock_connect(sock, (address, port))
        except OSError as error:  # TimeoutError is one
            sock.close()
            self._remember_unreached(address)
            reason = os.strerror(error.errno) if error.errno else "timed out"
            where = f"[{address}]" if host == address else f"{host}[{address}]"
            raise StopError(ours("4.4.1", f"connect to {where}:{port}: {reason}"), Phase.CONNECT) from None
        except BaseException:
            sock.close()
            raise
        return sock

    def _remember_unreached(self, address: str) -> None:
        self._unreached[address] = self._clock() + _LAST_SECONDS
        self._unreached.move_to_end(address)
        if len(self._unreached) > _ADDRESSES_KEPT:
            self._unreached.popitem(last=False)

    def _smtp(self, sock: socket.socket, destination: Destination, asked: Demand) -> Smtp:
        smtp = Smtp(
            hostname=asked.name,
            local_hostname=(destination.source and destination.source.ehlo) or self._ehlo_name,
            sock=sock,
            timeout=None,
            use_tls=destination.implicit_tls,
            start_tls=False,
            tls_context=self._tls.context(asked),
        )
        smtp.seconds = self._timeouts.greeting
        smtp.own = sock.getsockname()[0]
        return smtp

    def _take_over(
        self, smtp: Smtp, host: str, address: str, secured: ssl.SSLObject | None, asked: Demand
    ) -> Connection:
        transport = smtp.transport
        if transport is None or transport.is_closing():
            raise StopError(ours("4.4.2", f"lost connection {WHILE[Phase.EHLO]}"), Phase.EHLO)
        session = Session(
            cast("asyncio.Transport", transport),
            Extensions.read(smtp.esmtp_extensions),
            self._timeouts,
            below=smtp.below,
        )
        words = None if secured is None else tls.facts(secured, asked.proof or Proof.NONE)
        connection = Connection(session, host, address, words, self._clock())
        connection.secured = None if secured is None else (secured, asked)
        return connection


def _source_of(destination: Destination, address: str) -> str | None:
    return destination.source.towards(address) if destination.source is not None else None


def _bind(sock: socket.socket, source: Source, address: str) -> None:
    """Let a connection come from the source; raises StopError where that is no address of this host."""
    own = source.towards(address)
    try:
        bind(sock, own or "")
    except OSError as error:
        text = f"cannot send from {own} (source {source.name}): {why_not(error)}"
        raise StopError(ours("4.3.5", text), Phase.CONNECT) from None


def _mishap(failure: Failure, host: str, asked: Demand | None = None) -> Mishap:
    return Mishap(
        failure.trouble or FailureType.VALIDATION,
        host,
        failure.address or "",
        _told(failure.own),
        failure.reply.text[:_SHOWN],
        tuple(map(str, asked.tlsa)) if asked is not None else (),
    )


def _told(own: str) -> str:
    """Return our address for a report; one behind a translator of addresses says nothing to others."""
    return own if own and is_public(own) else ""


def _worse(known: Failure | None, failure: Failure) -> Failure:
    """Return the failure to report of two: one that may pass before one that is final, then the later."""
    return known if known is not None and failure.final and not known.final else failure


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
