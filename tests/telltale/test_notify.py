"""telltale/notify.py: sd_notify(3) in our own words."""

import socket
from pathlib import Path

import pytest

from telltale.notify import notify, reloading, watchdog_seconds


@pytest.mark.parametrize("address", ["{folder}/notify", "@telltale-test-{folder}"])
def test_lines_reach_the_manager(address: str, tmp_path: Path) -> None:
    address = address.format(folder=tmp_path)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(address.replace("@", "\0", 1))
        assert notify("READY=1", "STATUS=well", environ={"NOTIFY_SOCKET": address})
        assert manager.recv(100) == b"READY=1\nSTATUS=well"


@pytest.mark.parametrize("environ", [{}, {"NOTIFY_SOCKET": ""}, {"NOTIFY_SOCKET": "tcp"}, {"NOTIFY_SOCKET": "/none/x"}])
def test_no_manager_is_no_error(environ: dict[str, str]) -> None:
    assert not notify("READY=1", environ=environ)


def test_a_reload_tells_its_time() -> None:
    first, second = reloading()
    assert first == "RELOADING=1"
    assert int(second.removeprefix("MONOTONIC_USEC=")) > 0


@pytest.mark.parametrize(
    ("environ", "seconds"),
    [
        ({}, None),
        ({"WATCHDOG_USEC": "0"}, None),
        ({"WATCHDOG_USEC": "soon"}, None),
        ({"WATCHDOG_USEC": "30000000"}, 15.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "7"}, 15.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "8"}, None),
    ],
)
def test_the_watchdog_is_fed_twice_as_often_as_needed(environ: dict[str, str], seconds: float | None) -> None:
    assert watchdog_seconds(environ, pid=7) == seconds
