"""Joins the runner of broadcasts with the acceptance of mail: its messages take the way of all mail.

Rule: only what is decided for a submitted message is decided here: its Received field, its plan, its ids.
"""

from collections.abc import Sequence

from relay.broadcast.runner import Prepare
from relay.receive.accept import Acceptor
from relay.receive.envelope import HERE, Envelope, Recipient
from storage.address import Address
from storage.model import Reply
from storage.posting import Mail


def preparing(acceptor: Acceptor) -> Prepare:
    """Return what makes a run's messages by this acceptor."""

    async def prepare(sender: str, addresses: Sequence[str], content: bytes, now_ms: int) -> Mail | Reply:
        recipients = tuple(Recipient(_address(address)) for address in addresses)
        envelope = Envelope(HERE, _address(sender) if sender else None, recipients, smtputf8=True)
        return await acceptor.prepare(envelope, content, now_ms)

    return prepare


def _address(text: str) -> Address:
    """Return an address that was read before."""
    local, _, domain = text.rpartition("@")
    return Address(local, domain)
