import asyncio
import logging
import socket
from dataclasses import replace

import pytest

from relay.deliver.client import Timeouts
from relay.deliver.copy import Copy
from relay.deliver.copy_room import CopyRoom
from relay.deliver.reply import ours
from relay.deliver.settings import DeliverySettings, TlsPolicy
from storage.duty import DutyKind
from storage.model import Job, Phase, Result, Settled
from storage.people import POLICY
from storage.status import Status
from storage.store import LEASE_MS, Store, StoreFullError
from tests.deliver.world import CONTENT, DAY_MS, World
from tests.peers.smtp import DROP, HANG, Script, ScriptedServer, Step, Then, free_port

# The way of a message.


async def test_what_was_accepted_is_delivered(world: World) -> None:
    with ScriptedServer() as server:
        world.make(port=server.port)
        (job,) = await world.accept("bob@example.test")
        world.delivery.submit([job])
        row = await world.settled("bob@example.test")
        assert (row.status, row.attempts, row.mx) == (Status.DELIVERED, 1, "mx.example.test")
        (got,) = server.messages
        assert (got.sender, got.recipients) == (f"r{job.recipient_id}@relay.test", ("bob@example.test",))
        assert got.content == CONTENT
        assert world.delivery.room() == 5000
        entry = (await world.timeline("bob@example.test"))[-1]
        assert (entry.phase, entry.address) == (Phase.AFTER_DOT, "127.0.0.1")


OFFERING_DSN = Script(extensions=("PIPELINING", "8BITMIME", "SMTPUTF8", "DSN", "SIZE 0"))


async def test_what_the_sender_asked_of_dsns_goes_on_where_they_are_offered(world: World) -> None:
    """RFC 3461, 5.2.1 and 5.2.2."""
    with ScriptedServer(OFFERING_DSN) as dsn, ScriptedServer() as none:
        routes = {"dsn.test": f"smtp://127.0.0.1:{dsn.port}", "none.test": f"smtp://127.0.0.1:{none.port}"}
        world.make(routes=routes)
        jobs = await world.accept("bob@dsn.test", "bob@none.test", ret="HDRS", envid="Q1")
        asked = [replace(job, notify="SUCCESS,DELAY", orcpt="rfc822;Bob@x.test") for job in jobs]
        world.delivery.submit(asked)
        await world.done(2)
        _, mail, rcpt, *_ = dsn.commands
        assert (mail.split(" RET=")[1], rcpt) == (
            "HDRS ENVID=Q1",
            "RCPT TO:<bob@dsn.test> NOTIFY=SUCCESS,DELAY ORCPT=rfc822;Bob@x.test",
        )
        assert not [command for command in none.commands if "RET" in command or "NOTIFY" in command]


async def test_results_tell_whether_the_next_hop_sends_the_dsns(world: World) -> None:
    """A DSN that says "relayed" is ours to send exactly where it does not (RFC 3461, 5.2.2)."""
    passed: dict[str, bool] = {}

    class Noting(Store):
        def settle(self, result: Result) -> asyncio.Future[Settled]:
            passed[result.job.address] = result.attempt.dsn_passed
            return super().settle(result)

    store = await Noting.open(world.state_dir, POLICY)
    with ScriptedServer(OFFERING_DSN) as dsn, ScriptedServer() as none:
        routes = {"dsn.test": f"smtp://127.0.0.1:{dsn.port}", "none.test": f"smtp://127.0.0.1:{none.port}"}
        world.make(store=store, routes=routes)
        world.store, mine = store, world.store
        await world.send("bob@dsn.test", "bob@none.test")
        await world.done(2)
        await world.delivery.drain(0)
    world.store = mine
    await store.close()
    assert passed == {"bob@dsn.test": True, "bob@none.test": False}


async def test_where_a_dsn_is_waited_for_a_250_is_sent(world: World) -> None:
    """`delivered_on = "dsn"`: the MX host is asked for a success DSN, and its 250 is not the last word."""
    with ScriptedServer(OFFERING_DSN) as server:
        world.make(port=server.port, delivered_on="dsn")
        await world.send("bob@example.test")
        assert (await world.settled("bob@example.test")).status is Status.SENT
        assert "NOTIFY=SUCCESS,FAILURE,DELAY" in server.commands[2]


async def test_what_a_route_takes_is_sent_and_not_delivered(world: World) -> None:
    with ScriptedServer() as server:
        world.make(routes={"*.routed.test": f"smtp://127.0.0.1:{server.port}"})
        await world.send("bob@a.routed.test")
        assert (await world.settled("bob@a.routed.test")).status is Status.SENT
        assert world.dns.asked == []


async def test_an_address_literal_needs_no_dns(world: World) -> None:
    with ScriptedServer() as server:
        world.make(port=server.port)
        await world.send("bob@[127.0.0.1]")
        assert (await world.settled("bob@[127.0.0.1]")).status is Status.DELIVERED
        assert world.dns.asked == []


async def test_recipients_of_one_site_share_connections_and_each_gets_its_own_copy(world: World) -> None:
    world.dns.mx("other.test", "mx.example.test")
    with ScriptedServer() as server:
        world.make(port=server.port, max_connections_per_site=3)
        addresses = [f"r{n}@{'example' if n % 2 else 'other'}.test" for n in range(200)]
        await world.send(*addresses)
        await world.done(200)
        assert sorted(m.recipients[0] for m in server.messages) == sorted(addresses)
        assert len({m.sender for m in server.messages}) == 200
        assert len(server.conversations) <= 3


async def test_a_warm_site_costs_no_question(world: World) -> None:
    with ScriptedServer() as server:
        world.make(port=server.port)
        await world.send("first@example.test")
        await world.settled("first@example.test")
        asked = len(world.dns.asked)
        await world.send(*(f"r{n}@example.test" for n in range(50)))
        await world.done(51)
        assert len(world.dns.asked) == asked


async def test_what_waits_in_the_store_is_claimed(world: World) -> None:
    with ScriptedServer() as server:
        world.make(port=server.port)
        await world.accept("old@example.test", leased=False)
        await world.delivery.start()
        assert (await world.settled("old@example.test")).status is Status.DELIVERED
        await world.accept("new@example.test", leased=False)
        assert (await world.settled("new@example.test")).status is Status.DELIVERED


async def test_a_result_is_one_line_that_no_reply_can_forge(world: World, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "telltale.deliver")
    with ScriptedServer(Script(dot='250 2.0.0 ok" status=Bounced \x1b[31m')) as server:
        world.make(port=server.port)
        await world.send("bob@example.test")
        await world.settled("bob@example.test")
    (line,) = [record.getMessage() for record in caplog.records if "queue_id=" in record.getMessage()]
    row = await world.row("bob@example.test")
    assert line.startswith(f"queue_id={row.queue_id} to=bob@example.test mx=mx.example.test[127.0.0.1] delay=")
    assert line.endswith(r'phase=after-dot status=Delivered reply="250 2.0.0 ok\" status=Bounced [31m"')


# Failures.


@pytest.mark.parametrize(
    ("phase", "step", "status", "ended", "category"),
    [
        ("rcpt", "550 5.1.1 no such user", Status.FAILED, "rcpt", "user unknown"),
        ("rcpt", "550 5.7.1 blocked", Status.BOUNCED, "rcpt", "policy"),
        ("rcpt", "550 5.1.1 blocked using zen.spamhaus.org", Status.BOUNCED, "rcpt", "reputation"),
        ("rcpt", "552 over quota", Status.BOUNCED, "rcpt", "mailbox full"),
        ("rcpt", "450 4.2.0 greylisted", Status.SOFT_BOUNCED, "rcpt", "rate limited"),
        ("mail", "550 5.7.1 we do not like you", Status.BOUNCED, "mail", "policy"),
        ("dot", "554 5.7.1 spam", Status.BOUNCED, "after-dot", "spam"),
        ("dot", "550 5.1.1 no such user", Status.FAILED, "after-dot", "user unknown"),
        ("dot", DROP, Status.SOFT_BOUNCED, "after-dot", "network"),
        ("banner", "554 5.7.1 go away", Status.SOFT_BOUNCED, "banner", "policy"),
        ("ehlo", HANG, Status.SOFT_BOUNCED, "ehlo", "network"),
    ],
)
async def test_each_failure_has_its_status_and_category(
    world: World, phase: str, step: Step, status: Status, ended: str, category: str
) -> None:
    with ScriptedServer(Script(**{phase: step})) as server:
        world.make(port=server.port, timeouts=Timeouts(greeting=0.2))
        await world.send("bob@example.test")
        row = await world.settled("bob@example.test")
        assert (row.status, row.attempts, row.category) == (status, 1, category)
        entry = (await world.timeline("bob@example.test"))[-1]
        assert (entry.phase, entry.category) == (ended, category)
        if isinstance(step, str):
            assert row.code == int(step[:3])


@pytest.mark.parametrize(
    ("domain", "status", "enhanced"),
    [
        ("nowhere.test", Status.FAILED, "5.1.2"),
        ("null.test", Status.FAILED, "5.1.10"),
        ("loop.test", Status.BOUNCED, "5.4.6"),
        ("hostless.test", Status.FAILED, "5.4.4"),
        ("private.test", Status.BOUNCED, "5.7.1"),
        ("servfail.test", Status.SOFT_BOUNCED, "4.4.3"),
        ("silent.test", Status.SOFT_BOUNCED, "4.4.3"),
        ("halfdead.test", Status.SOFT_BOUNCED, "4.4.3"),
    ],
)
async def test_what_dns_says_ends_or_postpones(world: World, domain: str, status: Status, enhanced: str) -> None:
    world.dns.add("null.test", "MX", "0 .")
    world.dns.mx("loop.test", "relay.test")
    world.dns.mx("hostless.test", "gone.hostless.test")
    world.dns.mx("private.test", "mx.example.test")
    world.dns.servfail("servfail.test")
    world.dns.drop("silent.test")
    world.dns.mx("halfdead.test", "broken.test")
    world.dns.servfail("broken.test")
    world.make(allow_private_destinations=False)
    await world.send(f"bob@{domain}")
    row = await world.settled(f"bob@{domain}")
    assert (row.status, row.enhanced_status, row.attempts) == (status, enhanced, 1)
    assert (await world.timeline(f"bob@{domain}"))[-1].phase is Phase.DNS


async def test_a_soft_bounce_is_tried_again_when_it_is_due(world: World) -> None:
    with ScriptedServer(Script(rcpt=["450 4.2.0 greylisted", "250 ok"])) as server:
        world.make(port=server.port, schedule=(300,))
        await world.delivery.start()
        await world.send("bob@example.test")
        row = await world.settled("bob@example.test")
        assert row.status is Status.SOFT_BOUNCED
        assert row.next_attempt_ms is not None
        assert abs(row.next_attempt_ms - world.now_ms() - 300_000) < 5000
        world.jump(301)
        row = await world.settled("bob@example.test", attempts=2)
        assert (row.status, row.attempts) == (Status.DELIVERED, 2)


async def test_a_lost_connection_after_the_dot_is_in_doubt_and_no_other_host_is_asked(world: World) -> None:
    world.dns.mx("two.test", "10 mx.example.test", "20 second.test")
    world.dns.add("second.test", "A", "127.0.0.2")
    port = free_port("127.0.0.1", "127.0.0.2")
    with ScriptedServer(Script(dot=DROP), port=port), ScriptedServer(address="127.0.0.2", port=port) as second:
        world.make(port=port)
        await world.send("bob@two.test")
        row = await world.settled("bob@two.test")
        assert row.status is Status.SOFT_BOUNCED
        assert "may have the message" in row.diagnostic
        assert second.conversations == []


@pytest.mark.parametrize(
    "script",
    [
        Script(mail="421 4.3.2 busy"),
        Script(banner="554 no"),
        Script(mail=DROP),
        Script(rcpt="451 4.3.0 no disk"),
        Script(data=DROP),
    ],
)
async def test_a_host_in_trouble_sends_us_to_the_next_within_the_attempt(world: World, script: Script) -> None:
    world.dns.mx("two.test", "10 mx.example.test", "20 second.test")
    world.dns.add("second.test", "A", "127.0.0.2")
    port = free_port("127.0.0.1", "127.0.0.2")
    with ScriptedServer(script, port=port), ScriptedServer(address="127.0.0.2", port=port) as second:
        world.make(port=port)
        await world.send("bob@two.test", "eve@two.test")
        for address in ("bob@two.test", "eve@two.test"):
            row = await world.settled(address)
            assert (row.status, row.attempts, row.mx) == (Status.DELIVERED, 1, "second.test")
        assert len(second.messages) == 2


async def test_a_connection_that_ended_between_messages_is_nobodys_attempt(world: World) -> None:
    with ScriptedServer(Script(most_messages=3)) as server:
        world.make(port=server.port, max_connections_per_site=1)
        await world.send(*(f"r{n}@example.test" for n in range(20)))
        await world.done(20)
        assert {(row.status, row.attempts) for row in await world.rows()} == {(Status.DELIVERED, 1)}
        assert len(server.conversations) == 7


async def test_a_server_that_closes_without_a_word_between_messages(world: World) -> None:
    with ScriptedServer(Script(dot=Then("250 2.0.0 ok", DROP))) as server:
        world.make(port=server.port, max_connections_per_site=1)
        await world.send(*(f"r{n}@example.test" for n in range(5)))
        await world.done(5)
        assert {row.attempts for row in await world.rows()} == {1}
        assert len(server.messages) == 5


async def test_smtputf8_that_the_server_lacks_is_a_clear_end(world: World) -> None:
    with ScriptedServer(Script(extensions=("PIPELINING",))) as server:
        world.make(port=server.port)
        await world.send("jö@example.test", smtputf8=True)
        await world.send("bob@example.test")
        row = await world.settled("jö@example.test")
        assert (row.status, row.enhanced_status) == (Status.BOUNCED, "5.6.7")
        assert (await world.settled("bob@example.test")).status is Status.DELIVERED


async def test_a_copy_that_cannot_be_made_stops_nobody_else(world: World) -> None:
    def compose(job: Job, content: bytes) -> Copy:
        if job.address.startswith("bad"):
            raise ZeroDivisionError
        return Copy("", content)

    world.compose = compose
    with ScriptedServer() as server:
        world.make(port=server.port, max_connections_per_site=1)
        await world.send("bad@example.test", "good@example.test")
        assert (await world.settled("good@example.test")).status is Status.DELIVERED
        bad = await world.settled("bad@example.test")
        assert (bad.status, bad.enhanced_status) == (Status.SOFT_BOUNCED, "4.3.0")
        assert len(server.conversations) == 1


# Dead and slow sites.


async def test_all_who_waited_for_a_connection_were_tried_and_who_comes_later_was_not(world: World) -> None:
    world.make(port=free_port(), schedule=(300,))
    await world.send(*(f"r{n}@example.test" for n in range(10)))
    for n in range(10):
        row = await world.settled(f"r{n}@example.test")
        assert (row.status, row.attempts, row.enhanced_status) == (Status.SOFT_BOUNCED, 1, "4.4.1")
        assert "Connection refused" in row.diagnostic
    await world.send("late@example.test")
    await world.until(lambda: world.delivery.room() == 5000)
    late = await world.row("late@example.test")
    assert (late.status, late.attempts) == (Status.UNSENT, 0)
    assert late.next_attempt_ms is not None
    assert abs(late.next_attempt_ms - world.now_ms() - 270_000) < 5000


async def test_a_dead_site_has_one_connection_tried_at_a_time(world: World) -> None:
    with ScriptedServer(Script(banner=HANG)) as server:
        world.make(port=server.port, timeouts=Timeouts(greeting=0.3))
        await world.send(*(f"r{n}@example.test" for n in range(100)))
        await world.settled("r99@example.test")
        assert len(server.conversations) == 1


async def test_a_dead_site_delays_no_other(world: World) -> None:
    world.dns.mx("dead.test", "mx.dead.test")
    world.dns.add("mx.dead.test", "A", "127.0.0.2")
    port = free_port("127.0.0.1", "127.0.0.2")
    with ScriptedServer(port=port), ScriptedServer(Script(banner=HANG), "127.0.0.2", port):
        world.make(port=port, timeouts=Timeouts())
        await world.send(*(f"r{n}@dead.test" for n in range(100)))
        async with asyncio.timeout(5):
            await world.send("bob@example.test")
            assert (await world.settled("bob@example.test")).status is Status.DELIVERED


async def test_large_copies_that_servers_do_not_take_fill_no_memory_and_delay_no_other(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server that never says 354 holds its copy; many of them would hold any amount."""
    monkeypatch.setattr("relay.deliver.site._ROOM_SECONDS", 0.01)
    composed: list[str] = []

    def compose(job: Job, content: bytes) -> Copy:
        composed.append(job.address)
        return Copy("r@relay.test", content)

    world.compose = compose
    for n in range(4):
        world.dns.mx(f"dead{n}.test", "mx.dead.test")
        world.dns.add("mx.dead.test", "A", "127.0.0.2")
    port = free_port("127.0.0.1", "127.0.0.2")
    with ScriptedServer(port=port), ScriptedServer(Script(data=HANG), "127.0.0.2", port):
        world.make(port=port, timeouts=Timeouts(), copy_room=CopyRoom(most_bytes=500, free_bytes=50))
        await world.send(*(f"r@dead{n}.test" for n in range(4)), content=CONTENT * 8)
        await world.until(lambda: world.delivery.room() == 5000 - len(composed) == 4999)
        await world.send("bob@example.test", content=CONTENT * 8)
        await world.send("small@dead0.test")
        assert (await world.settled("bob@example.test")).status is Status.DELIVERED
        await world.until(lambda: "small@dead0.test" in composed)
        assert len(composed) == 3
        waiting = [row for row in await world.rows() if row.status is Status.UNSENT]
        assert sorted(row.attempts for row in waiting) == [0] * 5
        await world.delivery.drain(0)


async def test_a_domain_that_dns_is_slow_for_delays_no_other(world: World) -> None:
    world.dns.drop("silent.test")
    with ScriptedServer() as server:
        world.make(port=server.port)
        await world.send("bob@silent.test", "bob@example.test")
        assert (await world.settled("bob@example.test")).status is Status.DELIVERED
        assert (await world.row("bob@silent.test")).status is Status.UNSENT


async def test_a_site_that_breaks_every_connection_is_left_alone_for_a_while(world: World) -> None:
    with ScriptedServer(Script(mail=DROP)) as server:
        world.make(port=server.port, max_connections_per_site=1)
        await world.send(*(f"r{n}@example.test" for n in range(20)))
        await world.until(lambda: world.delivery.room() == 5000)
        rows = await world.rows()
        assert sorted(row.attempts for row in rows) == [0] * 19 + [1]
        assert len(server.conversations) == 1


async def test_a_site_that_takes_no_further_connection_keeps_those_it_has(world: World) -> None:
    banners: list[Step] = ["220 welcome", "421 4.7.0 too many connections"]
    with ScriptedServer(Script(banner=banners)) as server:
        world.make(port=server.port)
        await world.send(*(f"r{n}@example.test" for n in range(50)))
        await world.done(50)
        assert {row.attempts for row in await world.rows()} == {1}
        assert len(server.conversations) == 2


async def test_a_flush_forgets_a_sites_trouble(world: World) -> None:
    port = free_port()
    world.make(port=port, schedule=(300,))
    await world.delivery.start()
    await world.send("bob@example.test")
    await world.settled("bob@example.test")
    with ScriptedServer(port=port):
        await world.store.flush(None, world.now_ms())
        world.delivery.flush_hint()
        row = await world.settled("bob@example.test", attempts=2)
        assert (row.status, row.attempts) == (Status.DELIVERED, 2)


# The end of a lifetime.


async def test_the_last_try_ends_a_lifetime_with_the_last_reason(world: World) -> None:
    with ScriptedServer(Script(rcpt="450 4.2.0 greylisted")) as server:
        world.make(port=server.port, schedule=(3600,))
        await world.delivery.start()
        await world.send("bob@example.test", lifetime_ms=600_000)
        await world.settled("bob@example.test")
        world.jump(601)
        row = await world.settled("bob@example.test", attempts=2)
        assert (row.status, row.attempts, row.code, row.enhanced_status) == (Status.BOUNCED, 2, 450, "4.4.7")
        assert row.diagnostic == "delivery time expired; last reply: 450 4.2.0 greylisted"


async def test_who_was_never_tried_expires_too(world: World) -> None:
    world.make(port=free_port(), schedule=(300,))
    await world.send("bob@example.test")
    await world.settled("bob@example.test")
    await world.send("late@example.test", lifetime_ms=0)
    row = await world.settled("late@example.test")
    assert (row.status, row.enhanced_status) == (Status.BOUNCED, "4.4.7")
    assert "Connection refused" in row.diagnostic


async def test_who_expired_while_nobody_ran_gets_a_last_try(world: World) -> None:
    with ScriptedServer() as server:
        world.make(port=server.port)
        await world.accept("bob@example.test", leased=False, received_ms=world.now_ms() - 9 * DAY_MS)
        await world.delivery.start()
        assert (await world.settled("bob@example.test")).status is Status.DELIVERED


async def delays(world: World) -> list[str]:
    """Whom senders are told that they are late, at the time that the world has."""
    groups = await world.store.duties.due(world.now_ms(), 9)
    return [duty.address for group in groups if group.kind is DutyKind.DELAYED for duty in group.duties]


async def test_the_sender_is_told_of_a_delay_at_its_time_and_once(world: World) -> None:
    """Not at the first try after it, which may be hours later, and not at each."""
    with ScriptedServer(Script(rcpt="450 4.2.0 greylisted")) as server:
        world.make(port=server.port, schedule=(1800, 1800, 7200, 7200), warn_after_ms=2 * 3_600_000)
        await world.delivery.start()
        await world.send("bob@example.test")
        for attempts in (1, 2, 3):
            await world.settled("bob@example.test", attempts=attempts)
            assert await delays(world) == []
            world.jump(1801)
        # The third try was after an hour; the fourth will be after three.
        assert await delays(world) == []
        world.jump(1801)
        assert await delays(world) == ["bob@example.test"]
        ((duty,),) = [group.duties for group in await world.store.duties.due(world.now_ms(), 9)]
        await world.store.duties.drop([duty.id])
        world.jump(7200)
        await world.settled("bob@example.test", attempts=4)
        world.jump(7200)
        assert await delays(world) == []


async def test_who_is_not_tried_since_the_site_rests_is_late_too(world: World) -> None:
    """RFC 3461, 6.2: the sender is told, whether or not a server has said anything of the recipient."""
    rules = {"it": {"match": "tomorrow", "actions": ["suspend"], "duration": "1h"}}
    suspend = {"mine": {"mx": ["example.test"], "rules": rules}}
    with ScriptedServer(Script(dot="450 4.7.9 come back tomorrow")) as server:
        world.make(port=server.port, max_connections_per_site=1, shaping=suspend, warn_after_ms=1_800_000)
        await world.send("a@example.test", "b@example.test")
        await world.until(lambda: world.delivery._held == 0)
        assert sorted(row.attempts for row in await world.rows()) == [0, 1]
        assert await delays(world) == []
        world.jump(1801)
        assert sorted(await delays(world)) == ["a@example.test", "b@example.test"]


async def test_without_a_time_nobody_is_told_of_a_delay(world: World) -> None:
    with ScriptedServer(Script(rcpt="450 4.2.0 greylisted")) as server:
        world.make(port=server.port, schedule=(36_000,))
        await world.send("bob@example.test")
        await world.settled("bob@example.test")
        world.jump(40_000)
        assert await delays(world) == []


# Memory.


async def test_room_is_what_is_free(world: World) -> None:
    with ScriptedServer(Script(banner=HANG)) as server:
        world.make(port=server.port, max_queue_in_memory=100, timeouts=Timeouts())
        await world.send(*(f"r{n}@example.test" for n in range(30)))
        assert world.delivery.room() == 70


async def test_no_site_takes_all_the_memory(world: World) -> None:
    """What finds no place beside a slow site's recipients is given back, and delivered later."""
    world.dns.mx("slow.test", "mx.slow.test")
    world.dns.add("mx.slow.test", "A", "127.0.0.2")
    port = free_port("127.0.0.1", "127.0.0.2")
    with ScriptedServer(port=port), ScriptedServer(Script(banner=HANG), "127.0.0.2", port):
        world.make(port=port, max_queue_in_memory=200, timeouts=Timeouts())
        await world.delivery.start()
        for _ in range(5):
            await world.accept(*(f"r{n}@slow.test" for n in range(100)), leased=False)
        await world.accept(*(f"r{n}@example.test" for n in range(100)), leased=False)
        await world.done(100)
        assert world.delivery.room() >= 90
        assert {row.status for row in await world.rows("@example.test")} == {Status.DELIVERED}
        assert {row.attempts for row in await world.rows("@slow.test")} == {0}


async def test_a_backlog_larger_than_the_memory_is_delivered(world: World) -> None:
    with ScriptedServer() as server:
        world.make(port=server.port, max_queue_in_memory=50)
        for _ in range(10):
            await world.accept(*(f"r{n}@example.test" for n in range(60)), leased=False)
        await world.delivery.start()
        await world.done(600)
        assert len(server.messages) == 600


async def test_contents_beyond_the_bound_are_read_when_their_turn_comes(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("relay.deliver.contents.Contents.__init__.__defaults__", (100,))
    with ScriptedServer() as server:
        world.make(port=server.port)
        contents = [b"Subject: %d\r\n\r\n" % n + b"x" * 60 + b"\r\n" for n in range(10)]
        for content in contents:
            await world.send("a@example.test", "b@example.test", content=content)
        await world.done(20)
        assert sorted(m.content for m in server.messages) == sorted(contents * 2)
        await world.until(lambda: world.delivery._held == 0)
        assert world.delivery._contents._bytes == 0
        assert world.delivery._contents._held == {}


async def test_connections_in_all_are_bounded_and_go_round(world: World) -> None:
    addresses = [f"127.0.0.{n}" for n in range(2, 7)]
    port = free_port(*addresses)
    for n, address in enumerate(addresses):
        world.dns.mx(f"d{n}.test", f"mx{n}.test")
        world.dns.add(f"mx{n}.test", "A", address)
    servers = [ScriptedServer(address=address, port=port) for address in addresses]
    for server in servers:
        server.__enter__()
    world.make(port=port, max_connections=2)
    await world.send(*(f"r{n}@d{n % 5}.test" for n in range(50)))
    await world.done(50)
    assert [len(server.messages) for server in servers] == [10] * 5
    for server in servers:
        server.__exit__()


# Leases and the store.


async def test_a_lease_does_not_run_out_under_a_slow_server(world: World) -> None:
    with ScriptedServer(Script(dot=HANG)) as server:
        world.make(port=server.port, timeouts=Timeouts())
        await world.send("bob@example.test")
        await server.until(lambda s: bool(s.messages))
        for _ in range(5):
            world.jump(240)
            await world.delivery._watch_leases(world.clock())
        assert await world.store.claim(world.now_ms(), 10) == []


async def test_who_waited_long_is_given_back(world: World) -> None:
    with ScriptedServer(Script(banner=HANG)) as server:
        world.make(port=server.port, timeouts=Timeouts())
        await world.send("bob@example.test")
        await server.until(lambda s: bool(s.conversations))
        world.jump(301)
        await world.delivery._watch_leases(world.clock())
        await world.until(lambda: world.delivery.room() == 5000)
        assert (await world.row("bob@example.test")).attempts == 0
        assert len(await world.store.claim(world.now_ms(), 10)) == 1


async def test_what_a_dead_process_held_is_recovered(world: World) -> None:
    """A second store stands for the process; closing its files without a word for its death."""
    other = await Store.open(world.state_dir, POLICY)
    world.store, mine = other, world.store
    await world.accept("bob@example.test")
    world.store = mine
    await other.close()
    with ScriptedServer() as server:
        world.make(port=server.port)
        await world.delivery.start()
        assert (await world.settled("bob@example.test")).status is Status.DELIVERED


class FullStore(Store):
    """A store whose disk is full for a while."""

    full = False
    refused = 0

    def settle(self, result: Result) -> asyncio.Future[Settled]:
        if not self.full:
            return super().settle(result)
        self.refused += 1
        refused = asyncio.get_running_loop().create_future()
        refused.set_exception(StoreFullError("no space left"))
        return refused


async def test_while_the_disk_is_full_nothing_is_lost_and_nothing_new_is_tried(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("relay.deliver.results._AGAIN_SECONDS", 0.05)
    store = await FullStore.open(world.state_dir, POLICY)
    with ScriptedServer() as server:
        delivery = world.make(port=server.port, max_connections_per_site=1, store=store)
        world.store, mine = store, world.store
        store.full = True
        await world.send("first@example.test")
        await world.until(lambda: store.refused > 1)
        assert delivery.room() == 0
        await world.send("second@example.test")
        await asyncio.sleep(0.1)
        assert len(server.messages) == 1
        store.full = False
        await world.done(2)
        assert [m.recipients[0] for m in server.messages] == ["first@example.test", "second@example.test"]
        world.store = mine
        await delivery.drain(1)
    await store.close()


# The end.


async def test_a_drain_gives_back_who_waits_and_lets_finish_what_is_under_way(world: World) -> None:
    world.dns.mx("slow.test", "mx.slow.test")
    world.dns.add("mx.slow.test", "A", "127.0.0.2")
    port = free_port("127.0.0.1", "127.0.0.2")
    release = asyncio.Event()
    with ScriptedServer(port=port) as server, ScriptedServer(Script(banner=HANG), "127.0.0.2", port):
        world.make(port=port, timeouts=Timeouts())
        await world.delivery.start()
        await world.send("bob@example.test", content=b"x\r\n" * 2_000_000)
        await world.send("waits@slow.test", "lookup@silent.test")
        world.dns.drop("silent.test")
        await server.until(lambda s: any(c.startswith("DATA") for c in s.commands))
        await world.delivery.drain(10)
        release.set()
        assert (await world.row("bob@example.test")).status is Status.DELIVERED
        assert world.delivery.room() == 0
        for address in ("waits@slow.test", "lookup@silent.test"):
            row = await world.row(address)
            assert (row.status, row.attempts) == (Status.UNSENT, 0)
        assert len(await world.store.claim(world.now_ms(), 10)) == 2


async def test_after_the_grace_what_was_before_the_dot_is_given_back_and_what_was_after_is_in_doubt(
    world: World,
) -> None:
    world.dns.mx("slow.test", "mx.slow.test")
    world.dns.add("mx.slow.test", "A", "127.0.0.2")
    port = free_port("127.0.0.1", "127.0.0.2")
    with (
        ScriptedServer(Script(dot=HANG), port=port) as server,
        ScriptedServer(Script(rcpt=HANG), "127.0.0.2", port) as slow,
    ):
        world.make(port=port, timeouts=Timeouts())
        await world.send("bob@example.test", "eve@slow.test")
        await server.until(lambda s: bool(s.messages))
        await slow.until(lambda s: any(c.startswith("RCPT") for c in s.commands))
        await world.delivery.drain(0.05)
        bob, eve = await world.row("bob@example.test"), await world.row("eve@slow.test")
        assert (bob.status, bob.attempts) == (Status.SOFT_BOUNCED, 1)
        assert "may have the message" in bob.diagnostic
        assert (eve.status, eve.attempts) == (Status.UNSENT, 0)


async def test_a_drain_says_quit_to_idle_servers(world: World) -> None:
    with ScriptedServer() as server:
        world.make(port=server.port)
        await world.send("bob@example.test")
        await world.settled("bob@example.test")
        await world.delivery.drain(5)
        assert server.commands[-1] == "QUIT"


async def test_an_idle_connection_is_closed_after_a_while(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("relay.deliver.connections.IDLE_SECONDS", 0.05)
    with ScriptedServer() as server:
        world.make(port=server.port)
        await world.send("bob@example.test")
        await server.until(lambda s: s.conversations != [] and s.conversations[0].ended)
        assert server.commands[-1] == "QUIT"


async def test_a_used_up_connection_is_replaced(world: World) -> None:
    with ScriptedServer() as server:
        shaping = {"default": {"messages_per_connection": 4}}
        world.make(port=server.port, max_connections_per_site=1, shaping=shaping)
        await world.send(*(f"r{n}@example.test" for n in range(10)))
        await world.done(10)
        assert len(server.conversations) == 3


async def test_submitting_to_a_drained_delivery_gives_back(world: World) -> None:
    await world.delivery.start()
    await world.delivery.drain(1)
    jobs = await world.accept("bob@example.test")
    world.delivery.submit(jobs)
    await world.until(lambda: world.delivery._held == 0)


async def test_new_routes_hold_for_what_comes_after_them(world: World) -> None:
    with ScriptedServer() as old, ScriptedServer() as new:
        world.make(routes={"*": f"smtp://127.0.0.1:{old.port}"})
        await world.send("a@example.test")
        await world.settled("a@example.test")
        world.delivery.reload(DeliverySettings(routes={"*": f"smtp://127.0.0.1:{new.port}"}))
        await world.send("b@example.test")
        await world.settled("b@example.test")
        assert [len(old.messages), len(new.messages)] == [1, 1]


async def test_a_reload_holds_for_who_waits_already(world: World) -> None:
    """A policy that was made stricter lets nothing go by the old one, but for what is under way."""
    with ScriptedServer(Script(dot=HANG)) as server:
        settings = {"port": server.port, "max_connections_per_site": 1}
        delivery = world.make(timeouts=replace(Timeouts(), dot=3), **settings)
        await delivery.start()
        await world.send("a@example.test", "b@example.test")
        await server.until(lambda s: len(s.messages) == 1)
        strict = {"allow_private_destinations": True, "tls_policies": {"*": TlsPolicy.ENCRYPT}}
        delivery.reload(DeliverySettings(**settings | strict))  # type: ignore[arg-type]
        await world.until(lambda: delivery._held == 1)
        row = await world.row("b@example.test")
        assert (row.status, row.attempts, len(server.messages)) == (Status.UNSENT, 0, 1)
        assert row.next_attempt_ms is not None
        delivery.submit(await world.store.claim(world.now_ms(), 9))
        row = await world.settled("b@example.test")
        assert (row.enhanced_status, len(server.messages)) == ("4.7.4", 1)


async def test_a_lost_lease_is_said(world: World, caplog: pytest.LogCaptureFixture) -> None:
    with ScriptedServer() as server:
        world.make(port=server.port)
        jobs = await world.accept("bob@example.test")
        await world.store.claim(world.now_ms() + 2 * LEASE_MS, 1)
        world.delivery.submit(jobs)
        await world.until(lambda: "lease=lost" in caplog.text)


async def test_a_listener_that_is_gone_refuses_at_once() -> None:
    """What the tests of dead sites rely on: a free port of loopback refuses."""
    with socket.socket() as probe:
        assert probe.connect_ex(("127.0.0.1", free_port())) != 0


# Servers of less ability.


async def test_a_copy_that_a_server_cannot_be_given_is_bounced_with_the_server_named(world: World) -> None:
    """What `compose` refuses is final, and costs the connection nothing: the next recipient is served on it."""
    world.compose = lambda job, content: (
        ours("5.6.3", "signed content needs 8BITMIME") if job.address.startswith("a") else Copy("r@relay.test", content)
    )
    with ScriptedServer() as server:
        world.make(port=server.port, max_connections_per_site=1)
        await world.send("a@example.test", "b@example.test")
        refused = await world.settled("a@example.test")
        assert (refused.status, refused.enhanced_status, refused.mx) == (Status.BOUNCED, "5.6.3", "mx.example.test")
        assert (await world.settled("b@example.test")).status is Status.DELIVERED
        assert len(server.conversations) == 1


async def test_a_message_over_a_servers_size_is_bounced_at_once(world: World) -> None:
    """RFC 1870, 6: 5.3.4, by the bytes of the copy that would be sent, with nothing said to the server."""
    with ScriptedServer(Script(extensions=("SIZE 1000",))) as server:
        world.make(port=server.port)
        world.compose = lambda _, content: Copy("r@relay.test", content + b"x" * 1000)
        await world.send("bob@example.test")
        row = await world.settled("bob@example.test")
        assert (row.status, row.attempts, row.enhanced_status) == (Status.BOUNCED, 1, "5.3.4")
        assert row.diagnostic.endswith(f"the message has {len(CONTENT) + 1000} bytes, the server takes 1000")
        assert [command.split(" ")[0] for command in server.commands[:1]] == ["EHLO"]
        assert not any(command.startswith("MAIL") for command in server.commands)
