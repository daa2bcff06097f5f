import asyncio
import json
import re
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest

from report.server import ReportServer
from report.settings import ReportSettings
from storage.settings import Endpoint, ServerSettings
from storage.status import Status
from tests.report.mailing import Mail

LOOPBACK = ReportSettings(listen=("127.0.0.1:0",))  # type: ignore[arg-type]  # read by the validator


async def served(state_dir: Path, hostname: str = "mail.example") -> ReportServer:
    server = ReportServer(LOOPBACK, ServerSettings(state_dir=state_dir, hostname=hostname))
    await server.start()
    return server


@pytest.fixture
async def browser() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as session:
        yield session


@pytest.fixture
async def server(week: Mail) -> AsyncIterator[ReportServer]:
    server = await served(week.state_dir)
    yield server
    await server.drain()


def url(server: ReportServer, path: str = "/") -> str:
    return f"http://{server.addresses[0]}{path}"


async def test_the_page_shows_the_statuses_and_the_newest_rows(
    server: ReportServer, browser: aiohttp.ClientSession
) -> None:
    async with browser.get(url(server)) as answer:
        html = await answer.text()
    assert answer.status == 200
    assert answer.content_type == "text/html"
    for status in Status:
        assert status.value in html
    assert html.count('<th scope="row">') == 7
    assert "no such user (550 5.1.1)" in html
    assert re.search(r'<time datetime="2026-11-23T14:00:01.000Z">', html)
    assert "come later" in html
    assert "<script" not in html


async def test_text_of_mail_is_escaped(week: Mail, server: ReportServer, browser: aiohttp.ClientSession) -> None:
    await week.accept("x@example.test", subject="<script>alert(1)</script> & more")
    async with browser.get(url(server)) as answer:
        html = await answer.text()
    assert "&lt;script&gt;alert(1)&lt;/script&gt; &amp; more" in html
    assert "<script" not in html


@pytest.mark.parametrize("path", ["/", "/style.css", "/healthz", "/nothing"])
async def test_every_answer_forbids_scripts_frames_and_caches(
    server: ReportServer, browser: aiohttp.ClientSession, path: str
) -> None:
    async with browser.get(url(server, path)) as answer:
        policy = answer.headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy
        assert "frame-ancestors 'none'" in policy
        assert answer.headers["Cache-Control"] == "no-store"
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert answer.headers["Server"] == "Telltale"


async def test_errors_are_json_problems(server: ReportServer, browser: aiohttp.ClientSession) -> None:
    async with browser.get(url(server, "/nothing")) as answer:
        assert (answer.status, answer.content_type) == (404, "application/problem+json")
        assert (await answer.json(content_type=None))["title"] == "Not Found"
    async with browser.post(url(server)) as answer:
        assert (answer.status, answer.content_type) == (405, "application/problem+json")
        assert "GET" in answer.headers["Allow"]


async def test_a_page_that_cannot_be_made_says_so_without_details(
    server: ReportServer, browser: aiohttp.ClientSession, caplog: pytest.LogCaptureFixture
) -> None:
    async with browser.get(url(server, "/healthz")) as answer:
        assert json.loads(await answer.text()) == {"status": "ok", "store": True}
    assert server._reader
    await server._reader.close()
    async with browser.get(url(server)) as answer:
        assert (answer.status, answer.content_type) == (500, "application/problem+json")
    assert "could not be made" in caplog.text
    server._reader = None


async def test_a_foreign_name_gets_nothing(server: ReportServer, browser: aiohttp.ClientSession) -> None:
    for name, status in (("evil.example", 421), ("localhost:1", 200), ("MAIL.example", 200), ("[::1]:1", 200)):
        async with browser.get(url(server), headers={"Host": name}) as answer:
            assert answer.status == status


async def test_before_the_first_mail_there_is_an_honest_page(tmp_path: Path, browser: aiohttp.ClientSession) -> None:
    server = await served(tmp_path)
    async with browser.get(url(server)) as answer:
        assert "has not made its store" in await answer.text()
    async with browser.get(url(server, "/healthz")) as answer:
        assert json.loads(await answer.text()) == {"status": "ok", "store": False}
    await server.drain()


async def test_an_empty_store_is_said_to_be_empty(mail: Mail, browser: aiohttp.ClientSession) -> None:
    server = await served(mail.state_dir)
    async with browser.get(url(server)) as answer:
        assert "No message was accepted yet" in await answer.text()
    await server.drain()


async def test_a_reload_opens_and_closes_sockets(
    server: ReportServer, browser: aiohttp.ClientSession, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    before = server.addresses[0]
    both = ReportSettings(listen=("127.0.0.1:0", "[::1]:0"))  # type: ignore[arg-type]
    same = ServerSettings(state_dir=server._server.state_dir, hostname="other.example")
    await server.reload(both, same)
    assert server.addresses[0] == before
    assert len(server.addresses) == 2
    async with browser.get(url(server), headers={"Host": "other.example"}) as answer:
        assert answer.status == 200
    await server.reload(ReportSettings(listen=("[::1]:0",)), same)  # type: ignore[arg-type]
    assert [endpoint.host for endpoint in server.addresses] == ["::1"]
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection(before.host, before.port)
    await server.reload(LOOPBACK, ServerSettings(state_dir=tmp_path / "elsewhere"))
    assert "takes a restart" in caplog.text


async def test_a_socket_that_cannot_be_had_is_an_error_and_leaves_nothing_open(
    server: ReportServer, tmp_path: Path
) -> None:
    taken = ReportSettings(listen=(str(server.addresses[0]),))  # type: ignore[arg-type]
    with pytest.raises(OSError, match="in use"):
        await ReportServer(taken, ServerSettings(state_dir=tmp_path)).start()


async def test_before_the_start_nothing_is_listened_on(tmp_path: Path) -> None:
    server = ReportServer(LOOPBACK, ServerSettings(state_dir=tmp_path))
    await server.reload(ReportSettings(listen=("127.0.0.1:0",)), ServerSettings(state_dir=tmp_path))  # type: ignore[arg-type]
    assert server.addresses == ()
    await server.drain()
    assert Endpoint("127.0.0.1", 0) not in server._listening
