"""Limits of shaping.toml over several real workers, and what `telltale queue sites` tells of them."""

import json
import os
import signal
import smtplib
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

import pytest

from tests.peers.dns import DnsServer
from tests.peers.smtp import HANG, Script, ScriptedServer, free_port
from tests.peers.telltale import HTML, Telltale, wait_for

pytestmark = pytest.mark.e2e


class MakeTelltale(Protocol):
    def __call__(self, *, start: bool = True, **sections: str) -> Telltale: ...


@pytest.fixture
def zone() -> Iterator[DnsServer]:
    with DnsServer() as server:
        for number, name in enumerate(("one", "dead", "quick"), 21):
            server.mx(f"{name}.test", f"mx.{name}.test")
            server.add(f"mx.{name}.test", "A", f"127.0.0.{number}")
        yield server


def sites(telltale: Telltale) -> dict[str, dict[str, Any]]:
    rows = [json.loads(line) for line in telltale.run("queue", "sites", "--json").splitlines()]
    return {row["site"]: row for row in rows}


def test_a_hosts_limit_holds_over_its_workers_and_the_sites_are_shown(
    make_telltale: MakeTelltale, zone: DnsServer, tmp_path: Path
) -> None:
    """One connection for two workers; a dead site beside it rests; a third is served at once."""
    shaping = tmp_path / "shaping.toml"
    shaping.write_text('[mine]\nmx = ["mx.one.test"]\nconnections = 1\n')
    port = free_port("127.0.0.21", "127.0.0.22", "127.0.0.23")
    with (
        ScriptedServer(Script(dot=["250 2.0.0 ok"] * 5 + [HANG]), "127.0.0.21", port) as one,
        ScriptedServer(Script(banner="421 4.3.2 closed today"), "127.0.0.22", port),
        ScriptedServer(address="127.0.0.23", port=port) as quick,
    ):
        delivery = f'port = {port}\nallow_private_destinations = true\nshaping = "{shaping}"'
        telltale = make_telltale(dns=f'nameservers = ["{zone.endpoint}"]', delivery=delivery)
        for number in range(12):
            with smtplib.SMTP("127.0.0.1", telltale.submission) as client:
                people = [f"r{number}@{domain}.test" for domain in ("one", "dead", "quick")]
                client.sendmail("news@sender.test", people, HTML)
        wait_for("the quick one", lambda: len(quick.messages) == 12)
        wait_for("the limited one", lambda: len(one.messages) == 6)
        wait_for("all in memory of its worker", lambda: sites(telltale).get("mx.one.test", {}).get("ready") == 6)
        shown = sites(telltale)
        mine = shown["mx.one.test"]
        assert (mine["entry"], mine["domains"], mine["trying"]) == ("mine", ["one.test"], 1)
        assert (mine["connections"], mine["connections_most"], len(mine["workers"])) == (1, 1, 1)
        assert mine["last_reply"] == "250 2.0.0 ok"
        assert len(one.conversations) == 1
        # Between a rest's end and the answer to the next try there is none.
        wait_for("the dead one rests", lambda: sites(telltale).get("mx.dead.test", {}).get("backoff_until"))
        assert sites(telltale)["mx.dead.test"]["last_reply"] == "421 4.3.2 closed today"

        owner = mine["workers"][0]
        kill_worker(telltale, owner)
        wait_for("its successor", lambda: f"part-died part=relay/{owner}" in telltale.output())
        telltale.stop()
    assert telltale.run("queue", "sites", "--json") == ""
    assert telltale.run("queue", "sites").startswith("no relay process is running\n")


def kill_worker(telltale: Telltale, index: int) -> None:
    """Kill -9 the relay process with this number: its sites are no longer shown."""
    assert telltale.child is not None
    listed = subprocess.run(
        ["/bin/ps", "-o", "pid=,args=", "--ppid", str(telltale.child.pid)], capture_output=True, text=True, check=True
    ).stdout
    (pid,) = [line.split()[0] for line in listed.splitlines() if f"telltale.part relay {index} " in line]
    os.kill(int(pid), signal.SIGKILL)
