"""report/server.py, web.py: sockets, names, headers, errors, and what is shown to whom."""

import asyncio
import json
import re
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from report.given import Given
from report.server import ReportServer
from storage import stretch
from storage.access import Role
from storage.logquery import Query
from storage.people import POLICY
from storage.settings import Endpoint, ServerSettings
from tests.report.browsing import Browser, add_user, browsing, served, settings
from tests.report.mailing import Mail


@pytest.fixture
async def server(week: Mail) -> AsyncIterator[ReportServer]:
    await add_user(week.store, "root")
    async with served(week.state_dir) as server:
        yield server


@pytest.fixture
async def stranger(server: ReportServer) -> AsyncIterator[Browser]:
    async with browsing(server) as browser:
        yield browser


@pytest.fixture
async def browser(stranger: Browser) -> Browser:
    await stranger.log_in("root")
    assert stranger.url == "/"
    return stranger


@pytest.mark.parametrize("path", ["/log", "/login", "/static/x/style.css", "/static/x/nothing", "/healthz", "/nothing"])
async def test_every_answer_forbids_foreign_scripts_and_frames(browser: Browser, path: str) -> None:
    await browser.get(path)
    policy = browser.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert "frame-ancestors 'none'" in policy
    assert browser.headers["X-Content-Type-Options"] == "nosniff"
    assert browser.headers["Server"] == "Telltale"
    assert browser.headers["Cache-Control"] == (
        "no-store" if "style" not in path else "public, max-age=31536000, immutable"
    )


async def test_errors_are_json_problems_to_programs_and_pages_to_people(browser: Browser) -> None:
    async with browser.session.get(browser.base + "/nothing") as answer:
        assert (answer.status, answer.content_type) == (404, "application/problem+json")
        assert (await answer.json(content_type=None))["title"] == "Not Found"
    async with browser.session.post(browser.base + "/log") as answer:
        assert (answer.status, answer.content_type) == (405, "application/problem+json")
        assert "GET" in answer.headers["Allow"]
    assert "<h1>Not Found</h1>" in await browser.get("/nothing")


async def test_a_page_that_cannot_be_made_says_so_without_details(
    browser: Browser, server: ReportServer, caplog: pytest.LogCaptureFixture
) -> None:
    assert json.loads(await browser.get("/healthz")) == {"status": "ok", "store": True}
    assert server._desk
    await server._desk.reader.close()
    html = await browser.get("/healthz")
    assert browser.status == 500
    assert "the log says why" in html
    assert "sqlite" not in html.lower()
    (name,) = re.findall(r"request=(\w{16})\.", html)
    assert f"event=failed request={name} method=GET path=/healthz" in caplog.text


async def test_a_foreign_name_gets_nothing(stranger: Browser) -> None:
    for name, status in (("evil.example", 421), ("localhost:1", 200), ("MAIL.example", 200), ("[::1]:1", 200)):
        await stranger.get("/login", headers={"Host": name})
        assert stranger.status == status


async def test_behind_a_proxy_with_a_path_all_links_have_it(mail: Mail) -> None:
    await add_user(mail.store, "root", Role.ADMIN)
    async with (
        served(mail.state_dir, base_url="https://www.example.org/telltale/") as server,
        browsing(server) as browser,
    ):
        at = {"Host": "www.example.org"}
        html = await browser.get("/telltale/login", headers=at)
        assert browser.status == 200
        assert all(link.startswith(("/telltale/", "#")) for link in browser.links())
        fields = {"form_token": browser.form_token(), "name": "root", "password": "correct horse battery"}
        cookie = browser.headers["Set-Cookie"]
        assert cookie.startswith("__Secure-telltale=")
        assert "Path=/telltale" in cookie
        assert "Secure" in cookie
        assert "HttpOnly" in cookie
        assert "SameSite=Lax" in cookie
        jar = {"Cookie": cookie.partition(";")[0], "Origin": "https://www.example.org"}
        await browser.post("/telltale/login", fields, headers=at | jar, allow_redirects=False)
        assert (browser.status, browser.headers["Location"]) == (303, "/telltale/")
        assert "/telltale/static/" in html
        await browser.get("/log", headers=at)
        assert browser.status == 404


async def test_a_reload_opens_and_closes_sockets(
    server: ReportServer, stranger: Browser, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    before = server.addresses[0]
    same = ServerSettings(state_dir=server._given.server.state_dir, hostname="other.example")
    await server.reload(Given(settings(listen=("127.0.0.1:0", "[::1]:0")), same, POLICY))
    assert server.addresses[0] == before
    assert len(server.addresses) == 2
    await stranger.get("/login", headers={"Host": "other.example"})
    assert stranger.status == 200
    await server.reload(Given(settings(listen=("[::1]:0",)), same, POLICY))
    assert [endpoint.host for endpoint in server.addresses] == ["::1"]
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection(before.host, before.port)
    await server.reload(Given(settings(), ServerSettings(state_dir=tmp_path / "elsewhere"), POLICY))
    assert "takes a restart" in caplog.text


async def test_words_are_entered_while_the_server_runs(mail: Mail, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("report.server._WORDS_IDLE_SECONDS", 0.01)
    monkeypatch.setattr(stretch, "STRETCH_RECIPIENTS", 2)
    await mail.accept("quokka@example.test", "b@example.test")
    sql = "SELECT count(*) FROM address_words WHERE address_words MATCH 'quokka'"
    async with served(mail.state_dir) as server, asyncio.timeout(10):
        assert server._desk
        while await server._desk.reader._all(Query(sql)) != [(1,)]:  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(0.01)


async def test_a_socket_that_cannot_be_had_is_an_error_and_leaves_nothing_open(
    server: ReportServer, tmp_path: Path
) -> None:
    taken = settings(listen=(str(server.addresses[0]),))
    with pytest.raises(OSError, match="in use"):
        await ReportServer(Given(taken, ServerSettings(state_dir=tmp_path), POLICY)).start()


async def test_before_the_start_nothing_is_listened_on(tmp_path: Path) -> None:
    server = ReportServer(Given(settings(), ServerSettings(state_dir=tmp_path), POLICY))
    await server.reload(Given(settings(), ServerSettings(state_dir=tmp_path), POLICY))
    assert server.addresses == ()
    await server.drain()
    assert Endpoint("127.0.0.1", 0) not in server._listening


@pytest.mark.parametrize(
    "fields",
    [
        b"Host: 127.0.0.1:99999999",
        b"Host: a:b",
        b"Host: \xff",
        b"Host: localhost\r\nCookie: telltale=\xff\xfe",
        b"Host: localhost\r\nOrigin: http://[::1",
        b"Host: localhost\r\nContent-Type: application/x-www-form-urlencoded; charset=bogus",
        b"Host: localhost\r\nContent-Type: application/x-www-form-urlencoded; charset=utf-16",
    ],
)
@pytest.mark.parametrize("method", [b"GET", b"POST"])
async def test_a_request_that_cannot_be_meant_is_no_fault_of_ours(
    server: ReportServer, caplog: pytest.LogCaptureFixture, fields: bytes, method: bytes
) -> None:
    """Whoever is not logged in cannot fill the log with tracebacks."""
    reader, writer = await asyncio.open_connection(server.addresses[0].host, server.addresses[0].port)
    kind = b"" if b"Content-Type" in fields else b"Content-Type: application/x-www-form-urlencoded\r\n"
    body = b"name=\xff"
    head = b"%s /login HTTP/1.1\r\n%s\r\n%sAccept: text/html\r\nConnection: close\r\nContent-Length: %d\r\n\r\n"
    writer.write(head % (method, fields, kind, len(body)) + body)
    async with asyncio.timeout(5):
        answer = await reader.read()
    writer.close()
    assert answer.split(b" ")[1] in {b"200", b"400", b"403", b"421"}
    assert not [record for record in caplog.records if record.exc_info]


async def test_a_form_that_does_not_come_to_its_end_is_not_waited_for(
    server: ReportServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("report.forms._READ_SECONDS", 0.05)
    reader, writer = await asyncio.open_connection(server.addresses[0].host, server.addresses[0].port)
    kind = b"Content-Type: application/x-www-form-urlencoded\r\n"
    writer.write(b"POST /login HTTP/1.1\r\nHost: localhost\r\n%sContent-Length: 9\r\n\r\nname=" % kind)
    async with asyncio.timeout(5):
        assert b" 408 " in await reader.readline()
    writer.close()


@pytest.mark.parametrize("noise", [b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\r\n\r\n", b"GET /\xff\xfe HTTP/1.1\r\n\r\n"])
async def test_what_is_no_request_leaves_no_traceback(
    server: ReportServer, caplog: pytest.LogCaptureFixture, noise: bytes
) -> None:
    reader, writer = await asyncio.open_connection(server.addresses[0].host, server.addresses[0].port)
    writer.write(noise)
    async with asyncio.timeout(5):
        assert b" 400 " in await reader.readline()
    writer.close()
    assert not [record for record in caplog.records if record.exc_info]
