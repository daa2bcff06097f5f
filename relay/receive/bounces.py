"""The session of the bounce listener (port 25): takes what comes back to our return paths, and nothing else.

Rule: not a relay. A recipient is a signed return path of ours or it is refused; so is postmaster, which
RFC 5321, 4.5.1 asks for: this listener has no mailboxes, and the domain of return paths is not one that people
write to.
"""

import logging
import ssl
from collections.abc import Awaitable, Callable
from typing import Final

from relay.receive import replies
from relay.receive.admission import Admitted
from relay.receive.arguments import MailFrom, RcptTo, parse_any_mail
from relay.receive.envelope import Recipient
from relay.receive.limits import Limits
from relay.receive.service import Service
from relay.receive.session import SmtpSession
from storage.kv import kv
from storage.model import Reply
from storage.status import Status
from storage.store import StoreFullError

_RETURN_PATH: Final = Admitted(Status.UNSENT)

_log = logging.getLogger("telltale.receive")

OpenReturnPath = Callable[[str], int | None]
Take = Callable[[bytes, int, str], Awaitable[None]]


class BounceService(Service):
    """What all sessions of the bounce listener share."""

    def __init__(
        self,
        hostname: str,
        limits: Limits,
        tls: ssl.SSLContext | None,
        *,
        domain: str,
        open_return_path: OpenReturnPath,
        take: Take,
    ) -> None:
        """Take mail to local parts of `domain` that `open_return_path` knows; `take` stores it."""
        super().__init__(hostname, limits, tls)
        self.domain = domain.lower()
        self.open_return_path = open_return_path
        self.take = take


class BounceSession(SmtpSession):
    """One server that brings something back."""

    service: BounceService
    # It is kept as it came, to be understood, and never passed on.
    repair_content = False

    def parse_mail(self, argument: str) -> MailFrom | Reply:
        """Any sender will do: null for bounces, but auto-replies come from the oddest ones."""
        return parse_any_mail(argument)

    def admit(self, rcpt: RcptTo) -> Recipient | Reply:
        """Only signed return paths."""
        is_ours = rcpt.address.domain == self.service.domain
        if not is_ours or self.service.open_return_path(rcpt.address.local) is None:
            return replies.NO_RETURN_PATH
        return Recipient(rcpt.address, _RETURN_PATH)

    async def take(self, content: bytes) -> Reply:
        """Store it for each return path that it came to."""
        mail = self.transaction.mail
        sender = str(mail.sender) if mail and mail.sender else ""
        local_parts = dict.fromkeys(recipient.address.local for recipient in self.transaction.recipients)
        try:
            for local_part in local_parts:
                recipient_id = self.service.open_return_path(local_part)
                if recipient_id is not None:
                    await self.service.take(content, recipient_id, sender)
        except StoreFullError:
            _log.error(kv(event="store-full", client=self.client))
            return replies.STORE_FULL
        return replies.OK
