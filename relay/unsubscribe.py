"""The fields by which a recipient takes no more broadcasts of a type: RFC 2369, with one click by RFC 8058.

Rules: only a message with a type gets them, transactional mail has none; a sender's own fields stay the only ones;
and nothing is added to a message whose foreign signature may have to hold. Both fields are signed by DKIM, as RFC 8058,
4 asks (relay/deliver/dkim.py).
"""

from collections import OrderedDict
from typing import Final

from relay.deliver.dkim import OwnFields
from relay.inject.header import read_header
from storage.model import Job, Message
from storage.token import TokenBox
from storage.tracking import unsubscribe_url

_ONE_CLICK: Final = (b"List-Unsubscribe-Post", b"List-Unsubscribe=One-Click")
_SENDERS_OWN: Final = frozenset({b"list-unsubscribe", b"list-unsubscribe-post"})
# As for plans: a few dozen cover the messages under way at once.
_MESSAGES_KEPT: Final = 64


class Unsubscribe:
    """Decides which copies get the fields, and makes them."""

    def __init__(self, box: TokenBox, base_url: str, without_types: frozenset[str]) -> None:
        """Take the tokens' box, where the page is, and the types that nobody can unsubscribe from."""
        self._box = box
        self._base_url = base_url
        self._without_types = without_types
        self._wanted: OrderedDict[int, bool] = OrderedDict()

    def fields(self, job: Job, content: bytes) -> OwnFields:
        """Return the fields of a recipient's copy of the stored `content`; none where it gets none."""
        message = job.message
        wanted = self._wanted.get(message.id)
        if wanted is None:
            wanted = self._wanted[message.id] = self._wants(message, content)
            if len(self._wanted) > _MESSAGES_KEPT:
                self._wanted.popitem(last=False)
        if not wanted:
            return ()
        url = unsubscribe_url(self._base_url, self._box.seal(job.recipient_id))
        return (b"List-Unsubscribe", b"<%b>" % url.encode("ascii")), _ONE_CLICK

    def _wants(self, message: Message, content: bytes) -> bool:
        if message.broadcast_type is None or message.broadcast_type in self._without_types:
            return False
        header = read_header(content, 0)
        if header is None:
            return False
        names = {field.name for field in header.fields}
        # A tracked message has no signature that is to hold: it was taken out, or the settings let it break.
        return not names & _SENDERS_OWN and not (message.untracked_reason and b"dkim-signature" in names)
