"""A recipient's own copy: its tracking image in the content, its signed return path in the envelope.

Rule: what the sender wrote goes out whole. Where a plan cannot be read, or a render does not give the stored
bytes back, the stored bytes go out untouched, and that is logged as our bug. DKIM signs last, what goes out byte
for byte.
"""

import logging
from collections import OrderedDict
from typing import Final

from relay.broadcast_fields import BroadcastFields
from relay.deliver.copy import Copy
from relay.deliver.dkim import OwnFields
from relay.inject.plan import Plan, PlanError
from relay.inject.render import head_bytes, render_checked
from relay.sign import Signer
from storage.kv import kv
from storage.model import Job, queue_id
from storage.token import TokenBox
from storage.tracking import image_url

# Plans are small, but a broadcast shares one: a few dozen cover the messages under way at once.
_PLANS_KEPT: Final = 64

_log = logging.getLogger("telltale.relay")


class Composer:
    """Makes copies: `compose(job, content)` is all that delivery knows of it."""

    def __init__(
        self,
        pixel: TokenBox,
        returns: TokenBox,
        signer: Signer,
        *,
        base_url: str,
        bounce_domain: str,
        broadcast_fields: BroadcastFields | None = None,
    ) -> None:
        """Take the token boxes of images and return paths, the images' base URL and the return paths' domain.

        `broadcast_fields` makes the fields that each copy of a broadcast has of its own.
        """
        self._pixel = pixel
        self._returns = returns
        self._signer = signer
        self._base_url = base_url
        self._bounce_domain = bounce_domain
        self._broadcast_fields = broadcast_fields
        self._plans: OrderedDict[int, Plan] = OrderedDict()

    def compose(self, job: Job, content: bytes) -> Copy:
        """Return the copy of `job`'s recipient from the stored `content` of its message."""
        return Copy(self._return_path(job), self._content(job, content))

    def _return_path(self, job: Job) -> str:
        # RFC 5321, 4.5.5: a notification keeps the null sender, or two servers could bounce for ever.
        if not job.message.sender:
            return ""
        return f"{self._returns.seal(job.recipient_id)}@{self._bounce_domain}"

    def _content(self, job: Job, content: bytes) -> bytes:
        message, own = job.message, self._own(job, content)
        if not message.plan:
            return self._signer.signed(message, content, len(content), own)
        try:
            plan = self._plan(message.id, message.plan)
        except PlanError as error:  # damaged, or a later version's: the message is worth more than its image
            _log.error(kv(event="our-bug", queue_id=queue_id(message.id), reason=str(error)))
            return self._signer.signed(message, content, len(content), own)
        rendering = render_checked(content, plan, image_url(self._base_url, self._pixel.seal(job.recipient_id)))
        if rendering.defect:
            _log.error(kv(event="our-bug", queue_id=queue_id(message.id), reason=rendering.defect))
            return self._signer.signed(message, rendering.content, len(rendering.content), own)
        return self._signer.signed(message, rendering.content, head_bytes(plan), own)

    def _own(self, job: Job, content: bytes) -> OwnFields:
        if self._broadcast_fields is None or job.message.broadcast_type is None:
            return ()
        return self._broadcast_fields.of(job, content)

    def _plan(self, message_id: int, stored: bytes) -> Plan:
        plan = self._plans.get(message_id)
        if plan is None:
            plan = self._plans[message_id] = Plan.from_bytes(stored)
            if len(self._plans) > _PLANS_KEPT:
                self._plans.popitem(last=False)
        return plan
