"""`telltale dkim`: keys are made, shown, listed and retired, and never sign before their records can be there."""

import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from relay.deliver.dkim import Algorithm
from relay.deliver.keys import folders, keys_of, record
from telltale.cli import run
from telltale.cli_dkim import _dated

Told = Callable[..., tuple[str, str]]


@pytest.fixture
def told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Told:
    def tell(*words: str, code: int = 0, dkim: str = "") -> tuple[str, str]:
        path = tmp_path / "c.toml"
        path.write_text(f'[server]\nstate_dir = "{tmp_path}/state"\n[dkim]\n{dkim}\n')
        monkeypatch.setenv("TELLTALE_CONFIG", str(path))
        assert run(["dkim", *words]) == code
        said = capsys.readouterr()
        return said.out, said.err

    return tell


def test_new_keys_come_with_their_records_in_both_forms(told: Told, tmp_path: Path) -> None:
    said, _ = told("generate", "Example.ORG", "--selector", "S1")
    keys = keys_of("example.org", "s1", folders(tmp_path / "state")["example.org"])
    assert [key.algorithm for key in keys] == list(Algorithm)
    for key in keys:
        assert record(key).zone_line in said.splitlines()
        assert record(key).value in said.splitlines()
        assert f"{record(key).name}  TXT" in said.splitlines()
    assert "systemctl reload telltale-relay" in said
    again, _ = told("show", "example.org", "s1")
    assert again.strip() in said
    for path in folders(tmp_path / "state")["example.org"]["s1"].values():
        assert path.stat().st_mode & 0o777 == 0o600


def test_an_rsa_key_alone(told: Told, tmp_path: Path) -> None:
    said, _ = told("generate", "example.org", "--rsa-only")
    assert "ed25519" not in said
    (selector,) = folders(tmp_path / "state")["example.org"]
    assert selector.startswith(f"tt{datetime.now(UTC):%Y}")


def test_keys_are_renewed_without_a_moment_unsigned(told: Told, tmp_path: Path) -> None:
    """The old ones sign until the new ones' records are there: they are pinned, replaced, retired."""
    told("generate", "example.org", "--selector", "s1", "--rsa-only")
    _, why = told("generate", "example.org", "--selector", "s2", code=1)
    assert '[dkim] selectors = {"example.org" = "s1"}' in why
    pinned, renewed = 'selectors = {"example.org" = "s1"}', 'selectors = {"example.org" = "s2"}'
    said, _ = told("generate", "example.org", "--selector", "s2", dkim=pinned)
    assert f'[dkim] {renewed} in the configuration, instead of "s1"' in said
    listed = "example.org  s1  rsa-sha256{}\nexample.org  s2  rsa-sha256, ed25519-sha256{}\n"
    assert told("list", dkim=pinned)[0] == listed.format("  signs", "")
    assert told("list", dkim=renewed)[0] == listed.format("", "  signs")
    _, why = told("retire", "example.org", "s1", code=1, dkim=pinned)
    assert '"s1" signs for example.org' in why
    said, _ = told("retire", "example.org", "s1", dkim=renewed)
    assert "s1._domainkey.example.org" in said
    rows = [json.loads(line) for line in told("list", "--json")[0].splitlines()]
    assert rows == [
        {"domain": "example.org", "selector": "s2", "algorithms": ["rsa-sha256", "ed25519-sha256"], "signs": True}
    ]
    told("retire", "example.org", "s2", "--force")
    assert told("list")[0] == ""


def test_keys_that_may_sign_at_once(told: Told) -> None:
    told("generate", "example.org", "--selector", "s5", "--rsa-only")
    told("generate", "example.org", "--selector", "s4", "--rsa-only")
    assert "s5  rsa-sha256  signs" in told("list")[0]
    told("generate", "example.org", "--selector", "s6", "--rsa-only", "--take-over")
    assert "s6  rsa-sha256  signs" in told("list")[0]


@pytest.mark.parametrize(
    ("words", "code", "sentence"),
    [
        (("generate", "a b"), 2, '"a b" is no domain'),
        (("generate", "example.org", "--selector", "x_y"), 2, '--selector "x_y" is no selector'),
        (("generate", "example.org", "--selector", "s1"), 1, 'has a selector "s1" already'),
        (("show", "example.org", "s9"), 1, 'example.org has no selector "s9"'),
        (("retire", "other.example", "s1"), 1, 'other.example has no selector "s1"'),
    ],
)
def test_what_cannot_be_done_is_told(told: Told, words: tuple[str, ...], code: int, sentence: str) -> None:
    told("generate", "example.org", "--selector", "s1", "--rsa-only")
    said, why = told(*words, code=code)
    assert said == ""
    assert sentence in why


def test_a_file_that_is_no_key_is_told(told: Told, tmp_path: Path) -> None:
    folder = tmp_path / "state" / "dkim" / "example.org"
    folder.mkdir(parents=True)
    (folder / "mail.pem").touch()
    assert "mail.pem: is not named as keys are" in told("list", code=1)[1]


def test_the_selector_is_dated() -> None:
    now = datetime(2026, 11, 30, 23, tzinfo=UTC)
    assert _dated({}, now) == "tt202611"
    assert _dated({"tt202611": {}, "tt202611b": {}}, now) == "tt202611c"


def test_serving_with_a_broken_key_is_a_configuration_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "state" / "dkim" / "example.org"
    folder.mkdir(parents=True)
    (folder / "s1.rsa.pem").write_text("nothing")
    (tmp_path / "c.toml").write_text(
        f'[server]\nstate_dir = "{tmp_path}/state"\n[submission]\nlisten = ["127.0.0.1:0"]\n[bounce]\nlisten = []\n'
        '[pixel]\nlisten = ["127.0.0.1:0"]\n[report]\nlisten = ["127.0.0.1:0"]\n'
    )
    assert run(["serve", "--config", str(tmp_path / "c.toml")]) == 2
    assert "s1.rsa.pem: is no private key in PEM form" in capsys.readouterr().err
