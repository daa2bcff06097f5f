"""Configuration of delivery: `[delivery]`, `[dns]`, `[retry]` and `[dkim]`."""

import ipaddress
import re
from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Final

from pydantic import BeforeValidator, field_validator

from relay.deliver.patterns import Patterns
from relay.deliver.route import Routes
from relay.deliver.source import Pools, Source
from storage.settings import DomainOf, Endpoint, ListenOn, Seconds, Section, parse_domain


class TlsPolicy(StrEnum):
    """How a copy may travel (the levels of Postfix's smtp_tls_security_level)."""

    NONE = "none"
    """In clear."""
    MAY = "may"
    """With TLS where it is offered."""
    ENCRYPT = "encrypt"
    """With TLS only."""
    VERIFY = "verify"
    """With a certificate that a known authority made out to the name of the mail host."""
    DANE = "dane"
    """With a certificate that TLSA records name; where there are none, as `may`."""
    DANE_ONLY = "dane-only"
    """As `dane`, but never where there are none."""


class DeliveredOn(StrEnum):
    """Whose word makes a recipient Delivered."""

    MX = "mx"
    """The 250 of an MX host of its domain."""
    DSN = "dsn"
    """A success DSN (RFC 3464); a 250 is Sent."""


class SourceSettings(Section):
    """`[delivery.sources.NAME]`: addresses of this host that mail goes out from, and the name that they greet with."""

    addresses: tuple[str, ...] = ()
    """One IPv4 address, one IPv6 address, or one of each."""
    ehlo: str = ""
    """DNS should lead from this name to the addresses and back; "" means `server.hostname`."""

    @field_validator("addresses")
    @classmethod
    def _one_of_a_family(cls, addresses: tuple[str, ...]) -> tuple[str, ...]:
        try:
            read = [ipaddress.ip_address(address) for address in addresses]
        except ValueError:
            read = []
        if not read or len({address.version for address in read}) < len(read):
            raise ValueError('must be an IPv4 address, an IPv6 address or one of each: ["192.0.2.25", "2001:db8::25"]')
        return tuple(str(address) for address in read)

    @field_validator("ehlo")
    @classmethod
    def _is_a_name(cls, ehlo: str) -> str:
        return parse_domain(ehlo) if ehlo else ""


def _weights(value: Any) -> Any:
    """Read a pool: names of sources, or a table of name and weight."""
    if isinstance(value, list | tuple):
        value = dict.fromkeys(map(str, value), 1)
    if not isinstance(value, Mapping) or not value or not all(type(w) is int and w > 0 for w in value.values()):
        raise ValueError('must be names of sources, ["main", "second"], or their weights, {main = 3, second = 1}')
    return value


class DeliverySettings(Section):
    """`[delivery]`: how copies leave."""

    port: int = 25
    """Port of MX hosts."""
    allow_private_destinations: bool = False
    """Whether MX hosts may have loopback, private or link-local addresses."""
    routes: dict[str, str] = {}  # noqa: RUF012 - frozen model
    """Domain pattern ("example.org", "*.example", "*") to "smtp[s]://[user:password@]host[:port]"."""
    sources: dict[str, SourceSettings] = {}  # noqa: RUF012 - frozen model
    """Addresses to go out from to MX hosts, by a name for them; {}: the system chooses."""
    pools: dict[str, Annotated[dict[str, int], BeforeValidator(_weights)]] = {}  # noqa: RUF012 - frozen model
    """Pattern of the sender's domain to the sources of its mail; {}: all sources serve all senders."""
    tls: TlsPolicy = TlsPolicy.MAY
    """For domains that `tls_policies` does not name and that ask for nothing more themselves."""
    tls_policies: dict[str, TlsPolicy] = {}  # noqa: RUF012 - frozen model
    """Domain pattern, as in `routes`, to the policy that holds for it, whatever the domain itself asks for."""
    dane: bool = True
    """Whether TLSA records that came securely (RFC 7672) hold for domains that `tls_policies` does not name."""
    mta_sts: bool = True
    """Whether MTA-STS policies (RFC 8461) hold for domains that `tls_policies` does not name."""
    delivered_on: DeliveredOn = DeliveredOn.MX
    """"mx": the 250 of an MX host is Delivered; "dsn": it is Sent, and a success DSN, asked for where offered, is."""
    max_connections: int = 500
    """Of one worker, to all sites."""
    max_connections_per_site: int = 20
    """Of one worker, to one site, whatever `shaping` allows."""
    shaping: Path | None = None
    """The operator's file of limits and rules by site, laid over those that are shipped."""
    max_queue_in_memory: int = 5000
    """Recipients that one worker holds in memory; more wait in the store."""

    @field_validator("routes")
    @classmethod
    def _routes_can_be_read(cls, routes: dict[str, str]) -> dict[str, str]:
        Routes.parse(routes)
        return routes

    @field_validator("pools", "tls_policies")
    @classmethod
    def _patterns_can_be_read(cls, values: dict[str, Any]) -> dict[str, Any]:
        Patterns(values)
        return values

    @field_validator("max_connections", "max_connections_per_site", "max_queue_in_memory")
    @classmethod
    def _at_least_one(cls, value: int) -> int:
        if value < 1:
            raise ValueError("must be at least 1, or nothing would ever be delivered")
        return value


class TlsReportSettings(Section):
    """`[tls_report]`: daily reports on TLS to domains that ask for them (RFC 8460)."""

    send: bool = True
    organization: str = ""
    """Who reports, as people know it; "" means `server.hostname`."""
    contact: str = ""
    """The address that reports come from; "" means postmaster at `server.hostname`."""

    @field_validator("contact")
    @classmethod
    def _is_an_address(cls, contact: str) -> str:
        if not contact:
            return ""
        local, at, domain = contact.rpartition("@")
        if not at or not re.fullmatch(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~.-]{1,64}", local):
            raise ValueError('must be an address such as "postmaster@example.org"')
        return f"{local}@{parse_domain(domain)}"


TLS_REPORTS: Final = TlsReportSettings()


class DnsSettings(Section):
    """`[dns]`."""

    nameservers: tuple[ListenOn, ...] = ()
    """`host:port` of resolvers to ask; () means the system's."""
    timeout: Seconds = 10
    """For one question, all retries in."""
    validates: bool = False
    """Whether all name servers check DNSSEC, and nobody can change their answers on the way to us: then their
    word (the AD bit) is believed, as that of name servers on this machine always is."""

    @field_validator("nameservers")
    @classmethod
    def _addresses_only(cls, nameservers: tuple[Endpoint, ...]) -> tuple[Endpoint, ...]:
        for endpoint in nameservers:
            try:
                ipaddress.ip_address(endpoint.host)
            except ValueError:
                raise ValueError(
                    f'a name server is asked by address, not by name: write "192.0.2.53:53" instead of "{endpoint}"'
                ) from None
        return nameservers

    @field_validator("timeout")
    @classmethod
    def _some_time(cls, value: int) -> int:
        if value < 1:
            raise ValueError("must be at least 1 second, or no question would ever be answered")
        return value


class RetrySettings(Section):
    """`[retry]`: when soft bounces are tried again."""

    schedule: tuple[Seconds, ...] = (60, 300, 900, 1800, 3600, 7200, 14400)
    """Wait after each failed attempt; the last one repeats."""
    lifetime: Seconds = 5 * 86400
    """After this a recipient is Bounced with the last reason (RFC 5321, 4.5.4.1: 4-5 days)."""

    @field_validator("schedule")
    @classmethod
    def _has_a_wait(cls, schedule: tuple[int, ...]) -> tuple[int, ...]:
        if not schedule or min(schedule) < 1:
            raise ValueError("must hold at least one wait, each of 1 second or more")
        return schedule


_LEAST_LIFE_SECONDS: Final = 3600


def _domain(text: str) -> str:
    try:
        return parse_domain(text)
    except ValueError:
        raise ValueError(f'"{text}" is no domain such as "example.org"') from None


class DkimSettings(Section):
    """`[dkim]`: which keys sign; the keys themselves lie in the state directory (`relay.deliver.keys`)."""

    selectors: dict[str, str] = {}  # noqa: RUF012 - frozen model
    """Domain to the selector that signs for it; for all others the newest by name."""
    subdomains: tuple[DomainOf, ...] = ()
    """Domains whose keys also sign for all domains below them that have none."""
    expires: Seconds = 0
    """How long a signature holds (x=); 0: for ever."""

    @field_validator("selectors")
    @classmethod
    def _by_domain(cls, selectors: dict[str, str]) -> dict[str, str]:
        return {_domain(domain): selector.lower() for domain, selector in selectors.items()}

    @field_validator("expires")
    @classmethod
    def _outlives_the_way(cls, value: int) -> int:
        if 0 < value < _LEAST_LIFE_SECONDS:
            raise ValueError("must be 0 or at least an hour: the next server may keep a message for days")
        return value


def pools_of(settings: DeliverySettings) -> Pools:
    """Return the sources of mail by sender; raises KeyError where a pool names what is no source."""
    sources = {name: _source(name, given) for name, given in settings.sources.items()}
    return Pools(sources, settings.pools)


def _source(name: str, given: SourceSettings) -> Source:
    four = next((address for address in given.addresses if ":" not in address), None)
    six = next((address for address in given.addresses if ":" in address), None)
    return Source(name, four, six, given.ehlo)
