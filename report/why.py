"""Why a recipient's copy is where it is, in plain words.

Rule: pure. The words come from the category where that is specific, since servers choose their codes
carelessly; from the enhanced status code (RFC 3463 and IANA's registry of them) where it says more of the same; then
from the reply code (RFC 5321, 4.2.3), and where none says anything, from the server's own text.
"""

import re
from collections.abc import Callable
from types import MappingProxyType
from typing import Final

from report.words import count, plain
from storage.model import LogRow
from storage.status import Status
from storage.untracked import in_words

# Subject and detail of the enhanced code; its class (4 or 5) is told by the status beside it.
_ENHANCED: Final = MappingProxyType(
    {
        "1.1": "no such user",
        "1.2": "no such domain",
        "1.3": "the address is not valid",
        "1.4": "the address is ambiguous",
        "1.6": "the recipient has moved",
        "1.7": "the sender's address is not valid",
        "1.8": "the sender's domain is not known",
        "1.10": "the domain takes no mail",
        "2.1": "the mailbox is disabled",
        "2.2": "the mailbox is full",
        "2.3": "the message is too large for the mailbox",
        "2.4": "the mailing list could not be expanded",
        "3.1": "the mail server has no room",
        "3.2": "the mail server takes no messages at present",
        "3.4": "the message is too large",
        "4.1": "the mail server does not answer",
        "4.2": "the connection broke",
        "4.3": "a name could not be looked up",
        "4.4": "no way to the mail server",
        "4.5": "the mail server is overloaded",
        "4.6": "mail loops between servers",
        "4.7": "its time in the queue ended",
        "5.3": "too many recipients at once",
        "6.1": "the mail server does not take this kind of content",
        "7.1": "refused by the mail server's policy",
        "7.2": "not allowed to send to this list",
        "7.5": "encryption failed",
        "7.7": "the message was changed on its way",
        "7.8": "our credentials were refused",
        "7.9": "our way to log in is too weak",
        "7.10": "the mail server asks for encryption",
        "7.13": "the account is disabled",
        "7.17": "the mailbox has changed its owner",
        "7.20": "no valid DKIM signature",
        "7.21": "no acceptable DKIM signature",
        "7.22": "the DKIM signature is not the author's",
        "7.23": "SPF does not allow our server",
        "7.24": "SPF could not be checked",
        "7.25": "our server's address has no valid name (reverse DNS)",
        "7.26": "more than one authentication check failed",
        "7.27": "the sender's domain takes no mail",
        "7.28": "too much mail at once",
        "7.29": "the ARC chain is broken",
    }
)
_CODES: Final = MappingProxyType(
    {
        421: "the mail server is not available",
        432: "the mail server asks for another password",
        450: "the mailbox is not available at present",
        451: "the mail server had an error",
        452: "the mail server has no room",
        454: "encryption or log-in is not available at present",
        521: "the host takes no mail",
        530: "the mail server asks for a log-in",
        535: "our credentials were refused",
        552: "too large, or the mailbox is full",
        553: "the address is not allowed",
        556: "the domain takes no mail",
    }
)
# A reason that passes by itself, and that no code is for.
_GREYLISTED: Final = re.compile(r"gr[ae]y-?list", re.IGNORECASE)
# The categories that say it all (the relay's words, a closed set), and the enhanced codes that say more of the same.
_CATEGORIES: Final = MappingProxyType(
    {
        "user unknown": ("no such user", frozenset({"1.1", "1.3", "1.4"})),
        "domain unknown": ("no such domain", frozenset({"1.2", "1.10"})),
        "moved": ("the recipient has moved", frozenset({"1.6", "7.17"})),
        "disabled": ("the mailbox is disabled", frozenset({"2.1", "7.13"})),
        "mailbox full": ("the mailbox is full", frozenset({"2.2"})),
        "message too large": ("the message is too large", frozenset({"2.3", "3.4"})),
        "spam": ("taken for spam", frozenset()),
        "virus": ("taken for a virus", frozenset()),
        "authentication": (
            "the sender could not be authenticated (SPF, DKIM, DMARC)",
            frozenset(f"7.{detail}" for detail in (7, 8, 9, 20, 21, 22, 23, 24, 26, 29)),
        ),
        "reputation": ("on a blocklist, or our server has a bad name", frozenset({"7.25"})),
        "rate limited": ("too much mail at once", frozenset({"7.28", "5.3", "4.5"})),
        "relay denied": ("the server takes no mail for this domain", frozenset()),
        "tls": ("encryption failed", frozenset({"7.5", "7.10"})),
        "expired": ("its time in the queue ended", frozenset({"4.7"})),
    }
)
_CODE_IN_FRONT: Final = re.compile(r"(?:\d{3}[ -])?\s*(?:[245]\.\d{1,3}\.\d{1,3}\s+)?")
_TEXT_CHARS: Final = 160


def why(row: LogRow) -> str:
    """Return why the row's status is what it is, in a line without times."""
    parts = [_WORDS[row.status](row), plain(row.late)]
    if row.machine_hits and not row.opens:
        parts.append(f"{count(row.machine_hits, 'hit')} of machines, none of a person")
    if row.held:
        parts.insert(0, "held")
    if not row.tracked and row.status in _COPIES:
        parts.append(f"not tracked: {plain(in_words(row.untracked_reason))}")
    return "; ".join(part for part in parts if part)


def reason(code: int | None, enhanced: str | None, diagnostic: str, category: str | None = None) -> str:
    """Return a reply in plain words with its codes: "no such user (550 5.1.1)"; "" where there is none."""
    text = plain(diagnostic)
    words = _words(code, enhanced, text, category)
    codes = " ".join(part for part in (str(code or ""), plain(enhanced or "")) if part)
    if words and codes:
        return f"{words} ({codes})"
    return words or codes


def _words(code: int | None, enhanced: str | None, text: str, category: str | None) -> str:
    detail = (enhanced or "").partition(".")[2]
    # Only beside a refusal: our own words, and a success, mean what they say.
    if code is not None and code >= 400:  # noqa: PLR2004 - the first negative reply
        if _GREYLISTED.search(text):
            return "greylisted: to be tried again later"
        known, same = _CATEGORIES.get(category or "", ("", frozenset()))
        if known and detail not in same:
            return known
    words = _ENHANCED.get(detail, "") or _CODES.get(code or 0, "")
    # Without a code the words are our own, and say more than a table could.
    return words if words and code else _shortened(text) or words


def _shortened(text: str) -> str:
    text = text[_CODE_IN_FRONT.match(text).end() :]  # type: ignore[union-attr]  # it matches nothing at least
    return text if len(text) <= _TEXT_CHARS else text[: _TEXT_CHARS - 1].rstrip() + "…"


def _reason_of(row: LogRow) -> str:
    return reason(row.code, row.enhanced_status, row.diagnostic, row.category)


def _unsent(row: LogRow) -> str:
    return _reason_of(row) or ("not tried yet" if not row.attempts else "")


def _sent(row: LogRow) -> str:
    return f"handed over to {plain(row.mx)}" if row.mx else "handed over"


def _delivered(row: LogRow) -> str:
    return f"taken by {plain(row.mx)}" if row.mx else "taken by the recipient's server"


def _opened(row: LogRow) -> str:
    return count(row.opens, "open")


def _failed(row: LogRow) -> str:
    return _reason_of(row) or "the address is not valid"


def _bounced(row: LogRow) -> str:
    words = _reason_of(row) or "could not be delivered"
    return f"gave up after {count(row.attempts, 'attempt')}: {words}" if _is_temporary(row) else words


def _is_temporary(row: LogRow) -> bool:
    """Whether the last reply spoke of a trouble that may pass (RFC 5321, 4.2.1; RFC 3463, 2)."""
    return row.code // 100 == 4 if row.code else (row.enhanced_status or "").startswith("4.")  # noqa: PLR2004 - 4yz


def _blocked(row: LogRow) -> str:
    return plain(row.diagnostic) or "on the Blocked Email list"


def _duplicate(row: LogRow) -> str:
    return plain(row.diagnostic) or "met before in the same broadcast"


def _no_email(row: LogRow) -> str:
    return plain(row.diagnostic) or "no address for this type of broadcast"


_WORDS: Final[MappingProxyType[Status, Callable[[LogRow], str]]] = MappingProxyType(
    {
        Status.UNSENT: _unsent,
        Status.SOFT_BOUNCED: _reason_of,
        Status.SENT: _sent,
        Status.DELIVERED: _delivered,
        Status.OPENED: _opened,
        Status.BOUNCED: _bounced,
        Status.FAILED: _failed,
        Status.BLOCKED: _blocked,
        Status.DUPLICATE: _duplicate,
        Status.NO_EMAIL_SELECTED: _no_email,
    }
)
# Where a copy is with the recipient's side, that it has no image matters.
_COPIES: Final = frozenset({Status.SENT, Status.DELIVERED})
