"""The store's words for TLS: MTA-STS policies that were fetched, and what TLS sessions came to."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class StoredSts:
    """A domain's MTA-STS policy (RFC 8461) as it was fetched."""

    domain: str
    id: str
    """Of the TXT record that it was fetched for."""
    mode: str
    mx: tuple[str, ...]
    max_age: int
    """Seconds."""
    fetched_ms: int
    expires_ms: int
    wanted_ms: int
    """When mail last asked for it, to a day."""


@dataclass(frozen=True, slots=True)
class TlsKey:
    """How sessions of a domain came out on a day: those alike are counted together."""

    day: int
    """Days since the Unix epoch, UTC."""
    domain: str
    policy: str
    """What was asked of them, as JSON for the report (RFC 8460, 4.4)."""
    failure: str = ""
    """The result type (4.3); "" where they came to what was asked for."""
    mx: str = ""
    address: str = ""
    """Of the server."""
    source: str = ""
    """The address of ours."""
    reason: str = ""
    """More of a failure, for people."""


@dataclass(frozen=True, slots=True)
class TlsCount:
    """How many sessions came out in a way."""

    key: TlsKey
    sessions: int
