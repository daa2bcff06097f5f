"""What relay/deliver/dkim.py signs, as OpenDKIM sees it: the verifier that many servers run."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key

from relay.deliver.dkim import Key, Template, template
from tests.peers import with_dns
from tests.peers.dkim import records_of
from tests.peers.telltale import require

RSA = Key("example.org", "tt1", generate_private_key(65537, 2048))
ED25519 = Key("example.org", "tt1-ed25519", Ed25519PrivateKey.generate())
MESSAGE = (
    b"From: =?utf-8?q?J=C3=B6rg?= <j@example.org>\r\nTo: a@example.net,\r\n b@example.net\r\nSubject:  a \t subject\r\n"
    b"Date: Fri, 20 Nov 2026 10:00:00 +0000\r\nMessage-ID: <1@example.org>\r\nMIME-Version: 1.0\r\n"
    b"Content-Type: text/html;\r\n\tcharset=utf-8\r\nReferences: <2@x>\r\n <3@x>\r\n\r\n"
    b"\r\n<p>Hello  you </p>\t\r\n.dot\r\n\r\n \r\n"
)
SIGNED_AT = 1_700_000_000


@pytest.fixture
def namespaces() -> list[str]:
    """The command that runs another one in namespaces of its own; skips where this host allows none."""
    words = [require("unshare"), "--map-root-user", "--net", "--mount"]
    if subprocess.run([*words, "true"], check=False, capture_output=True).returncode:
        pytest.skip("this host lets nobody make namespaces, in which OpenDKIM would find our records")
    return words


def judged(message: bytes, keys: tuple[Key, ...], folder: Path, namespaces: list[str]) -> str:
    """Return what opendkim-testmsg complains of, "" where it verifies the message."""
    (folder / "records.json").write_text(json.dumps(dict(records_of(keys))))
    words = [sys.executable, with_dns.__file__, str(folder / "records.json"), require("opendkim-testmsg")]
    done = subprocess.run([*namespaces, *words], input=message, capture_output=True, timeout=30, check=False)
    said = done.stderr.decode()
    assert bool(said) == bool(done.returncode), said
    return said


@pytest.mark.parametrize("keys", [(RSA,), (ED25519,), (RSA, ED25519)], ids=["rsa", "ed25519", "both"])
def test_opendkim_verifies_it(keys: tuple[Key, ...], tmp_path: Path, namespaces: list[str]) -> None:
    found = template(MESSAGE, len(MESSAGE) - 20, utf8=False)
    assert isinstance(found, Template)
    signatures = found.signatures(MESSAGE, keys, SIGNED_AT)
    assert judged(signatures + MESSAGE, keys, tmp_path, namespaces) == ""
    changed = MESSAGE.replace(b"a \t subject", b"another subject")
    assert "Bad signature" in judged(signatures + changed, keys, tmp_path, namespaces)
