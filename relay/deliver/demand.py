"""What TLS with one mail host must come to, from the policy of the destination and the host's TLSA records.

Rule: pure. What is in force, the first that applies: the operator's policy for the domain, DANE, MTA-STS, the
operator's default (docs/tls.md). DANE decides for a host alone where it has records, so that MTA-STS can never
make good what DANE found wrong (RFC 8461, 2).
"""

from dataclasses import dataclass
from enum import StrEnum

from relay.deliver.dane import Tlsa
from relay.deliver.destination import Destination
from relay.deliver.failure import FailureType
from relay.deliver.settings import TlsPolicy
from relay.deliver.sts import Mode


class Proof(StrEnum):
    """How a server shows who it is; the word is kept with the attempt."""

    NONE = "unverified"
    """Not at all: RFC 7435, an unproven key is still better than none."""
    NAME = "verified"
    """A known authority made its certificate out to the host's name."""
    STS = "mta-sts"
    """As NAME, and the domain's policy names the host."""
    DANE = "dane"
    """TLSA records name its certificate."""


@dataclass(frozen=True, slots=True)
class Tlsas:
    """A host's TLSA records that came securely."""

    base: str
    """The name below which they are: the host's, or what that is an alias of (RFC 7672, 2.2.3)."""
    records: tuple[Tlsa, ...]
    """Those that can be used; () where there are only others."""


@dataclass(frozen=True, slots=True)
class Demand:
    """What TLS with a host must come to, and what is good enough where it does not."""

    proof: Proof | None
    """None: no TLS is asked for."""
    name: str
    """For SNI, and what the certificate must be made out to where it is asked."""
    tlsa: tuple[Tlsa, ...] = ()
    names: tuple[str, ...] = ()
    """Further names that DANE takes."""
    otherwise: "Demand | None" = None
    """To be tried anew where TLS does not come to this; None: then there is no delivery."""

    @property
    def may_be_clear(self) -> bool:
        """Whether in the end a copy may travel in clear."""
        return self.proof is None or (self.otherwise is not None and self.otherwise.may_be_clear)


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a host must not be used."""

    text: str
    failure: FailureType


def demand(destination: Destination, host: str, tlsas: Tlsas | None) -> Demand | Refusal:
    """Return what is asked of a host of a destination, or why it must not be used.

    `tlsas` is what DNSSEC proved of the host; None: there are no such records, or nobody asked.
    """
    if tlsas is not None and tlsas.records:
        return Demand(Proof.DANE, tlsas.base, tlsas.records, tuple({tlsas.base: None, host: None}))
    if destination.tls is TlsPolicy.DANE_ONLY:
        lack = "that came securely" if tlsas is None else "that can be used"
        failure = FailureType.DANE_REQUIRED if tlsas is None else FailureType.TLSA_INVALID
        return Refusal(f"DANE is required, but {host} has no TLSA records {lack}", failure)
    usual = _usual(destination, host)
    if tlsas is not None and usual.may_be_clear:
        # RFC 7672, 2.2: records that cannot be used still say that TLS is there.
        usual = Demand(Proof.NONE, host)
    sts = destination.sts
    if sts is None or sts.mode is Mode.NONE:
        return usual
    proven = Demand(Proof.STS, host, otherwise=usual if sts.mode is Mode.TESTING else None)
    if sts.names(host):
        return proven
    if sts.mode is Mode.TESTING:
        return usual
    return Refusal(f"the MTA-STS policy of the domain does not name {host}", FailureType.VALIDATION)


def _usual(destination: Destination, host: str) -> Demand:
    """Return what the operator's policy asks for."""
    clear = Demand(None, host)
    if destination.tls is TlsPolicy.NONE:
        return clear
    if destination.tls is TlsPolicy.VERIFY:
        return Demand(Proof.NAME, host)
    if destination.tls is TlsPolicy.ENCRYPT or destination.implicit_tls:
        return Demand(Proof.NONE, host)
    return Demand(Proof.NONE, host, otherwise=clear)
