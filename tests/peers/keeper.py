"""A receiving server that keeps every message it answered 250 to; aiosmtpd in a thread of its own."""

import threading
from dataclasses import dataclass, field

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, Envelope, Session


@dataclass(frozen=True, slots=True)
class Kept:
    """A message as it arrived."""

    sender: str
    recipients: tuple[str, ...]
    content: bytes


@dataclass
class Keeper:
    """Keeps messages; `replies` (recipient to a reply) refuses at RCPT."""

    replies: dict[str, str] = field(default_factory=dict)
    kept: list[Kept] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    async def handle_RCPT(  # noqa: N802 - the library's name
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        if (reply := self.replies.get(address)) is not None:
            return reply
        envelope.rcpt_tos.append(address)
        return "250 2.1.5 Ok"

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802 - as above
        with self.lock:
            content = envelope.original_content or b""
            self.kept.append(Kept(envelope.mail_from or "", tuple(envelope.rcpt_tos), content))
        return "250 2.0.0 kept"

    def messages(self) -> list[Kept]:
        with self.lock:
            return list(self.kept)


def start(keeper: Keeper, address: str, port: int) -> Controller:
    """Serve `keeper` on a port; `stop()` of what is returned ends it."""
    controller = Controller(keeper, hostname=address, port=port, data_size_limit=0, server_hostname="keeper.test")
    controller.start()
    return controller
