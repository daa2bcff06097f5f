"""A submission session (RFC 6409): who may send, AUTH, the users' senders, admission of recipients.

Rule: not an open relay, ever. Without AUTH and outside the trusted networks there is no MAIL; passwords are
taken inside TLS only.
"""

# ruff: noqa: N802 - aiosmtpd finds the commands by these names

import binascii
import ipaddress
import logging
import ssl
import time
from base64 import b64decode, b64encode
from typing import Final

from relay.receive import replies
from relay.receive.accept import Acceptor
from relay.receive.arguments import MailFrom, RcptTo
from relay.receive.auth import Authenticator
from relay.receive.envelope import Envelope, Recipient
from relay.receive.limits import Limits
from relay.receive.lines import OVERLONG
from relay.receive.senders import permits
from relay.receive.service import Service
from relay.receive.session import SmtpSession
from storage.address import Address
from storage.kv import kv
from storage.logins import client_of
from storage.model import Reply, User
from storage.settings import Network

# RFC 4954, 4: an initial response of no bytes is written as "=".
_EMPTY: Final = b"="
# So long a session goes on as the user that it proved to be: then it is looked whether there is such a one still.
STILL_SECONDS: Final = 5.0

_log = logging.getLogger("telltale.receive")

_Credentials = tuple[bytes, bytes]


class SubmissionService(Service):
    """What all sessions of a submission listener share."""

    def __init__(
        self,
        hostname: str,
        limits: Limits,
        tls: ssl.SSLContext | None,
        acceptor: Acceptor,
        authenticator: Authenticator,
        trusted_networks: tuple[Network, ...],
    ) -> None:
        """Hand messages to `acceptor`; clients in `trusted_networks` need no AUTH."""
        super().__init__(hostname, limits, tls)
        self.acceptor = acceptor
        self.authenticator = authenticator
        self._trusted_networks = trusted_networks

    def trusts(self, client: str) -> bool:
        """Return whether a client's address is in the trusted networks; an IPv4 address in IPv6 is one of IPv4."""
        address: ipaddress.IPv4Address | ipaddress.IPv6Address = ipaddress.ip_address(client.partition("%")[0])
        if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped:
            address = address.ipv4_mapped
        return any(address in network for network in self._trusted_networks)


class SubmissionSession(SmtpSession):
    """One client that submits mail."""

    service: SubmissionService
    _user: User | None = None
    _trusted: bool | None = None
    """Whether the client's address is in the trusted networks; None: not looked yet."""
    _failed_logins = 0
    _known_until = 0.0
    """Until when `_user` is taken for what the store says."""

    # Who may send what.

    def extensions(self) -> list[str]:
        """DSN (RFC 3461); AUTH inside TLS only."""
        return ["DSN", "AUTH PLAIN LOGIN"] if self.session.ssl is not None else ["DSN"]

    def permission(self) -> Reply | None:
        """Users may send, and the trusted networks."""
        if self._trusted is None:
            self._trusted = self.service.trusts(self.client)
        if self._trusted or self._user is not None:
            return None
        if self.session.ssl is not None:
            return replies.AUTH_FIRST
        return replies.NOT_ALLOWED if self.service.tls is None else replies.TLS_FIRST

    def sender_refusal(self, mail: MailFrom) -> Reply | None:
        """Keep a user to the list of senders; the null sender is nobody's, and the From field is looked at too."""
        senders = self._user.senders if self._user else ()
        if mail.sender is None or permits(senders, str(mail.sender)):
            return None
        _log.info(kv(event="sender-refused", client=self.client, user=self._user_name, sender=mail.sender))
        return replies.NOT_YOUR_SENDER

    def admit(self, rcpt: RcptTo) -> Recipient | Reply:
        """Take all; a bare postmaster is ours (RFC 5321, 4.5.1). The store decides to whom something is sent."""
        address = rcpt.address if rcpt.address.domain else Address(rcpt.address.local, self.hostname.lower())
        return Recipient(address, rcpt.notify, rcpt.orcpt)

    async def take(self, content: bytes) -> Reply:
        """Hand the message to the acceptor."""
        mail = self.transaction.mail
        if mail is None:
            raise AssertionError("DATA without MAIL")
        refusal = await self._is_refused(mail)
        if refusal:
            return refusal
        envelope = Envelope(
            self.peer(self._user),
            mail.sender,
            tuple(self.transaction.recipients),
            mail.smtputf8,
            mail.ret,
            mail.envid,
        )
        taken = await self.service.acceptor.accept(envelope, content, time.time_ns() // 1_000_000)
        return taken if isinstance(taken, Reply) else Reply(250, "2.0.0", f"queued as {taken}")

    async def _is_refused(self, mail: MailFrom) -> Reply | None:
        """Return why the user may not send any more, None where that is so still: a session may last for days."""
        if self._user is None or self.loop.time() < self._known_until:
            return None
        user = await self.service.authenticator.still(self._user)
        if isinstance(user, Reply):
            _log.warning(kv(event="user-changed", client=self.client, user=self._user_name, reply=user.text))
            self._user = None
            self.session.authenticated = False
            return user
        self._user, self._known_until = user, self.loop.time() + STILL_SECONDS
        return self.sender_refusal(mail)

    @property
    def _user_name(self) -> str | None:
        return self._user.name if self._user else None

    # AUTH (RFC 4954).

    async def smtp_AUTH(self, arg: str) -> None:
        """RFC 4954, with PLAIN (RFC 4616) and LOGIN."""
        mechanism, _, initial = arg.partition(" ")
        refusal = self._auth_refusal(mechanism.upper())
        if refusal:
            self.say(refusal)
            return
        ask = self._plain if mechanism.upper() == "PLAIN" else self._login
        credentials = await ask(initial.strip())
        if isinstance(credentials, Reply):
            self.say(credentials)
        elif credentials:
            await self._log_in(*credentials)

    def _auth_refusal(self, mechanism: str) -> Reply | None:
        if not self.session.extended_smtp:
            return replies.EXTENDED_ONLY
        if self.session.ssl is None:
            return replies.NEEDS_TLS
        if self._user is not None:
            return replies.AUTH_ALREADY
        if self.transaction.mail is not None:
            return replies.AUTH_IN_TRANSACTION
        return None if mechanism in {"PLAIN", "LOGIN"} else replies.UNKNOWN_MECHANISM

    async def _plain(self, initial: str) -> _Credentials | Reply | None:
        response = _decoded(initial.encode()) if initial else await self._challenge(b"")
        if response is None or isinstance(response, Reply):
            return response
        parts = response.split(b"\0")
        if len(parts) != 3:  # noqa: PLR2004 - RFC 4616, 2: authzid, authcid, passwd
            return replies.MALFORMED_CREDENTIALS
        on_behalf_of, name, password = parts
        return replies.NOT_FOR_OTHERS if on_behalf_of not in {b"", name} else (name, password)

    async def _login(self, initial: str) -> _Credentials | Reply | None:
        name = _decoded(initial.encode()) if initial else await self._challenge(b"Username:")
        if name is None or isinstance(name, Reply):
            return name
        password = await self._challenge(b"Password:")
        if password is None or isinstance(password, Reply):
            return password
        return name, password

    async def _challenge(self, prompt: bytes) -> bytes | Reply | None:
        """Ask the client; None where it went away."""
        self._output.append(b"334 " + b64encode(prompt) + b"\r\n")
        line = await self.read_line()
        if line is None:
            return None
        if line == OVERLONG:
            return replies.AUTH_LINE_TOO_LONG
        return replies.AUTH_ABORTED if line == b"*" else _decoded(line)

    async def _log_in(self, name: bytes, password: bytes) -> None:
        client = client_of(self.client)
        if not self.service.logins.begin(client, self.loop.time()):
            self._login_failed(name, replies.LOGIN_LATER)
            return
        user = await self._verified(name, password)
        if user is not replies.WRONG_CREDENTIALS:
            self.service.logins.succeeded(client)
        if isinstance(user, Reply):
            self._login_failed(name, user)
            return
        self._user, self._known_until = user, self.loop.time() + STILL_SECONDS
        self.session.authenticated = True
        self.say(replies.AUTH_OK)

    async def _verified(self, name: bytes, password: bytes) -> User | Reply:
        try:
            texts = name.decode(), password.decode()
        except UnicodeDecodeError:
            return replies.WRONG_CREDENTIALS
        try:
            return await self.service.authenticator.verify(*texts)
        except Exception:  # noqa: BLE001 - the store's trouble is not the client's
            _log.exception(kv(event="authentication-not-possible", client=self.client))
            return replies.AUTH_UNAVAILABLE

    def _login_failed(self, name: bytes, reply: Reply) -> None:
        _log.warning(kv(event="login-failed", client=self.client, user=name.decode(errors="replace"), reply=reply.text))
        self.say(reply)
        self._failed_logins += 1
        if self._failed_logins >= self.service.limits.max_logins:
            self.end(replies.TOO_MANY_LOGINS)


def _decoded(response: bytes) -> bytes | Reply:
    if response == _EMPTY:
        return b""
    try:
        return b64decode(response, validate=True)
    except binascii.Error:
        return replies.NOT_BASE64
