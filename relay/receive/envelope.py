"""What a session hands over with the content: who sent it, to whom, and how it came."""

from typing import Final

from storage.address import Address
from storage.frozen import frozen
from storage.model import User


@frozen
class Recipient:
    """A recipient that RCPT named."""

    address: Address
    notify: str | None = None
    orcpt: str | None = None


@frozen
class Client:
    """Who is at the other end."""

    address: str
    """"" where there is no other end: the message was made here."""
    helo: str
    extended: bool
    """It greeted with EHLO."""
    tls: str | None
    """e.g. "TLSv1.3 with cipher TLS_AES_256_GCM_SHA384"; None in clear."""
    user: User | None
    """Who it proved to be; None for a trusted network."""


HERE: Final = Client("", "", extended=True, tls=None, user=None)
"""The client of messages that this program makes itself."""


@frozen
class Envelope:
    """The envelope of one transaction (RFC 5321, 2.3.1)."""

    client: Client
    sender: Address | None
    """None for the null sender."""
    recipients: tuple[Recipient, ...]
    smtputf8: bool = False
    ret: str | None = None
    envid: str | None = None
    is_report: bool = False
    """A report of ours: it says what became of mail, and is no mail to be tracked."""
