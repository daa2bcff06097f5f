"""Both event loops (uvloop, on which the relay runs, and asyncio's own), and a world with one domain in its DNS."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest
import uvloop

from tests.deliver.world import World
from tests.peers.dns import DnsServer


def pytest_asyncio_loop_factories(
    config: pytest.Config, item: pytest.Item
) -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
    """Run what is marked `both_loops` on both, all else on uvloop."""
    factories: dict[str, Callable[[], asyncio.AbstractEventLoop]] = {"uvloop": uvloop.new_event_loop}
    if item.get_closest_marker("both_loops"):
        factories["asyncio"] = asyncio.new_event_loop
    return factories


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "both_loops: runs on uvloop and on asyncio's own loop")


@pytest.fixture
def dns() -> Iterator[DnsServer]:
    with DnsServer() as server:
        server.mx("example.test", "mx.example.test")
        server.add("mx.example.test", "A", "127.0.0.1")
        yield server


@pytest.fixture
async def world(tmp_path: Path, dns: DnsServer) -> AsyncIterator[World]:
    world = World(tmp_path / "state", dns)
    await world.open()
    yield world
    await world.close()
