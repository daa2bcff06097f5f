import asyncio
import logging
from collections.abc import Callable, Collection, Mapping, Sequence

import pytest

from pixel.crowd import CROWD_RECIPIENTS, Crowd
from pixel.fetch import Fetch
from pixel.judge import Rules
from pixel.recorder import Policy, Recorder
from storage.model import Hit, HitFacts, HitKind
from storage.settings import parse_network
from storage.status import Status

DELIVERED = 1_000_000
LATER = DELIVERED + 60_000
POLICY = Policy(Rules(scanner_ms=2000), trusted_proxies=(parse_network("127.0.0.0/8"),))
GMAIL = "Mozilla/5.0 (Windows NT 5.1; rv:11.0) Gecko Firefox/11.0 (via ggpht.com GoogleImageProxy)"


class Plug:
    """The two verbs of the store, at the plug: what was recorded, and refusals on demand."""

    def __init__(self, *, refusals: int = 0, unknown: Collection[int] = ()) -> None:
        self.recorded: list[Hit] = []
        self.groups: list[int] = []
        self.refusals = refusals
        self.unknown = unknown
        self.some = asyncio.Event()

    async def facts(self, recipient_ids: Collection[int]) -> Mapping[int, HitFacts]:
        return {
            one: HitFacts(one, Status.DELIVERED, DELIVERED, None, "198.51.100.25")
            for one in recipient_ids
            if one not in self.unknown
        }

    async def record(self, hits: Sequence[Hit]) -> None:
        if self.refusals:
            self.refusals -= 1
            raise OSError(28, "No space left on device")
        self.recorded += hits
        self.groups.append(len(hits))
        self.some.set()


def recorder(plug: Plug, policy: Policy = POLICY, *, queue_hits: int = 5000, flush_seconds: float = 0.01) -> Recorder:
    crowd = Crowd(b"k" * 32)
    return Recorder(plug.facts, plug.record, policy, crowd, queue_hits=queue_hits, flush_seconds=flush_seconds)


def fetch(recipient_id: int = 1, peer: str = "203.0.113.7", **more: str) -> Fetch:
    return Fetch(recipient_id, LATER, peer, **more)  # type: ignore[arg-type]


async def run(plug: Plug, *fetches: Fetch, policy: Policy = POLICY) -> Recorder:
    recording = recorder(plug, policy)
    recording.start()
    for one in fetches:
        assert recording.take(one)
    await recording.drain(5)
    return recording


async def test_a_hit_is_judged_and_stored_without_waiting_for_the_end() -> None:
    plug = Plug()
    recording = recorder(plug)
    recording.start()
    recording.take(fetch())
    async with asyncio.timeout(1):
        await plug.some.wait()
    assert plug.recorded == [Hit(1, LATER, HitKind.PERSON, "no sign of a machine")]
    await recording.drain(1)


async def test_hits_that_come_together_share_a_commit_and_later_ones_get_their_own() -> None:
    plug = Plug()
    recording = recorder(plug)
    recording.start()
    for recipient in range(7):
        recording.take(fetch(recipient))
    async with asyncio.timeout(1):
        await plug.some.wait()
    plug.some.clear()
    recording.take(fetch(8))
    async with asyncio.timeout(1):
        await plug.some.wait()
    assert plug.groups == [7, 1]
    await recording.drain(1)


async def test_draining_commits_what_was_taken() -> None:
    plug = Plug()
    recording = await run(plug, *(fetch(one, peer="10.0.0.1") for one in range(1200)))
    assert len(plug.recorded) == 1200
    assert recording.counts.committed == recording.counts.taken == 1200
    assert recording.counts.lost == 0


async def test_draining_with_nothing_taken_ends_at_once() -> None:
    plug = Plug()
    await run(plug)
    assert plug.recorded == []


async def test_draining_what_was_never_started_is_nothing() -> None:
    await recorder(Plug()).drain(1)


async def test_what_the_store_refuses_is_kept_and_tried_again(caplog: pytest.LogCaptureFixture) -> None:
    plug = Plug(refusals=2)
    recording = await run(plug, fetch(1), fetch(2))
    assert [hit.recipient_id for hit in plug.recorded] == [1, 2]
    assert recording.counts.store_errors == 2
    assert recording.counts.lost == 0
    assert not recording.failing
    assert "No space left" in caplog.text


async def test_hits_that_can_never_be_stored_are_counted_and_logged_as_lost(caplog: pytest.LogCaptureFixture) -> None:
    plug = Plug(refusals=1000)
    recording = recorder(plug)
    recording.start()
    recording.take(fetch(1))
    recording.take(fetch(2))
    await recording.drain(0.05)
    assert recording.counts.lost == 2
    assert recording.failing
    assert 'event="hits lost" hits=2' in caplog.text


async def test_a_full_queue_turns_hits_away_and_says_so_once_a_minute(caplog: pytest.LogCaptureFixture) -> None:
    plug = Plug()
    recording = recorder(plug, queue_hits=3)
    with caplog.at_level(logging.WARNING):
        taken = [recording.take(fetch(one)) for one in range(10)]
    assert taken == [True] * 3 + [False] * 7
    assert recording.counts.turned_away == 7
    assert len(caplog.records) == 1
    recording.start()
    await recording.drain(5)
    assert len(plug.recorded) == 3


async def test_hits_in_the_hands_of_a_failing_store_fill_the_queue_too() -> None:
    plug = Plug(refusals=1000)
    recording = recorder(plug, queue_hits=2)
    recording.start()
    recording.take(fetch(1))
    recording.take(fetch(2))
    await until(lambda: recording.failing)
    assert not recording.take(fetch(3))
    plug.refusals = 0
    await recording.drain(5)
    assert len(plug.recorded) == 2


async def test_hits_of_unknown_recipients_are_dropped_and_counted() -> None:
    plug = Plug(unknown={2})
    recording = await run(plug, fetch(1), fetch(2))
    assert [hit.recipient_id for hit in plug.recorded] == [1]
    assert recording.counts.unknown == 1
    plug = Plug(unknown={2})
    await run(plug, fetch(2))
    assert plug.groups == []


async def test_a_gateway_is_known_from_the_first_of_its_fetches() -> None:
    plug = Plug()
    await run(plug, *(fetch(one) for one in range(CROWD_RECIPIENTS + 5)))
    assert {hit.kind for hit in plug.recorded} == {HitKind.SCANNER}


@pytest.mark.parametrize(("peer", "agent"), [("192.168.1.1", ""), ("203.0.113.7", GMAIL), ("", "")])
async def test_shared_addresses_and_mail_proxies_are_no_crowd(peer: str, agent: str) -> None:
    plug = Plug()
    await run(plug, *(fetch(one, peer=peer, agent=agent) for one in range(CROWD_RECIPIENTS + 5)))
    assert HitKind.SCANNER not in {hit.kind for hit in plug.recorded}


async def test_the_client_behind_a_trusted_proxy_is_judged_not_the_proxy() -> None:
    plug = Plug()
    fetches = [fetch(one, peer="127.0.0.1", forwarded_for="203.0.113.7") for one in range(CROWD_RECIPIENTS)]
    await run(plug, *fetches)
    assert {hit.kind for hit in plug.recorded} == {HitKind.SCANNER}


async def test_no_address_and_no_agent_is_stored_unless_the_configuration_says_so() -> None:
    plug = Plug()
    await run(plug, fetch(agent="curl/8"))
    assert (plug.recorded[0].address, plug.recorded[0].agent) == (None, None)


@pytest.mark.parametrize(("peer", "address"), [("::ffff:203.0.113.7", "203.0.113.7"), ("", None)])
async def test_where_kept_the_clients_address_and_agent_are_stored_clean(peer: str, address: str | None) -> None:
    plug = Plug()
    policy = Policy(POLICY.rules, POLICY.trusted_proxies, keep_addresses=True)
    await run(plug, fetch(peer=peer, agent="odd \udcff agent"), policy=policy)
    assert (plug.recorded[0].address, plug.recorded[0].agent) == (address, "odd ? agent")


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not condition():  # noqa: ASYNC110 - the recorder has no event for it, and tests alone ask
            await asyncio.sleep(0.001)
