"""One request for an image, as it came, and the address that sent it.

Rule: pure. What a client wrote is cut to a bound before it is kept, and a forwarded address is believed
only as far as trusted proxies vouch for it.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from storage.forwarded import Address, origin
from storage.settings import Network

AGENT_CHARS: Final = 512
"""Longer User-Agents are cut: all known ones are shorter."""
FORWARDED_CHARS: Final = 1024
"""Of a chain of proxies the last characters are kept: the trusted end is on the right."""

# RFC 7239, section 4: parameters are separated by ";", elements by ","; a value may be quoted, and an
# IPv6 address always is, in brackets, since ":" separates the port.
_FOR: Final = re.compile(r'(?:^|[;,])\s*for\s*=\s*(?:"([^"]*)"|([^;,\s"]*))', re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Fetch:
    """One request for the image of a recipient."""

    recipient_id: int
    at_ms: int
    peer: str
    """Network address of the other end of the connection."""
    forwarded_for: str = ""
    """X-Forwarded-For, several of them joined by commas in their order."""
    forwarded: str = ""
    """Forwarded (RFC 7239), joined likewise."""
    agent: str = ""
    has_referer: bool = False
    purpose: str = ""
    """What Sec-Purpose, Purpose, X-Purpose and X-Moz say, joined by commas."""


def client_address(fetch: Fetch, trusted: Sequence[Network]) -> Address | None:
    """Return the address that asked for the image: the rightmost one that is no trusted proxy.

    X-Forwarded-For is read first, Forwarded where that is missing; both only where the connection comes
    from a trusted proxy.
    """
    return origin(fetch.peer, _hops(fetch), trusted)


def _hops(fetch: Fetch) -> list[str]:
    if fetch.forwarded_for:
        return fetch.forwarded_for.split(",")
    return [quoted or plain for quoted, plain in _FOR.findall(fetch.forwarded)]
