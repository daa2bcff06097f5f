"""Whom a user may write as: the envelope's sender and the From field against the user's list.

Rules: pure, linear, nothing raises. A From field that cannot be read to the end is not permitted: what we
read another way than the recipient's mail client does, would be a way round the list.
"""

import re
from collections.abc import Iterable
from typing import Final

from storage.address import Address, Fault, parse_domain, parse_mailbox

MAX_FIELD_BYTES: Final = 8192

_PART: Final = re.compile(r'"(?:[^"\\]|\\.)*+"|\\.|[()"\\]|[^()"\\]++', re.DOTALL)
_CONTROL: Final = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")
# Groups (":" and ";") are left out: clients differ in what they make of them in a From field.
_MAILBOX: Final = re.compile(r"[^<>:;]*+<([^<>]*+)>\s*+|([^<>:;]*+)")


def permits(senders: Iterable[str], address: str) -> bool:
    """Return whether a list of addresses and "@domain" holds `address`; an empty list holds all.

    Letter case does not count: who may send as Ann@example.org may send as ann@example.org.
    """
    allowed = [_folded(sender) for sender in senders]
    if not allowed:
        return True
    wanted = _folded(address)
    return wanted in allowed or "@" + wanted.rpartition("@")[2] in allowed


def _folded(sender: str) -> str:
    """Return `sender` in the one form that is compared: people write domains in either kind of labels."""
    local, at, domain = sender.rpartition("@")
    known = parse_domain(domain)
    return f"{local}{at}{domain if isinstance(known, Fault) else known}".casefold()


def permits_from(senders: tuple[str, ...], fields: Iterable[bytes]) -> bool:
    """Return whether all addresses in the From fields are in `senders`."""
    if not senders:
        return True
    found = [from_addresses(field) for field in fields]
    return all(addresses and all(permits(senders, address) for address in addresses) for addresses in found)


def from_addresses(field: bytes) -> list[str] | None:
    """Return the addresses of a From field's unfolded value (RFC 5322, 3.6.2); None where it is not one."""
    text = _text(field)
    plain = _without_comments_and_quotes(text) if text is not None else None
    addresses = [_address(element) for element in plain.split(",")] if plain is not None else [None]
    return [address for address in addresses if address] if all(addresses) else None


def _text(field: bytes) -> str | None:
    # Clients read raw bytes in charsets of their own, and we must not see a quote or a bracket where they see a letter:
    # ISO-2022 hides them behind escapes, and in GBK and Shift_JIS a letter's second byte can be a backslash.
    if len(field) > MAX_FIELD_BYTES or _CONTROL.search(field):
        return None
    try:
        return field.decode("utf-8")
    except UnicodeDecodeError:
        return None if b"\\" in field else field.decode("ascii", "replace")


def _without_comments_and_quotes(text: str) -> str | None:
    """Return `text` with comments, which nest, and quoted strings cut out; None where one does not end."""
    kept: list[str] = []
    depth = 0
    for part in _PART.findall(text):
        if part == "(":
            depth += 1
        elif depth:
            depth -= part == ")"
        elif part in {'"', ")", "\\"}:
            return None
        elif part[0] != '"':
            kept.append(part)
    return None if depth else "".join(kept)


def _address(element: str) -> str | None:
    found = _MAILBOX.fullmatch(element)
    mailbox = (found[1] or found[2] or "").strip() if found else ""
    parsed = parse_mailbox(mailbox, utf8=True) if mailbox.isprintable() else None
    return str(parsed) if isinstance(parsed, Address) and parsed.domain else None
