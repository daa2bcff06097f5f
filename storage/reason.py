"""What a reply means in plain words.

Rule: pure. The words come from the category where that is specific, since servers choose their codes
carelessly; from the enhanced status code (RFC 3463 and IANA's registry of them) where it says more of the same; then
from the reply code (RFC 5321, 4.2.3), and where none says anything, from the server's own text.
"""

import re
from types import MappingProxyType
from typing import Final

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


def spelled(code: int, enhanced: str | None, text: str) -> str:
    """Return a reply as a server writes it, "550 5.1.1 No such user", its codes once."""
    words = (str(code) if code else "", enhanced or "", _without_codes(plain(text)))
    return " ".join(word for word in words if word)


def _without_codes(text: str) -> str:
    return text[_CODE_IN_FRONT.match(text).end() :]  # type: ignore[union-attr]  # it matches nothing at least


def _shortened(text: str) -> str:
    text = _without_codes(text)
    return text if len(text) <= _TEXT_CHARS else text[: _TEXT_CHARS - 1].rstrip() + "…"


def plain(text: str) -> str:
    """Return a text on one line without what a terminal could obey or a reader not see.

    Controls, escape sequences, direction marks and surrogates become blanks; blanks in a row become one.
    """
    return " ".join("".join(char if char.isprintable() else " " for char in text).split())
