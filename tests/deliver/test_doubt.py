"""A copy that the server may have: the connection broke after the final dot."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from relay.deliver.client import Timeouts
from storage.model import Hit, HitKind, Reply, Report
from storage.status import Event, Status
from storage.store import LEASE_MS
from tests.deliver.world import World
from tests.peers.dns import DnsServer
from tests.peers.smtp import DROP, HANG, RESET, Raw, Script, ScriptedServer, Step, free_port

BOB = "bob@example.test"


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    with DnsServer() as dns:
        dns.mx("example.test", "10 mx.example.test", "20 second.test")
        dns.add("mx.example.test", "A", "127.0.0.1")
        dns.add("second.test", "A", "127.0.0.2")
        made = World(tmp_path, dns)
        await made.open()
        yield made
        await made.close()


async def in_doubt(world: World, server: ScriptedServer) -> int:
    """Bring Bob's copy in doubt; his recipient id."""
    world.make(port=server.port, schedule=(60, 300, 900, 1800, 3600))
    await world.send(BOB)
    row = await world.settled(BOB)
    assert row.status is Status.SOFT_BOUNCED
    assert "in doubt" in (await world.timeline(BOB))[-1].text
    return row.recipient_id


async def test_the_reply_after_the_dot_is_waited_for_as_long_as_the_rfc_says() -> None:
    """RFC 5321, 4.5.3.2.6: 10 minutes; and the lease outlives them."""
    assert Timeouts().dot == 600
    assert Timeouts().dot * 1000 < LEASE_MS


@pytest.mark.parametrize("step", [DROP, RESET, HANG, Raw(b"what?\r\n"), Raw(b"250-half a reply\r\n")])
async def test_no_other_host_is_asked_and_the_wait_is_longer(world: World, step: Step) -> None:
    port = free_port("127.0.0.1", "127.0.0.2")
    with ScriptedServer(Script(dot=step), port=port), ScriptedServer(address="127.0.0.2", port=port) as second:
        world.make(port=port, schedule=(60, 300, 900, 1800, 3600), timeouts=Timeouts(dot=0.3))
        await world.send(BOB)
        row = await world.settled(BOB)
        assert (row.status, row.attempts) == (Status.SOFT_BOUNCED, 1)
        assert "in doubt" in (await world.timeline(BOB))[-1].text
        assert second.conversations == []
        assert row.next_attempt_ms is not None
        assert abs(row.next_attempt_ms - world.now_ms() - 1_800_000) < 5000


async def test_a_later_retry_settles_the_doubt(world: World) -> None:
    with ScriptedServer(Script(dot=[DROP, "250 2.0.0 kept"])) as server:
        await in_doubt(world, server)
        await world.delivery.start()
        world.jump(1801)
        row = await world.settled(BOB, attempts=2)
        assert (row.status, row.attempts) == (Status.DELIVERED, 2)


async def test_an_open_settles_the_doubt_and_nothing_is_sent_again(world: World) -> None:
    with ScriptedServer(Script(dot=DROP)) as server:
        recipient_id = await in_doubt(world, server)
        await world.store.record_hits([Hit(recipient_id, world.now_ms(), HitKind.PERSON, "a person")])
        row = await world.row(BOB)
        assert (row.status, row.next_attempt_ms) == (Status.OPENED, None)
        world.jump(1801)
        assert await world.store.claim(world.now_ms(), 10) == []
        assert len(server.messages) == 1


@pytest.mark.parametrize(
    ("event", "reply", "proven", "status"),
    [
        (Event.DELIVER, Reply(250, "2.0.0", "delivered"), True, Status.DELIVERED),
        (Event.HAND_OVER, Reply(250, "2.0.0", "relayed"), True, Status.SENT),
        (Event.FAIL, Reply(550, "5.1.1", "no such user"), True, Status.FAILED),
        (Event.BOUNCE, Reply(552, "5.2.2", "full"), True, Status.BOUNCED),
        (Event.DEFER, Reply(450, "4.4.1", "delayed"), True, Status.SOFT_BOUNCED),
        (Event.FAIL, Reply(550, "5.1.1", "no such user"), False, Status.SOFT_BOUNCED),
    ],
)
async def test_a_dsn_settles_the_doubt_as_the_table_says(
    world: World, event: Event, reply: Reply, status: Status, *, proven: bool
) -> None:
    """A server that took the copy and broke the connection tells later what became of it: that ends the tries.

    A delay report proves that it has the copy, and it is not the end; what anybody could have written proves nothing.
    """
    with ScriptedServer(Script(dot=DROP)) as server:
        recipient_id = await in_doubt(world, server)
        dsn_id = await world.store.accept_dsn(b"raw", recipient_id, "", world.now_ms())
        await world.store.settle_dsn(dsn_id, [Report(recipient_id, event, reply, proven=proven)], "dsn")
        row = await world.row(BOB)
        assert row.status is status
        assert (row.next_attempt_ms is None) is (status is not Status.SOFT_BOUNCED)
        world.jump(1801)
        assert len(await world.store.claim(world.now_ms(), 10)) == (status is Status.SOFT_BOUNCED)


async def test_a_retry_that_is_refused_ends_the_doubt_as_it_says(world: World) -> None:
    with ScriptedServer(Script(dot=DROP, rcpt=["250 ok", "550 5.1.1 no such user"])) as server:
        await in_doubt(world, server)
        await world.delivery.start()
        world.jump(1801)
        row = await world.settled(BOB, attempts=2)
        assert (row.status, row.attempts) == (Status.FAILED, 2)
        assert "in doubt" not in (await world.timeline(BOB))[-1].text
