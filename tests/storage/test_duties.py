"""What senders are owed: written with what makes it due, kept with the content, and answered exactly once."""

import asyncio
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from storage import large
from storage.duty import Digest, DutyKind, Group, wants
from storage.model import Job, LogFilter, Message, NewRecipient, Reply, TimelineKind
from storage.reader import Reader
from storage.status import Event, Status
from storage.store import Store
from tests.storage.makers import (
    BUSY,
    DAY,
    FAR,
    MINUTE,
    NOW,
    OK,
    UNKNOWN,
    accept,
    accept_due,
    message,
    new_recipient,
    report,
    result,
)


@dataclass(frozen=True, slots=True)
class Notice:
    """A mail as it is given to the store."""

    message: Message
    content: bytes
    recipients: tuple[NewRecipient, ...]


def notice(store: Store, content: bytes = b"notice") -> Notice:
    made = message(store, sender="", size=len(content), plan=b"", received_ms=NOW + MINUTE)
    return Notice(made, content, (new_recipient(store, "ann@sender.example"),))


async def due(store: Store, now_ms: int = FAR) -> list[Group]:
    return await store.duties.due(now_ms, 10)


async def kinds(store: Store) -> list[str]:
    return [group.kind.value for group in await due(store)]


async def with_notify(store: Store, notify: str | None, sender: str = "ann@sender.example") -> Job:
    new = replace(new_recipient(store), notify=notify)
    (job,) = await store.accept(message(store, sender=sender), b"hello", [new], lifetime_ms=DAY, leased=True)
    return job


@pytest.mark.parametrize(
    ("notify", "word", "wanted"),
    [
        (None, "FAILURE", True),
        (None, "DELAY", True),
        (None, "SUCCESS", False),
        ("NEVER", "FAILURE", False),
        ("NEVER", "SUCCESS", False),
        ("SUCCESS", "FAILURE", False),
        ("SUCCESS,FAILURE", "FAILURE", True),
        ("SUCCESS,FAILURE", "DELAY", False),
        ("DELAY", "DELAY", True),
    ],
)
def test_notify_is_obeyed(notify: str | None, word: str, wanted: bool) -> None:
    """RFC 3461, 4.1."""
    assert wants(notify, word) is wanted


@pytest.mark.parametrize(
    ("event", "notify", "told"),
    [
        (Event.FAIL, None, ["failed"]),
        (Event.BOUNCE, None, ["failed"]),
        (Event.BOUNCE, "FAILURE", ["failed"]),
        (Event.BOUNCE, "SUCCESS", []),
        (Event.FAIL, "NEVER", []),
        (Event.DELIVER, None, []),
        (Event.DELIVER, "FAILURE", []),
        (Event.DELIVER, "SUCCESS", ["relayed"]),
        (Event.HAND_OVER, "SUCCESS,FAILURE", ["relayed"]),
        (Event.DEFER, None, []),
    ],
)
@pytest.mark.parametrize("held", [False, True])
async def test_what_an_attempt_came_to_is_owed_as_notify_says(
    store: Store, event: Event, notify: str | None, told: list[str], held: bool
) -> None:
    """So whichever way the row is written: by compare-and-set, or read before it is judged."""
    job = await with_notify(store, notify)
    if held:
        await store.hold([job.recipient_id], NOW)
    await store.settle(result(job, event, UNKNOWN if event is Event.FAIL else OK))
    assert await kinds(store) == told


@pytest.mark.parametrize("event", [Event.FAIL, Event.BOUNCE, Event.DELIVER, Event.DEFER])
async def test_nobody_is_told_of_what_has_the_null_sender(store: Store, event: Event) -> None:
    """RFC 5321, 4.5.5: so no notice is ever answered, and no two servers can go on for ever."""
    job = await with_notify(store, "SUCCESS,FAILURE,DELAY", sender="")
    made = result(job, event)
    await store.settle(replace(made, warn_ms=NOW) if event is Event.DEFER else made)
    assert await kinds(store) == []
    await store.remove([job.recipient_id], FAR)
    assert await kinds(store) == []


async def test_an_answer_whose_lease_was_lost_owes_nothing(store: Store) -> None:
    (job,) = await accept(store)
    await store.settle(result(replace(job, lease=job.lease + 1), Event.FAIL, UNKNOWN))
    assert await kinds(store) == []


async def test_a_delay_is_told_of_once_when_its_time_has_come(store: Store) -> None:
    (job,) = await accept(store)
    deferred = replace(result(job, Event.DEFER, BUSY), warn_ms=NOW + 5 * MINUTE)
    await store.settle(deferred)
    assert await store.duties.due(NOW + 4 * MINUTE, 10) == []
    (group,) = await store.duties.due(NOW + 5 * MINUTE, 10)
    assert (group.kind, group.duties[0].status, group.duties[0].reply) == (
        DutyKind.DELAYED,
        Status.SOFT_BOUNCED,
        BUSY,
    )
    await store.duties.drop([group.duties[0].id])
    (again,) = await store.claim(NOW + MINUTE, 1)
    await store.settle(replace(result(again, Event.DEFER, BUSY, at_ms=NOW + MINUTE), warn_ms=NOW + 6 * MINUTE))
    assert await kinds(store) == []


@pytest.mark.parametrize(
    ("sender", "notify", "warn_after_ms", "told"),
    [
        ("ann@sender.example", None, MINUTE, True),
        ("ann@sender.example", "DELAY", MINUTE, True),
        ("ann@sender.example", "FAILURE", MINUTE, False),
        ("ann@sender.example", None, MINUTE + 1, False),
        ("ann@sender.example", None, 0, False),
        ("", None, MINUTE, False),
    ],
)
async def test_who_waits_untried_is_late_too(
    store: Store, sender: str, notify: str | None, warn_after_ms: int, told: bool
) -> None:
    """RFC 3461, 6.2: whatever keeps it, such as a site that rests; once."""
    job = await with_notify(store, notify, sender)
    await store.postpone([job], NOW + MINUTE, warn_after_ms)
    await store.postpone([job], NOW + MINUTE, warn_after_ms)
    assert await due(store, NOW + MINUTE - 1) == []
    assert [duty.reply for group in await due(store, NOW + MINUTE) for duty in group.duties] == [None] * told
    for later in (1, 2):
        (again,) = await store.claim(NOW + later * MINUTE, 9)
        await store.postpone([again], NOW + (later + 1) * MINUTE, warn_after_ms)
    assert len([duty for group in await due(store) for duty in group.duties]) == (told or warn_after_ms > MINUTE)


async def test_recipients_that_fail_within_seconds_are_told_of_together(store: Store) -> None:
    jobs = await accept(store, "a@x.example", "b@x.example", "c@x.example")
    await store.settle(result(jobs[0], Event.FAIL, UNKNOWN))
    await store.settle(result(jobs[1], Event.BOUNCE, BUSY))
    (group,) = await due(store)
    assert [(duty.address, duty.reply) for duty in group.duties] == [("a@x.example", UNKNOWN), ("b@x.example", BUSY)]
    assert group.message.sender == "ann@sender.example"
    await store.settle(result(jobs[2], Event.FAIL, UNKNOWN))
    (group,) = await due(store)
    assert len(group.duties) == 3


async def test_content_stays_until_the_sender_was_told(store: Store) -> None:
    jobs = await accept(store, "a@x.example", "b@x.example")
    await store.settle(result(jobs[0], Event.FAIL, UNKNOWN))
    await store.settle(result(jobs[1], Event.DELIVER))
    assert await store.content(jobs[0].message.id) == b"hello"
    (group,) = await due(store)
    assert await store.duties.answer(notice(store), [duty.id for duty in group.duties], "told", lifetime_ms=DAY)
    assert await store.content(jobs[0].message.id) is None


async def test_a_duty_is_answered_once(store: Store, reader: Reader) -> None:
    """Who comes second stores nothing: the mail and the end of the duty are one transaction."""
    (job,) = await accept(store)
    await store.settle(result(job, Event.FAIL, UNKNOWN))
    (group,) = await due(store)
    ids = [duty.id for duty in group.duties]
    answers = await asyncio.gather(
        *(store.duties.answer(notice(store), ids, "the sender was told", lifetime_ms=DAY) for _ in range(5))
    )
    assert sorted(answers) == [False] * 4 + [True]
    (row,) = await reader.log(LogFilter(recipient="ann@sender.example"), limit=9)
    assert (row.sender, row.status) == ("", Status.UNSENT)
    last = (await reader.timeline(job.recipient_id))[-1]
    assert last.kind is TimelineKind.ANSWER
    assert last.text == f"the sender was told ({row.queue_id})"
    assert (await reader.status_counts())[Status.UNSENT] == 1
    assert [claimed.message.sender for claimed in await store.claim(FAR, 9)] == [""]


async def test_an_answer_that_comes_second_leaves_no_file(store: Store, tmp_path: Path) -> None:
    (job,) = await accept(store)
    await store.settle(result(job, Event.FAIL, UNKNOWN))
    (group,) = await due(store)
    ids = [duty.id for duty in group.duties]
    big = b"x" * (large.LARGE_BYTES + 1)
    assert await store.duties.answer(notice(store, big), ids, "told", lifetime_ms=DAY)
    assert not await store.duties.answer(notice(store, big), ids, "told", lifetime_ms=DAY)
    assert len(list((tmp_path / "content").iterdir())) == 1


async def dsn(store: Store, recipient_id: int | None) -> int:
    return await store.accept_dsn(b"raw", recipient_id, "", NOW)


async def test_a_report_that_ends_a_recipient_is_told_of_with_its_reply(store: Store) -> None:
    (job,) = await accept(store)
    await store.settle(result(job, Event.HAND_OVER))
    await store.settle_dsn(await dsn(store, job.recipient_id), [report(job.recipient_id, Event.FAIL)], "dsn")
    (group,) = await due(store)
    (duty,) = group.duties
    assert (duty.kind, duty.reply, duty.mx, duty.status) == (DutyKind.FAILED, UNKNOWN, "far.example", Status.FAILED)


async def test_a_bounce_after_delivery_is_told_of_once_with_the_late_reply(store: Store) -> None:
    (job,) = await accept(store)
    await store.settle(result(job, Event.DELIVER))
    for event in (Event.FAIL, Event.BOUNCE):
        await store.settle_dsn(await dsn(store, job.recipient_id), [report(job.recipient_id, event)], "dsn")
    ((duty,),) = [group.duties for group in await due(store)]
    assert (duty.reply, duty.mx, duty.status) == (UNKNOWN, "far.example", Status.DELIVERED)


@pytest.mark.parametrize(
    ("event", "action", "notify", "proven", "told"),
    [
        (Event.DELIVER, "delivered", "SUCCESS", True, ["delivered"]),
        (Event.HAND_OVER, "relayed", "SUCCESS", True, ["relayed"]),
        (Event.HAND_OVER, "expanded", "SUCCESS", True, ["expanded"]),
        (Event.DELIVER, "delivered", None, True, []),
        (Event.DELIVER, "delivered", "SUCCESS", False, []),
        (Event.DEFER, "delayed", None, True, ["delayed"]),
        (Event.DEFER, "delayed", "FAILURE", True, []),
        (Event.DEFER, "delayed", None, False, []),
        (None, None, "SUCCESS", True, []),
    ],
)
async def test_successes_and_delays_that_are_reported_are_told_of_as_notify_says(
    store: Store, event: Event | None, action: str | None, notify: str | None, proven: bool, told: list[str]
) -> None:
    job = await with_notify(store, None)
    new = replace(new_recipient(store), notify=notify)
    (job,) = await store.accept(message(store), b"hello", [new], lifetime_ms=DAY, leased=True)
    await store.settle(result(job, Event.HAND_OVER))
    for group in await due(store):
        await store.duties.drop([duty.id for duty in group.duties])
    said = replace(report(job.recipient_id, Event.DELIVER, OK), event=event, action=action, proven=proven)
    await store.settle_dsn(await dsn(store, job.recipient_id), [said], "dsn")
    assert await kinds(store) == told
    if told:
        ((duty,),) = [group.duties for group in await due(store)]
        assert (duty.reply, duty.mx) == (OK, "far.example")


async def test_a_mail_that_is_to_be_forwarded_is_owed_to_the_sender_of_what_it_answers(store: Store) -> None:
    (job,) = await accept(store)
    mail = await dsn(store, job.recipient_id)
    await store.settle_dsn(mail, [], "auto-reply", forward=True)
    ((duty,),) = [group.duties for group in await due(store)]
    assert (duty.kind, duty.dsn_id) == (DutyKind.FORWARD, mail)
    assert await store.duties.returned_mail(mail) == ("", b"raw")
    assert await store.duties.returned_mail(mail + 1) is None


async def test_forged_reports_to_a_return_path_that_leaked_are_bounded(store: Store, reader: Reader) -> None:
    """Each of them says something else; neither the timeline nor the disk nor the sender's mailbox fills."""
    new = replace(new_recipient(store), notify="SUCCESS")
    (job,) = await store.accept(message(store), b"hello", [new], lifetime_ms=DAY, leased=True)
    await store.settle(result(job, Event.HAND_OVER))
    for number in range(120):
        reply = Reply(250, f"2.0.{number}", "taken")
        said = replace(report(job.recipient_id, Event.HAND_OVER, reply), action="relayed")
        last = await store.accept_dsn(b"x" * 100_000, job.recipient_id, "", NOW)
        await store.settle_dsn(last, [said], "dsn")
    timeline = await reader.timeline(job.recipient_id)
    assert len([entry for entry in timeline if entry.kind is TimelineKind.REPORT]) == 100
    kept = await store.duties.returned_mail(last)
    assert kept is not None
    assert len(kept[1]) == 64 * 1024
    assert sum(len(group.duties) for group in await store.duties.due(FAR, 999)) <= 101


async def test_a_mail_that_waits_to_be_forwarded_keeps_no_content(store: Store) -> None:
    """It may wait for long, and returns nothing of what it answers."""
    (job,) = await accept(store)
    await store.settle_dsn(await dsn(store, job.recipient_id), [], "auto-reply", forward=True)
    await store.settle(result(job, Event.DELIVER))
    assert await kinds(store) == ["forward"]
    assert await store.content(job.message.id) is None


@pytest.mark.parametrize("sender", ["", None])
async def test_what_came_for_nobody_is_forwarded_to_nobody(store: Store, sender: str | None) -> None:
    job = await with_notify(store, None, sender="")
    await store.settle_dsn(await dsn(store, None if sender is None else job.recipient_id), [], "none", forward=True)
    assert await kinds(store) == []


async def test_an_operator_s_removal_is_told_of(store: Store) -> None:
    _, (recipient_id,) = await accept_due(store)
    await store.remove([recipient_id], NOW)
    ((duty,),) = [group.duties for group in await due(store)]
    assert duty.reply is not None
    assert duty.reply.text == "removed from the queue by the operator"
    assert duty.reply.code == 0


async def test_duties_can_be_postponed(store: Store) -> None:
    (job,) = await accept(store)
    await store.settle(result(job, Event.FAIL, UNKNOWN))
    (group,) = await due(store)
    await store.duties.postpone([duty.id for duty in group.duties], FAR + 9)
    assert await due(store) == []
    assert len(await due(store, FAR + 9)) == 1


async def test_a_digest_tells_of_what_was_collected_once(store: Store, reader: Reader) -> None:
    """Its duties are deleted in steps, and none of them is told of twice meanwhile."""
    jobs = [(await accept(store, f"u{n}@x.example", broadcast="Spring"))[0] for n in range(3)]
    for job in jobs[:2]:
        await store.settle(result(job, Event.FAIL, UNKNOWN))
    for group in await due(store):
        ids = [duty.id for duty in group.duties]
        await store.duties.collect(ids, group.message.sender, "Spring", now_ms=NOW, look_ms=NOW + MINUTE)
    assert await kinds(store) == []
    assert await store.content(jobs[0].message.id) is None, "a digest returns no content"
    assert await store.duties.digests(NOW, 9) == []
    (digest,) = await store.duties.digests(NOW + MINUTE, 9)
    assert digest == Digest("ann@sender.example", "Spring", NOW, None, complete=False)
    assert await store.duties.waits(digest)
    collected = await store.duties.collected(digest, 9)
    assert [(one.address, one.reply, one.kind) for one in collected] == [
        ("u0@x.example", UNKNOWN, DutyKind.FAILED),
        ("u1@x.example", UNKNOWN, DutyKind.FAILED),
    ]
    told = await asyncio.gather(
        *(store.duties.tell(notice(store), digest, collected[-1].id, complete=False, lifetime_ms=DAY) for _ in range(3))
    )
    assert sorted(told) == [False, False, True]
    assert await store.duties.collected(digest, 9) == []
    await store.duties.sweep(digest)
    await store.duties.look_later(digest, NOW + 9 * MINUTE)
    assert await store.duties.digests(FAR, 9) == []
    await store.settle(result(jobs[2], Event.BOUNCE, BUSY))
    (group,) = await due(store)
    ids = [duty.id for duty in group.duties]
    await store.duties.collect(ids, "ann@sender.example", "Spring", now_ms=NOW + 5 * MINUTE, look_ms=NOW + 7 * MINUTE)
    (again,) = await store.duties.digests(FAR, 9)
    assert (again.first_ms, again.last_ms) == (NOW + 5 * MINUTE, NOW + MINUTE)
    assert not await store.duties.waits(again)
    assert len(await reader.log(LogFilter(recipient="ann@sender.example"), limit=9)) == 1


async def test_a_duty_that_is_collected_late_is_told_of_in_the_next_digest(store: Store) -> None:
    """Recipients of two messages fail in turn: one made a duty earlier, but another was collected and told of first."""
    jobs = [(await accept(store, f"u{number}@x.example", broadcast="Spring"))[0] for number in range(2)]
    for job in jobs:
        await store.settle(result(job, Event.FAIL, UNKNOWN))
    earlier, later = await due(store)
    for group in (later, earlier):
        ids = [duty.id for duty in group.duties]
        await store.duties.collect(ids, "ann@sender.example", "Spring", now_ms=NOW, look_ms=NOW)
        (digest,) = await store.duties.digests(FAR, 9)
        (collected,) = await store.duties.collected(digest, 9)
        assert collected.address == group.duties[0].address
        await store.duties.tell(notice(store), digest, collected.id, complete=False, lifetime_ms=DAY)
        await store.duties.sweep(digest)


async def test_digests_of_long_ago_are_forgotten(store: Store) -> None:
    (job,) = await accept(store)
    await store.settle(result(job, Event.FAIL, UNKNOWN))
    (group,) = await due(store)
    ids = [duty.id for duty in group.duties]
    await store.duties.collect(ids, "ann@sender.example", "", now_ms=NOW, look_ms=NOW)
    await store.duties.forget(FAR)
    (digest,) = await store.duties.digests(FAR, 9)
    await store.duties.tell(notice(store), digest, None, complete=False, lifetime_ms=DAY)
    await store.duties.sweep(digest)
    await store.duties.look_later(digest, NOW)
    await store.duties.forget(NOW)
    await store.duties.forget(FAR)
    await store.duties.collect([], "ann@sender.example", "", now_ms=NOW, look_ms=NOW)
    assert await store.duties.digests(FAR, 9) == []


async def test_duties_go_with_their_message(store: Store) -> None:
    (job,) = await accept(store)
    await store.settle(result(job, Event.FAIL, UNKNOWN))
    assert await store.purge(FAR) == 1
    assert await due(store) == []
