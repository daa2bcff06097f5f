"""Which address of ours, under which name, a message goes out from.

Rule: pure. All recipients and retries of a message have one source, since servers judge the address that a message
comes from (greylisting asks for the same one again, RFC 6647, 2.1). Where no source is configured nothing is chosen,
and nothing is computed.
"""

import hashlib
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from relay.deliver.patterns import Patterns

_HASH_BYTES: Final = 8


@dataclass(frozen=True, slots=True)
class Source:
    """An IPv4 address, an IPv6 address or both, and the name that they greet with."""

    name: str
    """As the configuration calls it."""
    four: str | None
    six: str | None
    ehlo: str = ""
    """"" means `server.hostname`."""

    def towards(self, address: str) -> str | None:
        """Return our address for a connection to `address`; None where we have none of its family."""
        return self.six if ":" in address else self.four


class Pools:
    """Sources by the sender's domain."""

    __slots__ = ("_patterns", "names")

    def __init__(self, sources: Mapping[str, Source], pools: Mapping[str, Mapping[str, int]]) -> None:
        """Take sources by name, and by domain pattern the names of a pool with their weights.

        Without pools, all sources serve all senders alike. Raises PatternError, and KeyError where a pool
        names what is no source.
        """
        everybody: Mapping[str, Mapping[str, int]] = {"*": dict.fromkeys(sources, 1)} if sources else {}
        named = pools or everybody
        self._patterns = Patterns(
            {
                pattern: tuple((sources[name], weight) for name, weight in sorted(weights.items()))
                for pattern, weights in named.items()
            }
        )
        self.names = frozenset(name for weights in named.values() for name in weights)
        """Sources that a message may go out from."""

    def pick(self, domain: str, message_id: int) -> Source | None:
        """Return the source of a message from `domain` (lower-case A-labels); None: the system chooses.

        The same for the same message as long as its pool is. A source that is added or taken away moves only
        the messages that go to it or were its own (weighted rendezvous hashing).
        """
        pool = self._patterns.match(domain)
        if pool is None:
            return None
        return pool[0][0] if len(pool) == 1 else max(pool, key=lambda each: _score(each[0], each[1], message_id))[0]


def _score(source: Source, weight: int, message_id: int) -> float:
    digest = hashlib.blake2b(f"{source.name}\0{message_id}".encode(), digest_size=_HASH_BYTES).digest()
    # Strictly between 0 and 1, so that the logarithm is finite and below 0.
    chance = (int.from_bytes(digest, "big") + 1) / ((1 << 8 * _HASH_BYTES) + 2)
    return -weight / math.log(chance)
