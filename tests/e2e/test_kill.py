"""Law 1: no message is lost at any kill -9, and none comes twice but where a reply after the dot was lost."""

import os
import random
import re
import signal
import smtplib
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.peers import keeper
from tests.peers.telltale import Telltale, free_port, listening, wait_for

pytestmark = pytest.mark.e2e

CLIENTS = 6
MESSAGES_A_CLIENT = 40


def children(pid: int) -> list[int]:
    try:
        return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []


def kill_relay_worker(telltale: Telltale, chance: random.Random) -> bool:
    """Kill -9 one of the relay's processes; True where one was found."""
    assert telltale.child is not None
    workers = [pid for pid in children(telltale.child.pid) if b"relay" in Path(f"/proc/{pid}/cmdline").read_bytes()]
    if workers:
        os.kill(chance.choice(workers), signal.SIGKILL)
    return bool(workers)


def kill_tree(telltale: Telltale) -> None:
    """Kill -9 the supervisor and all its parts, as a power failure would."""
    assert telltale.child is not None
    pids = [telltale.child.pid, *children(telltale.child.pid)]
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
    telltale.child.wait()
    wait_for("the killed processes to be gone", lambda: not any(Path(f"/proc/{pid}/fd").exists() for pid in pids[1:]))


class Client(threading.Thread):
    """Submits numbered messages, each until one attempt is answered; remembers what got 250."""

    def __init__(self, name: str, port: int) -> None:
        super().__init__(daemon=True)
        self.label = name
        self.port = port
        self.acknowledged: set[str] = set()
        self.attempts: Counter[str] = Counter()

    def run(self) -> None:
        for number in range(MESSAGES_A_CLIENT):
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


@pytest.mark.parametrize("round_number", range(2))
def test_what_was_acknowledged_arrives_whatever_is_killed(
    make_telltale: Callable[..., Telltale], round_number: int
) -> None:
    """Workers are killed at random points of a load, then the whole tree, and all 250s are kept promises."""
    chance = random.Random(round_number)
    sink_port = free_port()
    mailbox = keeper.Keeper()
    sink = keeper.start(mailbox, "127.0.0.1", sink_port)
    try:
        telltale = make_telltale(delivery=f'routes = {{"*" = "smtp://127.0.0.1:{sink_port}"}}')
        clients = [Client(f"c{number}", telltale.submission) for number in range(CLIENTS)]
        for client in clients:
            client.start()
        kills = 0
        while any(client.is_alive() for client in clients):
            time.sleep(chance.uniform(0.05, 0.8))  # the random point
            if kills == 2:
                kill_tree(telltale)
                telltale.start()
            else:
                kill_relay_worker(telltale, chance)
            kills += 1
            if kills > 5:
                break
        for client in clients:
            client.join(120)
        assert all(listening("127.0.0.1", port) for port in (telltale.submission, telltale.pixel))
        acknowledged = set().union(*(client.acknowledged for client in clients))
        assert len(acknowledged) == CLIENTS * MESSAGES_A_CLIENT

        def arrived() -> Counter[str]:
            found = (re.search(rb"^X-Key: (\S+)", kept.content, re.MULTILINE) for kept in mailbox.messages())
            return Counter(match[1].decode() for match in found if match)

        wait_for("all acknowledged messages to arrive", lambda: acknowledged <= set(arrived()))
        wait_for("the queue to be empty", lambda: not telltale.log("--status", "Unsent", "--status", "Soft Bounced"))
        # A client that got no 250 may have submitted twice; each submission may come once, and a second
        # time only where a kill fell between the sink's 250 and our commit: bounded by what was in flight.
        submitted = sum((client.attempts for client in clients), Counter())
        twice = sum((arrived() - submitted).values())
        assert twice <= kills * CLIENTS
    finally:
        sink.stop()
