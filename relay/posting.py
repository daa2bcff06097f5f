"""Joins the HTTP API with the acceptance of mail: what a program posts takes the way of all mail.

Rule: whatever submission does to a message is done here by the same code, and nothing else: who may send as whom, the
limits, line ends, the mended header, the plan, the broadcast. It stores nothing.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from relay.deliver.keys import load
from relay.deliver.settings import DkimSettings, RetrySettings
from relay.inject.plan import InjectOptions
from relay.receive import replies
from relay.receive.accept import Acceptor, Prepared
from relay.receive.content import with_line_ends
from relay.receive.envelope import Client, Envelope, Recipient
from relay.receive.senders import permits
from relay.receive.settings import SubmissionSettings
from relay.sign import Signer
from storage.address import Address, parse_mailbox
from storage.broadcast_settings import BroadcastSettings
from storage.model import Job, Reply
from storage.posting import Post
from storage.settings import ServerSettings
from storage.store import Store
from storage.token import TOKEN_CHARS
from storage.tracking import TrackingSettings, image_url

_NO_MAILBOX: Final = Reply(553, "5.1.3", "An address of the envelope is not one")
_NOBODY: Final = replies.RCPT_FIRST


@dataclass(frozen=True, slots=True)
class PostingSettings:
    """The sections that steer what is accepted."""

    server: ServerSettings
    submission: SubmissionSettings
    retry: RetrySettings
    tracking: TrackingSettings
    broadcast: BroadcastSettings
    dkim: DkimSettings


def inject_options(tracking: TrackingSettings) -> InjectOptions:
    """Return how images are put into the messages of an installation."""
    return InjectOptions(
        text_only=tracking.text_only,
        url_length=len(image_url(tracking.base_url, "a" * TOKEN_CHARS)),
        foreign_dkim=tracking.foreign_dkim,
        leave_text_from=frozenset(tracking.leave_text_from),
        leave_text_to=frozenset(tracking.leave_text_to),
    )


class _NoDelivery:
    """Nothing is delivered in this process: whoever claims it first has it."""

    def room(self) -> int:
        return 0

    def submit(self, jobs: Sequence[Job]) -> None:
        raise AssertionError(f"{len(jobs)} jobs are leased where nothing is delivered")


class Posting:
    """Makes posted mail ready for one store."""

    def __init__(self, store: Store, at: PostingSettings) -> None:
        """Take the store, for its ids; raises DkimKeyError where a key cannot be used."""
        self.lifetime_ms = at.retry.lifetime * 1000
        self.max_bytes = at.submission.max_message_bytes
        self.max_recipients = at.submission.max_recipients
        self._acceptor = Acceptor(
            store,
            inject_options(at.tracking),
            at.server.hostname,
            _NoDelivery(),
            lifetime_ms=self.lifetime_ms,
            signing_domains=Signer(load(at.server.state_dir, at.dkim), at.dkim.expires).domains,
            broadcasts=at.broadcast,
        )

    async def prepare(self, post: Post, now_ms: int) -> Prepared | Reply:
        """Return what is to be stored, or the reply that submission would refuse it with."""
        envelope = self._envelope(post)
        if isinstance(envelope, Reply):
            return envelope
        if len(post.content) > self.max_bytes:
            return replies.TOO_BIG
        content = await asyncio.to_thread(with_line_ends, post.content)
        if content is None:
            return replies.BARE_CR
        return await self._acceptor.prepare(envelope, content, now_ms)

    def _envelope(self, post: Post) -> Envelope | Reply:
        if not post.recipients:
            return _NOBODY
        if len(post.recipients) > self.max_recipients:
            return replies.TOO_MANY_RECIPIENTS
        named = [parse_mailbox(text, utf8=True) for text in (post.sender, *post.recipients) if text]
        addresses = [one for one in named if isinstance(one, Address) and one.domain]
        if len(addresses) != len(named):
            return _NO_MAILBOX
        sender = addresses.pop(0) if post.sender else None
        if sender is not None and not permits(post.user.senders, str(sender)):
            return replies.NOT_YOUR_SENDER
        tls = "HTTPS" if post.tls else None
        client = Client(post.client, "", extended=True, tls=tls, user=post.user)
        return Envelope(client, sender, tuple(map(Recipient, addresses)), smtputf8=True)
