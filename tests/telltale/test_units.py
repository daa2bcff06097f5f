"""systemd/: units that systemd accepts, one a part, sandboxed; and an installation that can be taken back."""

import os
import shutil
import subprocess
from configparser import RawConfigParser
from pathlib import Path

import pytest

from telltale.part import DRAIN_SECONDS
from telltale.partname import PartName

ROOT = Path(__file__).parents[2]
UNITS = ROOT / "systemd"


def unit(part: PartName) -> RawConfigParser:
    read = RawConfigParser(strict=False)
    read.optionxform = str  # type: ignore[assignment,method-assign]  # systemd's keys have capitals
    read.read(UNITS / f"telltale-{part}.service")
    return read


@pytest.mark.parametrize("part", PartName)
def test_every_part_has_a_unit_that_is_sandboxed(part: PartName) -> None:
    service = unit(part)["Service"]
    assert service["ExecStart"].endswith(f"telltale serve --only {part}")
    assert (service["Type"], service["User"], service["StateDirectory"]) == ("notify", "telltale", "telltale")
    assert (service["ProtectSystem"], service["NoNewPrivileges"]) == ("strict", "yes")
    assert ("AmbientCapabilities" in service) == (part is PartName.RELAY)


@pytest.mark.parametrize("part", PartName)
def test_systemd_waits_longer_than_a_drain_takes(part: PartName) -> None:
    assert float(unit(part)["Service"]["TimeoutStopSec"]) > DRAIN_SECONDS + 5


def test_the_target_starts_every_part() -> None:
    text = (UNITS / "telltale.target").read_text()
    assert all(f"telltale-{part}.service" in text for part in PartName)


def test_systemd_accepts_the_units() -> None:
    analyze = shutil.which("systemd-analyze")
    if analyze is None:
        if os.environ.get("CI") == "true":
            pytest.fail("systemd-analyze is missing; .ci/run installs it")
        pytest.skip("systemd-analyze is not installed")
    done = subprocess.run(
        [analyze, "verify", *UNITS.iterdir()], capture_output=True, text=True, check=False, timeout=60
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_the_installed_configuration_differs_from_the_example_by_its_state_directory(tmp_path: Path) -> None:
    """What `make install` writes is what the Makefile's sed makes of the example."""
    rule = next(line for line in (ROOT / "Makefile").read_text().splitlines() if "sed 's|" in line)
    expression = rule.split("'")[1].replace("$(STATE)", "/var/lib/telltale")
    written = subprocess.run(
        ["sed", expression, ROOT / "config.example.toml"], capture_output=True, text=True, check=True
    ).stdout
    example = (ROOT / "config.example.toml").read_text()
    assert written == example.replace('#state_dir = "var"', 'state_dir = "/var/lib/telltale"')
    assert written != example
