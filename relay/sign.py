"""Signs copies with DKIM: whose message it is, which keys sign for it, and what all its copies share.

Rule: a message is signed for its author, the domain of its From field, or goes as it is.
"""

import logging
import re
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

from relay.deliver.dkim import Key, OwnFields, Template, Unsigned, template, written
from relay.deliver.keys import KeyRing
from relay.receive.senders import from_addresses
from storage.address import Fault, parse_domain
from storage.kv import kv
from storage.model import Message, queue_id

# As for plans: a broadcast shares one, and a few dozen cover the messages under way at once.
_DRAFTS_KEPT: Final = 64
# What programs write without the quotes that it needs ("Doe, John <j@example.org>") still names one address.
_ONE_BRACKET: Final = re.compile(rb"[^<>@]*+<[^<>@]++@([^<>@\s]++)>\s*+")

_log = logging.getLogger("telltale.relay")


def author_domains(field: bytes) -> list[str]:
    """Return the domains of an unfolded From value in lower-case A-labels, in order; [] where it cannot be read."""
    addresses = from_addresses(field)
    if addresses is not None:
        return list(dict.fromkeys([address.rpartition("@")[2] for address in addresses]))
    found = _ONE_BRACKET.fullmatch(field)
    domain = parse_domain(found[1].decode("utf-8", "replace")) if found else Fault.SYNTAX
    return [] if isinstance(domain, Fault) else [domain]


@dataclass(frozen=True, slots=True)
class _Draft:
    """What all copies of a message share: nothing where it goes unsigned."""

    shared: int
    own: bool = False
    """Whether each copy has fields of its own."""
    template: Template | None = None
    keys: tuple[Key, ...] = ()


class Signer:
    """Signs the copies of one relay process."""

    def __init__(self, ring: KeyRing, lifetime_seconds: int = 0, clock: Callable[[], float] = time.time) -> None:
        """Take the keys, how long signatures hold (0: for ever), and the time in seconds since the epoch."""
        self._ring = ring
        self._lifetime = lifetime_seconds
        self._clock = clock
        self._drafts: OrderedDict[int, _Draft] = OrderedDict()

    def domains(self, from_fields: Iterable[bytes]) -> frozenset[str]:
        """Return the domain that a message with these unfolded From values will be signed for, in a set; or none."""
        fields = list(from_fields)
        keys = self._ring.choose(author_domains(fields[0])) if self._ring and len(fields) == 1 else ()
        return frozenset(key.domain for key in keys)

    def signed(self, message: Message, copy: bytes, shared: int | None, own: OwnFields = ()) -> bytes:
        """Return a copy with its signatures; the first `shared` bytes are the same in all copies of the message.

        None: it shares nothing with the others, since it was re-encoded for its server. `own`: fields that only
        this copy has, and that are put before it: none in any copy of the message, or the same names in all.
        """
        before = written(own) + copy if own else copy
        if not self._ring:
            return before
        if shared is None:
            draft = self._drafted(message, copy, len(copy), own)
        else:
            draft = self._draft(message, copy, shared, own)
        if draft.template is None:
            return before
        return draft.template.signatures(copy, draft.keys, int(self._clock()), self._lifetime, own) + before

    def _draft(self, message: Message, copy: bytes, shared: int, own: OwnFields) -> _Draft:
        draft = self._drafts.get(message.id)
        if draft is None or draft.shared != shared or draft.own is not bool(own):
            draft = self._drafts[message.id] = self._drafted(message, copy, shared, own)
            if len(self._drafts) > _DRAFTS_KEPT:
                self._drafts.popitem(last=False)
        return draft

    def _drafted(self, message: Message, copy: bytes, shared: int, own: OwnFields) -> _Draft:
        found = template(copy, shared, utf8=message.smtputf8, own=[name.lower() for name, _ in own])
        if isinstance(found, Unsigned):
            _log.info(kv(event="not-signed", queue_id=queue_id(message.id), reason=found))
            return _Draft(shared, bool(own))
        keys = self._ring.choose(author_domains(found.author))
        return _Draft(shared, bool(own), found, keys) if keys else _Draft(shared, bool(own))
