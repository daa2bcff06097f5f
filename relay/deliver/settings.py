"""Configuration of delivery: `[delivery]`, `[dns]` and `[retry]`."""

from enum import StrEnum

from storage.settings import ListenOn, Seconds, Section


class TlsPolicy(StrEnum):
    """How a copy may travel: never, where offered, always, or always to a verified name."""

    NONE = "none"
    MAY = "may"
    ENCRYPT = "encrypt"
    VERIFY = "verify"


class DeliverySettings(Section):
    """`[delivery]`: how copies leave."""

    port: int = 25
    """Port of MX hosts."""
    allow_private_destinations: bool = False
    """Whether MX hosts may have loopback, private or link-local addresses."""
    routes: dict[str, str] = {}  # noqa: RUF012 - frozen model
    """Domain pattern ("example.org", "*.example", "*") to "smtp[s]://[user:password@]host[:port]"."""
    tls: TlsPolicy = TlsPolicy.MAY
    max_connections: int = 500
    """Of one worker, to all sites."""
    max_connections_per_site: int = 20
    max_queue_in_memory: int = 5000
    """Recipients that one worker holds in memory; more wait in the store."""


class DnsSettings(Section):
    """`[dns]`."""

    nameservers: tuple[ListenOn, ...] = ()
    """`host:port` of resolvers to ask; () means the system's."""
    timeout: Seconds = 10
    """For one question, all retries in."""


class RetrySettings(Section):
    """`[retry]`: when soft bounces are tried again."""

    schedule: tuple[Seconds, ...] = (60, 300, 900, 1800, 3600, 7200, 14400)
    """Wait after each failed attempt; the last one repeats."""
    lifetime: Seconds = 5 * 86400
    """After this a recipient is Bounced with the last reason (RFC 5321, 4.5.4.1: 4-5 days)."""
