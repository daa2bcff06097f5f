"""relay/deliver/recall.py: who must get nothing any more is not sent what was in memory for him already."""

from relay.deliver.client import Timeouts
from storage.people import ALL_TYPES, POLICY, Blocked, Source, Unsubscription
from storage.status import Status
from storage.store import Store, StoreFailedError
from tests.deliver.world import World
from tests.peers.smtp import HANG, Script, ScriptedServer

NEWS = {"broadcast": "Spring", "broadcast_type": "general"}


async def test_who_is_blocked_or_leaves_while_he_waits_in_memory_is_never_tried(world: World) -> None:
    """Within a second or two, at a site that hangs and where the way is not known yet; others stay where they are."""
    world.dns.drop("silent.test")
    with ScriptedServer(Script(banner=HANG)) as server:
        delivery = world.make(port=server.port, timeouts=Timeouts(), dns_timeout=30)
        await delivery.start()
        await world.send("stays@example.test", "left@example.test", "bad@example.test", **NEWS)
        await world.send("away@silent.test", "bad@silent.test")
        assert delivery.room() == 5000 - 5
        await world.store.blocked.add([Blocked("bad@example.test", Source.MANUAL, world.now_ms())], "ann")
        await world.store.blocked.add([Blocked("bad@silent.test", Source.MANUAL, world.now_ms())], "ann")
        left = Unsubscription("left@example.test", "general", world.now_ms(), "one-click")
        gone = Unsubscription("away@silent.test", ALL_TYPES, world.now_ms(), "one-click")
        await world.store.contacts.unsubscribe([left, gone])
        for address, status in (
            ("bad@example.test", Status.BLOCKED),
            ("bad@silent.test", Status.BLOCKED),
            ("left@example.test", Status.NO_EMAIL_SELECTED),
        ):
            assert ((await world.settled(address)).status, (await world.row(address)).attempts) == (status, 0)
        # What is of no type cannot be unsubscribed from.
        for address in ("stays@example.test", "away@silent.test"):
            assert (await world.row(address)).status is Status.UNSENT
        await world.until(lambda: delivery.room() == 5000 - 2)


async def test_who_was_tried_before_he_left_is_bounced(world: World) -> None:
    with ScriptedServer(Script(rcpt=lambda _: "451 4.3.0 later")) as server:
        delivery = world.make(port=server.port)
        await delivery.start()
        await world.send("left@example.test", **NEWS)
        await world.settled("left@example.test")
        await world.store.contacts.unsubscribe([Unsubscription("left@example.test", "general", world.now_ms(), "x")])
        world.jump(70)
        delivery.flush_hint()
        row = await world.settled("left@example.test", attempts=2)
        assert (row.status, row.attempts) == (Status.BOUNCED, 1)
        assert row.diagnostic.startswith("unsubscribed from general mail on ")


class Asked(Store):
    """A store that counts how often it is asked, and fails at first."""

    times = 0

    async def held_back(self, jobs: object, now_ms: int) -> set[int]:
        self.times += 1
        if self.times == 1:
            raise StoreFailedError("I/O error")
        return await super().held_back(jobs, now_ms)  # type: ignore[arg-type]


async def test_the_store_is_asked_only_when_a_list_has_changed_and_again_where_it_fails(world: World) -> None:
    world.dns.drop("silent.test")
    store = await Asked.open(world.state_dir, POLICY)
    delivery = world.make(store=store, dns_timeout=30)
    await world.send("bob@silent.test")
    now_ms = world.now_ms()
    for _ in range(3):
        await delivery._recall.look(now_ms)
    assert store.times == 0
    await world.store.blocked.add([Blocked("other@silent.test", Source.MANUAL, now_ms)], "ann")
    for times in (1, 2, 3, 3):
        await delivery._recall.look(now_ms)
        assert store.times == times
        world.jump(60)
    await world.store.blocked.remove(["other@silent.test"], "ann", now_ms)
    assert await store.held_back([], now_ms) == set()
    await delivery.drain(0)
    await store.close()
