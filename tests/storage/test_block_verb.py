"""storage/block_verb.py: what puts addresses on the Blocked Email list by itself, and what never does."""

import pytest

from relay.bounce.category import INVALID_ADDRESS, Category
from storage.block_verb import OF_THE_MAILBOX
from storage.blocked_query import BlockedFilter
from storage.model import LogFilter, Reply, Report, TimelineKind
from storage.people import Blocked, Source
from storage.reader import Reader
from storage.status import Event, Status
from storage.store import Store
from tests.storage.makers import BUSY, DAY, NOW, UNKNOWN, accept, accept_due, block, hit, policy, report, result

FULL = Reply(552, "5.2.2", "mailbox full")


async def listed(reader: Reader) -> list[Blocked]:
    return [entry async for entry in reader.blocked.stream(BlockedFilter())]


async def bounce(store: Store, address: str, category: str | None, at_ms: int = NOW) -> None:
    (job,) = await accept(store, address, received_ms=at_ms)
    await store.settle(result(job, Event.BOUNCE, FULL, category=category, at_ms=at_ms))


async def told(store: Store, *reports: Report, kind: str = "dsn") -> None:
    await store.settle_dsn(await store.accept_dsn(b"raw", None, "", NOW + 5), reports, kind)


def test_the_categories_that_count_are_categories_and_speak_of_the_address() -> None:
    """What tells of nothing but that a server was not reached may be our own network, or our bad name."""
    assert {Category(name) for name in OF_THE_MAILBOX} == INVALID_ADDRESS | {Category.MAILBOX_FULL}


async def test_an_address_that_a_server_calls_invalid_is_blocked(store: Store, reader: Reader) -> None:
    (job,) = await accept(store, "Bob@x.example")
    await store.settle(result(job, Event.FAIL, UNKNOWN, category="user unknown"))
    (entry,) = await listed(reader)
    assert entry == Blocked(
        "Bob@x.example", Source.FAILED, NOW, "550 5.1.1 no such user", "user unknown", None, job.recipient_id, entry.id
    )
    assert [job.address for job in await accept(store, "bob@x.example", "eve@x.example")] == ["eve@x.example"]


@pytest.mark.parametrize("category", [*Category, None])
async def test_bounces_block_only_where_they_speak_of_the_mailbox(
    store: Store, reader: Reader, category: str | None
) -> None:
    """Our own reputation, policies, contents and rates never block anybody."""
    for _ in range(3):
        await bounce(store, "a@x.example", category)
    sources = [entry.source for entry in await listed(reader)]
    assert sources == ([Source.BOUNCES] if category in OF_THE_MAILBOX else [])


async def test_so_many_bounces_within_so_long_block_for_a_while(store: Store, reader: Reader) -> None:
    store.set_policy(policy(bounces=2, within=86400, bounces_for=3600))
    await bounce(store, "a@x.example", "mailbox full", NOW)
    await bounce(store, "b@x.example", "mailbox full", NOW)
    await bounce(store, "A@x.example", "mailbox full", NOW + DAY)
    assert await listed(reader) == []
    await bounce(store, '"a"@x.example', "disabled", NOW + DAY + 1)
    (entry,) = await listed(reader)
    assert (entry.address, entry.source, entry.expires_ms) == (
        "a@x.example", Source.BOUNCES, NOW + DAY + 1 + 3_600_000,
    )  # fmt: skip
    assert await store.blocked.purge(NOW + DAY + 1, NOW) == 2
    assert await store.blocked.purge(NOW + DAY + 1, NOW) == 0


async def test_what_the_policy_does_not_ask_for_blocks_nobody(store: Store, reader: Reader) -> None:
    store.set_policy(policy(failed=False, complaints=False, bounces=0))
    jobs = await accept(store, "a@x.example", "b@x.example", "c@x.example")
    await store.settle(result(jobs[0], Event.FAIL, UNKNOWN, category="user unknown"))
    await store.settle(result(jobs[1], Event.BOUNCE, FULL, category="mailbox full"))
    await store.settle(result(jobs[2], Event.DELIVER))
    await told(store, Report(jobs[2].recipient_id, None, Reply(0, None, ""), category="abuse"), kind="complaint")
    assert await listed(reader) == []


@pytest.mark.parametrize(
    ("event", "source"),
    [
        (Event.FAIL, Source.FAILED),
        (None, Source.COMPLAINT),
        (Event.BOUNCE, None),
        (Event.DEFER, None),
        (Event.DELIVER, None),
    ],
)
@pytest.mark.parametrize("proven", [True, False])
@pytest.mark.parametrize("after", [Event.DELIVER, Event.HAND_OVER])
async def test_a_proven_report_blocks_also_long_after_the_copy_was_taken(
    store: Store, reader: Reader, event: Event | None, source: Source | None, proven: bool, after: Event
) -> None:
    (job,) = await accept(store, "a@x.example")
    await store.settle(result(job, after))
    for _ in range(2):
        await told(store, Report(job.recipient_id, event, UNKNOWN, category="spam", proven=proven))
    assert [entry.source for entry in await listed(reader)] == ([source] if source and proven else [])


async def test_late_bounces_of_the_mailbox_count_each_copy_once(store: Store, reader: Reader) -> None:
    store.set_policy(policy(bounces=2))
    jobs = [(await accept(store, "a@x.example"))[0] for _ in range(2)]
    for job in jobs:
        await store.settle(result(job, Event.DELIVER))
    for text in ("one", "two"):
        reply = Reply(552, f"5.2.{len(text)}", text)
        await told(store, Report(jobs[0].recipient_id, Event.BOUNCE, reply, category="mailbox full"))
        assert await listed(reader) == []
    await told(store, Report(jobs[1].recipient_id, Event.BOUNCE, FULL, category="mailbox full"))
    assert [entry.source for entry in await listed(reader)] == [Source.BOUNCES]


async def test_somebody_who_opened_the_copy_is_there_whatever_a_bounce_says(store: Store, reader: Reader) -> None:
    (job,) = await accept(store, "a@x.example")
    await store.settle(result(job, Event.DELIVER))
    await store.record_hits([hit(job.recipient_id)])
    await told(store, report(job.recipient_id, Event.FAIL))
    assert await listed(reader) == []
    await told(store, Report(job.recipient_id, None, Reply(0, None, ""), category="abuse"), kind="complaint")
    assert [entry.source for entry in await listed(reader)] == [Source.COMPLAINT]


async def test_an_answer_without_a_lease_blocks_nobody(store: Store, reader: Reader) -> None:
    (job,) = await accept(store, "a@x.example")
    await store.postpone([job], NOW)
    await store.settle(result(job, Event.FAIL, UNKNOWN, category="user unknown"))
    assert await listed(reader) == []


async def test_who_waits_when_his_address_comes_on_the_list_is_never_tried_again(store: Store, reader: Reader) -> None:
    _, ids = await accept_due(store, '"a"@x.example', "b@x.example", "c@y.example", "d@x.example")
    (soft,) = await accept(store, "soft@x.example")
    await store.settle(result(soft, Event.DEFER, BUSY))
    await store.hold([ids[3]], NOW)
    await block(store, "a@x.example", "@y.example", "soft@x.example", "d@x.example", reason="asked")
    claimed = await store.claim(NOW + DAY, 10)
    assert [job.address for job in claimed] == ["b@x.example"]
    rows = {row.recipient: row for row in await reader.log(LogFilter(), limit=9)}
    assert [rows[address].status for address in ('"a"@x.example', "c@y.example", "soft@x.example", "d@x.example")] == [
        *[Status.BLOCKED] * 3,
        Status.UNSENT,
    ]
    assert rows["soft@x.example"].diagnostic == "blocked since 2023-11-14 (manual): asked"
    assert rows["c@y.example"].diagnostic == "the domain is blocked since 2023-11-14 (manual): asked"
    last = (await reader.timeline(soft.recipient_id))[-1]
    assert (last.kind, last.status, last.text) == (
        TimelineKind.BLOCKED, Status.BLOCKED, rows["soft@x.example"].diagnostic,
    )  # fmt: skip
    assert await store.content(soft.message.id) is None
    await store.release([ids[3]], NOW + DAY)
    assert await store.claim(NOW + DAY, 10) == []
