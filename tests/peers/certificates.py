"""Certificates for peers: authorities and what they sign, with names, dates and faults as a test wants them."""

import datetime as dt
import hashlib
import ssl
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from cryptography.x509.oid import NameOID

NOW = dt.datetime.now(dt.UTC)


@dataclass(frozen=True)
class Certificate:
    """A certificate, its key, and who signed it."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey
    issuer: "Certificate | None" = None

    @property
    def der(self) -> bytes:
        return self.certificate.public_bytes(Encoding.DER)

    @property
    def spki(self) -> bytes:
        return self.key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)

    def chain(self) -> list["Certificate"]:
        """Itself first, the authority of all last."""
        return [self, *(self.issuer.chain() if self.issuer else [])]

    def context(self, *, without_root: bool = False) -> ssl.SSLContext:
        """Return a server's context with it and its chain."""
        sent = self.chain()[:-1] if without_root else self.chain()
        pem = b"".join(each.certificate.public_bytes(Encoding.PEM) for each in sent)
        pem += self.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        with tempfile.NamedTemporaryFile() as file:
            Path(file.name).write_bytes(pem)
            context.load_cert_chain(file.name)
        return context

    def tlsa(self, usage: int, selector: int = 1, matching: int = 1) -> str:
        """Return the TLSA record's text that names it."""
        return f"{usage} {selector} {matching} {self.association(selector, matching).hex()}"

    def association(self, selector: int, matching: int) -> bytes:
        chosen = self.spki if selector else self.der
        return {0: chosen, 1: hashlib.sha256(chosen).digest(), 2: hashlib.sha512(chosen).digest()}[matching]


def make(
    name: str,
    issuer: Certificate | None = None,
    *,
    names: tuple[str, ...] | None = None,
    authority: bool = False,
    days: tuple[int, int] = (-1, 30),
    path_length: int | None = None,
    extensions: tuple[tuple[Any, bool], ...] = (),
) -> Certificate:
    """Make a certificate for `name` (and SANs `names`), by `issuer` or by itself; valid for `days` from now."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer.certificate.subject if issuer else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(NOW + dt.timedelta(days=days[0]))
        .not_valid_after(NOW + dt.timedelta(days=days[1]))
        .add_extension(x509.BasicConstraints(ca=authority, path_length=path_length), critical=True)
    )
    names = names if names is not None else (() if authority else (name,))
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName(each) for each in names]), False)
    for extension, critical in extensions:
        builder = builder.add_extension(extension, critical)
    return Certificate(builder.sign(issuer.key if issuer else key, hashes.SHA256()), key, issuer)


def pem_file(folder: Path, certificate: Certificate) -> Path:
    """Write a certificate for a client to trust."""
    path = folder / f"{certificate.certificate.serial_number}.pem"
    path.write_bytes(certificate.certificate.public_bytes(Encoding.PEM))
    return path
