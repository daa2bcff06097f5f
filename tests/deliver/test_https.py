from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from aiohttp import web

from relay.deliver.dns import Resolver
from relay.deliver.https import Https
from relay.deliver.settings import DnsSettings
from relay.deliver.sts import MAX_POLICY_BYTES
from tests.peers.certificates import make, pem_file
from tests.peers.dns import DnsServer
from tests.peers.https import HttpsServer

ROOT = make("Root", authority=True)
HOST = "mta-sts.example.test"


@pytest.fixture
def dns() -> Iterator[DnsServer]:
    with DnsServer() as server:
        server.add(HOST, "A", "127.0.0.1")
        yield server


@pytest.fixture
async def peer() -> AsyncIterator[HttpsServer]:
    async with HttpsServer(make(HOST, ROOT).context()) as server:
        yield server


@pytest.fixture
async def client(
    dns: DnsServer, peer: HttpsServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Https]:
    monkeypatch.setenv("SSL_CERT_FILE", str(pem_file(tmp_path, ROOT)))
    resolver = Resolver(DnsSettings(nameservers=(dns.endpoint,), timeout=1))  # type: ignore[arg-type]
    client = Https(resolver, allow_private=True, port=peer.port)
    yield client
    await client.close()
    await resolver.close()


async def test_a_policy_is_fetched_from_its_place(client: Https, peer: HttpsServer) -> None:
    peer.text("version: STSv1\n")
    assert await client.policy("example.test") == b"version: STSv1\n"
    assert peer.asked == [f"{HOST}/.well-known/mta-sts.txt"]


async def test_what_is_no_answer_is_told(client: Https, peer: HttpsServer) -> None:
    assert await client.policy("example.test") == "HTTP status 404"
    peer.answer = lambda _: web.Response(status=301, headers={"Location": f"https://{HOST}:{peer.port}/"})
    assert await client.policy("example.test") == "HTTP status 301"
    assert len(peer.asked) == 2
    peer.text("<p>", "text/html")
    assert await client.policy("example.test") == "its type is text/html, not text/plain"
    peer.text("x" * (MAX_POLICY_BYTES + 1))
    assert await client.policy("example.test") == "it is too large"
    peer.text("x" * MAX_POLICY_BYTES)
    assert len(await client.policy("example.test")) == MAX_POLICY_BYTES
    assert "has no address" in str(await client.policy("nowhere.test"))


async def test_only_a_certificate_that_is_right_counts(dns: DnsServer, client: Https) -> None:
    for wrong in (make("else.test", ROOT), make(HOST), make(HOST, ROOT, days=(-9, -1))):
        async with HttpsServer(wrong.context()) as other:
            client._port = other.port
            other.text("version: STSv1")
            why = await client.policy("example.test")
            assert isinstance(why, str)
            assert "certificate" in why.lower()
            assert other.asked == []


async def test_private_addresses_are_not_connected_to(dns: DnsServer, peer: HttpsServer) -> None:
    """Law 5: strangers name these hosts."""
    resolver = Resolver(DnsSettings(nameservers=(dns.endpoint,), timeout=1))  # type: ignore[arg-type]
    client = Https(resolver, allow_private=False, port=peer.port)
    assert "private addresses only" in str(await client.policy("example.test"))
    for host in ("127.0.0.1", "[::1]", "10.0.0.1"):
        assert "is a private address" in str(await client.post(f"https://{host}:{peer.port}/", b"", "text/plain"))
    why = await client.post(f"https://{HOST}:{peer.port}/", b"", "text/plain")
    assert "private addresses only" in str(why)
    assert peer.asked == []
    await client.close()
    await resolver.close()


async def test_silence_is_not_waited_for_long(
    client: Https, peer: HttpsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("relay.deliver.https._POLICY_SECONDS", 0.0001)
    assert await client.policy("example.test") == "timed out"


async def test_a_report_is_posted(client: Https, peer: HttpsServer) -> None:
    url = f"https://{HOST}:{peer.port}/v1/tlsrpt"
    assert await client.post(url, b"{}", "application/tlsrpt+gzip") == "HTTP status 404"
    peer.answer = lambda _: web.Response(status=201)
    assert await client.post(url, b"{}", "application/tlsrpt+gzip") is None
    assert peer.bodies[-1] == ("application/tlsrpt+gzip", b"{}")
    assert await client.post("https://", b"", "text/plain") is not None
