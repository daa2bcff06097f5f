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
# Beside a quoted string or an encoded word these make some readers begin the address anew.
_SPECIALS: Final = re.compile(r"[\[\]]")
_CONTROL: Final = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")
# Groups (":" and ";") are left out: clients differ in what they make of them in a From field. So do they of a quoted
# string beside a bare address, which is no part of one.
_MAILBOX: Final = re.compile(r'([^<>:;]*+)<([^<>]*+)>\s*+|([^<>:;"]*+)')


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
    """Return whether all addresses in the From fields are in `senders`, and none before them says another."""
    if not senders:
        return True
    found = [_mailboxes(field) for field in fields]
    return all(mailboxes and all(_permits(senders, *mailbox) for mailbox in mailboxes) for mailboxes in found)


def _permits(senders: tuple[str, ...], address: str, name: str) -> bool:
    # "@" may not stand in a name without quotes (RFC 5322, 3.2.5), and some take what is there for the author: Python's
    # email among them. Programs that give an address for its name mean the very same as a rule.
    said = _address(name) if "@" in name else address
    if _SPECIALS.search(name) and ('"' in name or "=?" in name):
        return False
    return said is not None and permits(senders, address) and permits(senders, said)


def from_addresses(field: bytes) -> list[str] | None:
    """Return the addresses of a From field's unfolded value (RFC 5322, 3.6.2); None where it is not one."""
    mailboxes = _mailboxes(field)
    return None if mailboxes is None else [address for address, _ in mailboxes]


def _mailboxes(field: bytes) -> list[tuple[str, str]] | None:
    """Return (address, what stands before it, with a quote for each quoted string); None where it is not a From."""
    text = _text(field)
    plain = _without_comments_and_quotes(text) if text is not None else None
    found = [_mailbox(element) for element in plain.split(",")] if plain is not None else [None]
    return [mailbox for mailbox in found if mailbox] if all(found) else None


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
    """Return `text` without comments, which nest, and a quote for each quoted string; None where one does not end."""
    kept: list[str] = []
    depth = 0
    for part in _PART.findall(text):
        if part == "(":
            depth += 1
        elif depth:
            depth -= part == ")"
        elif part in {'"', ")"} or part[0] == "\\":  # a backslash is for within (RFC 5322, 3.2.1)
            return None
        else:
            kept.append('"' if part[0] == '"' else part)
    return None if depth else "".join(kept)


def _mailbox(element: str) -> tuple[str, str] | None:
    found = _MAILBOX.fullmatch(element)
    address = _address(found[2] or found[3] or "") if found else None
    return (address, (found[1] or "") if found else "") if address else None


def _address(text: str) -> str | None:
    mailbox = text.strip()
    parsed = parse_mailbox(mailbox, utf8=True) if mailbox.isprintable() else None
    return str(parsed) if isinstance(parsed, Address) and parsed.domain else None
