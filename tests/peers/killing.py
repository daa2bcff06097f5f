"""A load on a real Telltale whose processes are killed -9 at random points, and what came of each message.

Rule: it counts; what must hold of the counts is said by who runs it (a test, a bench).
"""

import os
import random
import re
import signal
import smtplib
import threading
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from tests.peers import keeper
from tests.peers.telltale import Telltale, wait_for

CLIENTS = 6
_KEY = re.compile(rb"^X-Key: (\S+)", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a load."""

    kills: int
    acknowledged: int
    """Messages that were answered 250."""
    lost: int
    """Acknowledged messages that did not arrive."""
    twice: int
    """Arrivals beyond one for each submission: only where a kill fell between the 250 of the sink and our commit."""


class _Client(threading.Thread):
    """Submits numbered messages, each until one attempt is answered; remembers what got 250."""

    def __init__(self, name: str, port: int, messages: int) -> None:
        super().__init__(daemon=True)
        self.label, self.port, self.messages = name, port, messages
        self.acknowledged: set[str] = set()
        self.attempts: Counter[str] = Counter()

    def run(self) -> None:
        for number in range(self.messages):
            key = f"{self.label}-{number}"
            deadline = time.monotonic() + 60
            while key not in self.acknowledged and time.monotonic() < deadline:
                self.attempts[key] += 1
                self._submit(key)

    def _submit(self, key: str) -> None:
        text = f"From: a@sender.test\r\nTo: {key}@keeper.test\r\nSubject: {key}\r\nX-Key: {key}\r\n\r\nhello {key}\r\n"
        try:
            with smtplib.SMTP("127.0.0.1", self.port, timeout=10) as client:
                client.sendmail("a@sender.test", [f"{key}@keeper.test"], text)
        except (OSError, smtplib.SMTPException):
            return
        self.acknowledged.add(key)


def run_load(
    telltale: Telltale, mailbox: keeper.Keeper, chance: random.Random, *, messages: int = 40, most_kills: int = 6
) -> Outcome:
    """Send `messages` from each of CLIENTS to a running Telltale that routes to `mailbox`, killing as they come.

    One kill in three takes the supervisor and all its parts, as a power failure would; the others a relay worker.
    """
    clients = [_Client(f"c{number}", telltale.submission, messages) for number in range(CLIENTS)]
    for client in clients:
        client.start()
    kills = 0
    while kills < most_kills and any(client.is_alive() for client in clients):
        time.sleep(chance.uniform(0.05, 0.8))  # the random point
        if kills % 3 == 2:
            _kill_tree(telltale)
            telltale.start()
        else:
            _kill_worker(telltale, chance)
        kills += 1
    for client in clients:
        client.join(120)
    acknowledged = set().union(*(client.acknowledged for client in clients))
    submitted = sum((client.attempts for client in clients), Counter())
    try:
        wait_for("all acknowledged messages to arrive", lambda: acknowledged <= set(_arrived(mailbox)))
        wait_for("the queue to be empty", lambda: not telltale.log("--status", "Unsent", "--status", "Soft Bounced"))
    except AssertionError:
        pass  # the counts tell
    arrived = _arrived(mailbox)
    twice = sum((arrived - submitted).values())
    return Outcome(kills, len(acknowledged), len(acknowledged - set(arrived)), twice)


def _arrived(mailbox: keeper.Keeper) -> Counter[str]:
    found = (_KEY.search(kept.content) for kept in mailbox.messages())
    return Counter(match[1].decode() for match in found if match)


def _children(pid: int) -> list[int]:
    try:
        return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []


def _is(pid: int, part: str) -> bool:
    try:
        return part.encode() in Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False


def parts(telltale: Telltale, name: str) -> list[int]:
    """Return the processes of a part: relay, pixel, report."""
    assert telltale.child is not None
    return [pid for pid in _children(telltale.child.pid) if _is(pid, name)]


def _kill_worker(telltale: Telltale, chance: random.Random) -> None:
    workers = parts(telltale, "relay")
    if workers:
        os.kill(chance.choice(workers), signal.SIGKILL)


def _kill_tree(telltale: Telltale) -> None:
    assert telltale.child is not None
    parts = _children(telltale.child.pid)
    for pid in [telltale.child.pid, *parts]:
        os.kill(pid, signal.SIGKILL)
    telltale.child.wait()
    wait_for("the killed parts to be gone", lambda: not any(Path(f"/proc/{pid}/fd").exists() for pid in parts))
