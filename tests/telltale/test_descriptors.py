"""telltale/descriptors.py: a part may open what the system lets it open."""

import logging
import resource
import subprocess
import sys

import pytest

from telltale.descriptors import raise_limit

_ASK = "import resource; {}; print(*resource.getrlimit(resource.RLIMIT_NOFILE))"


def limits(before: str) -> list[str]:
    """Return the limits that a process has after `before`."""
    asked = [sys.executable, "-c", _ASK.format(before)]
    return subprocess.run(asked, capture_output=True, check=True, text=True, timeout=30).stdout.split()


def test_the_soft_limit_becomes_the_hard_one() -> None:
    """1,024 open files, the usual soft limit, are fewer than the sessions that the settings allow."""
    lower = "resource.setrlimit(resource.RLIMIT_NOFILE, (100, 300))"
    raising = "from telltale.descriptors import raise_limit; raise_limit()"
    assert limits(lower) == ["100", "300"]
    assert limits(f"{lower}; {raising}") == ["300", "300"]
    assert limits(f"{lower}; {raising}; {raising}") == ["300", "300"]


def test_a_limit_that_cannot_be_raised_is_a_warning(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(*_: object) -> None:
        raise ValueError("current limit exceeds maximum limit")

    monkeypatch.setattr(resource, "getrlimit", lambda _: (100, 300))
    monkeypatch.setattr(resource, "setrlimit", refuse)
    with caplog.at_level(logging.WARNING):
        raise_limit()
    assert "event=few-open-files limit=100" in caplog.text
