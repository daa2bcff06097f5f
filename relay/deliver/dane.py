"""DANE for SMTP (RFC 7672, RFC 7671): which TLSA records can be used, and whether a server's chain is one of theirs.

Rule: pure: records, chain, names and time are arguments. A chain that cannot be read is not theirs.
"""

import datetime as dt
import hashlib
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import NameOID

DANE_TA: Final = 2
DANE_EE: Final = 3
_FULL, _SHA256, _SHA512 = 0, 1, 2
_CERTIFICATE, _PUBLIC_KEY = 0, 1
_DIGEST_BYTES: Final = {_SHA256: 32, _SHA512: 64}
# Chains of the public authorities have 3 or 4; each step costs a signature's check for each certificate that is left,
# and records, like chains, are written by strangers.
_MAX_CHAIN: Final = 10
_UNDERSTOOD: Final = frozenset({x509.BasicConstraints.oid, x509.KeyUsage.oid, x509.ExtendedKeyUsage.oid})


@dataclass(frozen=True, slots=True)
class Tlsa:
    """A TLSA record (RFC 6698, 2.1)."""

    usage: int
    selector: int
    matching: int
    data: bytes

    def __str__(self) -> str:
        """Return it as DNS zones and reports have it."""
        return f"{self.usage} {self.selector} {self.matching} {self.data.hex()}"


class Mismatch(StrEnum):
    """Why a chain is not what the records ask for."""

    NOT_THEIRS = "no certificate of the server is what its TLSA records name"
    NAME = "the certificate is made out to another name"
    EXPIRED = "a certificate is not valid at this time"


def usable(records: Iterable[Tlsa]) -> tuple[Tlsa, ...]:
    """Return the records that can prove a mail server, sorted.

    Usages 0 and 1 cannot (RFC 7672, 3.1.3), nor what has an unknown selector or matching type, or a digest of
    the wrong length. Of digests alike, only the strongest count (RFC 7671, 9).
    """
    known = {record for record in records if _is_usable(record)}
    strong = {(record.usage, record.selector) for record in known if record.matching == _SHA512}
    kept = [r for r in known if r.matching != _SHA256 or (r.usage, r.selector) not in strong]
    return tuple(sorted(kept, key=lambda r: (r.usage, r.selector, r.matching, r.data)))


def _is_usable(record: Tlsa) -> bool:
    if record.usage not in {DANE_TA, DANE_EE} or record.selector not in {_CERTIFICATE, _PUBLIC_KEY}:
        return False
    if record.matching == _FULL:
        return bool(record.data)
    return len(record.data) == _DIGEST_BYTES.get(record.matching)


def mismatch(
    chain: Sequence[bytes], records: Collection[Tlsa], names: Collection[str], now: dt.datetime
) -> Mismatch | None:
    """Return why a server's chain (DER, its own certificate first) does not fit usable records; None: it does.

    DANE-EE(3) asks for the certificate or its key alone, whatever name and dates it bears (RFC 7672, 3.1.1).
    DANE-TA(2) asks for a chain up to the authority, valid now, made out to one of `names` (3.1.2, 3.2.3).
    """
    try:
        if chain and any(_fits(_read(chain[0]), record) for record in records if record.usage == DANE_EE):
            return None
        anchors = [record for record in records if record.usage == DANE_TA]
        if not chain or not anchors:
            return Mismatch.NOT_THEIRS
        return _untrusted([_read(der) for der in chain[:_MAX_CHAIN]], anchors, names, now)
    except (ValueError, TypeError, UnsupportedAlgorithm, x509.DuplicateExtension, x509.UnsupportedGeneralNameType):
        return Mismatch.NOT_THEIRS


def _read(der: bytes) -> x509.Certificate:
    return x509.load_der_x509_certificate(der)


def _fits(certificate: x509.Certificate, record: Tlsa) -> bool:
    if record.selector == _CERTIFICATE:
        chosen = certificate.public_bytes(Encoding.DER)
    else:
        chosen = certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    if record.matching == _FULL:
        return chosen == record.data
    algorithm = hashlib.sha256 if record.matching == _SHA256 else hashlib.sha512
    return algorithm(chosen).digest() == record.data


def _untrusted(
    chain: Sequence[x509.Certificate], anchors: Sequence[Tlsa], names: Collection[str], now: dt.datetime
) -> Mismatch | None:
    path = _path(chain, anchors)
    if path is None:
        return Mismatch.NOT_THEIRS
    if not all(each.not_valid_before_utc <= now <= each.not_valid_after_utc for each in path):
        return Mismatch.EXPIRED
    return None if any(_is_named(path[0], name) for name in names) else Mismatch.NAME


def _path(chain: Sequence[x509.Certificate], anchors: Sequence[Tlsa]) -> list[x509.Certificate] | None:
    """Return the certificates from the server's own up to one that an anchor names."""
    path = [chain[0]]
    # RFC 7672, 3.1.2: an authority in the record itself need not be sent by the server.
    others = [*chain[1:], *_in_full(anchors)]
    while True:  # each step takes one of the others
        if any(_fits(path[-1], anchor) for anchor in anchors):
            return path
        left = [other for other in others if other not in path]
        issuer = next((other for other in left if _issued(other, path[-1], len(path) - 1)), None)
        if issuer is None:
            return None
        path.append(issuer)


def _in_full(anchors: Iterable[Tlsa]) -> list[x509.Certificate]:
    given = [each.data for each in anchors if (each.selector, each.matching) == (_CERTIFICATE, _FULL)]
    return [_read(data) for data in given[:_MAX_CHAIN]]


def _issued(issuer: x509.Certificate, certificate: x509.Certificate, below: int) -> bool:
    """Return whether `issuer` is an authority that signed `certificate`, with `below` authorities beneath it."""
    try:
        certificate.verify_directly_issued_by(issuer)
    except (ValueError, TypeError, InvalidSignature):
        return False
    return _is_authority(issuer, below)


def _is_authority(certificate: x509.Certificate, below: int) -> bool:
    constraints: x509.BasicConstraints | None = None
    for extension in certificate.extensions:
        if isinstance(extension.value, x509.BasicConstraints):
            constraints = extension.value
        elif isinstance(extension.value, x509.KeyUsage) and not extension.value.key_cert_sign:
            return False
        elif extension.critical and extension.oid not in _UNDERSTOOD:
            # RFC 5280, 4.2: what is critical and not understood, such as constraints on names, rules it out.
            return False
    if constraints is None or not constraints.ca:
        return False
    return constraints.path_length is None or below <= constraints.path_length


def _is_named(certificate: x509.Certificate, name: str) -> bool:
    """Return whether a certificate is made out to `name`: by its DNS names, or its CN if it has none (3.2.3)."""
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        given = names.get_values_for_type(x509.DNSName)
    except x509.ExtensionNotFound:
        given = []
    given = given or [str(each.value) for each in certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)]
    _, _, parent = name.partition(".")
    known = {each.lower().rstrip(".") for each in given}
    return name in known or f"*.{parent}" in known
