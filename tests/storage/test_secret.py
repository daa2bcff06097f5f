"""Laws of the secret key."""

import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from storage.secret import SecretError, load_secret
from storage.token import KEY_BYTES


def test_a_key_is_made_on_first_use_and_stays(tmp_path: Path) -> None:
    key = load_secret(tmp_path / "var")
    assert len(key) == KEY_BYTES
    assert load_secret(tmp_path / "var") == key
    path = tmp_path / "var" / "secret.key"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [entry.name for entry in (tmp_path / "var").iterdir()] == ["secret.key"]


def test_all_who_make_it_at_once_have_the_same(tmp_path: Path) -> None:
    with ThreadPoolExecutor(16) as pool:
        keys = set(pool.map(load_secret, [tmp_path] * 64))
    assert len(keys) == 1


def test_the_credential_goes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    load_secret(tmp_path)
    given = tmp_path / "credentials"
    given.mkdir()
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(given))
    own = load_secret(tmp_path)
    (given / "secret.key").write_bytes(b"c" * KEY_BYTES)
    assert load_secret(tmp_path) == b"c" * KEY_BYTES != own


@pytest.mark.parametrize("content", [b"", b"short", bytes(KEY_BYTES + 1)])
def test_a_key_of_another_length_is_refused_and_left_alone(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "secret.key").write_bytes(content)
    with pytest.raises(SecretError, match="must have exactly 32 bytes"):
        load_secret(tmp_path)
    assert (tmp_path / "secret.key").read_bytes() == content
