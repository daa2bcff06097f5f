"""The operator's TLS policies by domain, and whether what the domain publishes itself counts beside them. Pure."""

from dataclasses import dataclass
from typing import Final

from relay.deliver.patterns import Patterns
from relay.deliver.settings import DeliverySettings, TlsPolicy

_BY_TLSA: Final = frozenset({TlsPolicy.DANE, TlsPolicy.DANE_ONLY})


@dataclass(frozen=True, slots=True)
class Level:
    """What the operator wants of a domain's mail."""

    tls: TlsPolicy
    dane: bool
    """Whether TLSA records of MX hosts count."""
    sts: bool
    """Whether the domain's MTA-STS policy counts."""

    @property
    def dane_on_route(self) -> bool:
        """Whether TLSA records of a route's host count: only where the operator says so by name."""
        return self.tls in _BY_TLSA


WHATEVER: Final = Level(TlsPolicy.MAY, dane=False, sts=False)
"""For what is to go whatever TLS comes to."""


class Levels:
    """Policies by domain pattern, and the default."""

    def __init__(self, settings: DeliverySettings) -> None:
        named = {pattern: Level(tls, tls in _BY_TLSA, sts=False) for pattern, tls in settings.tls_policies.items()}
        self._named = Patterns(named)
        self._rest = Level(settings.tls, settings.dane or settings.tls in _BY_TLSA, sts=settings.mta_sts)

    def of(self, domain: str) -> Level:
        """Return what holds for a domain (lower-case A-labels)."""
        return self._named.match(domain) or self._rest
