"""What to do about what the numbers say, in plain words.

Rule: pure. The categories are the closed set of the relay (`Category` there); one that a newer version knows gets the
words of "other".
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from types import MappingProxyType
from typing import Final

from storage.stats_model import BroadcastStats

_WHY: Final = MappingProxyType(
    {
        "user unknown": (
            "No such user",
            "The address is wrong, or the account is gone. Ask the person for a new one.",
        ),
        "domain unknown": (
            "No such domain, or one that takes no mail",
            "Often a typing error (gmial.com): correct the address in your contacts.",
        ),
        "moved": ("The recipient has moved", "Ask for the new address; some servers name it in their reply."),
        "disabled": ("The mailbox is disabled", "The account is closed or not paid for. Reach the person another way."),
        "mailbox full": (
            "The mailbox is full",
            "It may pass. An address that is full for weeks is not read any more: reach the person another way.",
        ),
        "message too large": (
            "The message is too large",
            "Send a link in place of an attachment, or smaller pictures.",
        ),
        "content": (
            "The content was refused",
            "Look at attachments and links: programs, archives and shortened links are refused by many.",
        ),
        "spam": (
            "Taken for spam",
            "Send to those only who asked for it, and keep DKIM, SPF and DMARC in order (telltale doctor looks).",
        ),
        "virus": (
            "Taken for a virus",
            "Scan what you attach; office files with macros are refused by many.",
        ),
        "policy": (
            "Refused by a rule of the server",
            "Open the row in the Email Log: its words say which. A postmaster can often make an exception.",
        ),
        "authentication": (
            "The sender could not be proven (SPF, DKIM, DMARC)",
            "Publish SPF and DKIM records for the From domain: telltale dkim show, telltale doctor.",
        ),
        "reputation": (
            "Our server has a bad name or is listed",
            "Look the server's address up on the list that the reply names, and see that it has a reverse name.",
        ),
        "rate limited": (
            "Too much mail at once",
            "Send slower: telltale broadcast send --per-hour, or a limit in delivery.shaping.",
        ),
        "relay denied": (
            "The server takes no mail for this domain",
            "The domain's MX record points to a server that does not know it: tell its owner.",
        ),
        "tls": (
            "Encryption failed",
            "The server does not offer the encryption that is asked for, or its certificate is wrong.",
        ),
        "network": ("The server could not be reached", "It may have been down for long. Try again in a few days."),
        "expired": (
            "Its time in the queue ended",
            "The server put us off again and again. The last reply in the Email Log says why.",
        ),
        "system": ("The server had an error", "A fault over there. Try again later, or tell its postmaster."),
    }
)
KNOWN: Final = MappingProxyType({category: words for category, (words, _) in _WHY.items()})
"""Categories by name, in words."""
_OTHER: Final = ("Other reasons", "Open the rows in the Email Log: the server's own words stand there.")


@dataclass(frozen=True, slots=True)
class Reason:
    """Why copies did not arrive, and what to do about it."""

    words: str
    advice: str


def reason(category: str) -> Reason:
    """Return what a category means; "" is no category."""
    return Reason(*_WHY.get(category, _OTHER))


_IN_BRACKETS: Final = re.compile(r"<([^<>]*)>[^<>]*\Z")


def from_address(header: str) -> str:
    """Return the address of a From field, in small letters: that of "News <news@example.org>" is news@example.org."""
    found = _IN_BRACKETS.search(header)
    return (found[1] if found else header).strip().lower()


@dataclass(frozen=True, slots=True)
class Unsteady:
    """Somebody whose broadcasts of one type come from changing addresses."""

    owner: str
    type: str
    broadcasts: int
    changes: int
    """How often the address was another one than the time before."""
    addresses: tuple[str, ...]
    """The newest first."""


_CHANGES_OFTEN: Final = 2


def unsteady(broadcasts: Iterable[BroadcastStats]) -> list[Unsteady]:
    """Return whose From address changed twice or more, the most changes first; `broadcasts` come newest first."""
    series: dict[tuple[str, str], list[str]] = {}
    for one in broadcasts:
        if one.from_header:
            series.setdefault((one.owner, one.type), []).append(from_address(one.from_header))
    found = [_unsteady(*key, addresses) for key, addresses in series.items()]
    return sorted(
        [one for one in found if one.changes >= _CHANGES_OFTEN], key=lambda one: (-one.changes, one.owner, one.type)
    )


def _unsteady(owner: str, type_: str, addresses: Sequence[str]) -> Unsteady:
    changes = sum(later != earlier for later, earlier in pairwise(addresses))
    return Unsteady(owner, type_, len(addresses), changes, tuple(dict.fromkeys(addresses)))
