"""The commands of SMTP (RFC 5321) that all our listeners share, on aiosmtpd's class.

Rules: every reply has an enhanced code (RFC 2034) but those to EHLO and HELO; what is advertised is implemented;
no client text comes back in a reply; a failure of ours is 4xx, and ends the transaction, not the session.
"""

# ruff: noqa: N802 - aiosmtpd finds the commands by these names

import logging
from dataclasses import dataclass, field
from typing import Final

from relay.receive import replies
from relay.receive.arguments import MailFrom, RcptTo, parse_mail, parse_rcpt
from relay.receive.content import ContentReader, Reading
from relay.receive.envelope import Client, Recipient
from relay.receive.lines import OVERLONG
from relay.receive.wire import Wire
from storage.kv import kv
from storage.model import Reply, User

# RFC 5321, 4.5.3.1.4 asks for 512, its extensions add some 1,100; AUTH has its own limit.
MAX_COMMAND_BYTES: Final = 4096
# Of a message that is too big, read over so that the client can be told; then it is cut off.
PATIENCE_BYTES: Final = 64 * 1024 * 1024
_MAX_HELO_CHARS: Final = 255

# What a web browser that a hostile page makes talk to us would begin with (cross-protocol requests).
_FOREIGN: Final = frozenset({"GET", "POST", "PUT", "HEAD", "DELETE", "OPTIONS", "PATCH", "CONNECT", "TRACE", "PRI"})
# Commands that cost a client nothing and bring no message forward.
_IDLE: Final = frozenset({"NOOP", "RSET", "HELP", "VRFY", "EXPN", "HELO", "EHLO", "STARTTLS", "AUTH", "DATA"})

_GO_AHEAD: Final = b"354 End data with <CR><LF>.<CR><LF>\r\n"

_REFUSED: Final = {
    Reading.TOO_BIG: replies.TOO_BIG,
    Reading.ENDLESS: replies.TOO_BIG,
    Reading.NO_ROOM: replies.NO_ROOM,
    Reading.BARE_CR: replies.BARE_CR,
}

_log = logging.getLogger("telltale.receive")


@dataclass(slots=True, eq=False)
class Transaction:
    """What was said since MAIL."""

    mail: MailFrom | None = None
    recipients: list[Recipient] = field(default_factory=list)


class SmtpSession(Wire):
    """A session with the commands of RFC 5321; subclasses say who may send what to whom, and take the content."""

    repair_content = True
    """Whether bare line feeds become line ends and a bare CR refuses the message."""

    transaction: Transaction
    _junk = 0
    _refused = 0

    # What a listener decides.

    def extensions(self) -> list[str]:
        """Return lines of EHLO beyond those that all listeners have."""
        return []

    def permission(self) -> Reply | None:
        """Return why this client may not send, None where it may."""
        return None

    def parse_mail(self, argument: str) -> MailFrom | Reply:
        """Read the argument of MAIL."""
        return parse_mail(argument)

    def sender_refusal(self, mail: MailFrom) -> Reply | None:  # noqa: ARG002 - for those who override it
        """Return why mail from this sender is not taken, None where it is."""
        return None

    def admit(self, rcpt: RcptTo) -> Recipient | Reply:
        """Decide on a recipient."""
        raise NotImplementedError

    async def take(self, content: bytes) -> Reply:
        """Take responsibility for the message of `transaction`, or refuse it."""
        raise NotImplementedError

    # The loop's side.

    def _set_post_data_state(self) -> None:
        self.transaction = Transaction()

    async def _obey(self, line: bytes) -> None:
        verb, _, argument = line.partition(b" ")
        name = verb.upper().decode("latin-1")
        if line == OVERLONG or (len(line) > MAX_COMMAND_BYTES and name != "AUTH"):
            self._idle(replies.LINE_TOO_LONG)
            return
        command = self._smtp_methods.get(name)
        if command is None:
            self._unknown(name)
            return
        if name in _IDLE:
            self._count_junk()
        try:
            # Bytes that are no UTF-8 become lone surrogates, which no parser of ours lets pass.
            await command(argument.decode("utf-8", "surrogateescape").strip(" "))
        except Exception:  # noqa: BLE001 - a bug of ours ends one transaction, not the worker
            _log.exception(kv(event="command-failed", command=name, client=self.client))
            self._set_post_data_state()
            self.say(replies.OUR_FAULT)

    def _unknown(self, name: str) -> None:
        if name in _FOREIGN:
            self.end(replies.FOREIGN_PROTOCOL)
        else:
            self._idle(replies.UNKNOWN_COMMAND)

    def _idle(self, reply: Reply) -> None:
        self.say(reply)
        self._count_junk()

    def _count_junk(self) -> None:
        self._junk += 1
        if self._junk > self.service.limits.max_junk:
            self.end(replies.TOO_MUCH_JUNK)

    # Greeting and TLS.

    async def smtp_HELO(self, hostname: str) -> None:
        """RFC 5321, 4.1.1.1."""
        if self._greeted(hostname, extended=False):
            self._output.append(f"250 {self.hostname}\r\n".encode())

    async def smtp_EHLO(self, hostname: str) -> None:
        """RFC 5321, 4.1.1.1."""
        if self._greeted(hostname, extended=True):
            lines = [self.hostname, f"SIZE {self.service.limits.max_message_bytes}", "8BITMIME", "SMTPUTF8"]
            lines += ["PIPELINING", "ENHANCEDSTATUSCODES"]
            if self.service.tls is not None and self.session.ssl is None:
                lines.append("STARTTLS")
            lines += self.extensions()
            text = "".join(f"250-{line}\r\n" for line in lines[:-1]) + f"250 {lines[-1]}\r\n"
            self._output.append(text.encode())

    def _greeted(self, hostname: str, *, extended: bool) -> bool:
        if not hostname:
            self.say(replies.HELO_SYNTAX)
            return False
        self._set_post_data_state()
        self.session.extended_smtp = extended
        self.session.host_name = hostname[:_MAX_HELO_CHARS]
        return True

    async def smtp_STARTTLS(self, arg: str) -> None:
        """RFC 3207."""
        if arg:
            self.say(replies.NO_ARGUMENT)
        elif self.session.ssl is not None:
            self.say(replies.TLS_ALREADY)
        elif self.service.tls is None:
            self.say(replies.NO_TLS)
        else:
            await self.upgrade(replies.TLS_READY)

    # The transaction.

    async def smtp_MAIL(self, arg: str | None) -> None:
        """RFC 5321, 4.1.1.2."""
        refusal = self._mail(arg or "")
        if refusal is None:
            self.say(replies.SENDER_OK)
        else:
            self._idle(refusal)

    def _mail(self, argument: str) -> Reply | None:
        if not self.session.host_name:
            return replies.EHLO_FIRST
        refusal = replies.NESTED_MAIL if self.transaction.mail else self.permission()
        if refusal:
            return refusal
        mail = self.parse_mail(argument)
        if isinstance(mail, Reply):
            return mail
        refusal = self._size_refusal(mail.size or 0) or self.sender_refusal(mail)
        if refusal is None:
            self.transaction.mail = mail
        return refusal

    def _size_refusal(self, size: int) -> Reply | None:
        if size > self.service.limits.max_message_bytes:
            return replies.TOO_BIG
        return None if self.service.budget.has_room(size) else replies.NO_ROOM

    async def smtp_RCPT(self, arg: str | None) -> None:
        """RFC 5321, 4.1.1.3."""
        mail = self.transaction.mail
        if mail is None:
            self._idle(replies.MAIL_FIRST)
        elif len(self.transaction.recipients) >= self.service.limits.max_recipients:
            self._refuse_recipient(replies.TOO_MANY_RECIPIENTS)
        else:
            rcpt = parse_rcpt(arg or "", utf8=mail.smtputf8)
            recipient = rcpt if isinstance(rcpt, Reply) else self.admit(rcpt)
            if isinstance(recipient, Reply):
                self._refuse_recipient(recipient)
            else:
                self.transaction.recipients.append(recipient)
                self.say(replies.RECIPIENT_OK)

    def _refuse_recipient(self, reply: Reply) -> None:
        # Many recipients may be refused one by one in good faith, but not without end.
        self.say(reply)
        self._refused += 1
        if self._refused > self.service.limits.max_recipients + self.service.limits.max_junk:
            self.end(replies.TOO_MUCH_JUNK)

    async def smtp_DATA(self, arg: str) -> None:
        """RFC 5321, 4.1.1.4."""
        refusal = self._data_refusal(arg)
        if refusal:
            self.say(refusal)
            return
        limits = self.service.limits
        content = ContentReader(
            limits.max_message_bytes, PATIENCE_BYTES, self.service.budget, repair=self.repair_content
        )
        self._output.append(_GO_AHEAD)
        try:
            if await self.read_content(content):
                self.say(await self._answer(content))
        finally:
            content.close()
            self._set_post_data_state()

    def _data_refusal(self, argument: str) -> Reply | None:
        if self.transaction.mail is None:
            return replies.MAIL_FIRST
        if not self.transaction.recipients:
            return replies.RCPT_FIRST
        if argument:
            return replies.NO_ARGUMENT
        return self._size_refusal(self.transaction.mail.size or 0)

    async def _answer(self, content: ContentReader) -> Reply:
        if content.state is not Reading.COMPLETE:
            reply = _REFUSED[content.state]
            _log.info(kv(event="content-refused", client=self.client, why=content.state.value))
            if content.state is Reading.ENDLESS:
                self.over = True
            return reply
        reply = await self.take(content.take())
        if reply.code == replies.OK.code:
            self._junk = self._refused = 0
        return reply

    def peer(self, user: User | None = None) -> Client:
        """Return who is at the other end."""
        tls = None
        if self.session.ssl is not None:
            secured = self.session.ssl["ssl_object"]
            tls = f"{secured.version()} with cipher {secured.cipher()[0]}"
        return Client(self.client, self.session.host_name or "", self.session.extended_smtp, tls, user)

    # The rest.

    async def smtp_RSET(self, arg: str) -> None:
        """RFC 5321, 4.1.1.5."""
        if arg:
            self.say(replies.NO_ARGUMENT)
        else:
            self._set_post_data_state()
            self.say(replies.OK)

    async def smtp_NOOP(self, arg: str) -> None:  # noqa: ARG002 - RFC 5321, 4.1.1.9: the argument is ignored
        """RFC 5321, 4.1.1.9."""
        self.say(replies.OK)

    async def smtp_QUIT(self, arg: str) -> None:
        """RFC 5321, 4.1.1.10."""
        if arg:
            self.say(replies.NO_ARGUMENT)
        else:
            self.end(replies.BYE)

    async def smtp_HELP(self, arg: str) -> None:  # noqa: ARG002 - one text for all
        """RFC 5321, 4.1.1.8."""
        self.say(replies.HELP)

    async def smtp_VRFY(self, arg: str) -> None:  # noqa: ARG002 - nobody is told who is there
        """RFC 5321, 4.1.1.6 and 7.3."""
        self.say(replies.CANNOT_VRFY)

    async def smtp_EXPN(self, arg: str) -> None:  # noqa: ARG002 - there are no lists
        """RFC 5321, 4.1.1.7."""
        self.say(replies.NOT_IMPLEMENTED)

    async def smtp_AUTH(self, arg: str) -> None:  # noqa: ARG002 - listeners with users override it
        """RFC 4954: not advertised here."""
        self.say(replies.NOT_IMPLEMENTED)
