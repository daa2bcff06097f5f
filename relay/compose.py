"""A recipient's own copy: its tracking image in the content, its signed return path in the envelope.

Rule: what the sender wrote goes out whole. Where a plan cannot be read, or a render does not give the stored
bytes back, the stored bytes go out untouched, and that is logged as our bug. A server of less ability gets what
needs it re-encoded, or nothing, for a reason. DKIM signs last, what goes out byte for byte. What takes long runs beside
the event loop, and touches nothing there that copies share.
"""

import asyncio
import logging
import re
from collections.abc import Coroutine
from typing import Final

from relay.broadcast_fields import BroadcastFields
from relay.deliver.client import Extensions
from relay.deliver.copy import Copy
from relay.deliver.dkim import OwnFields
from relay.deliver.reply import ours
from relay.inject.plan import PlanError
from relay.inject.plans import Plans
from relay.inject.recode import Fault, for_server
from relay.inject.render import head_bytes, render_checked
from relay.sign import Signer
from storage.kv import kv
from storage.model import BodyType, Job, Reply, queue_id
from storage.token import TokenBox
from storage.tracking import image_url

# Re-encoding takes some 30 ms a megabyte; the event loop does what it has done after a few.
_LARGE_BYTES: Final = 256 * 1024
_DKIM_SIGNATURE: Final = re.compile(rb"^dkim-signature[ \t]*+:", re.IGNORECASE | re.MULTILINE)

_log = logging.getLogger("telltale.relay")

_Rendered = tuple[bytes, int | None]
"""A recipient's content, and how many bytes it begins with as that of all others does; None: not even its header."""


class Composer:
    """Makes copies: `compose(job, content, offered)` is all that delivery knows of it."""

    def __init__(
        self,
        pixel: TokenBox,
        returns: TokenBox,
        signer: Signer,
        *,
        base_url: str,
        bounce_domain: str,
        broadcast_fields: BroadcastFields | None = None,
        plans: Plans | None = None,
    ) -> None:
        """Take the token boxes of images and return paths, the images' base URL and the return paths' domain.

        `broadcast_fields` makes the fields that each copy of a broadcast has of its own; `plans` are those at hand.
        """
        self._pixel = pixel
        self._returns = returns
        self._signer = signer
        self._base_url = base_url
        self._bounce_domain = bounce_domain
        self._broadcast_fields = broadcast_fields
        self._plans = Plans() if plans is None else plans

    def compose(
        self, job: Job, content: bytes, offered: Extensions
    ) -> Copy | Reply | Coroutine[None, None, Copy | Reply]:
        """Return the copy of `job`'s recipient from the stored `content` of its message, as the server may be given it.

        A Reply of ours says why this server cannot be given it (RFC 3463, 3.7). Where that takes long, it is to be
        awaited.
        """
        rendered, own = self._rendered(job, content), self._own(job, content)
        if job.message.body is BodyType.SEVEN_BIT or (offered.eight_bit and offered.smtputf8):
            return self._copy(job, rendered, own)
        if not offered.eight_bit and len(content) >= _LARGE_BYTES and not content.isascii():
            return self._apart(job, rendered, offered, own)
        carried = _for_server(job, rendered, offered)
        return carried if isinstance(carried, Reply) else self._copy(job, carried, own)

    async def _apart(self, job: Job, rendered: _Rendered, offered: Extensions, own: OwnFields) -> Copy | Reply:
        """Return the copy, re-encoded beside the event loop."""
        carried = await asyncio.to_thread(_for_server, job, rendered, offered)
        if isinstance(carried, Reply):
            return carried
        # Signing what shares nothing with other copies keeps nothing for them.
        shares = carried[1] is not None
        return self._copy(job, carried, own) if shares else await asyncio.to_thread(self._copy, job, carried, own)

    def _copy(self, job: Job, carried: _Rendered, own: OwnFields) -> Copy:
        return Copy(self._return_path(job), self._signer.signed(job.message, *carried, own))

    def _return_path(self, job: Job) -> str:
        # RFC 5321, 4.5.5: a notification keeps the null sender, or two servers could bounce for ever.
        if not job.message.sender:
            return ""
        return f"{self._returns.seal(job.recipient_id)}@{self._bounce_domain}"

    def _rendered(self, job: Job, content: bytes) -> _Rendered:
        message = job.message
        if not message.plan:
            return content, len(content)
        try:
            plan = self._plans.of(message.id, message.plan)
        except PlanError as error:  # damaged, or a later version's: the message is worth more than its image
            _log.error(kv(event="our-bug", queue_id=queue_id(message.id), reason=str(error)))
            return content, len(content)
        rendering = render_checked(content, plan, image_url(self._base_url, self._pixel.seal(job.recipient_id)))
        if rendering.defect:
            _log.error(kv(event="our-bug", queue_id=queue_id(message.id), reason=rendering.defect))
            return rendering.content, len(rendering.content)
        return rendering.content, head_bytes(plan)

    def _own(self, job: Job, content: bytes) -> OwnFields:
        if self._broadcast_fields is None or job.message.broadcast_type is None:
            return ()
        return self._broadcast_fields.of(job, content)


def _for_server(job: Job, rendered: _Rendered, offered: Extensions) -> _Rendered | Reply:
    """Return the content as a server takes it that does not offer 8BITMIME and SMTPUTF8, or why there is none."""
    content, _ = rendered
    found = for_server(content, eight_bit=offered.eight_bit, smtputf8=offered.smtputf8, declared=job.message.smtputf8)
    if isinstance(found, Fault):
        return ours(found.enhanced, found)
    if found == content:
        return rendered
    broken = "broken" if _DKIM_SIGNATURE.search(content, 0, max(content.find(b"\r\n\r\n"), 0)) else None
    _log.info(
        kv(event="re-encoded", queue_id=queue_id(job.message.id), to=job.address, size=len(found), foreign_dkim=broken)
    )
    return found, None
