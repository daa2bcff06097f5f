"""The session of the bounce listener (port 25): takes what comes back to our return paths, and nothing else.

Rule: not a relay. A recipient is a signed return path of ours, or postmaster (RFC 5321, 4.5.1) for mail with
the null sender, where servers send bounces that lost their return path; all else is refused. There are no
mailboxes: what comes is read by this program.
"""

import logging
import ssl
from collections.abc import Awaitable, Callable

from relay.receive import replies
from relay.receive.arguments import MailFrom, RcptTo, parse_any_mail
from relay.receive.envelope import Recipient
from relay.receive.limits import Limits
from relay.receive.service import Service
from relay.receive.session import SmtpSession
from storage.address import Address
from storage.kv import kv
from storage.model import Reply
from storage.store import StoreFullError

_log = logging.getLogger("telltale.receive")

OpenReturnPath = Callable[[str], int | None]
Take = Callable[[bytes, int | None, str], Awaitable[bool]]
"""Stores (content, recipient id or None for postmaster, sender); False where enough of such is kept."""


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
        """Only signed return paths, and postmaster for the null sender."""
        if not (self._is_postmaster(rcpt.address) or self._is_return_path(rcpt.address)):
            return replies.NO_RETURN_PATH
        return Recipient(rcpt.address)

    def _is_return_path(self, address: Address) -> bool:
        return address.domain == self.service.domain and self.service.open_return_path(address.local) is not None

    def _is_postmaster(self, address: Address) -> bool:
        # RFC 5321, 4.1.1.3: in any letter case, and without a domain too.
        is_null = self.transaction.mail is not None and self.transaction.mail.sender is None
        return is_null and address.local.lower() == "postmaster" and address.domain in ("", self.service.domain)

    async def take(self, content: bytes) -> Reply:
        """Store it once for each return path that it came to, and for postmaster."""
        mail = self.transaction.mail
        sender = str(mail.sender) if mail and mail.sender else ""
        named = (self.service.open_return_path(one.address.local) for one in self.transaction.recipients)
        refusal: Reply | None = None
        kept = False
        try:
            for recipient_id in dict.fromkeys(named):
                if await self.service.take(content, recipient_id, sender):
                    kept = True
                else:
                    # Who has met a return path can be told to stop; a flood to postmaster is others'.
                    refusal = replies.NO_ROOM if recipient_id is None else replies.RETURN_PATH_FULL
        except StoreFullError:
            _log.error(kv(event="store-full", client=self.client))
            return replies.STORE_FULL
        if kept or refusal is None:
            return replies.OK
        _log.info(kv(event="bounce-refused", client=self.client, why=refusal.text))
        return refusal
