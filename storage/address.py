"""Addresses as SMTP commands carry them (RFC 5321, 4.1.2; RFC 6531, 3.3): text in, a value out.

Rule: pure, linear, and nothing raises. What comes out can stand in a command, a header or a log line
as it is: no controls, no NUL, no surrogates, a domain of lower-case A-labels. The local part stays as the
client wrote it; whether two addresses are one mailbox is asked of `address_key` alone.
"""

import re
from enum import StrEnum
from functools import lru_cache
from typing import Final

import idna

from storage.frozen import frozen

# RFC 5321, 4.5.3.1.1 to 4.5.3.1.3, in octets; the path's 256 include its angle brackets.
MAX_LOCAL_BYTES: Final = 64
MAX_ADDRESS_BYTES: Final = 254
# RFC 1035, 2.3.4: 255 octets on the wire are 253 in text.
MAX_DOMAIN_CHARS: Final = 253
MAX_LABEL_CHARS: Final = 63

# Possessive quantifiers throughout: a match costs one pass, whatever the text is.
_ATEXT: Final = r"A-Za-z0-9!#$%&'*+/=?^_`{|}~\x80-\U0010ffff-"  # with UTF8-non-ascii (RFC 6531, 3.3)
_DOT_STRING: Final = re.compile(rf"[{_ATEXT}]++(?:\.[{_ATEXT}]++)*+")
_QUOTED: Final = re.compile(r'"(?:[^"\\]|\\.)++"', re.DOTALL)
_PATH: Final = re.compile(r' *+<((?:[^<>"]|"(?:[^"\\]|\\.)*+")*+)>(?: ++(.*)|)', re.DOTALL)
_ROUTE: Final = re.compile(r"@[A-Za-z0-9._-]++(?:,@[A-Za-z0-9._-]++)*+:")
_LDH: Final = re.compile(r"[a-z0-9._-]+")  # with the underscore, which names of real mail hosts hold


class Fault(StrEnum):
    """What is wrong with an address, in words for the reply."""

    SYNTAX = "malformed address"
    NO_DOMAIN = "address has no domain"
    DOMAIN = "malformed domain"
    LITERAL = "address literals are not accepted"
    TOO_LONG = "address is too long"
    NOT_ASCII = "non-ASCII address needs SMTPUTF8"


@frozen
class Address:
    """A mailbox: the local part as written, the domain in lower-case A-labels.

    `domain` is "" only for the bare `Postmaster` of RFC 5321, 4.1.1.3.
    """

    local: str
    domain: str

    def __str__(self) -> str:
        """Return `local@domain`, or the local part alone where there is no domain."""
        return f"{self.local}@{self.domain}" if self.domain else self.local


def address_key(address: str, *, fold: bool = False) -> str:
    """Return the same address for all ways to write a mailbox: quotes that are not needed do not count.

    `address` is as `str(Address)` gives it, and so is what is returned. Letter case of the local part
    counts (RFC 5321, 2.4), unless `fold`, which folds A-Z as SQLite's NOCASE does.
    """
    if address.startswith('"'):
        address = _unquoted(address)
    return address.encode().lower().decode() if fold else address


def _unquoted(address: str) -> str:
    quoted, _, domain = address.rpartition("@")
    local = re.sub(r"\\(.)", r"\1", quoted[1:-1], flags=re.DOTALL)
    if not _DOT_STRING.fullmatch(local):
        local = '"' + re.sub(r'(["\\])', r"\\\1", local) + '"'
    return f"{local}@{domain}"


def type_key(broadcast_type: str) -> str:
    """Return the one form of a broadcast type's name: letter case does not count, nor does how blanks are written."""
    return " ".join(broadcast_type.split()).lower()


def split_path(argument: str) -> tuple[str, str] | None:
    """Split `<path> parameters` into the path without its brackets and the parameters; None where that is not its form.

    Blanks before the bracket are let pass: clients that write `MAIL FROM: <a@b>` are many.
    """
    if not argument.isprintable():  # no controls, no NUL, no lone surrogates (bytes that were not UTF-8)
        return None
    found = _PATH.fullmatch(argument)
    return (found[1], found[2] or "") if found else None


def parse_mailbox(path: str, *, utf8: bool) -> Address | Fault:
    """Read the mailbox of a path; a source route before it is read over (RFC 5321, appendix C).

    `utf8`: whether the transaction asked for SMTPUTF8. The path must be printable, as `split_path` grants.
    """
    if path.startswith("@"):
        route = _ROUTE.match(path)
        if not route:
            return Fault.SYNTAX
        path = path[route.end() :]
    if not utf8 and not path.isascii():
        return Fault.NOT_ASCII
    found = (_QUOTED if path.startswith('"') else _DOT_STRING).match(path)
    if not found:
        return Fault.SYNTAX
    local, rest = found[0], path[found.end() :]
    if not rest.startswith("@"):
        return _without_domain(local, rest)
    return _join(local, parse_domain(rest[1:]))


def _without_domain(local: str, rest: str) -> Address | Fault:
    if rest:
        return Fault.SYNTAX
    return Address(local, "") if local.lower() == "postmaster" else Fault.NO_DOMAIN


def _join(local: str, domain: str | Fault) -> Address | Fault:
    if isinstance(domain, Fault):
        return domain
    size = len(local.encode())
    if size > MAX_LOCAL_BYTES or size + 1 + len(domain) > MAX_ADDRESS_BYTES:
        return Fault.TOO_LONG
    return Address(local, domain)


def parse_domain(text: str) -> str | Fault:
    """Return a domain in lower-case A-labels (RFC 5890); "" is a domain that is missing."""
    if not text:
        return Fault.NO_DOMAIN
    if text.startswith("["):
        return Fault.LITERAL
    if len(text) > MAX_DOMAIN_CHARS:
        return Fault.TOO_LONG
    return _checked(text.lower() if text.isascii() else _to_a_labels(text))


def _to_a_labels(text: str) -> str:
    # IDNA 2008 with the mapping of UTS 46: the codec of the standard library is IDNA 2003, which
    # turns straße.example into another domain. "" where there is no such name, or none of 253 characters.
    try:
        return idna.encode(text, uts46=True, std3_rules=True).decode("ascii").lower()
    except UnicodeError:
        return ""


# Most mail goes to few domains.
@lru_cache(4096)
def _checked(domain: str) -> str | Fault:
    if not _LDH.fullmatch(domain):
        return Fault.DOMAIN
    labels = domain.split(".")
    if any(not label or len(label) > MAX_LABEL_CHARS or label[0] == "-" or label[-1] == "-" for label in labels):
        return Fault.DOMAIN
    # No top-level domain is all digits (RFC 3696, 2): this is an address literal that lost its brackets.
    return Fault.LITERAL if labels[-1].isdigit() else domain
