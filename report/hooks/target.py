"""Where webhooks may be sent to, as far as an address in writing tells.

Rule: pure. What a name leads to is looked at when it is connected to (report/hooks/wire.py).
"""

import ipaddress
from typing import Final
from urllib.parse import urlsplit

from storage.reach import is_public

MOST_CHARS: Final = 2000


def wrong_url(url: str, *, allow_private: bool) -> str | None:
    """Return what is wrong with an endpoint's URL, in a sentence; None: nothing."""
    expected = 'expected a URL such as "https://example.org/hook"'
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return expected
    plain = url.isascii() and url.isprintable() and " " not in url and "\\" not in url
    if not plain or len(url) > MOST_CHARS or parts.scheme not in {"http", "https"} or not parts.hostname or port == 0:
        return expected
    if parts.username is not None or parts.fragment:
        return "expected a URL without a user name and without a fragment; requests are signed"
    if parts.scheme == "http" and not allow_private:
        return "expected https; http is for private networks, with [webhooks] allow_private = true"
    if not allow_private and not may_reach(parts.hostname):
        return "expected an address that is not private; [webhooks] allow_private = true allows those"
    return None


def may_reach(host: str) -> bool:
    """Return whether a host that is written as an address may be connected to; names are looked at when they are."""
    if ":" in host or host.replace(".", "").isdecimal():
        try:
            ipaddress.ip_address(host)
        except ValueError:
            return False  # whatever a resolver would make of it
        return is_public(host)
    return True
