"""telltale/supervisor.py: parts come back, signals reach them, and nothing outlives its supervisor."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

RUNNER = Path(__file__).with_name("run_supervisor.py")
SECONDS = 20.0


@dataclass
class Running:
    """A supervisor over tiny parts."""

    folder: Path
    behaviours: tuple[str, ...]
    environ: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        (self.folder / "config.toml").touch()
        self.process = subprocess.Popen(
            [sys.executable, RUNNER, self.folder, *self.behaviours],
            stderr=subprocess.PIPE,
            text=True,
            env=os.environ | self.environ,
        )

    def notes(self, part: int = 0) -> list[str]:
        log = self.folder / f"part{part}.log"
        return log.read_text().splitlines() if log.exists() else []

    def pid(self, part: int = 0) -> int:
        return int(self.notes(part)[-1].split()[1])

    def wait(self, what: Callable[[], object]) -> None:
        end = time.monotonic() + SECONDS
        while not what():
            assert time.monotonic() < end, (self.notes(), self.process.poll())
            time.sleep(0.01)

    def up(self) -> None:
        self.wait((self.folder / "announced").exists)

    def send(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def end(self) -> tuple[int, str]:
        _, errors = self.process.communicate(timeout=SECONDS)
        return self.process.returncode, errors


@pytest.fixture
def supervise(tmp_path: Path) -> Iterator[Callable[..., Running]]:
    running: list[Running] = []

    def start(*behaviours: str, **environ: str) -> Running:
        running.append(Running(tmp_path, behaviours, environ))
        return running[-1]

    yield start
    for each in running:
        each.process.kill()
        each.process.communicate()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_stop_drains_every_part(supervise: Callable[..., Running], number: signal.Signals) -> None:
    running = supervise("lives", "lives")
    running.up()
    running.send(number)
    assert running.end() == (0, "")
    assert running.notes(0)[-1] == running.notes(1)[-1] == "drained"


def test_a_part_is_told_its_configuration(supervise: Callable[..., Running]) -> None:
    running = supervise("lives")
    running.up()
    assert running.notes()[0].endswith(" True")


def test_a_part_that_cannot_start_ends_all_with_its_sentence(supervise: Callable[..., Running]) -> None:
    running = supervise("lives", "refuses")
    code, errors = running.end()
    assert code == 1
    assert errors.splitlines()[-1] == "the port is taken"


def test_a_part_that_dies_without_a_word_at_first_ends_all(supervise: Callable[..., Running]) -> None:
    code, errors = supervise("dies").end()
    assert code == 1
    assert errors.splitlines() == ["the relay/0 part did not start (exit code 3)"]


def test_a_part_that_died_comes_back_with_a_log_line(supervise: Callable[..., Running]) -> None:
    running = supervise("dies-once")
    running.wait(lambda: len(running.notes()) == 2)
    running.send(signal.SIGTERM)
    code, errors = running.end()
    assert code == 0
    assert 'event=part-died part=relay/0 how="killed by SIGKILL" again_in=0.5' in errors


def test_the_second_stop_kills_what_does_not_drain(supervise: Callable[..., Running]) -> None:
    running = supervise("stubborn")
    running.up()
    pid = running.pid()
    running.send(signal.SIGTERM)
    running.wait(lambda: running.notes()[-1] == "stays")
    time.sleep(1.1)  # what makes it a second wish
    running.send(signal.SIGTERM)
    code, errors = running.end()
    assert code == 0
    assert "event=killed" in errors
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_two_signals_at_once_are_one_stop(supervise: Callable[..., Running]) -> None:
    """timeout(1) and make(1) signal a process, and then its whole group."""
    running = supervise("slow")
    running.up()
    running.send(signal.SIGTERM)
    running.wait(lambda: running.notes()[-1] == "drains")
    running.send(signal.SIGTERM)
    assert running.end() == (0, "")
    assert running.notes()[-1] == "drained"


def test_a_hang_up_gives_the_parts_the_new_configuration(supervise: Callable[..., Running]) -> None:
    running = supervise("lives", "keeps")
    running.up()
    (running.folder / "config.toml").write_text('[tracking]\ntext_only = "leave"\n[server]\nworkers = 7\n')
    running.send(signal.SIGHUP)
    for part in (0, 1):
        running.wait(lambda part=part: running.notes(part)[-1] == 'told text_only = "leave"')
    running.send(signal.SIGTERM)
    _, errors = running.end()
    assert 'event=needs-restart keys="[server] workers"' in errors
    assert 'event=not-reloaded part=relay/1 reason="no such mood"' in errors


def test_a_bad_new_configuration_leaves_the_old_one_in_force(supervise: Callable[..., Running]) -> None:
    running = supervise("lives")
    running.up()
    (running.folder / "config.toml").write_text("[sever]\n")
    running.send(signal.SIGHUP)
    (running.folder / "config.toml").touch()
    running.send(signal.SIGTERM)
    code, errors = running.end()
    assert code == 0
    assert "event=configuration-kept" in errors
    assert "did you mean [server]?" in errors
    assert running.notes() == [running.notes()[0], "drained"]


def test_a_terminal_that_is_closed_stops_all(tmp_path: Path) -> None:
    (tmp_path / "config.toml").touch()
    master, slave = os.openpty()
    process = subprocess.Popen(
        ["setsid", "--ctty", sys.executable, RUNNER, tmp_path, "lives"], stdin=slave, stderr=subprocess.DEVNULL
    )
    os.close(slave)
    end = time.monotonic() + SECONDS
    while not (tmp_path / "announced").exists():
        assert time.monotonic() < end
        time.sleep(0.01)
    os.close(master)
    assert process.wait(SECONDS) == 0
    assert (tmp_path / "part0.log").read_text().endswith("drained\n")


def test_no_part_outlives_a_supervisor_that_is_killed(supervise: Callable[..., Running]) -> None:
    running = supervise("lives")
    running.up()
    running.process.kill()
    running.wait(lambda: running.notes()[-1] == "supervisor gone")


def test_systemd_is_told_how_it_goes(supervise: Callable[..., Running], tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.settimeout(SECONDS)
        manager.bind(f"{tmp_path}/notify")
        running = supervise("lives", NOTIFY_SOCKET=f"{tmp_path}/notify", WATCHDOG_USEC="3600000000")
        told = [manager.recv(1000).decode() for _ in range(3)]
        assert sorted(told) == ["READY=1", "STATUS=relay 1 of 1", "WATCHDOG=1"]
        running.send(signal.SIGHUP)
        assert manager.recv(1000).decode().startswith("RELOADING=1\nMONOTONIC_USEC=")
        assert manager.recv(1000).decode() == "READY=1"
        running.send(signal.SIGTERM)
        assert manager.recv(1000).decode() == "STOPPING=1"
