"""A program's mail through the real processes: sent by curl, delivered, told by webhook; and whatever is killed."""

import json
import re
import signal
import subprocess
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from os import kill
from pathlib import Path
from typing import Any

import pytest

from tests.peers import keeper
from tests.peers.telltale import Telltale, fetch, image_of, require, wait_for
from tests.report.hooking import Receiver

pytestmark = pytest.mark.e2e


@pytest.fixture
def telltale(
    make_telltale: Callable[..., Telltale], mailbox: tuple[keeper.Keeper, int], receiver: Receiver
) -> Telltale:
    made = make_telltale(
        delivery=f'routes = {{"*" = "smtp://127.0.0.1:{mailbox[1]}"}}', webhooks="allow_private = true\ntimeout = 5"
    )
    made.run("user", "add", "ann", "--sender", "@sender.test", "--password-stdin", stdin=b"correct horse\n")
    hook = made.run("webhook", "add", receiver.end.url, "--type", "sent", "--type", "opened").split()
    receiver.end.secret = hook[1]
    assert "took it: 204" in made.run("webhook", "test", hook[0])
    receiver.end.taken.clear()
    return made


def token(telltale: Telltale) -> str:
    made = telltale.run("token", "add", "shop", "--user", "ann", "--scope", "messages:send", "--scope", "log:read")
    return made.strip()


def test_what_curl_sends_arrives_and_its_webhook_comes(
    telltale: Telltale, mailbox: tuple[keeper.Keeper, int], receiver: Receiver
) -> None:
    body = {"from": "Ann <ann@sender.test>", "to": ["bob@keeper.test"], "subject": "Hi", "html": "<p>Hi, Bob</p>"}
    curl = [require("curl"), "-sS", "-w", "\n%{http_code}", "-H", f"Authorization: Bearer {token(telltale)}"]
    at = f"http://127.0.0.1:{telltale.report}/api/v1"
    sent = [*curl, "-H", "Idempotency-Key: 4711", "--json", json.dumps(body), f"{at}/messages"]
    answers = [subprocess.run(sent, capture_output=True, check=True, timeout=30).stdout for _ in range(2)]
    assert answers[0] == answers[1]
    answer, _, status = answers[0].decode().rpartition("\n")
    assert status == "202"
    (copy,) = wait_for("the copy", mailbox[0].messages)
    fetch(image_of(copy.content))
    wait_for("both webhooks", lambda: len(receiver.end.taken) >= 2)
    assert sorted(receiver.end.types) == ["opened", "sent"]
    assert {event["data"]["queue_id"] for _, event in receiver.end.taken} == {json.loads(answer)["id"]}
    raw = b"From: ann@sender.test\nSubject: raw\n\nHi\n"
    query = "mail_from=ann@sender.test&rcpt_to=cyd@keeper.test"
    done = subprocess.run(
        [*curl, "-H", "Content-Type: message/rfc822", "--data-binary", "@-", f"{at}/messages?{query}"],
        input=raw, capture_output=True, check=True, timeout=30,
    )  # fmt: skip
    assert done.stdout.endswith(b"202")
    wait_for("the raw one", lambda: any(b"Subject: raw" in one.content for one in mailbox[0].messages()))


def _report_pid(telltale: Telltale) -> int | None:
    assert telltale.child
    children = Path(f"/proc/{telltale.child.pid}/task/{telltale.child.pid}/children").read_text().split()
    for child in children:
        words = Path(f"/proc/{child}/cmdline").read_bytes().split(b"\0")
        if b"telltale.part" in words and b"report" in words:
            return int(child)
    return None


class Client(threading.Thread):
    """Sends numbered messages, each again with its key until it is answered 202."""

    def __init__(self, name: str, telltale: Telltale, secret: str, messages: int) -> None:
        super().__init__(daemon=True)
        self.label, self.telltale, self.secret, self.messages = name, telltale, secret, messages
        self.sent: dict[str, set[str]] = {}

    def run(self) -> None:
        for number in range(self.messages):
            key, deadline = f"{self.label}-{number}", time.monotonic() + 60
            while len(self.sent.get(key, ())) < 1 and time.monotonic() < deadline:
                self._send(key)

    path = "messages"

    def body(self, key: str) -> dict[str, object]:
        return {"from": "ann@sender.test", "to": [f"{key}@keeper.test"], "text": "x", "headers": {"X-Key": key}}

    def told(self, key: str, answer: dict[str, Any]) -> None:
        self.sent.setdefault(key, set()).add(answer["id"])

    def _send(self, key: str) -> None:
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.telltale.report}/api/v1/{self.path}",
            json.dumps(self.body(key)).encode(),
            {"Authorization": f"Bearer {self.secret}", "Idempotency-Key": key, "Content-Type": "application/json"},
        )
        try:
            with urllib.request.urlopen(request, timeout=10) as answer:
                self.told(key, json.loads(answer.read()))
        except (OSError, ValueError, urllib.error.URLError):
            time.sleep(0.05)  # between two tries of a client whose server was killed


class BatchClient(Client):
    """Sends the messages of ten keys at once."""

    path = "messages/batch"

    def body(self, key: str) -> dict[str, object]:
        return {"messages": [Client.body(self, f"{key}-{number}") for number in range(10)]}

    def told(self, key: str, answer: dict[str, Any]) -> None:
        if answer["accepted"] == 10:
            self.sent.setdefault(key, set()).add(answer["results"][0]["id"])


def test_each_key_is_one_message_and_each_event_comes_whatever_is_killed(
    telltale: Telltale, mailbox: tuple[keeper.Keeper, int], receiver: Receiver
) -> None:
    """A server killed between the commit and its answer, or between an event and the word that it was taken."""
    secret = token(telltale)
    clients = [*[Client(name, telltale, secret, 40) for name in "abcd"], BatchClient("e", telltale, secret, 10)]
    for client in clients:
        client.start()
    kills = 0
    while any(client.is_alive() for client in clients) and kills < 5:
        time.sleep(0.4)  # some requests and events, then the fault
        if pid := _report_pid(telltale):
            kill(pid, signal.SIGKILL)
            kills += 1
    for client in clients:
        client.join(90)
    assert kills >= 3
    keys = {key for client in clients[:4] for key in client.sent}
    keys |= {f"{key}-{number}" for key in clients[4].sent for number in range(10)}
    assert len(keys) == 260

    def arrived() -> list[str]:
        found = [re.search(rb"X-Key: (\S+)", one.content) for one in mailbox[0].messages()]
        return [key[1].decode() for key in found if key]

    wait_for("all copies", lambda: set(arrived()) == keys)
    wait_for("all webhooks", lambda: len({id_ for id_, _ in receiver.end.taken}) >= len(keys))
    assert len(arrived()) == len(keys)
    told = {event["data"]["recipient"].partition("@")[0] for _, event in receiver.end.taken}
    assert told == keys
