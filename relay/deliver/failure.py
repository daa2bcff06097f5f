"""In what ways TLS with a mail host can fail, in the words of RFC 8460, 4.3. Pure."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from relay.deliver.dane import Mismatch


class FailureType(StrEnum):
    """The result type of a failed session (RFC 8460, 4.3)."""

    NO_STARTTLS = "starttls-not-supported"
    NAME = "certificate-host-mismatch"
    EXPIRED = "certificate-expired"
    NOT_TRUSTED = "certificate-not-trusted"
    VALIDATION = "validation-failure"
    """Anything else, a handshake that breaks included."""
    TLSA_INVALID = "tlsa-invalid"
    DNSSEC_INVALID = "dnssec-invalid"
    DANE_REQUIRED = "dane-required"
    STS_FETCH = "sts-policy-fetch-error"
    STS_INVALID = "sts-policy-invalid"


OF_DANE: Final = frozenset({FailureType.TLSA_INVALID, FailureType.DNSSEC_INVALID, FailureType.DANE_REQUIRED})
OF_STS: Final = frozenset({FailureType.STS_FETCH, FailureType.STS_INVALID})

# OpenSSL's X509_V_ERR_… (x509_vfy.h).
_VERIFY_CODES: Final = {
    2: FailureType.NOT_TRUSTED,  # UNABLE_TO_GET_ISSUER_CERT
    9: FailureType.EXPIRED,  # CERT_NOT_YET_VALID
    10: FailureType.EXPIRED,  # CERT_HAS_EXPIRED
    18: FailureType.NOT_TRUSTED,  # DEPTH_ZERO_SELF_SIGNED_CERT
    19: FailureType.NOT_TRUSTED,  # SELF_SIGNED_CERT_IN_CHAIN
    20: FailureType.NOT_TRUSTED,  # UNABLE_TO_GET_ISSUER_CERT_LOCALLY
    21: FailureType.NOT_TRUSTED,  # UNABLE_TO_VERIFY_LEAF_SIGNATURE
    62: FailureType.NAME,  # HOSTNAME_MISMATCH
    64: FailureType.NAME,  # IP_ADDRESS_MISMATCH
}
_MISMATCHES: Final = {Mismatch.NAME: FailureType.NAME, Mismatch.EXPIRED: FailureType.EXPIRED}


def of_verify_code(code: int) -> FailureType:
    """Return the type of a certificate that OpenSSL refused."""
    return _VERIFY_CODES.get(code, FailureType.VALIDATION)


def of_mismatch(mismatch: Mismatch) -> FailureType:
    """Return the type of a certificate that DANE refused."""
    return _MISMATCHES.get(mismatch, FailureType.VALIDATION)


@dataclass(frozen=True, slots=True)
class Mishap:
    """A session that did not come to what was asked for."""

    failure: FailureType
    mx: str = ""
    address: str = ""
    """Of the server; "" where it was not reached."""
    source: str = ""
    """Our address."""
    reason: str = ""
    """More, for people."""
    tlsa: tuple[str, ...] = ()
    """The TLSA records that it was to be proven by, as text."""
