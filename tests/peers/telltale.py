"""The real process tree on loopback ports, and its peers.

Rule: everything is waited for by asking, against a deadline; nothing is slept for and hoped.
"""

import email
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import pytest

from tests.peers.smtp import free_port

TELLTALE = Path(sys.executable).parent / "telltale"
DEADLINE_SECONDS = 45.0
T = TypeVar("T")

BROWSER = "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Thunderbird/128.4.0"
HTML = (
    "From: News <news@sender.test>\r\nTo: reader@keeper.test\r\nSubject: The weekly report\r\n"
    "MIME-Version: 1.0\r\nContent-Type: text/html; charset=utf-8\r\n\r\n<html><body><p>Hello</p></body></html>\r\n"
)


def require(program: str) -> str:
    """Return the path of a system program; skip where it is missing, but never in CI."""
    found = shutil.which(program, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")
    if found is None:
        if os.environ.get("CI") == "true":
            pytest.fail(f"{program} is missing; .ci/run installs it")
        pytest.skip(f"{program} is not installed")
    return found


def wait_for(what: str, ask: Callable[[], T | None], seconds: float = DEADLINE_SECONDS) -> T:
    """Ask until the answer is true; fail with what was waited for when the time is over."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if answer := ask():
            return answer
        time.sleep(0.05)
    raise AssertionError(f"waited {seconds:.0f} s for {what}")


def listening(address: str, port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex((address, port)) == 0


@dataclass
class Telltale:
    """A running `telltale serve` with a configuration of its own."""

    root: Path
    config: Path
    submission: int
    bounce: int
    pixel: int
    report: int
    child: subprocess.Popen[bytes] | None = None
    started: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def start(self) -> None:
        with (self.root / "serve.log").open("ab") as log:
            self.child = subprocess.Popen(
                [TELLTALE, "serve", "--config", self.config], stdout=log, stderr=log, cwd=self.root
            )
        self.started.append(self.child)
        for port in (self.submission, self.bounce, self.pixel, self.report):
            wait_for(f"port {port}: {self.output()[-2000:]}", lambda port=port: listening("127.0.0.1", port))

    def stop(self) -> int:
        """SIGTERM; returns the exit code."""
        assert self.child is not None
        self.child.send_signal(signal.SIGTERM)
        code = self.child.wait(DEADLINE_SECONDS)
        self.child = None
        return code

    def output(self) -> str:
        log = self.root / "serve.log"
        return log.read_text(errors="replace") if log.exists() else ""

    def run(self, *words: str, stdin: bytes | None = None, code: int = 0) -> str:
        """Run the command line; returns its standard output."""
        done = subprocess.run(
            [TELLTALE, *words[:1], *words[1:], "--config", self.config] if words[0] != "inject" else [TELLTALE, *words],
            input=stdin, capture_output=True, timeout=60, cwd=self.root, check=False,
        )  # fmt: skip
        assert done.returncode == code, f"{words}: exit {done.returncode}: {done.stderr.decode()}{done.stdout.decode()}"
        return done.stdout.decode()

    def log(self, *filters: str) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.run("log", "--json", *filters).splitlines()]

    def row(self, recipient: str) -> dict[str, Any] | None:
        rows = self.log("--recipient", recipient)
        return rows[0] if rows else None

    def wait_status(self, recipient: str, *statuses: str, seconds: float = DEADLINE_SECONDS) -> dict[str, Any]:
        """Wait until the recipient has one of the statuses; returns its row."""

        def ask() -> dict[str, Any] | None:
            row = self.row(recipient)
            return row if row is not None and row["status"] in statuses else None

        try:
            return wait_for(f"{recipient} to be {statuses}", ask, seconds)
        except AssertionError as error:
            raise AssertionError(f"{error}; it is {self.row(recipient)}\n{self.output()[-3000:]}") from None

    def end(self) -> None:
        for child in self.started:
            if child.poll() is None:
                child.send_signal(signal.SIGTERM)
                try:
                    child.wait(20)
                except subprocess.TimeoutExpired:
                    child.kill()
                    child.wait()


def configured(root: Path, **sections: str) -> Telltale:
    """Return a Telltale with a configuration of its own in `root`; `sections` adds lines of TOML to a section."""
    telltale = Telltale(root, root / "telltale.toml", *[free_port() for _ in range(4)])
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
        base[name] = text if name == "retry" else f"{base.get(name, '')}\n{text}"
    telltale.config.write_text("".join(f"[{name}]\n{text}\n" for name, text in base.items()))
    return telltale


def image_of(content: bytes) -> str:
    """Return the URL of the image in a copy's HTML."""
    parts = email.message_from_bytes(content).walk()
    html = b"".join(part.get_payload(decode=True) for part in parts if part.get_content_type() == "text/html")
    found = re.search(rb'<img src="([^"]+)"', html)
    assert found is not None, content
    return found[1].decode()


def fetch(url: str) -> bytes:
    with urllib.request.urlopen(urllib.request.Request(url, headers={"User-Agent": BROWSER}), timeout=10) as answer:
        assert answer.status == 200
        body: bytes = answer.read()
        return body
