"""relay/deliver/site.py and places.py: limits, learning, rules; and that a site's trouble stays in the site."""

import asyncio
import time

import pytest

from relay.deliver.client import Timeouts
from relay.deliver.shape import Share
from storage.status import Status
from tests.deliver.world import World
from tests.peers.smtp import DROP, HANG, Script, ScriptedServer, Then


def shaping(**keys: object) -> dict[str, object]:
    return {"mine": {"mx": ["example.test"], **keys}}


def rule(match: str, *actions: str, duration: str = "1h") -> dict[str, object]:
    return {"it": {"match": match, "actions": list(actions), "duration": duration}}


def addresses(count: int, domain: str = "example.test") -> list[str]:
    return [f"r{number}@{domain}" for number in range(count)]


# Which domains are one site.


async def test_domains_of_one_mx_set_are_one_site_whatever_its_order_case_and_numbers(world: World) -> None:
    """Names are compared without case, preferences by their order alone (RFC 5321, 5.1)."""
    for domain, records in {
        "a.test": ((10, "mx1.x.test"), (10, "mx2.x.test"), (20, "mx3.x.test")),
        "b.test": ((20, "MX3.x.test"), (10, "Mx2.X.Test"), (10, "mx1.x.test")),
        "c.test": ((1, "mx2.x.test"), (5, "mx3.x.test"), (1, "mx1.x.test")),
        "other.test": ((10, "mx3.x.test"), (20, "mx1.x.test"), (20, "mx2.x.test")),
    }.items():
        world.dns.mx(domain, *(f"{preference} {host}" for preference, host in records))
    for host in ("mx1", "mx2", "mx3"):
        world.dns.add(f"{host}.x.test", "A", "127.0.0.1")
    with ScriptedServer() as server:
        world.make(port=server.port)
        await world.send("x@a.test", "x@b.test", "x@c.test", "x@other.test")
        await world.done(4)
        assert sorted(sorted(site.domains) for site in world.delivery._places.sites()) == [
            ["a.test", "b.test", "c.test"],
            ["other.test"],
        ]


async def test_a_domain_with_an_entry_of_its_own_is_a_site_of_its_own(world: World) -> None:
    world.dns.mx("special.test", "mx.example.test")
    with ScriptedServer() as server:
        world.make(port=server.port, shaping={"mine": {"domains": ["special.test"], "connections": 1}})
        await world.send("x@special.test", "x@example.test")
        await world.done(2)
        assert {site.shape.name for site in world.delivery._places.sites()} == {"mine", "default"}


# Limits.


async def test_no_more_connections_than_the_site_takes(world: World) -> None:
    with ScriptedServer(Script(dot=HANG)) as server:
        world.make(port=server.port, timeouts=Timeouts(), shaping=shaping(connections=2))
        await world.send(*addresses(20))
        await server.until(lambda s: len(s.messages) == 2)
        await asyncio.sleep(0.1)
        assert len(server.conversations) == 2


async def test_all_sites_of_a_provider_share_its_connections_and_an_idle_one_gives_way(world: World) -> None:
    for number in range(5):
        world.dns.mx(f"d{number}.test", f"mx{number}.example.test")
        world.dns.add(f"mx{number}.example.test", "A", "127.0.0.1")
    open_now: list[int] = []
    with ScriptedServer() as server:
        world.make(port=server.port, shaping=shaping(connections=5, provider_connections=2))
        await world.send(*(f"r{n}@d{n % 5}.test" for n in range(50)))
        async with asyncio.timeout(10):
            while len(server.messages) < 50:
                open_now.append(sum(not each.ended for each in list(server.conversations)))
                await asyncio.sleep(0.001)
        # A connection has ended for us a moment before the server sees that.
        assert max(open_now) <= 3


POLICIES = {"a.test": "may", "b.test": "encrypt", "c.test": "none"}


async def test_domains_of_the_same_servers_share_their_limits_whatever_is_asked_of_tls(world: World) -> None:
    """A provider counts our connections and messages, not the policies of its customers."""
    open_now: list[int] = []
    for domain in POLICIES:
        world.dns.mx(domain, "mx.example.test")
    with ScriptedServer(Script(tls=True)) as server:
        world.make(port=server.port, tls_policies=POLICIES, shaping=shaping(connections=2, rate="30/s"))
        began = time.monotonic()
        await world.send(*(f"r{n}@{domain}" for n in range(20) for domain in POLICIES))
        async with asyncio.timeout(10):
            while len(server.messages) < 60:
                open_now.append(sum(not each.ended for each in list(server.conversations)))
                await asyncio.sleep(0.001)
        assert len(world.delivery._places.sites()) == 3
        # A connection has ended for us a moment before the server sees that.
        assert max(open_now) <= 3
        assert time.monotonic() - began > 0.9


async def test_a_busy_site_lets_others_have_its_slot_now_and_then(world: World) -> None:
    """One that has mail for hours would otherwise keep its connection for 500 messages, or five minutes."""
    for domain in POLICIES:
        world.dns.mx(domain, "mx.example.test")
    with ScriptedServer() as server:
        world.make(port=server.port, tls_policies=POLICIES, shaping=shaping(connections=1))
        await world.send("first@c.test")
        await world.done(1)
        late = await world.accept("x@c.test")
        await world.send(*(f"r{n}@a.test" for n in range(200)))
        await world.until(lambda: len(server.messages) > 1)
        world.delivery.submit(late)
        await world.done(202)
        got = [message.recipients[0] for message in server.messages]
        assert got.index("x@c.test") < 150


async def test_who_alone_waits_for_a_slot_keeps_the_connection_that_it_has(world: World) -> None:
    with ScriptedServer() as server:
        world.make(port=server.port, shaping=shaping(connections=5, provider_connections=1))
        await world.send(*addresses(100))
        await world.done(100)
        assert len(server.conversations) == 1


async def test_workers_have_their_shares_and_who_has_none_leaves_the_mail_to_the_others(world: World) -> None:
    one = shaping(connections=1)
    holders = []
    with ScriptedServer() as server:
        for index in range(3):
            delivery = world.make(port=server.port, shaping=one, share=Share(index, 3))
            await world.send(f"r{index}@example.test")
            await world.until(lambda: world.delivery._held == 0)
            row = await world.row(f"r{index}@example.test")
            holders.append(row.status is Status.DELIVERED)
            if not holders[-1]:
                assert row.attempts == 0
                assert row.next_attempt_ms is not None
                assert "example.test" in delivery._places.domains_to_skip(100, 10)
            await delivery.drain(1)
    assert sorted(holders) == [False, False, True]


async def test_a_rate_is_kept(world: World) -> None:
    with ScriptedServer() as server:
        world.make(port=server.port, shaping=shaping(rate="10/s"))
        began = time.monotonic()
        await world.send(*addresses(16))
        await world.done(16)
        # One second's worth at once, the other six a tenth of a second each.
        assert time.monotonic() - began >= 0.59
        assert len(server.messages) == 16


async def test_without_a_token_no_connection_is_opened(world: World) -> None:
    with ScriptedServer() as server:
        world.make(port=server.port, shaping=shaping(rate="1/h"))
        await world.send(*addresses(5))
        await world.done(1)
        await server.until(lambda s: s.conversations[0].ended, 10)
        assert len(server.conversations) == 1
        await world.delivery.drain(1)
        assert len(await world.store.claim(world.now_ms(), 10)) == 4


async def test_whose_time_ends_while_a_rate_keeps_it_waiting_is_told_that(world: World) -> None:
    with ScriptedServer() as server:
        world.make(port=server.port, shaping=shaping(rate="1/h"))
        await world.send(*addresses(2), lifetime_ms=200_000)
        await world.done(1)
        world.jump(301)
        await world.delivery._watch_leases(world.clock())
        await world.done(2)
        (row,) = [row for row in await world.rows() if row.status is Status.BOUNCED]
        assert "our own limit of messages to this site (1/h) keeps it waiting" in row.diagnostic


# What is learned.


async def test_a_window_of_broken_connections_lets_the_site_rest(world: World) -> None:
    """Postfix's failed cohort: a site whose connections all break is left alone, served before or not."""
    with ScriptedServer(Script(mail=["250 2.1.0 ok"] * 8 + [DROP] * 100)) as server:
        world.make(port=server.port, max_connections_per_site=2, shaping=shaping(messages_per_connection=2))
        await world.send(*addresses(40))
        await world.until(lambda: world.delivery._held == 0)
        (site,) = world.delivery._places.sites()
        assert site.resting
        assert sum([row.attempts for row in await world.rows()]) < 20
        assert len(server.messages) == 8


async def test_refusals_by_policy_close_the_window_and_do_not_end_the_site(world: World) -> None:
    """A greylist says 4.7.1 to everyone once: all must be tried."""
    with ScriptedServer(Script(rcpt="450 4.7.1 Greylisted")) as server:
        world.make(port=server.port)
        await world.send(*addresses(100))
        await world.until(lambda: world.delivery._held == 0)
        assert {row.attempts for row in await world.rows()} == {1}
        (site,) = world.delivery._places.sites()
        assert not site.resting
        assert site._pace.connections(world.clock()) == 1
        assert len(server.conversations) >= 1


# Rules.


async def test_a_rule_suspends_the_site_and_who_waits_comes_back_without_an_attempt(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    with ScriptedServer(Script(dot="450 4.7.9 come back tomorrow")) as server:
        world.make(port=server.port, max_connections_per_site=1, shaping=shaping(rules=rule("tomorrow", "suspend")))
        await world.send(*addresses(5))
        await world.until(lambda: world.delivery._held == 0)
        rows = await world.rows()
        assert sorted(row.attempts for row in rows) == [0, 0, 0, 0, 1]
        for row in rows:
            assert row.next_attempt_ms is not None
            assert row.next_attempt_ms > world.now_ms() + 3_500_000
        assert len(server.messages) == 1
    assert "event=site-rule site=mx.example.test rule=mine.it actions=suspend seconds=3600" in caplog.text


async def test_a_rule_hears_the_greeting_too(world: World) -> None:
    with ScriptedServer(Script(banner="554 5.7.1 policy")) as server:
        world.make(port=server.port, shaping=shaping(rules=rule("^554 .*policy", "suspend", "soft")))
        await world.send(*addresses(2))
        await world.until(lambda: world.delivery._held == 0)
        rows = await world.rows()
        assert {(row.status, row.attempts) for row in rows} == {(Status.SOFT_BOUNCED, 1)}
        assert min(row.next_attempt_ms or 0 for row in rows) > world.now_ms() + 3_500_000
        assert len(server.conversations) == 1


async def test_a_rule_makes_a_refusal_soft_and_leaves_others_final(world: World) -> None:
    script = Script(dot=lambda to: "550 5.7.1 block list (S9)" if to.startswith("r0") else "550 5.7.1 spam")
    with ScriptedServer(script) as server:
        world.make(port=server.port, shaping=shaping(rules=rule("block list", "soft")))
        await world.send(*addresses(2))
        await world.until(lambda: world.delivery._held == 0)
        assert (await world.row("r0@example.test")).status is Status.SOFT_BOUNCED
        assert (await world.row("r1@example.test")).status is Status.BOUNCED
        (site,) = world.delivery._places.sites()
        assert not site.resting


async def test_a_rule_slows_the_site_down_for_a_time(world: World) -> None:
    with ScriptedServer(Script(dot=["450 4.3.9 slower", "250 2.0.0 kept"])) as server:
        world.make(port=server.port, shaping=shaping(rules=rule("slower", "slow-down")))
        await world.send(*addresses(30))
        await world.done(29)
        (site,) = world.delivery._places.sites()
        assert 1 <= site._pace.connections(world.clock()) <= 10
        world.jump(3601)
        assert site._pace.slowness(world.clock()) == 1
        assert len(server.messages) == 30


async def test_a_flush_ends_a_suspension(world: World) -> None:
    with ScriptedServer(Script(dot=["450 4.7.9 tomorrow", "250 2.0.0 kept"])) as server:
        world.make(port=server.port, shaping=shaping(rules=rule("tomorrow", "suspend")))
        await world.delivery.start()
        await world.send("r0@example.test")
        await world.until(lambda: world.delivery._held == 0)
        await world.store.flush([(await world.row("r0@example.test")).recipient_id], world.now_ms())
        world.delivery.flush_hint()
        await world.done(1)
        assert len(server.messages) == 2


# The house rule.


async def test_one_dead_or_slow_site_delays_no_other(world: World) -> None:
    """Two hundred sites are served while one hangs in its greeting, one after the dot, and one refuses all."""
    with ScriptedServer() as quick:
        port = quick.port
        with (
            ScriptedServer(Script(banner=HANG), "127.0.0.2", port) as hangs,
            ScriptedServer(Script(dot=HANG), "127.0.0.3", port) as slow,
            ScriptedServer(Script(banner=Then("421 4.3.2 no", DROP)), "127.0.0.4", port),
        ):
            for number, name in enumerate(("hangs", "slow", "refuses"), 2):
                world.dns.mx(f"{name}.test", f"mx.{name}.test")
                world.dns.add(f"mx.{name}.test", "A", f"127.0.0.{number}")
            for number in range(200):
                world.dns.mx(f"q{number}.test", f"mx{number}.test")
                world.dns.add(f"mx{number}.test", "A", "127.0.0.1")
            world.make(port=port, timeouts=Timeouts(), dns_timeout=20, max_connections=50, max_queue_in_memory=2000)
            await world.delivery.start()
            for name in ("hangs", "slow", "refuses"):
                await world.send(*addresses(300, f"{name}.test"))
            began = time.monotonic()
            await world.send(*(f"x@q{number}.test" for number in range(200)))
            await world.done(200)
            assert time.monotonic() - began < 10
            assert len(quick.messages) == 200
            assert len(hangs.conversations) == 1
            assert len(slow.conversations) <= 20
