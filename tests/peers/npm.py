"""Packages of npm that tests use as peers: fetched into a folder of the test's own."""

import shutil
import subprocess
from pathlib import Path

import pytest


def fetch(package: str, folder: Path) -> Path:
    """Install a package below `folder` and return where it lies; skips where it cannot be had."""
    npm = shutil.which("npm") or "npm"
    command = [npm, "install", "--silent", "--no-audit", "--no-fund", "--prefix", str(folder), package]
    try:
        subprocess.run(command, check=True, capture_output=True, timeout=120, cwd=folder)
    except (OSError, subprocess.SubprocessError) as error:
        pytest.skip(f"{package} could not be fetched by npm: {error}")
    return folder / "node_modules" / package.partition("@")[0]
