import asyncio
import itertools
import re
import socket
from collections.abc import AsyncIterator

import pytest

from pixel import web
from pixel.answer import IMAGE
from pixel.fetch import Fetch
from pixel.web import Handler, Listener
from storage.token import Purpose, TokenBox

BOX = TokenBox(b"s" * 32, Purpose.PIXEL)
TOKEN = BOX.seal(4711)
FOREIGN = TokenBox(b"s" * 32, Purpose.RETURN_PATH).seal(4711)


class Site:
    """The handler on a loopback socket, with what it took."""

    def __init__(self) -> None:
        self.taken: list[Fetch] = []
        self.failing = False
        self.port = 0
        self.handler = Handler(BOX, self.taken.append, lambda: self.failing, clock_ms=lambda: 99)
        self.listener = Listener(self.handler)

    async def ask(self, request: bytes) -> bytes:
        """Send bytes and return all that comes back until the server closes."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        writer.write(request)
        async with asyncio.timeout(5):
            answer = await reader.read()
        writer.close()
        await writer.wait_closed()
        return answer

    async def get(self, path: str, method: str = "GET", headers: str = "") -> bytes:
        return await self.ask(
            f"{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{headers}\r\n".encode("latin-1")
        )


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    site = Site()
    server = await asyncio.get_running_loop().create_server(site.listener, "127.0.0.1", 0)
    site.port = server.sockets[0].getsockname()[1]
    yield site
    server.close()
    await site.listener.shutdown(1)
    await server.wait_closed()


def undated(answer: bytes) -> bytes:
    return re.sub(rb"Date: [^\r]+", b"Date: *", answer)


IMAGE_ANSWER = (
    b"HTTP/1.1 200 OK\r\nContent-Type: image/gif\r\nContent-Length: 43\r\n"
    b"Cache-Control: no-store, no-cache, must-revalidate, private, max-age=0\r\n"
    b"Date: *\r\nConnection: close\r\n\r\n"
) + IMAGE


@pytest.mark.parametrize(
    ("path", "hit"),
    [
        (f"/o/{TOKEN}.gif", True),
        (f"/o/{TOKEN}", True),
        (f"/o/{TOKEN.upper()}.GIF", True),
        (f"/o/{TOKEN}.gif?utm_source=x", True),
        (f"/o/%{ord(TOKEN[0]):x}{TOKEN[1:]}.gif", True),
        (f"http://images.example/o/{TOKEN}.gif", True),
        (f"/o/{FOREIGN}.gif", False),
        (f"/o/{TOKEN[:-1]}.gif", False),
        (f"/o/{TOKEN}.gif.gif", False),
        (f"/o/{TOKEN}/", False),
        ("/o/", False),
        ("/o/../etc/passwd", False),
        ("/o/%00%ff%zz", False),
        ("/o/" + "a" * 3000, False),
    ],
)
async def test_every_path_of_images_gets_the_one_answer_and_only_our_tokens_count(
    site: Site, path: str, *, hit: bool
) -> None:
    assert undated(await site.get(path)) == IMAGE_ANSWER
    assert [fetch.recipient_id for fetch in site.taken] == ([4711] if hit else [])


@pytest.mark.parametrize("method", ["HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH"])
async def test_only_get_is_a_hit_and_every_method_gets_the_same_headers(site: Site, method: str) -> None:
    answer = undated(await site.get(f"/o/{TOKEN}.gif", method))
    assert answer == IMAGE_ANSWER.removesuffix(IMAGE if method == "HEAD" else b"")
    assert site.taken == []


@pytest.mark.parametrize(
    "headers", ["If-None-Match: *\r\n", "If-Modified-Since: Mon, 23 Nov 2026 14:00:00 GMT\r\n", "Range: bytes=0-1\r\n"]
)
async def test_conditional_and_partial_requests_get_the_whole_image(site: Site, headers: str) -> None:
    assert undated(await site.get(f"/o/{TOKEN}.gif", headers=headers)) == IMAGE_ANSWER
    assert len(site.taken) == 1


async def test_what_judging_needs_is_taken_along_and_bounded(site: Site) -> None:
    headers = (
        "User-Agent: Mozilla/5.0 (X)" + "y" * 5000 + "\r\nReferer: http://mail.example/\r\n"
        "X-Forwarded-For: 192.0.2.1\r\nX-Forwarded-For: 198.51.100.1\r\nForwarded: for=198.51.100.2\r\n"
        "Sec-Purpose: prefetch\r\nX-Moz: prefetch\r\n"
    )
    await site.get(f"/o/{TOKEN}.gif", headers=headers)
    assert site.taken == [
        Fetch(
            4711,
            99,
            "127.0.0.1",
            forwarded_for="192.0.2.1,198.51.100.1",
            forwarded="for=198.51.100.2",
            agent=("Mozilla/5.0 (X)" + "y" * 5000)[:512],
            has_referer=True,
            purpose="prefetch,prefetch",
        )
    ]


async def test_a_proxy_may_pass_the_path_of_the_base_url_on(site: Site) -> None:
    site.handler.base_path = "/mail"
    assert undated(await site.get(f"/mail/o/{TOKEN}.gif")) == IMAGE_ANSWER
    await site.get(f"/o/{TOKEN}.gif")
    assert len(site.taken) == 2


@pytest.mark.parametrize("path", ["/favicon.ico", "/o", "/O/x", "/robots.txt", "/healthz/", "*"])
async def test_other_paths_are_a_json_problem(site: Site, path: str) -> None:
    answer = await site.get(path, "OPTIONS" if path == "*" else "GET")
    assert answer.startswith(b"HTTP/1.1 404 Not Found\r\nContent-Type: application/problem+json\r\n")
    assert b"Server:" not in answer


async def test_the_root_and_the_health(site: Site) -> None:
    assert (await site.get("/")).startswith(b"HTTP/1.1 200 OK\r\nContent-Type: text/plain")
    assert (await site.get("/healthz")).endswith(b'{"status": "ok"}')
    site.failing = True
    assert (await site.get("/healthz")).startswith(b"HTTP/1.1 503 ")
    assert undated(await site.get(f"/o/{TOKEN}.gif")) == IMAGE_ANSWER


async def test_a_connection_serves_many_requests_and_pipelined_ones_in_order(site: Site) -> None:
    one = f"GET /o/{TOKEN} HTTP/1.1\r\nHost: x\r\n\r\n".encode()
    answer = await site.ask(one * 20 + b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    assert answer.count(IMAGE) == 20
    assert answer.endswith(b'{"status": "ok"}')
    assert len(site.taken) == 20


async def test_http_1_0_is_told_whether_the_connection_stays(site: Site) -> None:
    path = f"/o/{TOKEN}.gif"
    assert b"Connection: close" in await site.ask(f"GET {path} HTTP/1.0\r\n\r\n".encode())
    kept = f"GET {path} HTTP/1.0\r\nConnection: keep-alive\r\n\r\n".encode()
    answer = await site.ask(kept + f"GET {path} HTTP/1.0\r\n\r\n".encode())
    assert answer.count(IMAGE) == 2
    assert b"Connection: keep-alive" in answer


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
        b"GET /o/" + b"a" * 20_000 + b" HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nX: " + b"y" * 20_000 + b"\r\n\r\n",
        b"GET / HTTP/1.1\r\nno colon\r\n\r\n",
        b"nonsense\r\n\r\n",
    ],
)
async def test_what_is_no_request_gets_a_problem_and_leaves_no_address_in_the_log(
    site: Site, request_bytes: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    assert (await site.ask(request_bytes)).startswith(b"HTTP/1.1 400 Bad Request\r\n")
    assert "127.0.0.1" not in caplog.text
    assert b"43" in await site.get(f"/o/{TOKEN}")


async def test_headers_without_end_cost_the_connection(site: Site) -> None:
    try:
        answer = await site.ask(b"GET / HTTP/1.1\r\n" + b"X-A: " + b"y" * 1000 + b"\r\n" * 1 + b"X-B: 1\r\n" * 10_000)
    except ConnectionError:
        answer = b""
    assert b"200 OK" not in answer


async def test_a_fault_of_our_own_is_a_problem_without_details(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    def broken() -> bool:
        raise RuntimeError("secret detail")

    site.handler._failing = broken
    answer = await site.get("/healthz")
    assert answer.startswith(b"HTTP/1.1 500 ")
    assert b"secret" not in answer
    assert "could not be answered" in caplog.text


async def test_a_client_that_never_asks_is_closed(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(web, "KEEP_ALIVE_SECONDS", 0.05)
    reader, writer = await asyncio.open_connection("127.0.0.1", site.port)
    writer.write(b"GET /o/slow")
    async with asyncio.timeout(5):
        assert await reader.read() == b""
    writer.close()
    await writer.wait_closed()


async def test_a_client_that_reads_nothing_loses_the_connection(site: Site) -> None:
    with socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.setblocking(False)
        await asyncio.get_running_loop().sock_connect(client, ("127.0.0.1", site.port))
        async with asyncio.timeout(10):
            await ask_until_closed(client, site)


async def ask_until_closed(client: socket.socket, site: Site) -> None:
    """Ask on and on, never reading, and no faster than the server answers."""
    some = f"GET /o/{TOKEN} HTTP/1.1\r\nHost: x\r\n\r\n".encode() * 100
    for sent in itertools.count(100, 100):
        await asyncio.get_running_loop().sock_sendall(client, some)
        while len(site.taken) < sent:
            if not site.listener.open_connections and site.taken:
                return
            await asyncio.sleep(0)


async def test_too_many_connections_are_closed_and_others_served(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(web, "CONNECTIONS", 2)
    kept = [await asyncio.open_connection("127.0.0.1", site.port) for _ in range(2)]
    for reader, writer in kept:
        writer.write(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
        await reader.readuntil(b"}")
    assert await site.ask(b"") == b""
    for reader, writer in kept:
        writer.write(b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        await reader.read()
        writer.close()
        await writer.wait_closed()
    assert undated(await site.get(f"/o/{TOKEN}")) == IMAGE_ANSWER
