"""Which addresses fetched the images of many recipients just now: a person has one mailbox open.

Rule: pure (times and the key are arguments) and bounded; no address is kept, only a keyed hash of it that
nobody can turn back once the process is gone.
"""

from collections import OrderedDict
from hashlib import blake2b
from typing import Final

from storage.forwarded import Address

CROWD_MS: Final = 5_000
CROWD_RECIPIENTS: Final = 8
"""So many recipients' images within CROWD_MS are a gateway's. A household or a small office behind one
address stays below it; a gateway that takes a broadcast is far above."""
_ADDRESSES: Final = 10_000
_HASH_BYTES: Final = 8
# A host with IPv6 has a /64 of its own (RFC 4291, 2.5.4) and may change its address in it at will.
_IPV6_HOST_BYTES: Final = 8


class Crowd:
    """Remembers, for the addresses seen last, the recipients whose images they fetched last."""

    def __init__(self, key: bytes, addresses: int = _ADDRESSES) -> None:
        """Take a secret `key` that is made anew for each process, and how many addresses to remember."""
        self._key = key
        self._addresses = addresses
        self._seen: OrderedDict[bytes, dict[int, int]] = OrderedDict()

    def note(self, address: Address, recipient_id: int, at_ms: int) -> None:
        """Remember that `address` fetched the image of `recipient_id`."""
        key = self._hash(address)
        recipients = self._seen.setdefault(key, {})
        self._seen.move_to_end(key)
        recipients.pop(recipient_id, None)
        recipients[recipient_id] = at_ms
        # The latest few are enough to know whether there were many.
        if len(recipients) > CROWD_RECIPIENTS:
            del recipients[next(iter(recipients))]
        if len(self._seen) > self._addresses:
            self._seen.popitem(last=False)

    def gathered(self, address: Address, at_ms: int) -> bool:
        """Return whether `address` fetched CROWD_RECIPIENTS recipients' images within CROWD_MS of `at_ms`."""
        recipients = self._seen.get(self._hash(address), {})
        near = sum(abs(seen_ms - at_ms) <= CROWD_MS for seen_ms in recipients.values())
        return near >= CROWD_RECIPIENTS

    def __len__(self) -> int:
        return len(self._seen)

    def _hash(self, address: Address) -> bytes:
        packed = address.packed if address.version == 4 else address.packed[:_IPV6_HOST_BYTES]  # noqa: PLR2004 - IPv4
        return blake2b(packed, key=self._key, digest_size=_HASH_BYTES).digest()
