"""Takes responsibility for a message: mends its header, plans its image, stores it, gives it to delivery.

Rule: `accept` returns a queue id only after the commit; what it returns otherwise is the refusal to answer with.
"""

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import field, replace
from typing import Final, Protocol

from relay.inject.plan import InjectOptions, Plan, plan_message
from relay.inject.plans import Plans
from relay.inject.recode import with_short_lines
from relay.receive import association, replies
from relay.receive.association import Association
from relay.receive.encoded_words import decode_value
from relay.receive.envelope import Envelope
from relay.receive.headers import MAX_RECEIVED, HeaderFault, Headers, Trace, mend, protocol, scan
from relay.receive.senders import permits_from
from storage import broadcast_settings
from storage.broadcast_settings import BroadcastSettings
from storage.frozen import frozen
from storage.kv import kv
from storage.model import BodyType, Job, Message, NewRecipient, Reply, queue_id
from storage.store import Store, StoreFullError
from storage.untracked import UntrackedReason

# From here on mending and planning leave the event loop: it takes milliseconds, and others would wait.
_LARGE_BYTES: Final = 256 * 1024


_log = logging.getLogger("telltale.receive")


class Delivery(Protocol):
    """Where accepted recipients go at once: a `relay.deliver` Delivery."""

    def room(self) -> int:
        """Return how many recipients may still be leased from memory."""

    def submit(self, jobs: Sequence[Job]) -> None:
        """Deliver these."""


@frozen
class Prepared:
    """A message as the store takes it."""

    message: Message
    content: bytes = field(repr=False)
    """Mended: with our Received field, without our control fields."""
    recipients: tuple[NewRecipient, ...]
    once: bool = False
    """Whether an address that had a message of this broadcast gets none again."""


class Acceptor:
    """Accepts messages into one store; one object a process."""

    def __init__(
        self,
        store: Store,
        options: InjectOptions,
        hostname: str,
        delivery: Delivery,
        *,
        lifetime_ms: int,
        signing_domains: Callable[[Sequence[bytes]], frozenset[str]] = lambda _: frozenset(),
        broadcasts: BroadcastSettings = broadcast_settings.DEFAULT,
        plans: Plans | None = None,
    ) -> None:
        """Store in `store` as `hostname`, give to `delivery`; recipients live for `lifetime_ms` in the queue.

        `signing_domains` tells by the From fields for which domain a message will be signed when it goes out; `plans`
        is where those who compose the copies find the plan that was made here.
        """
        self._store = store
        self._options = options
        self._hostname = hostname
        self._delivery = delivery
        self._lifetime_ms = lifetime_ms
        self._signing_domains = signing_domains
        self._broadcasts = broadcasts
        self._plans = Plans() if plans is None else plans
        self._promised = 0
        """Recipients that are being stored leased, and are not in delivery's count yet."""

    async def accept(self, envelope: Envelope, content: bytes, now_ms: int) -> str | Reply:
        """Take responsibility for a message. When this returns a queue id, answer 250."""
        prepared = await self.prepare(envelope, content, now_ms)
        if isinstance(prepared, Reply):
            return prepared
        refusal = await self._stored(prepared)
        if refusal:
            return refusal
        known_as = queue_id(prepared.message.id)
        _tell(prepared.message, known_as, len(envelope.recipients))
        return known_as

    async def prepare(self, envelope: Envelope, content: bytes, now_ms: int) -> Prepared | Reply:
        """Return what `accept` would store, and store nothing; a Reply is why the message is refused."""
        headers = scan(content)
        if isinstance(headers, HeaderFault):
            return Reply(552, "5.3.4", headers)
        if headers.received > MAX_RECEIVED:
            return replies.LOOP
        user = envelope.client.user
        if user and user.senders and not _permits(user.senders, headers, content):
            return replies.NOT_YOUR_SENDER
        message_id = self._store.next_id()
        trace = _trace(envelope, self._hostname, message_id, now_ms)
        if len(content) < _LARGE_BYTES:
            message, mended, plan = self._prepared(message_id, envelope, headers, trace, content)
        else:
            message, mended, plan = await asyncio.to_thread(
                self._prepared, message_id, envelope, headers, trace, content
            )
        if message.plan:
            self._plans.keep(message_id, plan, len(message.plan))
        once = _association(envelope, headers).by in self._broadcasts.once
        return Prepared(message, mended, self._recipients(envelope), once)

    def _prepared(
        self, message_id: int, envelope: Envelope, headers: Headers, trace: Trace, content: bytes
    ) -> tuple[Message, bytes, Plan]:
        mended = _in_short_lines(mend(content, headers, trace), trace.queue_id)
        plan = self._plan(envelope, headers, mended)
        user = envelope.client.user
        message = Message(
            id=message_id,
            received_ms=trace.at_ms,
            sender=str(envelope.sender or ""),
            # What it needs, not what was asked for: many clients ask for both, always, and a next hop that
            # lacks them could then not be given a plain message.
            body=BodyType.SEVEN_BIT if mended.isascii() else BodyType.EIGHT_BIT_MIME,
            smtputf8=envelope.smtputf8 and _needs_utf8(envelope, content[: headers.end]),
            size=len(mended),
            plan=plan.to_bytes() if plan.edits else b"",
            envid=envelope.envid,
            ret=envelope.ret,
            user=user.name if user else None,
            client=envelope.client.address,
            message_id=headers.message_id or f"<{trace.queue_id}@{trace.hostname}>",
            from_header=decode_value(b", ".join(headers.from_fields)),
            subject=headers.subject,
            untracked_reason=plan.untracked_reason,
            broadcast=_association(envelope, headers).name,
            broadcast_type=self._type(_association(envelope, headers)),
        )
        return message, mended, plan

    def _type(self, broadcast: Association) -> str | None:
        """Return the type of a message; a tag alone, which transactional mail has too, makes no type."""
        named = broadcast.by in self._broadcasts.once
        return broadcast.type or (self._broadcasts.default_type if named else None)

    def _plan(self, envelope: Envelope, headers: Headers, content: bytes) -> Plan:
        if envelope.is_report:
            return Plan(UntrackedReason.REPORT)
        options = replace(
            self._options,
            track=not headers.opted_out,
            signing_domains=self._signing_domains(headers.from_fields),
            sender_domain=envelope.sender.domain if envelope.sender else "",
            recipient_domains=frozenset(recipient.address.domain for recipient in envelope.recipients),
        )
        try:
            return plan_message(content, options)
        except Exception:  # noqa: BLE001 - a bug in what is only an image must not cost the message
            _log.exception(kv(event="plan-failed"))
            return Plan(UntrackedReason.SELF_CHECK)

    def _recipients(self, envelope: Envelope) -> tuple[NewRecipient, ...]:
        return tuple(
            [
                NewRecipient(
                    self._store.next_id(),
                    str(recipient.address),
                    recipient.address.domain,
                    recipient.notify,
                    recipient.orcpt,
                )
                for recipient in envelope.recipients
            ]
        )

    async def _stored(self, prepared: Prepared) -> Reply | None:
        message, recipients = prepared.message, prepared.recipients
        leased = self._delivery.room() - self._promised >= len(recipients)
        self._promised += len(recipients) if leased else 0
        try:
            jobs = await self._store.accept(
                message,
                prepared.content,
                recipients,
                lifetime_ms=self._lifetime_ms,
                leased=leased,
                once=prepared.once,
            )
        except StoreFullError:
            _log.error(kv(event="store-full", client=message.client))
            return replies.STORE_FULL
        except Exception:  # noqa: BLE001 - whatever it was, the client keeps the message and tries again
            _log.exception(kv(event="not-stored", client=message.client))
            return replies.NOT_STORED
        finally:
            self._promised -= len(recipients) if leased else 0
        self._submit(jobs)
        return None

    def _submit(self, jobs: Sequence[Job]) -> None:
        try:
            self._delivery.submit(jobs)
        except Exception:  # noqa: BLE001 - it is stored: their leases run out, and others pick them up
            _log.exception(kv(event="not-submitted", jobs=len(jobs)))


def _permits(senders: tuple[str, ...], headers: Headers, content: bytes) -> bool:
    # Some servers take NUL out, and what was no From field is one then.
    return permits_from(senders, headers.from_fields) and content.find(b"\0", 0, headers.end) < 0


def _in_short_lines(content: bytes, known_as: str) -> bytes:
    """Return the content as every server takes it, but for 8 bits: before the plan, so that all copies share it."""
    try:
        changed = with_short_lines(content)
    except Exception:  # noqa: BLE001 - a bug in what most servers do not ask for must not cost the message
        _log.exception(kv(event="not-re-encoded", queue_id=known_as))
        return content
    if changed is not content:
        _log.info(kv(event="re-encoded", queue_id=known_as, reason="lines of more than 998 octets, or NUL"))
    return changed


def _trace(envelope: Envelope, hostname: str, message_id: int, now_ms: int) -> Trace:
    client = envelope.client
    keyword = protocol(
        extended=client.extended,
        utf8=envelope.smtputf8,
        tls=client.tls is not None,
        authenticated=client.user is not None,
    )
    return Trace(client.helo, client.address, keyword, client.tls, hostname, queue_id(message_id), now_ms)


def _association(envelope: Envelope, headers: Headers) -> Association:
    """Return a submitted message's broadcast; what is made here may hold a stranger's header (a forwarded answer)."""
    return headers.broadcast if envelope.client.address else association.NONE


def _needs_utf8(envelope: Envelope, header: bytes) -> bool:
    addresses = [str(recipient.address) for recipient in envelope.recipients]
    return not (header.isascii() and all(map(str.isascii, [str(envelope.sender or ""), *addresses])))


def _tell(message: Message, known_as: str, recipients: int) -> None:
    fields = {
        "queue_id": known_as,
        "from": f"<{message.sender}>",
        "size": message.size,
        "nrcpt": recipients,
        "client": message.client,
        "user": message.user,
        "message_id": message.message_id,
    }
    _log.info(kv(**fields))
