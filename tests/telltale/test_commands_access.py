"""`telltale user … --role`, `telltale token …`: who may come in, from the command line."""

import asyncio
import io
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from storage.access import ApiToken, Scope, hashed
from storage.reader import Reader
from telltale.cli import run

Told = Callable[..., tuple[str, str]]


@pytest.fixture
def told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Told:
    path = tmp_path / "c.toml"
    path.write_text(f'[server]\nhostname = "relay.test"\nstate_dir = "{tmp_path}/state"\n')
    monkeypatch.setenv("TELLTALE_CONFIG", str(path))

    def tell(*words: str, code: int = 0) -> tuple[str, str]:
        monkeypatch.setattr("sys.stdin", io.StringIO("a good password\n"))
        assert run(words) == code
        said = capsys.readouterr()
        return said.out, said.err

    return tell


def found(state_dir: Path, token: str) -> ApiToken | None:
    async def ask() -> ApiToken | None:
        reader = await Reader.open(state_dir)
        try:
            return await reader.token(hashed(token))
        finally:
            await reader.close()

    return asyncio.run(ask())


def test_a_user_has_a_role(told: Told) -> None:
    told("user", "add", "root", "--admin", "--password-stdin")
    told("user", "add", "vera", "--role", "viewer", "--password-stdin")
    told("user", "add", "ann", "--password-stdin")
    assert [line.split()[:2] for line in told("user", "list")[0].splitlines()] == [
        ["ann", "sender"], ["root", "admin"], ["vera", "viewer"],
    ]  # fmt: skip
    assert told("user", "role", "vera", "admin")[0] == "vera is admin now\n"
    assert 'there is no user "eve"' in told("user", "role", "eve", "admin", code=1)[1]
    assert '"boss" is no role: a user is admin, sender, viewer' in told("user", "role", "vera", "boss", code=2)[1]
    wrong = ("user", "add", "x", "--admin", "--role", "viewer", "--password-stdin")
    assert "cannot both be meant" in told(*wrong, code=2)[1]


def test_a_token_is_shown_once_listed_by_its_prefix_and_removed(told: Told, tmp_path: Path) -> None:
    told("user", "add", "ann", "--password-stdin")
    add = (
        "token",
        "add",
        "shop",
        "--user",
        "ann",
        "--scope",
        "log:read",
        "--scope",
        "messages:send",
        "--expires",
        "90d",
    )
    secret = told(*add)[0].strip()
    kept = found(tmp_path / "state", secret)
    assert kept is not None
    assert (kept.name, kept.scopes) == ("shop", {Scope.LOG_READ, Scope.SEND})
    assert kept.expires_ms is not None
    assert kept.expires_ms - kept.made_ms == 90 * 86_400_000
    assert found(tmp_path / "state", secret[:-1] + "!") is None
    lines = told("token", "list")[0]
    assert secret[:11] in lines
    assert secret not in lines
    assert "log:read messages:send" in lines
    assert "never used" in lines
    assert json.loads(told("token", "list", "--json")[0])["prefix"] == secret[:11]
    assert told("token", "remove", secret[:11])[0] == f"token {secret[:11]} removed\n"
    assert found(tmp_path / "state", secret) is None
    assert "there is no token" in told("token", "remove", secret[:11], code=1)[1]
    for name in "ab":
        told("token", "add", name, "--user", "ann", "--scope", "log:read")
    assert told("token", "remove", "--user", "ann")[0] == "2 tokens of ann removed\n"
    assert told("token", "list")[0] == ""
    for wrong in ((), ("tt_12345678", "--user", "ann")):
        assert "say which token by its PREFIX, or --user" in told("token", "remove", *wrong, code=2)[1]


@pytest.mark.parametrize(
    ("words", "code", "sentence"),
    [
        (("x", "--user", "eve", "--scope", "log:read"), 1, 'there is no user "eve"'),
        (("x", "--user", "ann", "--scope", "all"), 2, '"all" is no scope; the scopes are log:read'),
        (("", "--user", "ann", "--scope", "log:read"), 2, "a token's name has"),
        (("x", "--user", "ann", "--scope", "log:read", "--expires", "soon"), 2, "no duration"),
        (("x", "--user", "ann", "--scope", "log:read", "--expires", "0"), 2, "no duration"),
        (("x", "--user", "ann", "--scope", "log:read", "--expires", "10000000d"), 2, "no duration"),
    ],
)
def test_what_cannot_be_a_token_is_told(told: Told, words: tuple[str, ...], code: int, sentence: str) -> None:
    assert sentence in told("token", "add", *words, code=code)[1]
