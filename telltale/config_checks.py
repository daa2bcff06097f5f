"""What a configuration must keep beyond the form of each value: laws within a section and between sections.

Rule: pure; each law is a generator of sentences, and all laws are asked, so that all mistakes are told at once.
"""

import re
from collections.abc import Iterator
from itertools import combinations
from typing import TYPE_CHECKING, Final

from storage.settings import Endpoint

if TYPE_CHECKING:
    from telltale.config import Config

_LISTENERS: Final = (
    ("submission", "listen"),
    ("submission", "tls_listen"),
    ("bounce", "listen"),
    ("pixel", "listen"),
    ("report", "listen"),
)
_MAY_BE_ZERO: Final = frozenset(
    {"workers", "scanner_seconds", "expires", "failed_for", "complaints_for", "bounces", "bounces_for"}
)
_LAST_PORT: Final = 65535
_ANY: Final = frozenset({"", "0.0.0.0", "::"})
# RFC 1035, 2.3.4 and RFC 5890, 2.3.1: labels of 63 at most, letters, digits, hyphens; "_" is met in practice.
_LABEL: Final = r"[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?"
_DOMAIN: Final = re.compile(rf"(?=.{{1,253}}\Z){_LABEL}(?:\.{_LABEL})*")
# The URL is written into HTML and into base64 and quoted-printable parts: only what needs no escaping there.
_BASE_URL: Final = re.compile(r"https?://(?:\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9.-]+)(?::\d{1,5})?(?:/[A-Za-z0-9._~/-]*)?")
# Wider networks than the widest private ones (10.0.0.0/8, fc00::/7) are the internet: an open relay.
_WIDEST: Final = {4: 8, 6: 7}


def problems(config: "Config") -> Iterator[str]:
    """Yield one sentence for each law that `config` breaks."""
    yield from _numbers(config)
    yield from _names(config)
    yield from _pools(config)
    yield from _web(config)
    yield from _tls(config)
    yield from _trust(config)
    yield from _clashes(config)


def _numbers(config: "Config") -> Iterator[str]:
    for section, values in config:
        for key, value in values:
            if type(value) is int and value < (0 if key in _MAY_BE_ZERO else 1):
                yield f"[{section}] {key} is {value}, but must be {'0' if key in _MAY_BE_ZERO else '1'} or more"
    if config.delivery.port > _LAST_PORT:
        yield f"[delivery] port is {config.delivery.port}, but the last port is {_LAST_PORT}"


def _names(config: "Config") -> Iterator[str]:
    for section, key, name in (
        ("server", "hostname", config.server.hostname),
        ("bounce", "domain", config.bounce.domain),
    ):
        if name and not _DOMAIN.fullmatch(name):
            yield f'[{section}] {key} must be a domain name such as "mail.example.org" (other scripts as xn--…)'
    if not _BASE_URL.fullmatch(config.tracking.base_url):
        yield '[tracking] base_url must be an http or https address such as "https://t.example.org", without query'


def _pools(config: "Config") -> Iterator[str]:
    sources = config.delivery.sources
    for pattern, pool in config.delivery.pools.items():
        for name in pool.keys() - sources.keys():
            known = f"the sources are {', '.join(sources)}" if sources else "there is none"
            yield f'[delivery] pools: "{pattern}" names {name}, which is no source; {known}'


def _web(config: "Config") -> Iterator[str]:
    if config.report.base_url and not _BASE_URL.fullmatch(config.report.base_url):
        yield '[report] base_url must be an http or https address such as "https://mail.example.org", without query'


def _tls(config: "Config") -> Iterator[str]:
    given = config.submission
    if given.tls_cert and not given.tls_key:
        yield "[submission] tls_cert needs tls_key, the file of its private key"
    if given.tls_key and not given.tls_cert:
        yield "[submission] tls_key needs tls_cert, the file of its certificate chain"


def _trust(config: "Config") -> Iterator[str]:
    for network in config.submission.trusted_networks:
        if network.prefixlen < _WIDEST[network.version]:
            yield f'[submission] trusted_networks: "{network}" would be an open relay; name your own networks'


def _clashes(config: "Config") -> Iterator[str]:
    named = [
        (f"[{section}] {key}", endpoint)
        for section, key in _LISTENERS
        for endpoint in getattr(getattr(config, section), key)
    ]
    for (one, here), (other, there) in combinations(named, 2):
        if _overlap(here, there):
            yield f"{one} {here} and {other} {there} cannot share one port"


def _overlap(here: Endpoint, there: Endpoint) -> bool:
    if here.port != there.port or not here.port:  # port 0 is any free port
        return False
    hosts = {here.host, there.host}
    if len(hosts) == 1 or "" in hosts:
        return True
    # IPv6 sockets are opened for IPv6 alone, so :: and an IPv4 address do not meet.
    family = {":" in host for host in hosts if host != "localhost"}
    return bool(hosts & _ANY) and len(family) == 1
