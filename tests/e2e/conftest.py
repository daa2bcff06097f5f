"""Fixtures of the end-to-end tests: a running Telltale with a configuration of its own, and its peers."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.peers.telltale import Telltale, free_port


@pytest.fixture
def make_telltale(tmp_path: Path) -> Iterator[Callable[..., Telltale]]:
    """Make a configured Telltale; `sections` adds TOML text, keys are lines of a section."""
    made: list[Telltale] = []

    def make(*, start: bool = True, **sections: str) -> Telltale:
        root = tmp_path / f"telltale{len(made)}"
        root.mkdir()
        ports = [free_port() for _ in range(4)]
        telltale = Telltale(root, root / "telltale.toml", *ports)
        base = {
            "server": f'hostname = "relay.test"\nstate_dir = "{root}/state"\nworkers = 2',
            "submission": f'listen = ["127.0.0.1:{telltale.submission}"]',
            "bounce": f'listen = ["127.0.0.1:{telltale.bounce}"]\ndomain = "bounces.relay.test"',
            "tracking": f'base_url = "http://127.0.0.1:{telltale.pixel}"\nscanner_seconds = 0',
            "pixel": f'listen = ["127.0.0.1:{telltale.pixel}"]',
            "report": f'listen = ["127.0.0.1:{telltale.report}"]',
            "retry": "schedule = [1, 1, 2]",
        }
        for name, text in sections.items():
            base[name] = f"{base.get(name, '')}\n{text}" if name != "retry" else text
        telltale.config.write_text("".join(f"[{name}]\n{text}\n" for name, text in base.items()))
        made.append(telltale)
        if start:
            telltale.start()
        return telltale

    yield make
    for telltale in made:
        telltale.end()
