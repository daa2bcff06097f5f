"""What a domain's TLS policy comes to, from the configuration to the recipient's row."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from storage.status import Status
from tests.deliver.world import World
from tests.peers.dns import DnsServer
from tests.peers.smtp import Script, ScriptedServer


@pytest.fixture
def dns() -> Iterator[DnsServer]:
    with DnsServer() as server:
        for domain in ("example.test", "strict.test", "a.clear.test"):
            server.mx(domain, "peer.test")
        server.add("peer.test", "A", "127.0.0.1")
        yield server


@pytest.fixture
async def world(tmp_path: Path, dns: DnsServer) -> AsyncIterator[World]:
    world = World(tmp_path / "state", dns)
    await world.open()
    yield world
    await world.close()


async def tls_of(world: World, address: str) -> str | None:
    row = await world.settled(address)
    assert row.status is Status.DELIVERED, row
    return (await world.timeline(address))[-1].tls


async def test_each_domain_has_the_policy_of_its_pattern(world: World) -> None:
    """Domains with one MX, and with policies of their own, share no connection."""
    policies = {"strict.test": "verify", "*.clear.test": "none"}
    with ScriptedServer(Script(tls=True)) as server:
        world.make(port=server.port, tls_policies=policies)
        await world.send("a@example.test", "b@strict.test", "c@a.clear.test")
        assert str(await tls_of(world, "a@example.test")).endswith(" unverified")
        assert await tls_of(world, "c@a.clear.test") is None
        row = await world.settled("b@strict.test")
        assert (row.status, row.enhanced_status, row.category) == (Status.SOFT_BOUNCED, "4.7.5", "tls")
        assert len(server.messages) == 2


async def test_a_policy_holds_for_routes_too(world: World) -> None:
    with ScriptedServer(Script()) as server:
        world.make(routes={"*": f"smtp://127.0.0.1:{server.port}"}, tls_policies={"strict.test": "encrypt"})
        await world.send("a@example.test", "b@strict.test")
        assert (await world.settled("a@example.test")).status is Status.SENT
        assert (await world.settled("b@strict.test")).enhanced_status == "4.7.4"
