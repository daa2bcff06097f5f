"""Configuration of delivery: `[delivery]`, `[dns]`, `[retry]` and `[dkim]`."""

import ipaddress
from enum import StrEnum
from typing import Final

from pydantic import field_validator

from relay.deliver.route import Routes
from storage.settings import DomainOf, Endpoint, ListenOn, Seconds, Section, parse_domain


class TlsPolicy(StrEnum):
    """How a copy may travel: never, where offered, always, or always to a verified name."""

    NONE = "none"
    MAY = "may"
    ENCRYPT = "encrypt"
    VERIFY = "verify"


class DeliveredOn(StrEnum):
    """Whose word makes a recipient Delivered."""

    MX = "mx"
    """The 250 of an MX host of its domain."""
    DSN = "dsn"
    """A success DSN (RFC 3464); a 250 is Sent."""


class DeliverySettings(Section):
    """`[delivery]`: how copies leave."""

    port: int = 25
    """Port of MX hosts."""
    allow_private_destinations: bool = False
    """Whether MX hosts may have loopback, private or link-local addresses."""
    routes: dict[str, str] = {}  # noqa: RUF012 - frozen model
    """Domain pattern ("example.org", "*.example", "*") to "smtp[s]://[user:password@]host[:port]"."""
    tls: TlsPolicy = TlsPolicy.MAY
    delivered_on: DeliveredOn = DeliveredOn.MX
    """"mx": the 250 of an MX host is Delivered; "dsn": it is Sent, and a success DSN, asked for where offered, is."""
    max_connections: int = 500
    """Of one worker, to all sites."""
    max_connections_per_site: int = 20
    max_queue_in_memory: int = 5000
    """Recipients that one worker holds in memory; more wait in the store."""

    @field_validator("routes")
    @classmethod
    def _routes_can_be_read(cls, routes: dict[str, str]) -> dict[str, str]:
        Routes.parse(routes)
        return routes

    @field_validator("max_connections", "max_connections_per_site", "max_queue_in_memory")
    @classmethod
    def _at_least_one(cls, value: int) -> int:
        if value < 1:
            raise ValueError("must be at least 1, or nothing would ever be delivered")
        return value


class DnsSettings(Section):
    """`[dns]`."""

    nameservers: tuple[ListenOn, ...] = ()
    """`host:port` of resolvers to ask; () means the system's."""
    timeout: Seconds = 10
    """For one question, all retries in."""

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
