"""telltale/ports.py and locks.py: what another process has is told before anything starts."""

import os
import socket
from pathlib import Path

import pytest

from storage.settings import Endpoint
from telltale.errors import FailureError
from telltale.locks import locked
from telltale.ports import check_ports


def sentence(host: str, port: int) -> str:
    with pytest.raises(FailureError) as caught:
        check_ports([("[pixel] listen", Endpoint(host, port))], patience_seconds=0.0)
    return str(caught.value)


def test_free_ports_are_fine() -> None:
    check_ports([("a", Endpoint("127.0.0.1", 0)), ("b", Endpoint("", 0)), ("c", Endpoint("localhost", 0))])


def test_a_taken_port_is_told_even_where_its_owner_shares_it() -> None:
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        told = sentence("127.0.0.1", port)
    assert told == f"[pixel] listen: cannot listen on 127.0.0.1:{port}: another program listens there"


def test_a_port_that_is_freed_in_time_is_waited_for() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
    check_ports([("a", Endpoint("127.0.0.1", port))], patience_seconds=0.0)


@pytest.mark.parametrize(
    ("host", "why"),
    [
        ("198.51.100.1", "this machine has no such address"),
        ("no-such-host.invalid", "the name no-such-host.invalid has no address"),
    ],
)
def test_an_address_that_cannot_be_is_told(host: str, why: str) -> None:
    assert sentence(host, 0).endswith(f": {why}")


def test_all_troubles_are_told_at_once() -> None:
    with pytest.raises(FailureError) as caught:
        check_ports([("a", Endpoint("198.51.100.1", 0)), ("b", Endpoint("203.0.113.2", 0))], patience_seconds=0.0)
    assert [line[:2] for line in str(caught.value).splitlines()] == ["a:", "b:"]


def test_a_part_runs_once_a_state_directory(tmp_path: Path) -> None:
    with locked(tmp_path, ["relay", "pixel"]):
        with pytest.raises(FailureError) as caught, locked(tmp_path, ["pixel"]):
            pass
        with locked(tmp_path, ["report"]):
            pass
    told = f"another telltale (process {os.getpid()}) runs the pixel on {tmp_path}; stop it first, or set another"
    assert str(caught.value).startswith(told)
    with locked(tmp_path, ["relay", "pixel", "report"]):
        pass


def test_a_lock_whose_holder_left_no_number_is_told_too(tmp_path: Path) -> None:
    with locked(tmp_path, ["relay"]):
        (tmp_path / "serve" / "relay.lock").write_text("")
        with pytest.raises(FailureError, match="another telltale runs the relay"), locked(tmp_path, ["relay"]):
            pass
