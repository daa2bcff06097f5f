"""relay/deliver/telling.py: what a real delivery tells of its sites, while it lives and no longer."""

import asyncio

import pytest

from relay.deliver.client import Timeouts
from relay.deliver.shape import Share
from storage import sites
from storage.sites import SiteState
from tests.deliver.world import World
from tests.peers.smtp import HANG, Script, ScriptedServer


@pytest.fixture
def world(world: World, monkeypatch: pytest.MonkeyPatch) -> World:
    monkeypatch.setattr("relay.deliver.delivery._LOOK_SECONDS", 0.05)
    monkeypatch.setattr("relay.deliver.telling._REST_FACTOR", 0)
    return world


def told(world: World) -> list[SiteState]:
    return [state for _, states in sites.read(world.state_dir) for state in states]


async def test_a_site_at_work_is_told_and_the_file_goes_with_its_delivery(world: World) -> None:
    with ScriptedServer(Script(dot=["250 2.0.0 first", HANG])) as server:
        shaping = {"mine": {"mx": ["example.test"], "connections": 1, "rate": "100/s"}}
        world.make(port=server.port, timeouts=Timeouts(), shaping=shaping, share=Share(0, 1))
        await world.delivery.start()
        assert sites.read(world.state_dir) == [(0, [])]
        await world.send(*(f"r{number}@example.test" for number in range(5)))
        await world.until(lambda: any(state.ready == 3 and state.trying == 1 for state in told(world)))
        (state,) = told(world)
        assert (state.name, state.shape, state.domains) == ("mx.example.test", "mine", ("example.test",))
        assert (state.connections, state.window, state.most, state.rate, state.slowness) == (1, 1, 1, "100/s", 1)
        assert (state.reply, state.until_ms) == ("250 2.0.0 first", 0)
        await world.delivery.drain(0)
        assert sites.read(world.state_dir) == []


async def test_a_site_that_rests_is_told_with_its_reply_and_until_when(world: World) -> None:
    with ScriptedServer(Script(banner="421 4.3.2 closed")) as server:
        world.make(port=server.port, schedule=(600,))
        await world.delivery.start()
        await world.send("bob@example.test")
        await world.until(lambda: any(state.until_ms for state in told(world)))
        (state,) = told(world)
        assert state.reply == "421 4.3.2 closed"
        assert world.now_ms() + 500_000 < state.until_ms < world.now_ms() + 605_000
        assert state.until_ms % 1000 == 0


async def test_a_directory_that_cannot_be_written_is_told_once_and_stops_nothing(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    (world.state_dir / "sites").write_text("no directory")
    with ScriptedServer() as server:
        world.make(port=server.port)
        await world.delivery.start()
        await world.send("bob@example.test", "eve@example.test")
        await world.done(2)
        await world.until(lambda: "event=sites-not-told" in caplog.text)
        await asyncio.sleep(0.2)
        assert caplog.text.count("event=sites-not-told") == 1
        (world.state_dir / "sites").unlink()
        await world.until(lambda: sites.read(world.state_dir) != [])
