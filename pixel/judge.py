"""Who fetched an image: a person, a person's mail provider, a prefetcher or a scanner.

Rule: pure; the rules stand in order, the first that fits decides, and who fits none is a person. No rule
is a proof, so each judgement says its reason, and machine hits are kept apart, not dropped. Headers that
are missing (Accept, User-Agent, Referer) prove nothing and judge nobody.
"""

import ipaddress
import re
from dataclasses import dataclass
from typing import Final

from pixel.agents import APPLE_PREFETCH, GMAIL_PREFETCH_TAIL, machine, mail_proxy
from pixel.fetch import Fetch
from storage.forwarded import Address, parse_address
from storage.model import HitFacts, HitKind
from storage.settings import Network

MX_NETWORK_MS: Final = 60_000
"""For so long after its 250 a hit from the MX's own network is taken for its scanner."""

# Behind these addresses many hosts look like one (RFC 1918, 3927, 4193, 4291, 6598), so that sharing one
# says nothing. The documentation networks are not among them: they stand for public ones.
_SHARED: Final[tuple[Network, ...]] = tuple(
    ipaddress.ip_network(text)
    for text in (
        "0.0.0.0/8",
        "10.0.0.0/8",
        "100.64.0.0/10",
        "127.0.0.0/8",
        "169.254.0.0/16",
        "172.16.0.0/12",
        "192.168.0.0/16",
        "::/128",
        "::1/128",
        "fc00::/7",
        "fe80::/10",
    )
)
_MX_PREFIX: Final = {4: 24, 6: 48}

# "prefetch" in Sec-Purpose (Fetch standard), Purpose (Chrome before it) and X-Moz (Firefox); "preview"
# in X-Purpose (Safari).
_AHEAD: Final = re.compile(r"\bpre(?:fetch|render|view)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Rules:
    """What the configuration says on judging."""

    scanner_ms: int
    """A hit within this time after the server's 250 is a machine's."""


@dataclass(frozen=True, slots=True)
class Judgement:
    """Who it was, and the rule that says so, in a few words for people."""

    kind: HitKind
    why: str


def is_shared(address: Address) -> bool:
    """Return whether `address` is a loopback, private or otherwise shared one, which tells no hosts apart."""
    return any(address.version == network.version and address in network for network in _SHARED)


def judge(fetch: Fetch, address: Address | None, facts: HitFacts, rules: Rules, *, crowded: bool) -> Judgement:
    """Return who fetched the image.

    `address` is the client's; `crowded`: it fetched many recipients' images within seconds.
    """
    return (
        _by_time(fetch, facts, rules)
        or _by_network(fetch, address, facts)
        or _by_agent(fetch)
        or _by_crowd(address, crowded=crowded)
        or Judgement(HitKind.PERSON, "no sign of a machine")
    )


def _taken_ms(facts: HitFacts) -> int | None:
    """When a server took the copy, or may have taken it."""
    return facts.in_doubt_ms if facts.delivered_ms is None else facts.delivered_ms


def _by_time(fetch: Fetch, facts: HitFacts, rules: Rules) -> Judgement | None:
    taken_ms = _taken_ms(facts)
    if taken_ms is None or fetch.at_ms < taken_ms:
        return Judgement(HitKind.SCANNER, "before the server's 250")
    after_ms = fetch.at_ms - taken_ms
    if after_ms < rules.scanner_ms:
        return Judgement(HitKind.SCANNER, f"{after_ms / 1000:.1f} s after the server's 250")
    return None


def _by_network(fetch: Fetch, address: Address | None, facts: HitFacts) -> Judgement | None:
    taken_ms = _taken_ms(facts)
    if address is None or facts.mx_address is None or taken_ms is None or fetch.at_ms - taken_ms > MX_NETWORK_MS:
        return None
    server = parse_address(facts.mx_address)
    if server is None or server.version != address.version or is_shared(address) or is_shared(server):
        return None
    if address not in ipaddress.ip_network(f"{server}/{_MX_PREFIX[server.version]}", strict=False):
        return None
    return Judgement(HitKind.SCANNER, "from the mail server's own network within a minute")


def _by_agent(fetch: Fetch) -> Judgement | None:
    agent = fetch.agent.strip()
    if agent == APPLE_PREFETCH and not fetch.has_referer:
        return Judgement(HitKind.PREFETCH, "Apple Mail Privacy Protection")
    if agent.endswith(GMAIL_PREFETCH_TAIL):
        return Judgement(HitKind.PREFETCH, "Gmail's prefetcher")
    if fetch.purpose and _AHEAD.search(fetch.purpose):
        return Judgement(HitKind.PREFETCH, "the request says that it is a prefetch")
    provider = mail_proxy(agent)
    if provider is not None:
        return Judgement(HitKind.PROXY, f"{provider}'s image proxy")
    name = machine(agent)
    if name is not None:
        return Judgement(HitKind.SCANNER, f"{name}, by its agent")
    return None


def _by_crowd(address: Address | None, *, crowded: bool) -> Judgement | None:
    # Mail proxies fetch for many by nature; their agent was met above.
    if not crowded or address is None or is_shared(address):
        return None
    return Judgement(HitKind.SCANNER, "one address fetched many recipients' images within seconds")
