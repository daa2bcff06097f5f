"""Fixtures of the end-to-end tests: a running Telltale with a configuration of its own, and its peers."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.peers.telltale import Telltale, configured


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
