"""relay/receive/tls.py: a certificate from the start, and one clear sentence where it cannot be used."""

import datetime as dt
import ssl
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from relay.receive import tls
from relay.receive.tls import SELF_SIGNED_NAME, self_signed, server_context

NAME = "relay.example"


def names_of(path: Path) -> list[str]:
    certificate = x509.load_pem_x509_certificate(path.read_bytes())
    return certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value.get_values_for_type(
        x509.DNSName
    )


def test_a_certificate_is_made_once_and_only_its_owner_reads_it(tmp_path: Path) -> None:
    state_dir = tmp_path / "state"
    assert isinstance(server_context(None, None, state_dir, NAME), ssl.SSLContext)
    path = state_dir / SELF_SIGNED_NAME
    made = path.read_bytes()
    assert path.stat().st_mode & 0o777 == 0o600
    assert names_of(path) == [NAME]
    server_context(None, None, state_dir, NAME)
    assert path.read_bytes() == made
    assert [entry.name for entry in state_dir.iterdir()] == [SELF_SIGNED_NAME]


def test_without_a_name_it_is_the_machines(tmp_path: Path) -> None:
    server_context(None, None, tmp_path, "")
    assert names_of(tmp_path / SELF_SIGNED_NAME) != [""]


def test_a_long_name_fits(tmp_path: Path) -> None:
    name = ".".join(["long-label"] * 12) + ".example"
    assert names_of(self_signed(tmp_path, name)) == [name]


@pytest.mark.parametrize("change", ["name", "expiry", "garbage", "bare"])
def test_a_certificate_that_no_longer_fits_is_made_anew(tmp_path: Path, change: str) -> None:
    path = self_signed(tmp_path, "other.example" if change == "name" else NAME)
    if change == "expiry":
        path.write_bytes(tls._make(NAME, dt.datetime.now(dt.UTC) - dt.timedelta(days=3640)))
    elif change == "garbage":
        path.write_bytes(b"no certificate")
    elif change == "bare":
        path.write_bytes(without_names())
    before = path.read_bytes()
    self_signed(tmp_path, NAME)
    assert path.read_bytes() != before
    assert names_of(path) == [NAME]
    server_context(None, None, tmp_path, NAME)


def without_names() -> bytes:
    key, now = ec.generate_private_key(ec.SECP256R1()), dt.datetime.now(dt.UTC)
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, NAME)])
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    builder = builder.serial_number(1).not_valid_before(now).not_valid_after(now + dt.timedelta(days=999))
    return builder.sign(key, tls.hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


def test_old_versions_of_tls_are_not_spoken(tmp_path: Path) -> None:
    assert server_context(None, None, tmp_path, NAME).minimum_version is ssl.TLSVersion.TLSv1_2


def test_a_configured_certificate_is_used_with_its_key_beside_it_or_in_it(tmp_path: Path) -> None:
    both = self_signed(tmp_path, NAME)
    cert, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    private, public = both.read_text().split("-----END PRIVATE KEY-----\n")
    key.write_text(private + "-----END PRIVATE KEY-----\n")
    cert.write_text(public)
    server_context(cert, key, tmp_path / "unused", NAME)
    server_context(both, None, tmp_path / "unused", NAME)
    assert not (tmp_path / "unused").exists()


@pytest.mark.parametrize("trouble", ["missing", "no key", "garbage", "locked key", "not writable"])
def test_what_cannot_be_used_is_named(tmp_path: Path, trouble: str) -> None:
    cert: Path | None = tmp_path / "cert.pem"
    key = None
    assert cert
    if trouble == "no key":
        cert.write_text(self_signed(tmp_path, NAME).read_text().split("-----END PRIVATE KEY-----\n")[1])
    elif trouble == "garbage":
        cert.write_text("no certificate")
    elif trouble == "locked key":
        cert.write_text(self_signed(tmp_path, NAME).read_text().split("-----END PRIVATE KEY-----\n")[1])
        key = tmp_path / "key.pem"
        locked = ec.generate_private_key(ec.SECP256R1()).private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(b"locked"),
        )
        key.write_bytes(locked)
    state_dir = tmp_path
    if trouble == "not writable":
        cert = None
        state_dir = tmp_path / "file"
        state_dir.write_text("")
    with pytest.raises(OSError, match=r"cannot use TLS certificate .*\.pem") as raised:
        server_context(cert, key, state_dir, NAME)
    assert "\n" not in str(raised.value)
    assert (key is None) is ("with key" not in str(raised.value))
