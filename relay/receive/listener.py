"""The listeners: sockets, and what becomes of their sessions when the worker ends."""

import asyncio
import logging
import socket
import ssl
from collections.abc import Callable, Sequence
from typing import Final

from relay.receive.accept import Acceptor
from relay.receive.auth import Authenticator
from relay.receive.bounces import BounceService, BounceSession, OpenReturnPath, Take
from relay.receive.limits import Limits
from relay.receive.service import Service
from relay.receive.settings import BounceSettings, SubmissionSettings
from relay.receive.submission import SubmissionService, SubmissionSession
from relay.receive.wire import Wire
from storage.kv import kv
from storage.settings import Endpoint, ServerSettings

_BACKLOG: Final = 512

# Of the bounce listener: servers all over the world bring bounces, each of them few at a time.
# A bounce message has one recipient; each more of a transaction would store it once more.
_MAX_BOUNCE_RECIPIENTS: Final = 10
_MAX_BOUNCE_CONNECTIONS: Final = 500
_MAX_BOUNCE_CONNECTIONS_PER_CLIENT: Final = 50
_MAX_BOUNCE_BYTES_IN_FLIGHT: Final = 128 * 1024 * 1024
_COMMAND_TIMEOUT: Final = 300  # RFC 5321, 4.5.3.2.7
_DATA_TIMEOUT: Final = 180  # RFC 5321, 4.5.3.2.5

_log = logging.getLogger("telltale.receive")


class Listener:
    """Accepts connections on some endpoints and runs a session for each."""

    def __init__(
        self,
        service: Service,
        session: Callable[[bool], Wire],
        listen: Sequence[Endpoint],
        tls_listen: Sequence[Endpoint],
    ) -> None:
        """Make sessions with `session(implicit_tls)`; nothing is bound before `start`."""
        self._service = service
        self._session = session
        self._wanted = [(endpoint, False) for endpoint in listen] + [(endpoint, True) for endpoint in tls_listen]
        self._servers: list[asyncio.Server] = []
        self._heirs: list[Listener] = [self]
        """Whose sessions begin here: the last one's. Shared by all who have had these endpoints."""
        self.addresses: tuple[Endpoint, ...] = ()
        """Where it listens, in the order of the configuration; the ports are real where 0 was asked for."""

    async def start(self) -> None:
        """Bind all endpoints and accept; raises OSError, and listens nowhere, where one cannot be bound."""
        try:
            for endpoint, implicit_tls in self._wanted:
                self._servers.append(await self._bind(endpoint, implicit_tls))
        except OSError as error:
            self._stop_accepting()
            raise OSError(error.errno, f"cannot listen on {endpoint}: {error.strerror}") from error
        bound = [sock.getsockname() for server in self._servers for sock in server.sockets]
        self.addresses = tuple(Endpoint(name[0], name[1]) for name in bound)

    def take_over(self, other: "Listener") -> None:
        """Accept from now on, instead of `start`, what `other` listens for; its sessions stay its own.

        The sockets are the same ones: a connection that waits to be accepted is not reset, as it would be
        where one socket is closed and another one bound.
        """
        self._servers, other._servers = other._servers, []  # noqa: SLF001 - of this class
        self.addresses = other.addresses
        self._heirs = other._heirs  # noqa: SLF001 - of this class
        self._heirs[:] = [self]

    async def _bind(self, endpoint: Endpoint, implicit_tls: bool) -> asyncio.Server:
        heirs = self._heirs
        return await asyncio.get_running_loop().create_server(
            lambda: heirs[-1]._session(implicit_tls),  # noqa: SLF001 - of this class
            endpoint.host or None,
            endpoint.port,
            backlog=_BACKLOG,
            # The worker processes share the port; the kernel deals the connections out.
            reuse_port=True,
        )

    async def linger(self, seconds: float) -> None:
        """Wait for sessions to end by themselves, at most so long."""
        tasks = [session.task for session in self._service.sessions]
        if tasks:
            await asyncio.wait(tasks, timeout=seconds)

    async def drain(self, grace_seconds: float) -> None:
        """Accept no more, let messages that are coming in or being stored finish, tell idle clients 421.

        After `grace_seconds` what is left is cut off; what is being stored then is still stored.
        """
        self._stop_accepting()
        self._service.draining = True
        sessions = set(self._service.sessions)
        for session in sessions:
            session.drain()
        tasks = [session.task for session in sessions]
        if tasks:
            await asyncio.wait(tasks, timeout=grace_seconds)
        left = set(self._service.sessions)
        if left:
            _log.info(kv(event="sessions-cut-off", count=len(left)))
        for session in left:
            session.abort()

    def _stop_accepting(self) -> None:
        for server in self._servers:
            server.close()
        self._servers.clear()


class SubmissionListener(Listener):
    """Takes mail from users and trusted networks: `[submission]`."""

    def __init__(
        self,
        settings: SubmissionSettings,
        server: ServerSettings,
        acceptor: Acceptor,
        authenticator: Authenticator,
        tls: ssl.SSLContext | None,
    ) -> None:
        """Hand accepted mail to `acceptor`; without `tls` there is no STARTTLS, no AUTH, and no `tls_listen`."""
        limits = Limits(
            max_message_bytes=settings.max_message_bytes,
            max_recipients=settings.max_recipients,
            max_connections=settings.max_connections,
            max_connections_per_client=settings.max_connections_per_client,
            max_bytes_in_flight=settings.max_bytes_in_flight,
            command_timeout=settings.command_timeout,
            data_timeout=settings.data_timeout,
        )
        networks = settings.trusted_networks
        service = SubmissionService(own_name(server), limits, tls, acceptor, authenticator, networks)
        super().__init__(
            service,
            lambda implicit_tls: SubmissionSession(service, implicit_tls=implicit_tls),
            settings.listen,
            settings.tls_listen,
        )


class BounceListener(Listener):
    """Takes what comes back to signed return paths: `[bounce]`."""

    def __init__(
        self,
        settings: BounceSettings,
        server: ServerSettings,
        open_return_path: OpenReturnPath,
        take: Take,
        tls: ssl.SSLContext | None,
    ) -> None:
        """`open_return_path(local_part)` gives the recipient's id or None; `take(raw, id, sender)` stores, then 250."""
        limits = Limits(
            max_message_bytes=settings.max_message_bytes,
            max_recipients=_MAX_BOUNCE_RECIPIENTS,
            max_connections=_MAX_BOUNCE_CONNECTIONS,
            max_connections_per_client=_MAX_BOUNCE_CONNECTIONS_PER_CLIENT,
            max_bytes_in_flight=_MAX_BOUNCE_BYTES_IN_FLIGHT,
            command_timeout=_COMMAND_TIMEOUT,
            data_timeout=_DATA_TIMEOUT,
        )
        name = own_name(server)
        domain = settings.domain or name
        service = BounceService(name, limits, tls, domain=domain, open_return_path=open_return_path, take=take)
        super().__init__(
            service, lambda implicit_tls: BounceSession(service, implicit_tls=implicit_tls), settings.listen, ()
        )


def own_name(server: ServerSettings) -> str:
    """Return the configured name, or this machine's."""
    return server.hostname or socket.gethostname()
