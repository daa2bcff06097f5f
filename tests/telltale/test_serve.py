"""telltale/serve.py: the real parts, started and stopped; what keeps them from starting is one sentence."""

import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.peers.smtp import free_port

TELLTALE = str(Path(sys.executable).parent / "telltale")
SECONDS = 30.0


class Serve:
    """A `telltale serve` with a configuration of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.ports = [free_port() for _ in range(4)]
        self.file = folder / "c.toml"
        self.started: list[subprocess.Popen[str]] = []
        self.write()

    def write(self, more: str = "") -> None:
        submission, bounce, pixel, report = self.ports
        self.file.write_text(
            f'[server]\nhostname = "relay.test"\nstate_dir = "{self.folder}/state"\nworkers = 1\n'
            f'[submission]\nlisten = ["127.0.0.1:{submission}"]\n{more}'
            f'[bounce]\nlisten = ["127.0.0.1:{bounce}"]\n[pixel]\nlisten = ["127.0.0.1:{pixel}"]\n'
            f'[report]\nlisten = ["127.0.0.1:{report}"]\n'
        )

    def start(self, *words: str) -> subprocess.Popen[str]:
        with (self.folder / "log").open("a") as log:
            process = subprocess.Popen([TELLTALE, "serve", "-c", self.file, *words], stderr=log, text=True)
        self.started.append(process)
        return process

    def log(self) -> str:
        return (self.folder / "log").read_text()

    def wait(self, words: str, times: int = 1) -> None:
        end = time.monotonic() + SECONDS
        while self.log().count(words) < times:
            assert time.monotonic() < end, self.log()
            time.sleep(0.02)


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Serve]:
    made = Serve(tmp_path)
    yield made
    for process in made.started:
        process.terminate()
        try:
            process.wait(SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def test_a_part_alone_serves_reloads_and_stops(serve: Serve) -> None:
    process = serve.start("--only", "pixel")
    serve.wait("Stop it with Ctrl-C")
    with urllib.request.urlopen(f"http://127.0.0.1:{serve.ports[2]}/o/x.gif", timeout=SECONDS) as answer:
        assert (answer.status, len(answer.read())) == (200, 43)
    process.send_signal(signal.SIGHUP)
    serve.wait("event=reloaded part=pixel")
    process.send_signal(signal.SIGTERM)
    assert process.wait(SECONDS) == 0
    assert (serve.folder / "state").stat().st_mode & 0o077 == 0


def test_everything_together_is_announced_and_stops(serve: Serve) -> None:
    process = serve.start()
    serve.wait("Stop it with Ctrl-C")
    text = serve.log()
    for port in serve.ports:
        assert f"//127.0.0.1:{port}" in text
    with socket.create_connection(("127.0.0.1", serve.ports[0]), SECONDS) as client:
        assert client.recv(100).startswith(b"220 relay.test ")
    process.send_signal(signal.SIGINT)
    assert process.wait(SECONDS) == 0
    assert "Traceback" not in serve.log()


def test_the_first_admin_is_made_by_the_link_that_is_printed(serve: Serve) -> None:
    serve.start("--only", "report")
    serve.wait("Stop it with Ctrl-C")
    found = re.search(rf"http://127\.0\.0\.1:{serve.ports[3]}/setup/[\w-]{{32}}", serve.log())
    assert found, serve.log()
    with urllib.request.urlopen(found[0], timeout=SECONDS) as answer:
        assert b"Make the first administrator" in answer.read()


def test_a_part_that_is_killed_comes_back(serve: Serve) -> None:
    serve.start("--only", "report")
    serve.wait("Stop it with Ctrl-C")
    serve.wait("event=listening")
    children = Path(f"/proc/{serve.started[0].pid}/task/{serve.started[0].pid}/children").read_text()
    os.kill(int(children.split()[0]), signal.SIGKILL)
    serve.wait('event=part-died part=report how="killed by SIGKILL"')
    serve.wait("event=listening", times=2)


def test_a_start_right_after_a_kill_works(serve: Serve) -> None:
    serve.start("--only", "pixel").kill()
    first = serve.start("--only", "pixel")
    serve.wait("Stop it with Ctrl-C")
    first.kill()
    second = serve.start("--only", "pixel")
    serve.wait("Stop it with Ctrl-C", times=2)
    assert second.poll() is None


@pytest.mark.parametrize(
    ("more", "code", "sentence"),
    [
        ("lissten = []\n", 2, r"c.toml: \[submission\] lissten is not a known key; did you mean listen\?"),
        ('tls_cert = "/none"\ntls_key = "/none"\n', 1, "cannot use TLS certificate /none"),
    ],
)
def test_what_cannot_start_is_one_sentence(serve: Serve, more: str, code: int, sentence: str) -> None:
    serve.write(more)
    assert serve.start("--only", "relay").wait(SECONDS) == code
    lines = serve.log().splitlines()
    assert len(lines) == 1
    assert re.search(sentence, lines[0])


def test_a_port_that_is_taken_is_one_sentence(serve: Serve) -> None:
    with socket.create_server(("127.0.0.1", serve.ports[3])):
        assert serve.start("--only", "report").wait(SECONDS) == 1
    taken = f"telltale: [report] listen: cannot listen on 127.0.0.1:{serve.ports[3]}: another program listens there"
    assert serve.log().splitlines() == [taken]


def test_one_part_runs_once_a_state_directory_and_others_beside_it(serve: Serve) -> None:
    first = serve.start("--only", "report")
    serve.wait("Stop it with Ctrl-C")
    assert serve.start("--only", "report").wait(SECONDS) == 1
    assert f"another telltale (process {first.pid}) runs the report on" in serve.log()
    serve.start("--only", "pixel")
    serve.wait("Stop it with Ctrl-C", times=2)


def test_a_bad_new_certificate_leaves_the_old_one(serve: Serve) -> None:
    process = serve.start("--only", "pixel")
    serve.wait("Stop it with Ctrl-C")
    serve.write("lissten = []\n")
    process.send_signal(signal.SIGHUP)
    serve.wait("event=configuration-kept")
    assert process.poll() is None


def test_a_bad_shaping_file_keeps_it_from_starting_and_leaves_the_old_one_at_a_reload(serve: Serve) -> None:
    shaping = serve.folder / "shaping.toml"
    shaping.write_text("[google]\nconections = 3\n")
    serve.write(f'[delivery]\nshaping = "{shaping}"\n')
    sentence = f"{shaping}: [google] conections is not a known key; did you mean connections?"
    assert serve.start("--only", "relay").wait(SECONDS) == 2
    assert sentence in serve.log()
    shaping.write_text("[google]\nconnections = 3\n")
    process = serve.start("--only", "relay")
    serve.wait("Stop it with Ctrl-C")
    shaping.write_text("[google]\nconections = 3\n")
    process.send_signal(signal.SIGHUP)
    serve.wait("event=configuration-kept")
    assert serve.log().count(sentence) == 2
    shaping.write_text("[google]\nconnections = 4\n")
    process.send_signal(signal.SIGHUP)
    serve.wait("event=reloaded part=relay/0")
    process.terminate()
    assert process.wait(SECONDS) == 0
