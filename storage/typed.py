"""What people type, on the command line, into forms and files: whom to block, names of lists, reasons, words of ours.

Rule: pure; what cannot be meant is answered with a sentence of why, and nothing raises.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Final

from storage.address import Fault, parse_domain
from storage.contact_rows import parsed

MAX_REASON_CHARS: Final = 300
_NOT_IN_LISTS: Final = ",;|"


@dataclass(frozen=True, slots=True)
class NotMeant:
    """What a text is that cannot be meant."""

    why: str


def blockable(text: str) -> str | NotMeant:
    """Return an address, or "@domain" with its domain in A-labels."""
    text = text.strip()
    if not text:
        return NotMeant("there is no address")
    if not text.startswith("@"):
        address = parsed(text)
        return NotMeant(address) if isinstance(address, Fault) else address
    domain = parse_domain(text[1:]) if text.isprintable() else Fault.DOMAIN
    return NotMeant(domain) if isinstance(domain, Fault) else f"@{domain}"


def wrong_list(name: str) -> str | None:
    """Return what is wrong with the name of a list, in a sentence; None: nothing."""
    if name and name.isprintable() and name == name.strip() and not any(sign in name for sign in _NOT_IN_LISTS):
        return None
    return f'"{name}" cannot be the name of a list: it has printable characters, none of them a comma, ";" or "|"'


def wrong_reason(text: str) -> str | None:
    """Return what is wrong with a reason, in a sentence; None: nothing."""
    if len(text) <= MAX_REASON_CHARS and text.isprintable():
        return None
    return f"A reason is one line of at most {MAX_REASON_CHARS} printable characters."


def nearest(name: str, known: Iterable[str]) -> str | None:
    """Return the known name that `name` was most likely meant to be; None where none is like it."""
    found = get_close_matches(name.lower(), list(known), n=1, cutoff=0.5)
    return found[0] if found else None
