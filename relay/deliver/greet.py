"""The beginning of a conversation on a socket that is connected: banner, EHLO, TLS and AUTH.

aiosmtplib speaks up to MAIL. Rules: what fails is a StopError with the phase and the server's words, which
`connect.py` makes a value; nothing but our name is said to a server before it is proven; and time is kept here, not
by the library: before Python 3.12 the `asyncio.wait_for` that it keeps it by forgets that it was cancelled where its
own wait ends at that moment, and who gives up would wait for a silent server.
"""

import asyncio
import datetime as dt
import ipaddress
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final, cast

import aiosmtplib

from relay.deliver import tls
from relay.deliver.demand import Demand
from relay.deliver.destination import Destination
from relay.deliver.failure import FailureType, of_mismatch, of_verify_code
from relay.deliver.last_words import LastWords
from relay.deliver.reply import from_text, garbled, ours
from storage.model import Phase, Reply

_FIRST_CODE, _LAST_CODE = 200, 599
WHILE: Final = {
    Phase.BANNER: "while waiting for the greeting",
    Phase.EHLO: "while waiting for the reply to EHLO",
    Phase.TLS: "during the TLS handshake",
    Phase.AUTH: "while waiting for the reply to AUTH",
}


class StopError(Exception):
    """A step failed; `connect.py` lets it go no further."""

    def __init__(self, reply: Reply, phase: Phase, trouble: FailureType | None = None) -> None:
        super().__init__(reply.text)
        self.reply = reply
        self.phase = phase
        self.trouble = trouble or (FailureType.VALIDATION if phase is Phase.TLS else None)


class Smtp(aiosmtplib.SMTP):
    """aiosmtplib's client, which we leave only by abort.

    Its own `close` flushes what is buffered, and over TLS waits half a minute for the peer's farewell.
    """

    seconds: float = 300.0
    """For the greeting and TLS, and for each reply."""
    below: asyncio.Transport | None = None
    """The transport below TLS, after STARTTLS."""
    own: str = ""
    """Our end's address."""

    def close(self) -> None:
        """Abort."""
        if self.transport is not None:
            cast("asyncio.Transport", self.transport).abort()
        super().close()


async def greet(smtp: Smtp, destination: Destination, address: str, asked: Demand) -> ssl.SSLObject | None:
    """Banner, EHLO, TLS and AUTH; returns the TLS, where there is some; raises StopError."""
    async with _phase(smtp, Phase.BANNER, implicit_tls=destination.implicit_tls):
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


async def _hello(smtp: Smtp) -> None:
    async with _phase(smtp, Phase.EHLO):
        try:
            await smtp.ehlo()
        except aiosmtplib.SMTPHeloError as error:
            # RFC 5321, 3.2: a server that refuses EHLO for good may know HELO.
            if error.code // 100 != 5 or not smtp.is_connected:  # noqa: PLR2004 - permanent negative completion
                raise
            await smtp.helo()


async def _start_tls(smtp: Smtp, asked: Demand) -> None:
    if not smtp.supports_extension("starttls"):
        if asked.may_be_clear:
            return
        reply = ours("4.7.4", "TLS is required, but the server does not offer it")
        raise StopError(reply, Phase.TLS, FailureType.NO_STARTTLS)
    below = cast("asyncio.Transport", smtp.transport)
    async with _phase(smtp, Phase.TLS):
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


def _prove(smtp: Smtp, asked: Demand) -> None:
    """Let DANE judge the server, before a word is said to it."""
    secured = _tls_of(smtp)
    mismatch = None if secured is None else tls.unproven(secured, asked, dt.datetime.now(dt.UTC))
    if mismatch is not None:
        raise StopError(ours("4.7.5", f"DANE: {mismatch}"), Phase.TLS, of_mismatch(mismatch))


def _tls_of(smtp: Smtp) -> ssl.SSLObject | None:
    return cast("ssl.SSLObject | None", smtp.get_transport_info("ssl_object")) if smtp.is_connected else None


async def _log_in(smtp: Smtp, destination: Destination, address: str, secured: ssl.SSLObject | None) -> None:
    """AUTH with the first mechanism that both know: one try, since tries that fail lock accounts."""
    if secured is None and not _is_this_machine(address):
        raise StopError(ours("4.7.11", "the password is not sent without TLS, and there is none"), Phase.AUTH)
    mechanisms = {"plain": smtp.auth_plain, "login": smtp.auth_login, "cram-md5": smtp.auth_crammd5}
    offered = [name for name in mechanisms if name in smtp.server_auth_methods]
    if not offered:
        raise StopError(ours("4.7.0", "the server offers no AUTH mechanism that we know"), Phase.AUTH)
    async with _phase(smtp, Phase.AUTH):
        await mechanisms[offered[0]](destination.user or "", destination.password or "")


@asynccontextmanager
async def _phase(smtp: Smtp, phase: Phase, *, implicit_tls: bool = False) -> AsyncIterator[None]:
    """Keep the time, and turn what aiosmtplib and the transport raise into the words for it."""
    try:
        async with asyncio.timeout(smtp.seconds):
            yield
    except aiosmtplib.SMTPResponseException as error:
        raise StopError(_reply_of(error), phase, FailureType.NO_STARTTLS if phase is Phase.TLS else None) from None
    except (aiosmtplib.SMTPException, OSError) as error:  # TimeoutError and ssl.SSLError are OSErrors
        at = Phase.TLS if implicit_tls and _is_tls_error(error.__cause__) else phase
        raise StopError(_words_for(error, at), at, _trouble(error)) from None


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
        return ours("4.4.2", f"timed out {WHILE[phase]}")
    return ours("4.4.2", f"lost connection {WHILE[phase]}")


def _trouble(error: Exception) -> FailureType | None:
    """Return what was wrong with a certificate, where it was that."""
    for each in (error, error.__cause__):
        if isinstance(each, ssl.SSLCertVerificationError):
            return of_verify_code(each.verify_code)
    return None


def _is_this_machine(address: str) -> bool:
    return ipaddress.ip_address(address).is_loopback
