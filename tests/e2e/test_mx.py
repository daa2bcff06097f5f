"""Delivery by MX lookup, against an own DNS server and scripted servers on loopback addresses."""

import smtplib
import urllib.request
from collections.abc import Iterator
from typing import Protocol

import pytest

from tests.peers.dns import DnsServer
from tests.peers.smtp import DROP, HANG, Script, ScriptedServer, free_port
from tests.peers.telltale import HTML, Telltale, fetch, image_of

pytestmark = pytest.mark.e2e


class MakeTelltale(Protocol):
    def __call__(self, *, start: bool = True, **sections: str) -> Telltale: ...


@pytest.fixture
def zone() -> Iterator[DnsServer]:
    with DnsServer() as server:
        yield server


def by_mx(zone: DnsServer, port: int) -> dict[str, str]:
    return {
        "dns": f'nameservers = ["{zone.endpoint}"]\ntimeout = 3',
        "delivery": f"port = {port}\nallow_private_destinations = true",
    }


def submit(telltale: Telltale, *people: str) -> None:
    with smtplib.SMTP("127.0.0.1", telltale.submission) as client:
        client.sendmail("news@sender.test", list(people), HTML)


def test_delivered_by_the_servers_own_mx_then_opened(make_telltale: MakeTelltale, zone: DnsServer) -> None:
    """The first host is dead, the next one takes the copy: Delivered, in one attempt, and then Opened."""
    with ScriptedServer(address="127.0.0.11") as server:
        zone.mx("example.test", "10 dead.example.test", "20 mx.example.test")
        zone.add("dead.example.test", "A", "127.0.0.12")
        zone.add("mx.example.test", "A", "127.0.0.11")
        telltale = make_telltale(**by_mx(zone, server.port))
        submit(telltale, "reader@example.test")
        row = telltale.wait_status("reader@example.test", "Delivered")
        assert (row["attempts"], row["mx"], row["code"]) == (1, "mx.example.test", 250)
        fetch(image_of(server.messages[0].content))
        assert telltale.wait_status("reader@example.test", "Opened")["opens"] == 1


def test_each_failure_has_its_status_and_reason(make_telltale: MakeTelltale, zone: DnsServer) -> None:
    """Unknown user and unknown domain are Failed, spam is Bounced, full and silent are Soft Bounced."""
    answers = {
        "nobody@example.test": "550 5.1.1 no such user",
        "spam@example.test": "550 5.7.1 message looks like spam",
        "full@example.test": "452 4.2.2 mailbox full",
    }
    script = Script(rcpt=lambda address: answers.get(address, "250 2.1.5 ok"))
    with ScriptedServer(script, address="127.0.0.11") as server:
        zone.mx("example.test", "mx.example.test")
        zone.add("mx.example.test", "A", "127.0.0.11")
        zone.add("null.test", "MX", "0 .")
        zone.servfail("broken.test")
        telltale = make_telltale(**by_mx(zone, server.port), retry='schedule = ["1h"]')
        wanted = {
            "nobody@example.test": ("Failed", "5.1.1"),
            "spam@example.test": ("Bounced", "5.7.1"),
            "full@example.test": ("Soft Bounced", "4.2.2"),
            "a@missing.test": ("Failed", "5.1.2"),
            "a@null.test": ("Failed", "5.1.10"),
            "a@broken.test": ("Soft Bounced", "4.4.3"),
            "fine@example.test": ("Delivered", "2.0.0"),
        }
        submit(telltale, *wanted)
        for person, (status, enhanced) in wanted.items():
            row = telltale.wait_status(person, status)
            assert (person, row["enhanced_status"]) == (person, enhanced)
            assert row["diagnostic"]
        assert telltale.run("log", "--status", "failed").count("nobody@example.test") == 1


def test_greylisting_is_waited_out(make_telltale: MakeTelltale, zone: DnsServer) -> None:
    script = Script(rcpt=["451 4.7.1 greylisted, come back", "451 4.7.1 greylisted, come back", "250 2.1.5 ok"])
    with ScriptedServer(script, address="127.0.0.11") as server:
        zone.mx("grey.test", "mx.grey.test")
        zone.add("mx.grey.test", "A", "127.0.0.11")
        telltale = make_telltale(**by_mx(zone, server.port))
        submit(telltale, "reader@grey.test")
        row = telltale.wait_status("reader@grey.test", "Delivered")
        assert row["attempts"] == 3
        timeline = telltale.run("show", "reader@grey.test")
        assert timeline.count("greylisted") >= 2


def test_a_connection_lost_after_the_dot_is_in_doubt_and_an_open_settles_it(
    make_telltale: MakeTelltale, zone: DnsServer
) -> None:
    """The server may have the message: a person's open says that it has, and there is no second try."""
    with ScriptedServer(Script(dot=DROP), address="127.0.0.11") as server:
        zone.mx("doubt.test", "mx.doubt.test")
        zone.add("mx.doubt.test", "A", "127.0.0.11")
        telltale = make_telltale(**by_mx(zone, server.port), retry='schedule = ["1h"]')
        submit(telltale, "reader@doubt.test")
        row = telltale.wait_status("reader@doubt.test", "Soft Bounced")
        assert "doubt" in telltale.run("show", "reader@doubt.test").lower()
        fetch(image_of(server.messages[0].content))
        row = telltale.wait_status("reader@doubt.test", "Opened")
        assert (row["attempts"], row["next_attempt"]) == (1, None)
        assert len(server.messages) == 1


def test_the_end_of_its_life_is_bounced_with_the_last_reason(make_telltale: MakeTelltale, zone: DnsServer) -> None:
    script = Script(rcpt="452 4.2.2 mailbox full")
    with ScriptedServer(script, address="127.0.0.11") as server:
        zone.mx("full.test", "mx.full.test")
        zone.add("mx.full.test", "A", "127.0.0.11")
        telltale = make_telltale(**by_mx(zone, server.port), retry="schedule = [1]\nlifetime = 4")
        submit(telltale, "reader@full.test")
        row = telltale.wait_status("reader@full.test", "Bounced")
        assert row["attempts"] >= 2
        assert "mailbox full" in row["diagnostic"]


def test_private_destinations_are_refused_by_default(make_telltale: MakeTelltale, zone: DnsServer) -> None:
    """Law 5: an MX record that names loopback does not lead us there."""
    with ScriptedServer(address="127.0.0.11") as server:
        zone.mx("inner.test", "mx.inner.test")
        zone.add("mx.inner.test", "A", "127.0.0.11")
        sections = by_mx(zone, server.port)
        telltale = make_telltale(dns=sections["dns"], delivery=f"port = {server.port}")
        submit(telltale, "reader@inner.test")
        row = telltale.wait_status("reader@inner.test", "Soft Bounced", "Bounced", "Failed")
        assert row["diagnostic"]
        assert server.commands == []


def test_a_dead_site_delays_no_other(make_telltale: MakeTelltale, zone: DnsServer) -> None:
    """One server that answers nothing holds its own mail only."""
    with ScriptedServer(address="127.0.0.11") as good:
        silent = ScriptedServer(Script(banner=HANG), address="127.0.0.13", port=good.port)
        with silent:
            zone.mx("silent.test", "mx.silent.test")
            zone.add("mx.silent.test", "A", "127.0.0.13")
            zone.mx("example.test", "mx.example.test")
            zone.add("mx.example.test", "A", "127.0.0.11")
            telltale = make_telltale(**by_mx(zone, good.port))
            submit(telltale, *[f"s{number}@silent.test" for number in range(60)])
            submit(telltale, "reader@example.test")
            telltale.wait_status("reader@example.test", "Delivered", seconds=10)
            assert telltale.stop() == 0
        assert free_port()


def test_machines_hits_are_kept_apart(make_telltale: MakeTelltale, zone: DnsServer) -> None:
    """Apple's prefetch opens nothing; Gmail's image proxy does."""
    with ScriptedServer(address="127.0.0.11") as server:
        zone.mx("example.test", "mx.example.test")
        zone.add("mx.example.test", "A", "127.0.0.11")
        telltale = make_telltale(**by_mx(zone, server.port))
        submit(telltale, "reader@example.test")
        telltale.wait_status("reader@example.test", "Delivered")
        url = image_of(server.messages[0].content)
        gmail = "Mozilla/5.0 (Windows NT 5.1; rv:11.0) Gecko Firefox/11.0 (via ggpht.com GoogleImageProxy)"
        bodies = set()
        for agent in ("Mozilla/5.0", gmail):
            with urllib.request.urlopen(
                urllib.request.Request(url, headers={"User-Agent": agent}), timeout=10
            ) as answer:
                bodies.add(answer.read())
        assert len(bodies) == 1
        row = telltale.wait_status("reader@example.test", "Opened")
        assert row["opens"] == 1
        assert "prefetch" in telltale.run("show", "reader@example.test").lower()
