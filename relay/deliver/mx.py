"""From DNS answers to the hosts that serve a domain (RFC 5321, 5.1; RFC 7505). Pure: chance is an argument.

Rule: DNS is written by strangers: numbers of hosts and addresses are bounded, and no address of ours or of
a private network is connected to on a stranger's word.
"""

import ipaddress
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import chain, groupby, zip_longest
from typing import Final

from relay.deliver.dane import Tlsa
from relay.deliver.patterns import a_labels
from relay.deliver.reply import ours
from storage.model import Reply

# A domain needs few; Postfix connects to 5 addresses of them (smtp_mx_address_limit).
MAX_HOSTS: Final = 20
MAX_ADDRESSES_OF_HOST: Final = 8


class Found(StrEnum):
    """What a DNS question came to."""

    RECORDS = "records"
    NO_RECORDS = "no such records"
    NO_NAME = "no such domain"
    TROUBLE = "no usable answer"
    """SERVFAIL, REFUSED, timeout, garbage: ask again later."""


@dataclass(frozen=True, slots=True)
class MxAnswer:
    """The answer to an MX question: (preference, host in lower-case, "" for the root) a record."""

    found: Found
    records: tuple[tuple[int, str], ...] = ()
    why: str = ""
    """The trouble in a few words."""
    secure: bool = False
    """Whether DNSSEC proved it, that there are no records included."""


@dataclass(frozen=True, slots=True)
class AddressAnswer:
    """The answer to A and AAAA questions of one host."""

    found: Found
    addresses: tuple[str, ...] = ()
    why: str = ""
    secure: bool = False
    name: str = ""
    """What the host's name is an alias of; "" where it is none."""


@dataclass(frozen=True, slots=True)
class TlsaAnswer:
    """The answer to a TLSA question."""

    found: Found
    records: tuple[Tlsa, ...] = ()
    why: str = ""
    secure: bool = False


@dataclass(frozen=True, slots=True)
class TextAnswer:
    """The answer to a TXT question."""

    found: Found
    records: tuple[str, ...] = ()
    why: str = ""


@dataclass(frozen=True, slots=True)
class Hosts:
    """The hosts that serve a domain, grouped by preference, the best group first."""

    groups: tuple[tuple[str, ...], ...]

    def in_order(self, chance: Callable[[], float]) -> list[str]:
        """Return the hosts by preference, those of equal preference shuffled by `chance` (0 … 1)."""
        return [host for group in self.groups for host in _shuffled(group, chance)]


def hosts_of(domain: str, answer: MxAnswer, own_names: frozenset[str]) -> Hosts | Reply:
    """Return the hosts to deliver mail for `domain` to, or our own words why there are none.

    The domain itself is the host where it has no MX (implicit MX). Hosts at or behind one of `own_names`
    are cut: we would loop.
    """
    if answer.found is Found.NO_NAME:
        return ours("5.1.2", f"domain {domain} does not exist")
    if answer.found is Found.TROUBLE:
        return ours("4.4.3", f"MX lookup of {domain} failed: {answer.why}")
    if answer.found is Found.NO_RECORDS:
        return Hosts(((domain,),))
    return _from_records(domain, answer.records, own_names)


def _from_records(domain: str, records: Sequence[tuple[int, str]], own_names: frozenset[str]) -> Hosts | Reply:
    if all(not host for _, host in records):
        return ours("5.1.10", f"domain {domain} takes no mail (null MX)")
    # A name that no host can have is a mistake of the domain's; the other hosts may be right.
    named = sorted((preference, host) for preference, host in set(records) if host and a_labels(host) is not None)
    if not named:
        return ours("5.4.4", f"the MX records of {domain} name no host")
    ours_at = min((preference for preference, host in named if host in own_names), default=None)
    usable = [(p, host) for p, host in named if ours_at is None or p < ours_at]
    if not usable:
        return ours("5.4.6", f"mail for {domain} loops back to myself")
    best = dict.fromkeys(usable[:MAX_HOSTS])
    return Hosts(tuple(tuple(host for _, host in group) for _, group in groupby(best, key=lambda record: record[0])))


def _shuffled(group: tuple[str, ...], chance: Callable[[], float]) -> list[str]:
    return [host for _, host in sorted((chance(), host) for host in group)] if len(group) > 1 else list(group)


def literal(domain: str) -> str | None:
    """Return the address in an address literal ("[192.0.2.1]", "[IPv6:2001:db8::1]", RFC 5321, 4.1.3), or None."""
    if not (domain.startswith("[") and domain.endswith("]")):
        return None
    text = domain[1:-1]
    prefix, _, rest = text.partition(":")
    try:
        return str(ipaddress.IPv6Address(rest) if prefix.lower() == "ipv6" else ipaddress.IPv4Address(text))
    except ValueError:
        return None


def in_turn(addresses: Sequence[str]) -> list[str]:
    """Return IPv6 and IPv4 addresses in turn, IPv6 first (RFC 8305, 4), at most MAX_ADDRESSES_OF_HOST."""
    six = [address for address in addresses if ":" in address]
    four = [address for address in addresses if ":" not in address]
    merged = chain.from_iterable(zip_longest(six, four))
    return [address for address in merged if address is not None][:MAX_ADDRESSES_OF_HOST]
