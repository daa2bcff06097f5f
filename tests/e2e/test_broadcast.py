"""A broadcast from the command line to a real sink: exactly once, whatever is killed; and all ten statuses."""

import contextlib
import csv
import json
import os
import random
import re
import signal
import smtplib
import sqlite3
import subprocess
import threading
import time
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlencode

import pytest
from aiosmtpd.smtp import SMTP, Envelope, Session

from tests.peers import keeper, killing
from tests.peers.dns import DnsServer
from tests.peers.smtp import HANG, Script, ScriptedServer, free_port
from tests.peers.telltale import TELLTALE, Telltale, fetch, image_of, wait_for

pytestmark = pytest.mark.e2e

STATUSES = (
    "Unsent", "Soft Bounced", "Sent", "Delivered", "Opened", "Bounced", "Failed", "Blocked", "Duplicate",
    "No Email Selected",
)  # fmt: skip


@dataclass
class Gate(keeper.Keeper):
    """A sink that puts everybody off until it is opened."""

    opened: threading.Event = field(default_factory=threading.Event)

    async def handle_RCPT(  # noqa: N802 - the library's name
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        if not self.opened.is_set():
            return "451 4.3.0 not yet"
        return await super().handle_RCPT(server, session, envelope, address, options)


def people(path: Path, addresses: list[str]) -> Path:
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("email", "name", "city"))
        writer.writerows((address, f"Person {number}", f"City {number}") for number, address in enumerate(addresses))
    return path


def in_the_queue(telltale: Telltale) -> int:
    """How many recipients were accepted so far; cheap, and asked of nobody who may be killed."""
    path = telltale.root / "state" / "telltale.db"
    with contextlib.closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as store:
        return int(store.execute("SELECT count(*) FROM recipient").fetchone()[0])


def page(telltale: Telltale, text: str = "<p>Hello {{ name }} in {{ city }}</p>") -> Path:
    path = telltale.root / "letter.html"
    path.write_text(f"<html><body>{text}</body></html>")
    return path


def send(telltale: Telltale, to: Path, *more: str, name: str = "Spring") -> str:
    return telltale.run(
        "broadcast", "send", str(page(telltale)), "--name", name, "--from", "News <news@sender.test>",
        "--subject", "For {{ name }}", "--to", str(to), "--yes", *more,
    )  # fmt: skip


def all_up(telltale: Telltale) -> None:
    """Wait until all parts are up: a part that is killed before ends the start of all, as it should."""
    wait_for("all parts to be up", lambda: telltale.output().count(" is up (") == len(telltale.started))


@pytest.mark.parametrize("seed", range(1))
def test_nobody_twice_and_nobody_left_out_whatever_is_killed(make_telltale: Callable[..., Telltale], seed: int) -> None:
    """Parts and the whole tree are killed -9 while the queue fills; then the sink opens, and holds one copy each.

    The sink takes nothing before that, so that no kill can fall between its 250 and our commit.
    """
    chance, count = random.Random(seed), 2000
    gate, port = Gate(), free_port()
    sink = keeper.start(gate, "127.0.0.1", port)
    try:
        telltale = make_telltale(
            delivery=f'routes = {{"*" = "smtp://127.0.0.1:{port}"}}',
            broadcast=f"ahead = {2 * count}",
            retry='schedule = ["1h"]',
        )
        addresses = [f"p{number}@keeper.test" for number in range(count)]
        send(telltale, people(telltale.root / "p.csv", addresses), "--detach", "--rate", "600/s")
        queued = []
        for kill in range(5):
            all_up(telltale)
            time.sleep(chance.uniform(0.1, 0.6))  # the random point
            queued.append(in_the_queue(telltale))
            if kill % 2:
                killing._kill_tree(telltale)
                telltale.start()
            else:
                killing._kill_worker(telltale, chance)
        wait_for("all to be in the queue", lambda: "Spring: done" in telltale.run("broadcast", "show", "Spring"), 90)
        assert sorted(row["recipient"] for row in telltale.log("--limit", "10000")) == sorted(addresses)
        assert any(0 < number < count for number in queued)  # at least one kill hit the run in its middle
        gate.opened.set()
        telltale.run("queue", "flush")
        wait_for("the copies", lambda: len(gate.messages()) >= count, 180)
        wait_for("the queue to be empty", lambda: not telltale.log("--status", "Unsent", "--status", "Soft Bounced"))
        assert Counter(kept.recipients for kept in gate.messages()) == Counter((address,) for address in addresses)
        assert set(map(_to, gate.messages())) == {f"Person {number} <{one}>" for number, one in enumerate(addresses)}
    finally:
        sink.stop()


def _to(kept: keeper.Kept) -> str:
    found = re.search(rb"\r\nTo: ([^\r]+)\r\n", kept.content)
    assert found is not None
    return found[1].decode()


def test_the_command_may_be_killed_too(make_telltale: Callable[..., Telltale]) -> None:
    """The relay sends, the command follows: killed before the start nothing goes, after it everything."""
    box, port = keeper.Keeper(), free_port()
    sink = keeper.start(box, "127.0.0.1", port)
    try:
        telltale = make_telltale(delivery=f'routes = {{"*" = "smtp://127.0.0.1:{port}"}}')
        to = people(telltale.root / "p.csv", [f"p{number}@keeper.test" for number in range(150)])
        words = ("broadcast", "send", page(telltale), "--name", "N", "--from", "n@x.test", "--subject", "S", "--to", to)
        command = subprocess.Popen(
            [TELLTALE, *words, "--yes", "--rate", "100/s", "--config", telltale.config],
            cwd=telltale.root, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        wait_for("the first copy", lambda: box.messages() or None)
        os.kill(command.pid, signal.SIGKILL)
        command.wait()
        wait_for("all copies", lambda: len(box.messages()) >= 150)
        assert len({kept.recipients for kept in box.messages()}) == 150
    finally:
        sink.stop()


def test_pause_resume_and_the_same_address_in_three_spellings(make_telltale: Callable[..., Telltale]) -> None:
    box, port = keeper.Keeper(), free_port()
    sink = keeper.start(box, "127.0.0.1", port)
    try:
        telltale = make_telltale(delivery=f'routes = {{"*" = "smtp://127.0.0.1:{port}"}}')
        three = ["one@keeper.test", "one@KEEPER.test", '"one"@Keeper.Test']
        to = people(telltale.root / "p.csv", [*three, *(f"p{number}@keeper.test" for number in range(150))])
        send(telltale, to, "--detach", "--rate", "50/s")
        wait_for("the first copies", lambda: len(box.messages()) >= 10)
        assert "paused" in telltale.run("broadcast", "pause", "Spring")
        wait_for("the queue to be empty", lambda: not telltale.log("--status", "Unsent"))
        held = len(box.messages())
        assert held < 150
        assert "paused" in telltale.run("broadcast", "show", "Spring")
        telltale.run("broadcast", "resume", "Spring")
        wait_for("all copies", lambda: len(box.messages()) >= 151)
        statuses = {row["recipient"]: row["status"] for row in telltale.log("--status", "Duplicate")}
        assert len(telltale.log("--status", "Duplicate")) == 2, statuses
        assert [kept.recipients for kept in box.messages()].count(("one@keeper.test",)) == 1
    finally:
        sink.stop()


@pytest.fixture
def zone() -> Iterator[DnsServer]:
    with DnsServer() as server:
        yield server


def unsubscribe(copy: bytes) -> None:
    """Click once, as a mail program does (RFC 8058)."""
    found = re.search(rb"List-Unsubscribe: <([^>]+)>\r\nList-Unsubscribe-Post: List-Unsubscribe=One-Click\r\n", copy)
    assert found is not None, copy
    request = urllib.request.Request(found[1].decode(), data=b"List-Unsubscribe=One-Click", method="POST")
    with urllib.request.urlopen(request, timeout=10) as answer:
        assert answer.status == 200


def test_ten_thousand_contacts_and_every_status_by_its_real_cause(
    make_telltale: Callable[..., Telltale], zone: DnsServer
) -> None:
    refused = {
        "full@refusing.test": "452 4.2.2 mailbox full",
        "spam@refusing.test": "550 5.7.1 taken for spam",
        "gone@refusing.test": "550 5.1.1 no such user",
        "before@refusing.test": "550 5.1.1 no such user",
    }
    box, box_port = keeper.Keeper(), free_port()
    sink = keeper.start(box, "127.0.0.1", box_port)
    script = Script(rcpt=lambda address: refused.get(address, "250 2.1.5 ok"))
    with ScriptedServer(script, address="127.0.0.11") as mx, ScriptedServer(Script(banner=HANG)) as silent:
        for domain in ("refusing.test", "reading.test"):
            zone.mx(domain, f"mx.{domain}")
            zone.add(f"mx.{domain}", "A", "127.0.0.11")
        routes = f'"keeper.test" = "smtp://127.0.0.1:{box_port}", "silent.test" = "smtp://127.0.0.1:{silent.port}"'
        telltale = make_telltale(
            dns=f'nameservers = ["{zone.endpoint}"]\ntimeout = 3',
            delivery=f"port = {mx.port}\nallow_private_destinations = true\nroutes = {{{routes}}}",
            retry='schedule = ["1h"]',
            broadcast="ahead = 20000",
        )
        try:
            first = people(telltale.root / "first.csv", ["before@refusing.test", "left@reading.test"])
            send(telltale, first, name="First")
            telltale.wait_status("before@refusing.test", "Failed")
            telltale.wait_status("left@reading.test", "Delivered")
            unsubscribe(next(got.content for got in mx.messages if got.recipients == ("left@reading.test",)))
            special = [
                "waits@silent.test", *refused, "reader@reading.test", "likes@reading.test", "left@reading.test",
                "reader@READING.test",
            ]  # fmt: skip
            many = [f"p{number}@keeper.test" for number in range(10_000 - len(special))]
            send(telltale, people(telltale.root / "all.csv", special + many), "--detach")
            wait_for("all to be sent", lambda: len(box.messages()) >= len(many), 180)
            telltale.wait_status("likes@reading.test", "Delivered")
            liked = next(got.content for got in mx.messages if got.recipients == ("likes@reading.test",))
            fetch(image_of(liked))
            wanted = {
                "waits@silent.test": {"Unsent"},
                "full@refusing.test": {"Soft Bounced"},
                "spam@refusing.test": {"Bounced"},
                "gone@refusing.test": {"Failed"},
                "before@refusing.test": {"Blocked", "Failed"},
                "reader@reading.test": {"Delivered", "Duplicate"},
                "likes@reading.test": {"Opened"},
                "left@reading.test": {"No Email Selected", "Delivered"},
                "p1@keeper.test": {"Sent"},
            }
            for address, statuses in wanted.items():
                wait_for(
                    f"{address} to be {statuses}",
                    lambda address=address, statuses=statuses: (
                        {row["status"] for row in telltale.log("--recipient", address)} == statuses
                    ),
                )
            assert set().union(*wanted.values()) == set(STATUSES)
            assert len({kept.recipients for kept in box.messages()}) == len(box.messages()) == len(many)
            shown = " ".join(telltale.run("broadcast", "show", "Spring").split())
            for status in STATUSES:
                assert f"{status} " in shown
            see_in_the_log_page(telltale, {status: address for address, some in wanted.items() for status in some})
        finally:
            sink.stop()


def see_in_the_log_page(telltale: Telltale, wanted: dict[str, str]) -> None:
    """Log in with the link that was printed, and see each status on the page, at somebody whom it happened to."""
    link = re.search(rf"http://127.0.0.1:{telltale.report}/setup/[\w-]+", telltale.output())
    assert link, telltale.output()
    browser = urllib.request.build_opener(urllib.request.HTTPCookieProcessor())
    browser.addheaders = [("Accept", "text/html")]
    key = re.search(r'name="form_token" value="(\w+)"', browser.open(link[0], timeout=10).read().decode())
    assert key
    form = {"form_token": key[1], "name": "root", "password": "correct horse", "again": "correct horse"}
    browser.open(link[0], urlencode(form).encode(), timeout=10).close()
    for status, address in wanted.items():
        asked = urlencode({"status": status.lower().replace(" ", "-"), "recipient": address})
        with browser.open(f"http://127.0.0.1:{telltale.report}/log?{asked}", timeout=10) as answer:
            text = answer.read().decode()
        assert re.search(rf'data-status="{status}">\s*<th[^>]*><a [^>]*>{re.escape(address)}</a>', text), (status, text)


def test_a_dead_domain_at_the_head_of_a_list_delays_nobody_and_who_waits_there_may_still_leave(
    make_telltale: Callable[..., Telltale],
) -> None:
    """Its server takes connections and says nothing, so that no failure makes room before minutes have passed."""
    box, port = keeper.Keeper(), free_port()
    sink = keeper.start(box, "127.0.0.1", port)
    try:
        with ScriptedServer(Script(banner=HANG)) as silent:
            routes = f'"keeper.test" = "smtp://127.0.0.1:{port}", "dead.test" = "smtp://127.0.0.1:{silent.port}"'
            telltale = make_telltale(delivery=f"routes = {{{routes}}}", broadcast="ahead = 1000")
            dead = [f"p{number}@dead.test" for number in range(3000)]
            living = [f"p{number}@keeper.test" for number in range(200)]
            send(telltale, people(telltale.root / "p.csv", dead + living), "--detach")
            wait_for("the living", lambda: len(box.messages()) >= len(living), 30)
            assert Counter(kept.recipients for kept in box.messages()) == Counter((address,) for address in living)
            telltale.run("unsubscribed", "add", "p7@dead.test", "--type", "general")
            telltale.run("block", "add", "p8@dead.test")
            telltale.wait_status("p7@dead.test", "No Email Selected")
            telltale.wait_status("p8@dead.test", "Blocked")
            shown = json.loads(telltale.run("broadcast", "show", "Spring", "--json"))
            assert (shown["state"], shown["done"], shown["waiting"]) == ("sending", 700, 498)
    finally:
        sink.stop()


def test_mail_by_smtp_is_duplicate_by_its_header(make_telltale: Callable[..., Telltale]) -> None:
    box, port = keeper.Keeper(), free_port()
    sink = keeper.start(box, "127.0.0.1", port)
    try:
        telltale = make_telltale(delivery=f'routes = {{"*" = "smtp://127.0.0.1:{port}"}}')
        text = "From: n@x.test\r\nTo: a@keeper.test\r\nSubject: s\r\nX-Broadcast: Spring\r\n\r\nHello\r\n"
        with smtplib.SMTP("127.0.0.1", telltale.submission) as client:
            client.sendmail("n@x.test", ["a@keeper.test", "b@keeper.test"], text)
            client.sendmail("n@x.test", ["a@KEEPER.test", "c@keeper.test"], text)
        wait_for("the copies", lambda: len(box.messages()) >= 3)
        assert [row["recipient"] for row in telltale.log("--status", "Duplicate")] == ["a@keeper.test"]
        copies = [kept.content for kept in box.messages()]
        assert all(b"X-Broadcast" not in copy and b"List-Unsubscribe:" in copy for copy in copies)
    finally:
        sink.stop()
