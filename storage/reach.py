"""Which network addresses a stranger may have us connect to.

Rule: pure; whoever connects on a stranger's word asks here, with the very address that it will connect to.
"""

import ipaddress
from typing import Final

_Address = ipaddress.IPv4Address | ipaddress.IPv6Address
_NAT64: Final = ipaddress.IPv6Network("64:ff9b::/96")


def is_public(address: str) -> bool:
    """Return whether a stranger may name this address: not loopback, private, link-local, multicast or reserved."""
    try:
        ip = _inner(ipaddress.ip_address(address))
    except ValueError:
        return False
    if isinstance(ip, ipaddress.IPv6Address) and ip.is_site_local:
        return False
    return ip.is_global and not (ip.is_multicast or ip.is_reserved)


def _inner(ip: _Address) -> _Address:
    """Return the IPv4 address that an IPv6 address stands for, where it does: the way leads to that."""
    if isinstance(ip, ipaddress.IPv4Address):
        return ip
    if ip in _NAT64:
        return ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)
    return ip.ipv4_mapped or ip.sixtofour or (ip.teredo[1] if ip.teredo else ip)
