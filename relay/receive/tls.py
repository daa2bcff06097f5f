"""The listeners' certificate: the configured one, or one of our own making so that AUTH works from the start.

Rule: what cannot be used is an OSError that names the file. Call again to reload.
"""

import contextlib
import datetime as dt
import os
import socket
import ssl
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

SELF_SIGNED_NAME: Final = "self-signed.pem"
_LIFE: Final = dt.timedelta(days=3650)
_RENEW_BEFORE: Final = dt.timedelta(days=30)
# RFC 5280, upper bound of a common name; a longer name stands in the alternative name alone.
_MAX_COMMON_NAME_CHARS: Final = 64


def server_context(cert: Path | None, key: Path | None, state_dir: Path, hostname: str) -> ssl.SSLContext:
    """Return a context for the listeners from `cert` (a PEM chain) and `key` (None: in the same file).

    Without `cert`, a self-signed certificate for `hostname` ("": this machine's name) is made in `state_dir`
    (`self-signed.pem`, 0600), and made anew a month before it expires. Raises OSError with a sentence where a
    file cannot be used.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    # RFC 8996 and RFC 8997: TLS 1.0 and 1.1 must not be used, for mail too.
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_RENEGOTIATION
    path = cert if cert is not None else state_dir / SELF_SIGNED_NAME
    try:
        if cert is None:
            self_signed(state_dir, hostname or socket.gethostname())
        # A password would be asked for on the terminal; an empty one makes that an error.
        context.load_cert_chain(path, key if cert is not None else None, password="")
    except (OSError, ValueError) as error:
        with_key = f" with key {key}" if cert is not None and key is not None else ""
        raise OSError(f"cannot use TLS certificate {path}{with_key}: {error}") from error
    return context


def self_signed(state_dir: Path, hostname: str) -> Path:
    """Return the path of a PEM file with key and self-signed certificate for `hostname`, made where it is missing."""
    path = state_dir / SELF_SIGNED_NAME
    if not _is_current(path, hostname):
        state_dir.mkdir(parents=True, exist_ok=True)
        _write_private(path, _make(hostname, dt.datetime.now(dt.UTC)))
    return path


def _is_current(path: Path, hostname: str) -> bool:
    try:
        certificate = x509.load_pem_x509_certificate(path.read_bytes())
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (FileNotFoundError, ValueError, x509.ExtensionNotFound):
        return False
    expires = certificate.not_valid_after_utc - _RENEW_BEFORE
    return hostname in names.get_values_for_type(x509.DNSName) and dt.datetime.now(dt.UTC) < expires


def _make(hostname: str, now: dt.datetime) -> bytes:
    key = ec.generate_private_key(ec.SECP256R1())
    common = hostname if len(hostname) <= _MAX_COMMON_NAME_CHARS else "telltale"
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common)])
    builder = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + _LIFE)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(hostname)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
    )
    certificate = builder.sign(key, hashes.SHA256())
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return private + certificate.public_bytes(serialization.Encoding.PEM)


def _write_private(path: Path, content: bytes) -> None:
    """Put `content` in place in one step: workers that start together each read a whole pair of one maker."""
    part = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    finally:
        with contextlib.suppress(FileNotFoundError):
            part.unlink()
