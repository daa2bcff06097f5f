"""`telltale webhook …`: endpoints from the command line, and what is said of what cannot be done."""

import asyncio
import json
import re
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from storage.feed import Place
from storage.model import User
from storage.people import POLICY
from storage.reader import Reader
from storage.store import Store
from storage.webhook_model import Retry, Told, Webhook
from telltale.cli import run

Tell = Callable[..., tuple[str, str]]


@pytest.fixture
def told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Tell:
    path = tmp_path / "c.toml"
    path.write_text(f'[server]\nstate_dir = "{tmp_path}/state"\n[webhooks]\nallow_private = true\ntimeout = 1\n')
    monkeypatch.setenv("TELLTALE_CONFIG", str(path))
    monkeypatch.setenv("SUDO_USER", "bob")

    def tell(*words: str, code: int = 0) -> tuple[str, str]:
        assert run(["webhook", *words]) == code
        said = capsys.readouterr()
        return said.out, said.err

    return tell


def one(tmp_path: Path) -> Webhook:
    async def ask() -> Webhook:
        reader = await Reader.open(tmp_path / "state")
        (hook,) = await reader.webhooks.all()
        await reader.close()
        return hook

    return asyncio.run(ask())


def test_a_webhook_is_added_listed_stopped_enabled_and_removed(told: Tell, tmp_path: Path) -> None:
    id_, secret = told("add", "http://127.0.0.1:1/hook", "--type", "soft-bounced", "--type", "recipient.opened")[
        0
    ].split()
    assert secret.startswith("whsec_")
    (listed,) = told("list", "--json")[0].splitlines()
    assert json.loads(listed)["types"] == ["recipient.opened", "recipient.soft_bounced"]
    assert secret not in listed
    assert "opened soft_bounced  active" in told("list")[0]
    told("set", id_, "--url", "http://127.0.0.1:1/other", "--all-types")
    assert "http://127.0.0.1:1/other  all events  active" in told("list")[0]
    told("set", id_, "--type", "sent")
    assert "http://127.0.0.1:1/other  sent  active" in told("list")[0]
    assert "expected a URL" in told("set", id_, "--url", "nothing", code=2)[1]
    assert told("stop", id_)[0] == f"webhook {id_} stopped\n"
    assert "stopped: stopped by bob" in told("list")[0]
    told("enable", id_)
    told("replay", id_, "--after", "1-0")
    assert one(tmp_path).place == Place(1, 0)
    told("replay", id_, "--since", "2h")
    assert "did not take it: no connection: Connection refused" in told("test", id_, code=1)[1]
    assert re.fullmatch(
        r"\d\d:\d\d:\d\d  test  not taken in \d+ ms: no connection: Connection refused\n", told("attempts", id_)[0]
    )
    (attempt,) = [json.loads(line) for line in told("attempts", id_, "--failed", "--json")[0].splitlines()]
    assert (attempt["type"], attempt["taken"], attempt["status"], attempt["tries"]) == ("test", False, None, 1)
    new = told("rotate", id_)[0].strip()
    now_ms = time.time_ns() // 1_000_000
    assert one(tmp_path).secrets(now_ms) == (new, secret)
    assert one(tmp_path).secrets(now_ms + 24 * 3_600_000) == (new,)
    told("remove", id_)
    assert told("list")[0] == ""


def add_ann(tmp_path: Path) -> None:
    async def add() -> None:
        store = await Store.open(tmp_path / "state", POLICY)
        assert await store.add_user(User("ann", "none", (), 0))
        await store.close()

    asyncio.run(add())


def test_what_failed_last_is_listed(told: Tell, tmp_path: Path) -> None:
    assert 'there is no user "ann"' in told("add", "http://127.0.0.1:1/hook", "--user", "ann", code=2)[1]
    add_ann(tmp_path)
    id_, _ = told("add", "http://127.0.0.1:1/hook", "--user", "ann")[0].split()

    async def fail() -> None:
        store = await Store.open(tmp_path / "state", POLICY)
        at = one_place
        await store.webhooks.tell(Told(id_, at, at, 1, "503 busy", [Retry(Place(1, 0), 9, 1)], next_ms=2))
        await store.close()

    one_place = one(tmp_path).place
    asyncio.run(fail())
    assert re.search(
        r"all events of ann  failing since \d+ \w+ 1970, next try \d+ \w+ 1970; 1 to be tried again: 503 busy",
        told("list")[0],
    )


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("add", "nothing"), 2, "expected a URL"),
        (
            ("add", "https://example.org/", "--type", "sunk"),
            2,
            '--type "sunk" is no type of events; there are accepted',
        ),
        (("add", "https://example.org/", "--type", "bounce"), 2, 'did you mean "bounced"?'),
        (("replay", "wh", "--after", "x"), 2, "no cursor such as 4711-0"),
        (("replay", "wh"), 2, "say from where on"),
        (("replay", "wh", "--since", "soon"), 2, "no point in time"),
        (("enable", "wh"), 1, 'there is no webhook "wh"'),
        (("stop", "wh"), 1, 'there is no webhook "wh"'),
        (("remove", "wh"), 1, 'there is no webhook "wh"'),
        (("test", "wh"), 1, 'there is no webhook "wh"'),
        (("set", "wh", "--all-types"), 1, 'there is no webhook "wh"'),
        (("set", "wh"), 2, "say what is to be otherwise"),
        (("set", "wh", "--all-types", "--type", "sent"), 2, "say what is to be otherwise"),
        (("rotate", "wh"), 1, 'there is no webhook "wh"'),
        (("attempts", "wh"), 1, 'there is no webhook "wh"'),
    ],
)
def test_what_cannot_be_done_is_said(told: Tell, words: tuple[str, ...], code: int, said: str) -> None:
    told("add", "http://127.0.0.1:1/")
    assert said in told(*words, code=code)[1]
