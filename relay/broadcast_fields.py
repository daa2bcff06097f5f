"""The header fields that a copy of a broadcast has of its own: how to unsubscribe (RFC 2369, RFC 8058), and To.

Rules: only a message with a type gets them, transactional mail has none; a sender's own fields stay the only ones;
and nothing is added to a message whose foreign signature may have to hold. All of them are signed by DKIM, as RFC 8058,
4 asks (relay/deliver/dkim.py). To is written where all recipients share a message that was made here, without one.
"""

from collections import OrderedDict
from dataclasses import dataclass
from typing import Final

from relay.deliver.dkim import OwnFields
from relay.inject.header import read_header
from storage.model import Job, Message
from storage.tracking import unsubscribe_url
from storage.unsubscribe_link import UnsubscribeBox

_ONE_CLICK: Final = (b"List-Unsubscribe-Post", b"List-Unsubscribe=One-Click")
_SENDERS_OWN: Final = frozenset({b"list-unsubscribe", b"list-unsubscribe-post"})
# As for plans: a few dozen cover the messages under way at once.
_MESSAGES_KEPT: Final = 64


@dataclass(frozen=True, slots=True)
class _Wanted:
    """What the copies of a message get."""

    link: bool = False
    to: bool = False


class BroadcastFields:
    """Decides which copies get which fields, and makes them."""

    def __init__(self, box: UnsubscribeBox, base_url: str, without_types: frozenset[str]) -> None:
        """Take the tokens' box, where the page is, and the types that nobody can unsubscribe from."""
        self._box = box
        self._base_url = base_url
        self._without_types = without_types
        self._wanted: OrderedDict[int, _Wanted] = OrderedDict()

    def of(self, job: Job, content: bytes) -> OwnFields:
        """Return the fields of a recipient's copy of the stored `content`; none where it gets none."""
        wanted = self._wanted.get(job.message.id)
        if wanted is None:
            wanted = self._wanted[job.message.id] = self._wants(job.message, content)
            if len(self._wanted) > _MESSAGES_KEPT:
                self._wanted.popitem(last=False)
        fields: list[tuple[bytes, bytes]] = []
        if wanted.to:
            fields.append((b"To", b"<%b>" % job.address.encode()))
        if wanted.link:
            token = self._box.seal(job.recipient_id, job.message.broadcast_type or "", job.address)
            url = unsubscribe_url(self._base_url, token)
            fields += ((b"List-Unsubscribe", b"<%b>" % url.encode("ascii")), _ONE_CLICK)
        return fields

    def _wants(self, message: Message, content: bytes) -> _Wanted:
        if message.broadcast_type is None:
            return _Wanted()
        header = read_header(content, 0)
        if header is None:
            return _Wanted()
        names = {field.name for field in header.fields}
        # A tracked message has no signature that is to hold: it was taken out, or the settings let it break.
        may_change = not (message.untracked_reason and b"dkim-signature" in names)
        link = may_change and message.broadcast_type not in self._without_types and not names & _SENDERS_OWN
        return _Wanted(link, to=not message.client and b"to" not in names)
