"""From a destination to a connection that is ready for MAIL: hosts and addresses in order, EHLO, TLS, AUTH.

aiosmtplib speaks up to here (its traps: LIBRARIES), on a socket that we connected; from MAIL on `client.py`
has the transport. Rule: what fails comes back as a Failure, with the phase and the server's words.
"""

import asyncio
import datetime as dt
import errno
import ipaddress
import os
import socket
import ssl
from collections import OrderedDict
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Final, cast

import aiosmtplib

from relay.deliver import tls
from relay.deliver.client import Extensions, Session, Timeouts
from relay.deliver.demand import Demand, Proof, Tlsas, demand
from relay.deliver.destination import Destination
from relay.deliver.dns import Resolver
from relay.deliver.failure import FailureType, Mishap, of_mismatch, of_verify_code
from relay.deliver.last_words import LastWords
from relay.deliver.mx import Found, in_turn, is_public
from relay.deliver.reply import from_text, garbled, ours
from relay.deliver.source import Source
from relay.deliver.tls import TlsClient
from relay.deliver.tlsa import tlsas
from storage.model import Phase, Reply

# As Postfix's smtp_mx_address_limit.
MAX_ADDRESSES: Final = 5
# As Postfix's smtp_mx_session_limit: servers that took the connection and then failed; each may take minutes.
MAX_SESSIONS: Final = 2
# An address that did not let us connect is asked after the others for so long.
_LAST_SECONDS: Final = 300.0
_ADDRESSES_KEPT: Final = 10_000
_FIRST_CODE, _LAST_CODE = 200, 599
# Of a failure's words, in a report to the domain.
_SHOWN: Final = 200
_NOT_AVAILABLE: Final = 421
_WHILE: Final = {
    Phase.BANNER: "while waiting for the greeting",
    Phase.EHLO: "while waiting for the reply to EHLO",
    Phase.TLS: "during the TLS handshake",
    Phase.AUTH: "while waiting for the reply to AUTH",
}


@dataclass(frozen=True, slots=True)
class Failure:
    """Why there is no connection."""

    reply: Reply
    phase: Phase
    host: str | None = None
    address: str | None = None
    source: str | None = None
    """The address of ours that it was tried from, where one was chosen."""
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


class _StopError(Exception):
    """A step failed; never leaves this file."""

    def __init__(self, reply: Reply, phase: Phase, trouble: FailureType | None = None) -> None:
        super().__init__(reply.text)
        self.reply = reply
        self.phase = phase
        self.trouble = trouble or (FailureType.VALIDATION if phase is Phase.TLS else None)


class _Smtp(aiosmtplib.SMTP):
    """aiosmtplib's client, which we leave only by abort.

    Its own `close` flushes what is buffered, and over TLS waits half a minute for the peer's farewell.
    """

    below: asyncio.Transport | None = None
    """The transport below TLS, after STARTTLS."""

    def close(self) -> None:
        if self.transport is not None:
            cast("asyncio.Transport", self.transport).abort()
        super().close()


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
        asked = self._tls.asked(host, first)
        while True:
            opened = await self._try(destination, host, address, asked)
            if isinstance(opened, Connection):
                opened.as_asked = asked is first
                if opened.secured is None and asked.proof is not None:
                    mishaps.append(Mishap(FailureType.NO_STARTTLS, host, address, opened.source or ""))
                return opened
            if opened.phase is not Phase.TLS:
                return opened
            mishaps.append(_mishap(opened, host, asked))
            self._tls.remember_failure(host, asked)
            if asked.otherwise is None:
                return opened
            asked = asked.otherwise

    async def _try(self, destination: Destination, host: str, address: str, asked: Demand) -> Connection | Failure:
        smtp: _Smtp | None = None
        try:
            smtp = self._smtp(await self._connected(host, address, destination), destination, asked)
            secured = await self._greet(smtp, destination, address, asked)
            connection = self._take_over(smtp, host, address, secured, asked)
        except _StopError as stop:
            failure = Failure(stop.reply, stop.phase, host, address, _source_of(destination, address), stop.trouble)
        except BaseException:
            if smtp is not None:
                smtp.close()
            raise
        else:
            connection.source = _source_of(destination, address)
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
            raise _StopError(ours("4.4.1", f"connect to {where}:{port}: {reason}"), Phase.CONNECT) from None
        except BaseException:
            sock.close()
            raise
        return sock

    def _remember_unreached(self, address: str) -> None:
        self._unreached[address] = self._clock() + _LAST_SECONDS
        self._unreached.move_to_end(address)
        if len(self._unreached) > _ADDRESSES_KEPT:
            self._unreached.popitem(last=False)

    def _smtp(self, sock: socket.socket, destination: Destination, asked: Demand) -> _Smtp:
        return _Smtp(
            hostname=asked.name,
            local_hostname=(destination.source and destination.source.ehlo) or self._ehlo_name,
            sock=sock,
            timeout=self._timeouts.greeting,
            use_tls=destination.implicit_tls,
            start_tls=False,
            tls_context=self._tls.context(asked),
        )

    async def _greet(self, smtp: _Smtp, destination: Destination, address: str, asked: Demand) -> ssl.SSLObject | None:
        """Banner, EHLO, TLS and AUTH; returns the TLS, where there is some."""
        with _phase(Phase.BANNER, implicit_tls=destination.implicit_tls):
            await smtp.connect()
        if destination.implicit_tls:
            _prove(smtp, asked)
        await _hello(smtp)
        if not destination.implicit_tls and asked.proof is not None:
            await _start_tls(smtp, asked)
        secured = _tls_of(smtp)
        if destination.user is not None:
            await _log_in(smtp, destination, address, secured)
        return secured

    def _take_over(
        self, smtp: _Smtp, host: str, address: str, secured: ssl.SSLObject | None, asked: Demand
    ) -> Connection:
        transport = smtp.transport
        if transport is None or transport.is_closing():
            raise _StopError(ours("4.4.2", f"lost connection {_WHILE[Phase.EHLO]}"), Phase.EHLO)
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
    """Let a connection come from the source; raises _StopError where that is no address of this host."""
    own = source.towards(address)
    try:
        # The kernel chooses a port once it knows the other end: one of ours may serve many servers (ip(7)).
        sock.setsockopt(socket.IPPROTO_IP, socket.IP_BIND_ADDRESS_NO_PORT, 1)
        sock.bind((own, 0))
    except OSError as error:
        why = "it is no address of this host" if error.errno == errno.EADDRNOTAVAIL else os.strerror(error.errno or 0)
        text = f"cannot send from {own} (source {source.name}): {why}"
        raise _StopError(ours("4.3.5", text), Phase.CONNECT) from None


async def _hello(smtp: _Smtp) -> None:
    with _phase(Phase.EHLO):
        try:
            await smtp.ehlo()
        except aiosmtplib.SMTPHeloError as error:
            # RFC 5321, 3.2: a server that refuses EHLO for good may know HELO.
            if error.code // 100 != 5 or not smtp.is_connected:  # noqa: PLR2004 - permanent negative completion
                raise
            await smtp.helo()


async def _start_tls(smtp: _Smtp, asked: Demand) -> None:
    if not smtp.supports_extension("starttls"):
        if asked.may_be_clear:
            return
        reply = ours("4.7.4", "TLS is required, but the server does not offer it")
        raise _StopError(reply, Phase.TLS, FailureType.NO_STARTTLS)
    below = cast("asyncio.Transport", smtp.transport)
    with _phase(Phase.TLS):
        try:
            await smtp.starttls()
            LastWords(below)
            smtp.below = below
        except aiosmtplib.SMTPResponseException as error:
            # 454 and kin: the conversation goes on in clear (RFC 3207, 4.1), if a policy allows that.
            if asked.may_be_clear and smtp.is_connected and _FIRST_CODE <= error.code <= _LAST_CODE:
                return
            raise
    _prove(smtp, asked)
    await _hello(smtp)


def _prove(smtp: _Smtp, asked: Demand) -> None:
    """Let DANE judge the server, before a word is said to it."""
    secured = _tls_of(smtp)
    mismatch = None if secured is None else tls.unproven(secured, asked, dt.datetime.now(dt.UTC))
    if mismatch is not None:
        raise _StopError(ours("4.7.5", f"DANE: {mismatch}"), Phase.TLS, of_mismatch(mismatch))


def _tls_of(smtp: _Smtp) -> ssl.SSLObject | None:
    return cast("ssl.SSLObject | None", smtp.get_transport_info("ssl_object")) if smtp.is_connected else None


async def _log_in(smtp: _Smtp, destination: Destination, address: str, secured: ssl.SSLObject | None) -> None:
    """AUTH with the first mechanism that both know: one try, since tries that fail lock accounts."""
    if secured is None and not _is_this_machine(address):
        raise _StopError(ours("4.7.11", "the password is not sent without TLS, and there is none"), Phase.AUTH)
    mechanisms = {"plain": smtp.auth_plain, "login": smtp.auth_login, "cram-md5": smtp.auth_crammd5}
    offered = [name for name in mechanisms if name in smtp.server_auth_methods]
    if not offered:
        raise _StopError(ours("4.7.0", "the server offers no AUTH mechanism that we know"), Phase.AUTH)
    with _phase(Phase.AUTH):
        await mechanisms[offered[0]](destination.user or "", destination.password or "")


@contextmanager
def _phase(phase: Phase, *, implicit_tls: bool = False) -> Iterator[None]:
    """Turn what aiosmtplib and the transport raise into the words for it."""
    try:
        yield
    except aiosmtplib.SMTPResponseException as error:
        raise _StopError(_reply_of(error), phase, FailureType.NO_STARTTLS if phase is Phase.TLS else None) from None
    except (aiosmtplib.SMTPException, OSError) as error:  # TimeoutError and ssl.SSLError are OSErrors
        at = Phase.TLS if implicit_tls and _is_tls_error(error.__cause__) else phase
        raise _StopError(_words_for(error, at), at, _trouble(error)) from None


def _is_tls_error(cause: BaseException | None) -> bool:
    return isinstance(cause, ssl.SSLError | ConnectionError) and not isinstance(cause, aiosmtplib.SMTPException)


def _reply_of(error: aiosmtplib.SMTPResponseException) -> Reply:
    text = error.message.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
    if _FIRST_CODE <= error.code <= _LAST_CODE:
        return from_text(error.code, text)
    return garbled(text.encode())


def _words_for(error: Exception, phase: Phase) -> Reply:
    for each in (error, error.__cause__):
        if isinstance(each, ssl.SSLCertVerificationError):
            return ours("4.7.5", f"the TLS handshake failed: {each.reason} ({each.verify_message})")
        if isinstance(each, ssl.SSLError):
            return ours("4.7.5", f"the TLS handshake failed: {each.reason or each}")
    if isinstance(error, TimeoutError):
        return ours("4.4.2", f"timed out {_WHILE[phase]}")
    return ours("4.4.2", f"lost connection {_WHILE[phase]}")


def _trouble(error: Exception) -> FailureType | None:
    """Return what was wrong with a certificate, where it was that."""
    for each in (error, error.__cause__):
        if isinstance(each, ssl.SSLCertVerificationError):
            return of_verify_code(each.verify_code)
    return None


def _mishap(failure: Failure, host: str, asked: Demand | None = None) -> Mishap:
    return Mishap(
        failure.trouble or FailureType.VALIDATION,
        host,
        failure.address or "",
        failure.source or "",
        failure.reply.text[:_SHOWN],
        tuple(map(str, asked.tlsa)) if asked is not None else (),
    )


def _worse(known: Failure | None, failure: Failure) -> Failure:
    """Return the failure to report of two: one that may pass before one that is final, then the later."""
    return known if known is not None and failure.final and not known.final else failure


def _is_this_machine(address: str) -> bool:
    return ipaddress.ip_address(address).is_loopback


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
