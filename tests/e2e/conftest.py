"""Fixtures of the end-to-end tests: a running Telltale with a configuration of its own, and its peers."""

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.peers import keeper, npm, postfix
from tests.peers.smtp import free_port
from tests.peers.telltale import Telltale, configured, listening, require, wait_for
from tests.report.hooking import Receiver

if TYPE_CHECKING:
    from playwright.sync_api import Browser

_POSTFIX_ADDRESS = "127.0.0.5"


@pytest.fixture
def make_telltale(tmp_path: Path) -> Iterator[Callable[..., Telltale]]:
    """Make a configured Telltale, and start it; `sections` adds lines of TOML to a section."""
    made: list[Telltale] = []

    def make(*, start: bool = True, **sections: str) -> Telltale:
        root = tmp_path / f"telltale{len(made)}"
        root.mkdir()
        telltale = configured(root, **sections)
        made.append(telltale)
        if start:
            telltale.start()
        return telltale

    yield make
    for telltale in made:
        telltale.end()


@pytest.fixture
def make_postfix() -> Iterator[Callable[..., postfix.Postfix]]:
    """Start a Postfix that bounces to a Telltale's bounce port; `extra` adds lines to its main.cf."""
    require("postfix")
    made: list[postfix.Postfix] = []

    def make(bounce_port: int, extra: str = "") -> postfix.Postfix:
        # Not below the test's own folder: Postfix's daemons give up root, and could not reach theirs.
        root = Path(tempfile.mkdtemp(prefix="postfix-"))
        port = free_port(_POSTFIX_ADDRESS)
        transports = f"{{ bounces.relay.test = smtp:[127.0.0.1]:{bounce_port} }}"
        made.append(postfix.start(root, _POSTFIX_ADDRESS, port, transports=transports, tls=True, extra=extra))
        wait_for("postfix to listen", lambda: listening(_POSTFIX_ADDRESS, port))
        return made[-1]

    yield make
    for instance in made:
        instance.stop()
        shutil.rmtree(instance.root, ignore_errors=True)


@pytest.fixture
def chromium() -> Iterator["Browser"]:
    api = pytest.importorskip("playwright.sync_api") if os.environ.get("CI") != "true" else _api()
    with api.sync_playwright() as playwright:
        # As root, as in containers, Chromium runs without its sandbox only; the pages are our own.
        browser = playwright.chromium.launch(executable_path=require("chromium"), args=["--no-sandbox"])
        yield browser
        browser.close()


def _api() -> object:
    import playwright.sync_api

    return playwright.sync_api


@pytest.fixture
def mailbox() -> Iterator[tuple[keeper.Keeper, int]]:
    box, port = keeper.Keeper(), free_port()
    sink = keeper.start(box, "127.0.0.1", port)
    yield box, port
    sink.stop()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    """An endpoint of webhooks."""
    made = Receiver()
    yield made
    made.stop()


@pytest.fixture(scope="session")
def axe(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The text of axe-core, fetched by npm into a folder of its own; skipped where that cannot be."""
    return (npm.fetch("axe-core@4", tmp_path_factory.mktemp("axe")) / "axe.min.js").read_text()
