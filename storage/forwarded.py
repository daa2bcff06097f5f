"""Whose request a reverse proxy passed on.

Rule: pure. A forwarded address is believed only as far as trusted proxies vouch for it.
"""

import ipaddress
from collections.abc import Sequence

from storage.settings import Network

Address = ipaddress.IPv4Address | ipaddress.IPv6Address


def parse_address(text: str) -> Address | None:
    """Return the address in `text`, which may carry brackets, a port or a zone; None where there is none.

    An IPv4 address mapped into IPv6 comes back as IPv4, so that one host has one address.
    """
    text = text.strip().strip('"')
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        address = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return mapped or address


def origin(peer: str, hops: Sequence[str], trusted: Sequence[Network]) -> Address | None:
    """Return the rightmost address that is no trusted proxy, of `hops` (X-Forwarded-For's elements) and then `peer`.

    A hop that cannot be read ends the chain at the proxy that wrote it down. None where the peer itself has
    no address.
    """
    address = parse_address(peer)
    for hop in reversed(hops):
        if address is None or not within(address, trusted):
            break
        earlier = parse_address(hop)
        if earlier is None:
            break
        address = earlier
    return address


def within(address: Address, networks: Sequence[Network]) -> bool:
    """Return whether an address lies in one of some networks."""
    return any(address.version == network.version and address in network for network in networks)
