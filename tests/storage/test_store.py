"""Laws of the store's verbs."""

import asyncio
import sqlite3
from dataclasses import replace
from pathlib import Path

import pytest

from storage.model import HitKind, LogFilter, LogRow, Reply, Report, Settled, TimelineKind, User
from storage.people import POLICY, Unsubscription
from storage.reader import Reader
from storage.status import Event, Status
from storage.store import LEASE_MS, Store
from tests.storage import makers
from tests.storage.makers import BUSY, DAY, FAR, MINUTE, NOW, UNKNOWN, accept, accept_due, hit, message, report, result


async def one_row(reader: Reader, recipient_id: int) -> LogRow:
    return next(row for row in await reader.log(LogFilter(), limit=1000) if row.recipient_id == recipient_id)


async def test_an_accepted_message_is_there_with_its_jobs_and_content(store: Store, reader: Reader) -> None:
    made = message(store, size=9, user="ann", envid="e1", ret="HDRS", smtputf8=True, subject="Grüße", plan=b"\x00\xff")
    new = [makers.new_recipient(store, "Bob@there.example"), makers.new_recipient(store, "eve@else.example")]
    jobs = await store.accept(made, b"content\r\n", new, lifetime_ms=DAY, leased=True)
    assert [(job.recipient_id, job.address, job.domain) for job in jobs] == [
        (new[0].id, "Bob@there.example", "there.example"),
        (new[1].id, "eve@else.example", "else.example"),
    ]
    assert all(job.message == made and job.content == b"content\r\n" for job in jobs)
    assert all((job.status, job.attempts, job.expires_ms) == (Status.UNSENT, 0, NOW + DAY) for job in jobs)
    assert await store.content(made.id) == b"content\r\n"
    assert [row.recipient for row in await reader.log(LogFilter(), limit=9)] == [
        "eve@else.example",
        "Bob@there.example",
    ]


async def test_a_claimed_job_is_the_accepted_one_read_back(store: Store) -> None:
    made = message(
        store, user="ann", envid="e1", smtputf8=True, subject="Grüße", broadcast="b", broadcast_type="general"
    )
    new = [makers.NewRecipient(store.next_id(), "b@x.example", "x.example", notify="NEVER", orcpt="o")]
    assert await store.accept(made, b"hello", new, lifetime_ms=DAY, leased=False) == []
    (job,) = await store.claim(NOW, 10)
    assert job.message == made
    assert (job.recipient_id, job.address, job.notify, job.orcpt) == (new[0].id, "b@x.example", "NEVER", "o")
    assert (job.expires_ms, job.content, job.attempts) == (NOW + DAY, None, 0)


async def test_what_admission_refused_is_in_the_log_and_never_in_the_queue(store: Store, reader: Reader) -> None:
    refused = (Status.BLOCKED, Status.BLOCKED, Status.NO_EMAIL_SELECTED)
    await makers.block(store, "a@x.example")
    await store.contacts.unsubscribe([Unsubscription("b@x.example", "general", NOW, "one-click")])
    new = [makers.new_recipient(store, f"{local}@x.example") for local in "aab"]
    made = message(store, broadcast_type="general")
    assert await store.accept(made, b"hello", new, lifetime_ms=DAY, leased=True) == []
    assert await store.content(made.id) is None
    assert await store.claim(NOW + DAY, 10) == []
    assert {row.status for row in await reader.log(LogFilter(), limit=9)} == set(refused)


async def test_an_answer_without_a_lease_is_refused_but_kept_as_a_fact(store: Store, reader: Reader) -> None:
    """A worker that lost its lease cannot overwrite the new holder's answer."""
    (job,) = await accept(store)
    (again,) = await store.claim(NOW + LEASE_MS, 10)
    assert again.lease > job.lease
    assert await store.settle(result(job, Event.FAIL, UNKNOWN)) == Settled(Status.UNSENT, accepted=False)
    assert await store.settle(result(again, Event.DELIVER, at_ms=NOW + LEASE_MS)) == Settled(Status.DELIVERED, True)
    entries = await reader.timeline(job.recipient_id)
    kinds = [entry.kind for entry in entries]
    assert kinds == [TimelineKind.ACCEPTED, TimelineKind.ATTEMPT, TimelineKind.ATTEMPT, TimelineKind.QUEUE]
    assert (await one_row(reader, job.recipient_id)).attempts == 1


async def test_an_expired_lease_that_nobody_took_is_still_good(store: Store) -> None:
    (job,) = await accept(store)
    late = result(job, Event.DELIVER, at_ms=NOW + 3 * LEASE_MS)
    assert (await store.settle(late)).accepted


async def test_a_job_that_is_settled_twice_moves_once(store: Store) -> None:
    (job,) = await accept(store)
    first, second = await asyncio.gather(
        store.settle(result(job, Event.DELIVER)), store.settle(result(job, Event.FAIL, UNKNOWN))
    )
    assert (first, second) == (Settled(Status.DELIVERED, True), Settled(Status.DELIVERED, False))


async def test_a_recipient_that_was_purged_takes_no_answer(store: Store) -> None:
    (job,) = await accept(store)
    await store.settle(result(job, Event.DELIVER))
    assert await store.purge(NOW + 1) == 1
    assert await store.settle(result(job, Event.DELIVER)) == Settled(Status.UNSENT, accepted=False)


async def test_a_result_that_contradicts_itself_is_refused_before_it_is_queued(store: Store) -> None:
    (job,) = await accept(store)
    broken = makers.Result(job, result(job, Event.DEFER).attempt, Event.DEFER, None)
    with pytest.raises(ValueError, match="next_attempt_ms"):
        await store.settle(broken)


async def test_content_is_dropped_after_the_last_recipient_and_not_before(store: Store) -> None:
    jobs = await accept(store, "a@x.example", "b@x.example", "c@x.example")
    made = jobs[0].message.id
    await store.settle(result(jobs[0], Event.DELIVER))
    await store.settle(result(jobs[1], Event.DEFER, BUSY))
    await store.settle(result(jobs[2], Event.FAIL, UNKNOWN))
    assert await store.content(made) == b"hello"
    (job,) = await store.claim(NOW + MINUTE, 10)
    assert (job.attempts, job.status) == (1, Status.SOFT_BOUNCED)
    await store.settle(result(job, Event.DELIVER))
    for group in await store.duties.due(FAR, 9):
        await store.duties.drop([duty.id for duty in group.duties])
    assert await store.content(made) is None


async def test_claims_take_the_longest_due_first_and_each_once(store: Store) -> None:
    for minute in (3, 1, 2):
        await accept_due(store, f"{minute}@x.example", received_ms=NOW + minute * MINUTE)
    first, second = await asyncio.gather(store.claim(NOW + 5 * MINUTE, 2), store.claim(NOW + 5 * MINUTE, 2))
    assert [job.address for job in first] == ["1@x.example", "2@x.example"]
    assert [job.address for job in second] == ["3@x.example"]
    assert await store.claim(NOW + 5 * MINUTE, 2) == []


async def test_a_long_queue_is_claimed_in_bites(store: Store) -> None:
    for minute in range(11):
        await accept_due(store, f"{minute}@x.example", received_ms=NOW + minute * MINUTE)
    bites = [[job.address for job in await store.claim(NOW + DAY, 2)] for _ in range(7)]
    assert [len(bite) for bite in bites] == [2, 2, 2, 2, 2, 1, 0]
    assert [address for bite in bites for address in bite] == [f"{minute}@x.example" for minute in range(11)]


async def test_nothing_is_claimed_before_it_is_due(store: Store) -> None:
    await accept_due(store)
    assert await store.claim(NOW - 1, 10) == []
    assert len(await store.claim(NOW, 10)) == 1


async def test_skipped_domains_stay_and_hide_nobody(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """A queue that begins with more of them than one look may see is looked through in several."""
    monkeypatch.setattr("storage.lookups._MOST_SCANNED", 4)
    await accept_due(store, *(f"{number}@busy.example" for number in range(10)))
    await accept_due(store, "eve@else.example", received_ms=NOW + 1)
    claimed = [job.address for _ in range(4) for job in await store.claim(NOW + 1, 5, {"busy.example"})]
    assert claimed == ["eve@else.example"]
    assert len(await store.claim(NOW + 1, 20)) == 4, "the look begins anew at the front, within its bound"


async def test_the_next_due_time_is_that_of_the_unleased(store: Store) -> None:
    assert await store.next_due_ms() is None
    (job,) = await accept(store)
    assert await store.next_due_ms() is None
    await accept_due(store, received_ms=NOW + 7)
    assert await store.next_due_ms() == NOW + 7
    await store.settle(result(job, Event.DEFER, BUSY, at_ms=NOW - 2 * MINUTE))
    assert await store.next_due_ms() == NOW - MINUTE
    await store.hold([job.recipient_id], NOW)
    assert await store.next_due_ms() == NOW + 7


async def test_a_postponed_job_is_due_again_with_its_attempts_unchanged(store: Store) -> None:
    (job,) = await accept(store)
    await store.postpone([job], NOW + MINUTE)
    assert not (await store.settle(result(job, Event.DELIVER))).accepted
    assert await store.claim(NOW + MINUTE - 1, 10) == []
    (again,) = await store.claim(NOW + MINUTE, 10)
    assert (again.attempts, again.status) == (0, Status.UNSENT)


async def test_a_lease_that_was_lost_cannot_be_postponed_or_renewed(store: Store) -> None:
    (job,) = await accept(store)
    (again,) = await store.claim(NOW + LEASE_MS, 10)
    await store.postpone([job], NOW)
    await store.renew([job], NOW + 9 * LEASE_MS)
    assert await store.claim(NOW + LEASE_MS, 10) == []
    assert len(await store.claim(NOW + 2 * LEASE_MS, 10)) == 1
    assert not (await store.settle(result(again, Event.DELIVER))).accepted


async def test_a_renewed_lease_lasts_from_then(store: Store) -> None:
    (job,) = await accept(store)
    await store.renew([job], NOW + MINUTE)
    assert await store.claim(NOW + MINUTE + LEASE_MS - 1, 10) == []
    assert (await store.settle(result(job, Event.DELIVER))).accepted


async def test_an_open_is_kept_until_the_copy_is_out(store: Store, reader: Reader) -> None:
    (job,) = await accept(store)
    await store.record_hits([hit(job.recipient_id, at_ms=NOW + 5)])
    assert (await one_row(reader, job.recipient_id)).status is Status.UNSENT
    assert await store.settle(result(job, Event.DELIVER)) == Settled(Status.OPENED, accepted=True)
    row = await one_row(reader, job.recipient_id)
    assert (row.status, row.opens, row.first_open_ms) == (Status.OPENED, 1, NOW + 5)


async def test_an_open_settles_the_doubt_and_there_is_no_further_try(store: Store) -> None:
    (job,) = await accept(store)
    await store.settle(result(job, Event.DEFER, BUSY, in_doubt=True))
    await store.record_hits([hit(job.recipient_id)])
    assert await store.claim(NOW + DAY, 10) == []
    assert await store.content(job.message.id) is None


async def test_hits_of_one_group_are_all_counted(store: Store, reader: Reader) -> None:
    (job,) = await accept(store)
    await store.settle(result(job, Event.DELIVER))
    kinds = (HitKind.PERSON, HitKind.PROXY, HitKind.SCANNER, HitKind.PREFETCH)
    await asyncio.gather(*(store.record_hits([hit(job.recipient_id, kind), hit(1234567)]) for kind in kinds))
    row = await one_row(reader, job.recipient_id)
    assert (row.status, row.opens, row.machine_hits) == (Status.OPENED, 2, 2)
    hits = [entry.hit for entry in await reader.timeline(job.recipient_id) if entry.kind is TimelineKind.HIT]
    assert sorted(hits) == sorted(kinds)


async def test_a_flood_of_hits_is_counted_and_not_told_one_by_one(
    store: Store, reader: Reader, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("storage.fact_verbs._MOST_HITS", 3)
    (job,) = await accept(store)
    await store.record_hits([hit(job.recipient_id, HitKind.SCANNER)] * 2)
    await store.record_hits([hit(job.recipient_id)] * 5)
    row = await one_row(reader, job.recipient_id)
    assert (row.opens, row.machine_hits) == (5, 2)
    assert len(await reader.timeline(job.recipient_id)) == 1 + 3


async def test_a_dsn_waits_until_it_is_settled_and_is_settled_once(store: Store, reader: Reader) -> None:
    (job,) = await accept(store)
    await store.settle(result(job, Event.HAND_OVER))
    dsn_id = await store.accept_dsn(b"raw \xff\x00", job.recipient_id, "", NOW + 5)
    assert await store.waiting_dsns(10) == [(dsn_id, job.recipient_id, b"raw \xff\x00")]
    told = [report(job.recipient_id, Event.FAIL), report(987654, Event.FAIL)]
    assert await store.settle_dsn(dsn_id, told, "dsn") == [Settled(Status.FAILED, accepted=True)]
    assert await store.settle_dsn(dsn_id, told, "dsn") == []
    assert await store.waiting_dsns(10) == []
    row = await one_row(reader, job.recipient_id)
    assert (row.status, row.enhanced_status, row.diagnostic) == (Status.FAILED, "5.1.1", "no such user")


async def test_a_report_met_again_is_counted_once(store: Store, reader: Reader) -> None:
    (job,) = await accept(store)
    await store.settle(result(job, Event.DELIVER))
    first, again = [await store.accept_dsn(b"raw", job.recipient_id, "", NOW) for _ in range(2)]
    told = [report(job.recipient_id, Event.FAIL), report(job.recipient_id, Event.FAIL)]
    settled = await store.settle_dsn(first, told, "dsn") + await store.settle_dsn(again, told, "dsn")
    assert [answer.accepted for answer in settled] == [True, False, False, False]
    kinds = [entry.kind for entry in await reader.timeline(job.recipient_id)]
    assert kinds.count(TimelineKind.REPORT) == 1
    assert (await one_row(reader, job.recipient_id)).late == "bounced later: 5.1.1 no such user"


async def test_a_complaint_moves_nothing_and_is_counted_once_a_category(store: Store, reader: Reader) -> None:
    (job,) = await accept(store)
    await store.settle(result(job, Event.DELIVER))
    spam = Report(job.recipient_id, None, Reply(0, None, "an abuse report"), category="spam", rules=1)
    told = [spam, spam, replace(spam, category="authentication")]
    dsn_id = await store.accept_dsn(b"raw", job.recipient_id, "", NOW)
    settled = await store.settle_dsn(dsn_id, told, "complaint")
    assert settled == [Settled(Status.DELIVERED, accepted) for accepted in (True, False, True)]
    first, second = [entry for entry in await reader.timeline(job.recipient_id) if entry.kind is TimelineKind.COMPLAINT]
    assert first.text == "feedback report: spam; an abuse report"
    assert (first.category, second.category, first.dsn_id) == ("spam", "authentication", dsn_id)
    row = await one_row(reader, job.recipient_id)
    assert (row.status, row.category, row.late) == (Status.DELIVERED, None, "")


async def test_what_anybody_could_have_written_ends_no_recipient_that_is_still_served(
    store: Store, reader: Reader
) -> None:
    pending, sent = await accept(store, "a@x.example", "b@x.example")
    await store.settle(result(sent, Event.HAND_OVER))
    told = [replace(report(job.recipient_id, Event.FAIL), proven=False) for job in (pending, sent)]
    settled = await store.settle_dsn(await store.accept_dsn(b"raw", None, "", NOW), told, "dsn")
    assert settled == [Settled(Status.UNSENT, accepted=False), Settled(Status.FAILED, accepted=True)]
    entry = (await reader.timeline(pending.recipient_id))[-1]
    assert entry.text == "reported: fail (not by the signed return path); 550 5.1.1 no such user"


async def test_the_last_replys_category_is_kept(store: Store, reader: Reader) -> None:
    (job,) = await accept(store)
    full = Reply(452, "4.2.2", "over quota")
    await store.settle(result(job, Event.DEFER, full, category="mailbox full", rules=1))
    row = await one_row(reader, job.recipient_id)
    assert (row.category, row.status) == ("mailbox full", Status.SOFT_BOUNCED)
    (again,) = await store.claim(NOW + DAY, 9)
    await store.settle(result(again, Event.HAND_OVER))
    assert (await one_row(reader, job.recipient_id)).category is None
    told = replace(report(job.recipient_id, Event.FAIL), category="user unknown", rules=1)
    await store.settle_dsn(await store.accept_dsn(b"raw", job.recipient_id, "", NOW), [told], "dsn")
    assert (await one_row(reader, job.recipient_id)).category == "user unknown"
    timeline = await reader.timeline(job.recipient_id)
    assert [entry.category for entry in timeline] == [None, "mailbox full", None, "user unknown"]


async def test_an_auto_reply_is_kept_and_counts_nothing(store: Store) -> None:
    dsn_id = await store.accept_dsn(b"I am away", None, "eve@else.example", NOW)
    assert await store.settle_dsn(dsn_id, [], "auto-reply") == []
    assert await store.waiting_dsns(10) == []


async def test_a_report_about_what_was_never_sent_is_only_kept(store: Store, reader: Reader) -> None:
    first, duplicate = makers.new_recipient(store), makers.new_recipient(store)
    await store.accept(message(store), b"hello", [first, duplicate], lifetime_ms=DAY, leased=True)
    dsn_id = await store.accept_dsn(b"raw", None, "", NOW)
    assert await store.settle_dsn(dsn_id, [report(duplicate.id, Event.FAIL)], "dsn") == [
        Settled(Status.DUPLICATE, accepted=False)
    ]
    assert (await reader.timeline(duplicate.id))[-1].kind is TimelineKind.REPORT


async def test_operators_hold_release_flush_and_remove(store: Store, reader: Reader) -> None:
    _, (first, second) = await accept_due(store, "a@x.example", "b@x.example", received_ms=NOW + DAY)
    assert await store.hold([first, 999], NOW) == 1
    assert await store.flush(None, NOW) == 1
    assert [job.recipient_id for job in await store.claim(NOW, 10)] == [second]
    assert (await one_row(reader, first)).held
    assert await store.release([first, second], NOW + 1) == 1
    assert not (await one_row(reader, first)).held
    assert await store.remove([first, second], NOW + 2) == 1
    row = await one_row(reader, first)
    assert (row.status, row.diagnostic) == (Status.BOUNCED, "removed from the queue by the operator")
    told = [entry.text for entry in await reader.timeline(first) if entry.kind is TimelineKind.QUEUE]
    assert told == ["held by the operator", "released by the operator", "removed from the queue by the operator"]


async def test_a_flush_of_everything_takes_as_many_steps_as_it_needs(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("storage.orders._FLUSHED_AT_ONCE", 3)
    await accept_due(store, *(f"{number}@x.example" for number in range(10)), received_ms=NOW + DAY)
    assert await store.flush(None, NOW) == 10
    assert await store.flush(None, NOW) == 0
    assert len(await store.claim(NOW, 20)) == 10


async def test_a_flush_of_some_flushes_those(store: Store) -> None:
    _, (first, _) = await accept_due(store, "a@x.example", "b@x.example", received_ms=NOW + DAY)
    assert await store.flush([first], NOW) == 1
    assert [job.recipient_id for job in await store.claim(NOW, 10)] == [first]


async def test_what_is_removed_quietly_is_told_to_nobody(store: Store, reader: Reader) -> None:
    """A removal is a failure that the sender hears of, unless the operator says otherwise: a run of spam, say."""
    _, (told, quiet) = await accept_due(store, "a@x.example", "b@x.example")
    assert await store.remove([told], NOW) == 1
    assert await store.remove([quiet], NOW, tell=False) == 1
    rows = await reader.log(LogFilter(), limit=9)
    assert {row.status for row in rows} == {Status.BOUNCED}
    owed = await store.duties.due(FAR, 10)
    assert [duty.recipient_id for group in owed for duty in group.duties] == [told]


async def test_users_are_added_changed_and_removed(store: Store, reader: Reader) -> None:
    ann = User("ann", "$argon2id$1", ("ann@x.example", "@y.example"), NOW)
    assert await store.add_user(ann)
    assert not await store.add_user(User("ann", "$argon2id$2"))
    assert await reader.user("ann") == ann
    assert await store.set_user("ann", password_hash="$argon2id$3", senders=None)
    assert await store.set_user("ann", password_hash=None, senders=())
    assert await reader.users() == [User("ann", "$argon2id$3", (), NOW)]
    assert not await store.set_user("eve", password_hash="x", senders=None)
    assert await store.remove_user("ann")
    assert not await store.remove_user("ann")
    assert await reader.user("ann") is None


async def test_what_a_process_held_is_due_at_once_after_it_closed(store: Store, tmp_path: Path) -> None:
    other = await Store.open(tmp_path, POLICY)
    (job,) = await accept(other)
    await store.hold([job.recipient_id], NOW)
    (theirs,) = await accept(other, "eve@else.example")
    assert await store.claim(NOW, 10) == []
    assert await store.recover(NOW) == 0
    await other.close()
    await other.close()
    assert [claimed.recipient_id for claimed in await store.claim(NOW, 10)] == [theirs.recipient_id]


async def test_what_waits_when_the_store_closes_is_committed(tmp_path: Path) -> None:
    store = await Store.open(tmp_path, POLICY)
    waiting = [asyncio.ensure_future(accept(store, f"{number}@x.example")) for number in range(20)]
    await asyncio.sleep(0)
    await store.close()
    assert [len(jobs) for jobs in await asyncio.gather(*waiting)] == [1] * 20
    with pytest.raises(RuntimeError, match="the store is closed"):
        await store.next_due_ms()
    reader = await Reader.open(tmp_path)
    assert (await reader.status_counts())[Status.UNSENT] == 20
    await reader.close()


async def test_a_cancelled_task_does_not_cancel_the_commit(store: Store, reader: Reader) -> None:
    for content in (b"small", b"x" * 300_000):
        task = asyncio.ensure_future(accept(store, content=content))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    while (await reader.status_counts())[Status.UNSENT] < 2:  # noqa: ASYNC110 - the commit is the event, nobody tells it
        await asyncio.sleep(0.001)


async def test_an_error_of_a_look_up_reaches_its_caller(store: Store) -> None:
    with pytest.raises(sqlite3.Error):
        await store.waiting_dsns("many")  # type: ignore[arg-type]
    assert await store.waiting_dsns(5) == []


async def test_text_that_sqlite_refuses_is_made_clean(store: Store, reader: Reader) -> None:
    (job,) = await accept(store, subject="a\x00b\ud83d", sender="\udcff@x.example", from_header="\ud800")
    odd = makers.Reply(550, "5.1.1\udcff", "gone \x00\ud800")
    await store.settle(result(job, Event.FAIL, odd, mx="\udc80.example"))
    await store.record_hits([makers.Hit(job.recipient_id, NOW, HitKind.SCANNER, "\ud800", "\x00", "\udcff")])
    dsn_id = await store.accept_dsn(b"raw", job.recipient_id, "\ud800", NOW)
    await store.settle_dsn(dsn_id, [makers.Report(job.recipient_id, Event.FAIL, odd, "\ud800", "\x00")], "\udcff")
    await store.add_user(User("\ud800", "\x00", ("\ud800",)))
    row = await one_row(reader, job.recipient_id)
    assert (row.subject, row.sender, row.diagnostic) == ("a\ufffdb\ufffd", "\ufffd@x.example", "gone \ufffd\ufffd")
    assert (row.enhanced_status, row.mx) == ("5.1.1\ufffd", "\ufffd.example")
    assert len(await reader.timeline(job.recipient_id)) == 4
    assert (await reader.user("\ud800")) is not None
    assert await reader.log(LogFilter(recipient="\udcff", sender="\x00@\ud800"), limit=5) == []
