"""TLS to other servers: contexts by what is to be proven, sessions that resume, and which hosts fail at what.

Rule: a session resumes only what was proven in the same way: contexts do not share sessions, and one that DANE
proved counts for the same records alone.
"""

import datetime as dt
import ssl
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Final

from relay.deliver import dane
from relay.deliver.demand import Demand, Proof
from relay.deliver.failure import Mishap

# A server whose TLS is broken stays so for hours, and each try costs it and us a connection; one that is
# mended should not be spoken to in clear for long.
LESS_SECONDS: Final = 600.0
# Postfix's smtp_tls_session_cache_timeout: what was proven then is believed for so long.
RESUMED_SECONDS: Final = 3600.0
_HOSTS_KEPT: Final = 5000


class _Object(ssl.SSLObject):
    """A side of a connection that knows what the session it was offered had proven."""

    proven: object = None


@dataclass(frozen=True, slots=True)
class _Kept:
    session: ssl.SSLSession
    proven: object
    until: float


class ResumingContext(ssl.SSLContext):
    """A client's context that offers each server the session that it had with it last.

    asyncio has no word for sessions; but both event loops make their TLS by `wrap_bio`.
    """

    sslobject_class = _Object

    def __init__(self, _protocol: int, clock: Callable[[], float]) -> None:
        """`clock` counts seconds."""
        self._clock = clock
        self._sessions: OrderedDict[str, _Kept] = OrderedDict()

    def wrap_bio(
        self,
        incoming: ssl.MemoryBIO,
        outgoing: ssl.MemoryBIO,
        server_side: bool = False,
        server_hostname: str | bytes | None = None,
        session: ssl.SSLSession | None = None,
    ) -> ssl.SSLObject:
        """As of SSLContext, with the session kept for `server_hostname`."""
        kept = self._sessions.get(str(server_hostname))
        if kept is not None and kept.until < self._clock():
            kept = None
        made = super().wrap_bio(incoming, outgoing, server_side, server_hostname, session)
        if kept is not None and isinstance(made, _Object):
            made.session = kept.session
            made.proven = kept.proven
        return made

    def keep(self, connection: ssl.SSLObject, proven: object) -> None:
        """Keep the session of a connection that is in use: TLS 1.3 tickets come after the handshake."""
        session, name = connection.session, connection.server_hostname
        if session is None or name is None or not (session.has_ticket or session.id):
            return
        if isinstance(connection, _Object) and connection.session_reused and name in self._sessions:
            # One hour from the full handshake, not from its last use.
            until = self._sessions[name].until
        else:
            until = self._clock() + RESUMED_SECONDS
        self._sessions[name] = _Kept(session, proven, until)
        self._sessions.move_to_end(name)
        if len(self._sessions) > _HOSTS_KEPT:
            self._sessions.popitem(last=False)

    def forget_unless(self, name: str, proven: object) -> None:
        """Begin anew with a server whose session had proven anything else."""
        kept = self._sessions.get(name)
        if kept is not None and kept.proven != proven:
            del self._sessions[name]

    def forget(self, name: str) -> None:
        """Begin anew with a server."""
        self._sessions.pop(name, None)


class TlsClient:
    """The contexts, and the memory of hosts at which more was asked for than they have."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """`clock` counts seconds."""
        self._clock = clock
        self._unverified = self._context()
        self._dane = self._context()
        self._less: OrderedDict[tuple[str, Demand], tuple[float, Mishap]] = OrderedDict()

    def _context(self) -> ResumingContext:
        context = ResumingContext(ssl.PROTOCOL_TLS_CLIENT, self._clock)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        return context

    @cached_property
    def _verifying(self) -> ResumingContext:
        # Made when first asked for: reading the system's certificates takes some 30 ms.
        context = ResumingContext(ssl.PROTOCOL_TLS_CLIENT, self._clock)
        context.load_default_certs(ssl.Purpose.SERVER_AUTH)
        # RFC 8461, 4.1: the name stands in the subjectAltName.
        context.hostname_checks_common_name = False
        return context

    def context(self, demand: Demand) -> ResumingContext:
        """Return the context to shake hands with."""
        context = self._context_for(demand.proof)
        context.forget_unless(demand.name, demand.tlsa)
        return context

    def _context_for(self, proof: Proof | None) -> ResumingContext:
        if proof is Proof.DANE:
            return self._dane
        return self._verifying if proof in {Proof.NAME, Proof.STS} else self._unverified

    def trust(self, ca_file: str) -> None:
        """Trust the certificates in a PEM file besides the system's."""
        self._verifying.load_verify_locations(ca_file)

    def remember_failure(self, host: str, demand: Demand, mishap: Mishap) -> None:
        """Begin anew with `host`, and ask it for no more than the demand's `otherwise` for a while."""
        self._context_for(demand.proof).forget(demand.name)
        if demand.otherwise is None:
            return
        self._less[host, demand] = self._clock() + LESS_SECONDS, mishap
        self._less.move_to_end((host, demand))
        if len(self._less) > _HOSTS_KEPT:
            self._less.popitem(last=False)

    def asked(self, host: str, demand: Demand) -> tuple[Demand, list[Mishap]]:
        """Return what to ask `host` for: the demand, or where that failed not long ago what is good enough.

        The mishaps are those for which less is asked: this session fails by them as that one did.
        """
        mishaps: list[Mishap] = []
        while demand.otherwise is not None and (host, demand) in self._less:
            until, mishap = self._less[host, demand]
            if until <= self._clock():
                break
            mishaps.append(mishap)
            demand = demand.otherwise
        return demand, mishaps


def unproven(connection: ssl.SSLObject, demand: Demand, now: dt.datetime) -> dane.Mismatch | None:
    """Return why DANE does not prove the server; None: it does, or is not asked. Call it before anything is said."""
    if demand.proof is not Proof.DANE:
        return None
    if connection.session_reused:
        # A session does not hold the chain; it holds what the chain was compared with.
        same = isinstance(connection, _Object) and connection.proven == demand.tlsa
        return None if same else dane.Mismatch.NOT_THEIRS
    return dane.mismatch(_chain(connection), demand.tlsa, demand.names, now)


def keep(connection: ssl.SSLObject, demand: Demand) -> None:
    """Keep what resumes this connection's TLS; call it once the server has answered something."""
    if isinstance(connection.context, ResumingContext):
        connection.context.keep(connection, demand.tlsa)


def _chain(connection: ssl.SSLObject) -> list[bytes]:
    """Return what the server sent, its own certificate first, in DER; nothing of it is checked."""
    if hasattr(connection, "get_unverified_chain"):  # Python 3.13
        return list(connection.get_unverified_chain())
    sent = connection._sslobj.get_unverified_chain() or ()  # type: ignore[attr-defined] # noqa: SLF001 - the only way before
    return [ssl.PEM_cert_to_DER_cert(each.public_bytes()) for each in sent]


def facts(connection: ssl.SSLObject, proof: Proof) -> str:
    """Return what a handshake came to: "TLSv1.3 TLS_AES_256_GCM_SHA384 unverified"."""
    cipher = connection.cipher()
    return f"{connection.version()} {cipher[0] if cipher else '?'} {proof}"
