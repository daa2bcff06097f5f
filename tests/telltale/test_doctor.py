"""telltale/doctor*.py: what is seen is judged with advice; looking changes nothing and never hangs."""

import contextlib
import socketserver
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from relay.receive.tls import self_signed
from storage.settings import Endpoint
from telltale import doctor, doctor_judge
from telltale.cli import run
from telltale.config import Config, parse
from telltale.findings import Finding, Level
from tests.peers.dns import DnsServer

NOW = datetime(2026, 11, 23, tzinfo=UTC)


@pytest.mark.parametrize(
    ("name", "addresses", "reverse", "level"),
    [
        ("h.example", ["192.0.2.1"], {"h.example"}, Level.OK),
        ("h.example", ["192.0.2.1"], {"x.example"}, Level.WARN),
        ("h.example", ["192.0.2.1"], set(), Level.FAIL),
        ("h.example", [], set(), Level.FAIL),
        ("h", ["192.0.2.1"], {"h"}, Level.WARN),
    ],
)
def test_a_name_should_be_known_both_ways(name: str, addresses: list[str], reverse: set[str], level: Level) -> None:
    assert doctor_judge.hostname(name, addresses, reverse).level is level


@pytest.mark.parametrize(
    ("trouble", "forward", "reverse", "level"),
    [
        ("", ["192.0.2.1", "2001:db8::0:1"], {"m.example"}, Level.OK),
        ("", ["192.0.2.9"], {"m.example"}, Level.WARN),
        ("", [], {"m.example"}, Level.WARN),
        ("", ["192.0.2.1", "2001:db8::1"], {"x.example"}, Level.FAIL),
        ("", ["192.0.2.1", "2001:db8::1"], set(), Level.FAIL),
        ("cannot assign requested address", ["192.0.2.1"], {"m.example"}, Level.FAIL),
    ],
)
@pytest.mark.parametrize("address", ["192.0.2.1", "2001:db8::1"])
def test_a_source_should_be_ours_and_known_both_ways(
    address: str, trouble: str, forward: list[str], reverse: set[str], level: Level
) -> None:
    assert doctor_judge.source("main", "m.example", address, trouble, forward, reverse).level is level


@pytest.mark.parametrize(
    ("asking", "refusing", "believed", "secure", "level"),
    [
        (["a"], ["b"], True, True, Level.OK),
        (["a"], ["b"], True, False, Level.FAIL),
        (["a"], [], True, False, Level.WARN),
        (["a"], [], False, False, Level.WARN),
        ([], ["b"], False, False, Level.FAIL),
        ([], [], False, False, Level.OK),
    ],
)
def test_who_asks_for_dane_hears_whether_it_can_work(
    asking: list[str], refusing: list[str], believed: bool, secure: bool, level: Level
) -> None:
    found = doctor_judge.dane(asking, refusing, believed=believed, secure=secure)
    assert found.level is level
    assert level is Level.OK or ("dns.validates" in str(found)) is not believed


@pytest.mark.parametrize(
    ("hosts", "theirs", "level"),
    [
        (["h.example"], ["192.0.2.1"], Level.OK),
        (["h.example"], ["192.0.2.9"], Level.WARN),
        (["h.example"], [], Level.FAIL),
        ([], [], Level.FAIL),
    ],
)
def test_bounces_should_find_the_way_back(hosts: list[str], theirs: list[str], level: Level) -> None:
    assert doctor_judge.bounce_domain("b.example", hosts, theirs, {"192.0.2.1"}).level is level


@pytest.mark.parametrize(
    ("listen", "level"),
    [
        ([Endpoint("", 25)], Level.OK),
        ([Endpoint("", 2526)], Level.WARN),
        ([Endpoint("127.0.0.1", 25), Endpoint("localhost", 25)], Level.WARN),
        ([], Level.WARN),
    ],
)
def test_the_world_should_reach_the_bounce_listener(listen: list[Endpoint], level: Level) -> None:
    assert doctor_judge.bounce_listener(listen).level is level


@pytest.mark.parametrize(
    ("base_url", "status", "kind", "level"),
    [
        ("https://t.example", 200, "image/gif", Level.OK),
        ("http://t.example", 200, "image/gif", Level.WARN),
        ("http://[::1]:8025", 200, "image/gif", Level.WARN),
        ("https://t.example", 200, "text/html", Level.FAIL),
        ("https://t.example", 404, "", Level.FAIL),
        ("https://t.example", None, "", Level.FAIL),
    ],
)
def test_the_image_should_come(base_url: str, status: int | None, kind: str, level: Level) -> None:
    assert doctor_judge.image_address(base_url, status, kind, "refused").level is level


@pytest.mark.parametrize(
    ("users", "networks", "level"), [(1, "[]", Level.OK), (0, '["::1"]', Level.OK), (0, "[]", Level.FAIL)]
)
def test_somebody_should_be_able_to_submit(users: int, networks: str, level: Level) -> None:
    config = parse(f"[submission]\ntrusted_networks = {networks}", "c")
    assert doctor_judge.submitters(config, users).level is level


@pytest.mark.parametrize(
    ("free", "files", "level"),
    [(1 << 40, -1, Level.OK), (1 << 40, 10, Level.FAIL), (1 << 30, 9999, Level.WARN), (1 << 20, 9999, Level.FAIL)],
)
def test_there_should_be_room(free: int, files: int, level: Level) -> None:
    assert doctor_judge.disk(free, files, "/var").level is level


@pytest.mark.parametrize(
    ("mode", "owner", "level"), [(0o600, 1, Level.OK), (0o600, 2, Level.WARN), (0o640, 1, Level.FAIL)]
)
def test_secrets_should_be_secret(mode: int, owner: int, level: Level) -> None:
    assert doctor_judge.private("key", "/k", mode, owner, 1).level is level


@pytest.mark.parametrize(("synchronised", "level"), [(True, Level.OK), (False, Level.WARN), (None, Level.WARN)])
def test_the_clock_should_be_right(synchronised: bool | None, level: Level) -> None:
    assert doctor_judge.clock(synchronised).level is level


@pytest.mark.parametrize(
    ("days", "names", "level"),
    [
        (60, ["h.example"], Level.OK),
        (60, ["*.example"], Level.OK),
        (60, ["x.h.example", "*.h.example"], Level.WARN),
        (60, [], Level.WARN),
        (3, ["h.example"], Level.WARN),
        (-1, ["h.example"], Level.FAIL),
    ],
)
def test_the_certificate_should_be_good(days: int, names: list[str], level: Level) -> None:
    assert doctor_judge.certificate("c", NOW + timedelta(days=days), names, "h.example", NOW).level is level


class Gif(BaseHTTPRequestHandler):
    """Answers as a pixel server, or with what `status` says."""

    status = 200

    def do_GET(self) -> None:
        self.send_response(self.status)
        self.send_header("Content-Type", "image/gif")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the library's name
        pass


class NotFound(Gif):
    status = 404


class Banner(socketserver.BaseRequestHandler):
    """Answers as a mail server does at first."""

    words = b"220 mx.example ESMTP\r\n"

    def handle(self) -> None:
        self.request.sendall(self.words)


class Busy(Banner):
    words = b"554 no\r\n"


@contextlib.contextmanager
def served(server: socketserver.BaseServer) -> Iterator[int]:
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield int(server.server_address[1])
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def by_subject(findings: list[Finding]) -> dict[str, Finding]:
    return {finding.subject: finding for finding in findings}


def configured(tmp_path: Path, dns: DnsServer, pixel: int, more: str = "") -> Config:
    return parse(
        f"""
        [server]
        hostname = "h.example"
        state_dir = "{tmp_path}/state"
        [bounce]
        domain = "b.example"
        listen = ["127.0.0.1:1"]
        [dns]
        nameservers = ["{dns.endpoint}"]
        [tracking]
        base_url = "http://127.0.0.1:{pixel}"
        [pixel]
        listen = [":{pixel}"]
        {more}
        """,
        "c",
    )


async def test_everything_is_looked_at(tmp_path: Path) -> None:
    with (
        DnsServer() as dns,
        served(HTTPServer(("127.0.0.1", 0), Gif)) as pixel,
        served(socketserver.TCPServer(("127.0.0.1", 0), Banner)) as mx,
        served(socketserver.TCPServer(("127.0.0.1", 0), Busy)) as busy,
    ):
        dns.add("h.example", "A", "192.0.2.1")
        dns.mx("b.example", "h.example")
        reach = [Endpoint("127.0.0.1", mx), Endpoint("127.0.0.1", busy), Endpoint("127.0.0.1", 1)]
        findings = await doctor.examine(configured(tmp_path, dns, pixel), reach, lambda _: ["h.example."])
    found = by_subject(findings)
    assert found["hostname"].level is Level.OK
    assert found["bounce domain"].level is Level.OK
    assert found["[pixel] listen"].level is Level.OK
    assert found["[bounce] listen"].text == "nothing answers on 127.0.0.1:1: connection refused"
    assert found["images"].level is Level.WARN
    assert found[f"reach 127.0.0.1:{mx}"].level is Level.OK
    assert found[f"reach 127.0.0.1:{busy}"].text == 'answers "554 no", as no server does that takes mail'
    assert found["reach 127.0.0.1:1"].text == "cannot be reached: connection refused"
    assert found["store"].level is Level.WARN
    assert found["disk"].level is not None
    assert not (tmp_path / "state").exists()


async def test_what_is_wrong_is_found(tmp_path: Path) -> None:
    state = tmp_path / "state"
    state.mkdir()
    (state / "secret.key").touch(mode=0o644)
    cert = self_signed(tmp_path, "other.example")
    tls = f'[submission]\ntls_cert = "{cert}"\ntls_key = "{cert}"'
    with DnsServer() as dns, served(HTTPServer(("127.0.0.1", 0), NotFound)) as pixel:
        findings = await doctor.examine(configured(tmp_path, dns, pixel, tls), [], lambda _: [])
    found = by_subject(findings)
    assert found["hostname"].text == "h.example has no address in DNS"
    assert found["bounce domain"].level is Level.FAIL
    assert found["images"].text.endswith("answers 404 image/gif, not an image")
    assert found["secret key"].level is found["state directory"].level is Level.FAIL
    assert found["certificate"].text == f"{cert} is for other.example, not for h.example"


async def test_a_certificate_that_cannot_be_read_is_a_finding(tmp_path: Path) -> None:
    tls = f'[submission]\ntls_cert = "{tmp_path}/none"\ntls_key = "{tmp_path}/none"'
    with DnsServer() as dns:
        findings = await doctor.examine(configured(tmp_path, dns, 2, tls), [])
    found = by_subject(findings)
    assert found["certificate"].text == f"{tmp_path}/none cannot be read: no such file or directory"
    assert found["images"].text == "http://127.0.0.1:2 does not answer: connection refused"


def test_a_failed_check_is_a_failure_of_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "c.toml"
    dns = '[dns]\nnameservers = ["127.0.0.1:1"]\ntimeout = 1'
    file.write_text(f'[server]\nhostname = "h.invalid"\nstate_dir = "{tmp_path}/s"\n{dns}')
    assert run(["doctor", "-c", str(file), "--reach", "127.0.0.1:1", "--reach", "127.0.0.1"]) == 1
    said = capsys.readouterr()
    assert "fail  dns: does not answer: timed out\n      → look at dns.nameservers" in said.out
    assert said.err.startswith("telltale: ")
    assert said.err.endswith("checks failed\n")


async def test_dane_is_asked_of_a_zone_that_is_signed() -> None:
    with DnsServer() as dns:
        dns.add("org", "TXT", "signed")
        text = f"""[dns]
nameservers = ["{dns.endpoint}"]
[delivery]
tls_policies = {{"*.a.example" = "dane", "b.example" = "dane-only"}}
"""
        (found,) = await doctor._dane(parse(text, "c"))
        assert (found.level, 'delivery.tls_policies."b.example"' in str(found)) == (Level.FAIL, True)
        (found,) = await doctor._dane(parse(text.replace("dane-only", "verify"), "c"))
        assert (found.level, 'delivery.tls_policies."*.a.example" is as may' in str(found)) == (Level.WARN, True)
        assert await doctor._dane(parse("[delivery]\ndane = false\n", "c")) == []
        dns.secure("org")
        (found,) = await doctor._dane(parse(text, "c"))
        assert found.level is Level.OK


async def test_sources_are_bound_and_looked_up() -> None:
    with DnsServer() as dns:
        dns.add("main.example", "A", "127.0.0.1")
        sources = '{main = {addresses = ["127.0.0.1"], ehlo = "main.example"}, other = {addresses = ["192.0.2.25"]}}'
        config = parse(f'[dns]\nnameservers = ["{dns.endpoint}"]\n[delivery]\nsources = {sources}', "c.toml")
        found = await doctor._sources(config, lambda _: ["Main.example."])
    assert [(finding.subject, finding.level) for finding in found] == [
        ("source main", Level.OK),
        ("source other", Level.FAIL),
    ]
    assert "it is no address of this host" in found[1].text
