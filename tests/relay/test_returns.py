"""What comes back, through the real listener into a real store: whose copy it speaks of, and what it does to it."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest

from relay.bounce.classify import VERSION
from relay.receive.listener import BounceListener
from relay.receive.settings import BounceSettings
from relay.reclassify import changes, write
from relay.returns import Returns
from storage.model import Job, LogFilter, LogRow, Reply, StoredDsn, TimelineEntry, TimelineKind, queue_id
from storage.people import POLICY
from storage.reader import Reader
from storage.settings import ServerSettings
from storage.status import Event, Status
from storage.store import Store
from storage.token import Purpose, TokenBox
from tests.receive.conftest import HOST, Talk
from tests.storage.makers import NOW, accept, result

BOX = TokenBox(b"k" * 32, Purpose.RETURN_PATH)
DOMAIN = "bounces.example"

REPORT = """\
From: MAILER-DAEMON@mx.example
Subject: Undelivered Mail Returned to Sender
Auto-Submitted: auto-replied
MIME-Version: 1.0
Content-Type: multipart/report; report-type=delivery-status; boundary=b

--b

It could not be delivered.
--b
Content-Type: message/delivery-status

Reporting-MTA: dns; mx.example
{message}
{recipients}
--b
Content-Type: text/rfc822-headers

{returned}
--b--
"""
GONE = """
Final-Recipient: rfc822; {}
Action: failed
Status: 5.1.1
Diagnostic-Code: smtp; 550 5.1.1 User unknown
"""
COMPLAINT = """\
From: fbl@provider.example
Subject: complaint
MIME-Version: 1.0
Content-Type: multipart/report; report-type=feedback-report; boundary=b

--b

This is an email abuse report.
--b
Content-Type: message/feedback-report

Feedback-Type: {type}
User-Agent: Provider/1.0
Version: 1
{fields}
--b
Content-Type: text/rfc822-headers

Subject: news
--b--
"""


def dsn(*recipients: str, message: str = "", returned: str = "Subject: news") -> str:
    groups = "".join(GONE.format(recipient) for recipient in recipients)
    return REPORT.format(message=message, recipients=groups, returned=returned)


class Desk:
    """A bounce listener with all that is behind it."""

    def __init__(self, store: Store, reader: Reader) -> None:
        self.store = store
        self.reader = reader
        self.returns = Returns(store, reader, BOX)

    async def listen(self, state_dir: Path) -> None:
        settings = BounceSettings(listen=cast("Any", ("127.0.0.1:0",)), domain=DOMAIN)
        server = ServerSettings(hostname=HOST, state_dir=state_dir)
        self.listener = BounceListener(settings, server, self.returns.open, self.returns.take, None)
        await self.listener.start()

    async def bring(self, mail: str, local_part: str = "postmaster") -> None:
        """Send a bounce message, and wait until it is settled."""
        assert (await self.answered(mail, local_part)).startswith("250 ")

    async def answered(self, mail: str, *local_parts: str) -> str:
        """Send a bounce message, wait until it is settled, and return the answer."""
        endpoint = self.listener.addresses[0]
        talk = Talk(*await asyncio.open_connection(endpoint.host, endpoint.port))
        await talk.greet()
        await talk("MAIL FROM:<>")
        for local_part in local_parts:
            assert (await talk(f"RCPT TO:<{local_part}@{DOMAIN}>")).startswith("250 ")
        answer = await talk.message(mail.replace("\n", "\r\n").encode())
        await talk.close()
        while self.returns._under_way:
            await asyncio.wait(self.returns._under_way)
        return answer

    async def sent(self, *addresses: str, **message: Any) -> list[Job]:
        jobs = await accept(self.store, *addresses, **{"received_ms": NOW, **message})
        for job in jobs:
            await self.store.settle(result(job, Event.HAND_OVER))
        return jobs

    async def row(self, recipient_id: int) -> LogRow:
        return next(row for row in await self.reader.log(LogFilter(), limit=100) if row.recipient_id == recipient_id)

    async def timeline(self, recipient_id: int, kind: TimelineKind) -> list[TimelineEntry]:
        return [entry for entry in await self.reader.timeline(recipient_id) if entry.kind is kind]

    async def unmatched(self) -> list[StoredDsn]:
        return [stored async for stored in self.reader.unmatched()]


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[Desk]:
    async with contextlib.AsyncExitStack() as stack:
        store = await Store.open(tmp_path, POLICY)
        stack.push_async_callback(store.close)
        reader = await Reader.open(tmp_path)
        stack.push_async_callback(reader.close)
        desk = Desk(store, reader)
        await desk.listen(tmp_path)
        stack.push_async_callback(desk.returns.drain)
        stack.push_async_callback(desk.listener.drain, 0)
        yield desk


async def test_a_report_to_a_signed_return_path_is_that_copys_and_counts_once(desk: Desk) -> None:
    (job,) = await desk.sent("bob@there.example")
    for _ in range(2):
        await desk.bring(dsn("bob.elsewhere@alias.example"), BOX.seal(job.recipient_id))
    row = await desk.row(job.recipient_id)
    assert (row.status, row.category, row.enhanced_status) == (Status.FAILED, "user unknown", "5.1.1")
    (entry,) = await desk.timeline(job.recipient_id, TimelineKind.REPORT)
    assert "for bob.elsewhere@alias.example" in entry.text
    assert entry.category == "user unknown"
    assert await desk.unmatched() == []


RETURNED_ID = (
    "Received: from a (b [192.0.2.1])\n by relay.example (Telltale) with ESMTP id {};\n Mon, 23 Nov 2026 14:00:00 +0000"
)


@pytest.mark.parametrize(
    ("message", "returned", "by"),
    [
        ("Original-Envelope-Id: {queue_id}", "Subject: news", "envelope id"),
        ("", RETURNED_ID, "queue id"),
        ("", "Message-ID: <m1@sender.example>", "Message-ID"),
    ],
)
async def test_without_a_return_path_ids_of_the_message_and_the_named_recipient_tell(
    desk: Desk, message: str, returned: str, by: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "telltale.bounce")
    ann, bob = await desk.sent("ann@there.example", "Bob@there.example", message_id="<m1@sender.example>")
    id_ = queue_id(ann.message.id)
    mail = dsn("bob@there.example", message=message.format(queue_id=id_), returned=returned.format(id_))
    await desk.bring(mail)
    assert [(await desk.row(job.recipient_id)).status for job in (ann, bob)] == [Status.SENT, Status.FAILED]
    assert f'matched="{by}"' in caplog.text or f"matched={by}" in caplog.text
    assert 'detector="delivery status"' in caplog.text
    (entry,) = await desk.timeline(bob.recipient_id, TimelineKind.REPORT)
    assert "not by the signed return path" in entry.text
    stored = await desk.reader.dsn(entry.dsn_id or 0)
    assert stored is not None
    assert stored.raw == mail.replace("\n", "\r\n").encode()


async def test_one_report_may_speak_of_several_of_a_messages_recipients(desk: Desk) -> None:
    jobs = await desk.sent("ann@there.example", "bob@there.example", "eve@there.example", message_id="<m@s.example>")
    await desk.bring(dsn("ann@there.example", "eve@there.example", returned="Message-ID: <m@s.example>"))
    statuses = [(await desk.row(job.recipient_id)).status for job in jobs]
    assert statuses == [Status.FAILED, Status.SENT, Status.FAILED]


async def test_the_returned_copys_own_return_path_is_a_signature_too(desk: Desk) -> None:
    pending, _ = await accept(desk.store, "ann@there.example", "bob@there.example")
    path = f"Return-Path: <{BOX.seal(pending.recipient_id)}@{DOMAIN}>\nSubject: news"
    await desk.bring(dsn("other@alias.example", returned=path))
    assert (await desk.row(pending.recipient_id)).status is Status.FAILED


async def test_a_report_that_anybody_could_have_written_stops_no_delivery(desk: Desk) -> None:
    (job,) = await accept(desk.store, "ann@there.example", message_id="<m@s.example>")
    await desk.bring(dsn("ann@there.example", returned="Message-ID: <m@s.example>"))
    assert (await desk.row(job.recipient_id)).status is Status.UNSENT
    assert len(await desk.timeline(job.recipient_id, TimelineKind.REPORT)) == 1


@pytest.mark.parametrize(
    "mail",
    [
        dsn("stranger@there.example"),
        dsn("stranger@there.example", returned="Message-ID: <m1@sender.example>"),
        dsn("bob@there.example", returned="Message-ID: <other@sender.example>"),
        dsn("bob@there.example", message=f"Original-Envelope-Id: {queue_id(12345)}"),
        dsn("bob@there.example", returned="Return-Path: <bob@there.example>"),
        "From: someone@there.example\nSubject: hello\n\nIs this understood?\n",
    ],
)
async def test_what_speaks_of_nobody_is_kept_and_shown_until_its_time_is_over(desk: Desk, mail: str) -> None:
    jobs = await desk.sent("bob@there.example", "ann@there.example", message_id="<m1@sender.example>")
    await desk.bring(mail)
    assert [(await desk.row(job.recipient_id)).status for job in jobs] == [Status.SENT] * 2
    (stored,) = await desk.unmatched()
    assert stored.raw == mail.replace("\n", "\r\n").encode()
    assert await desk.store.purge_dsns(stored.received_ms) == 0
    assert await desk.store.purge_dsns(stored.received_ms + 1) == 1
    assert await desk.unmatched() == []


async def test_a_return_path_whose_recipient_was_purged_speaks_of_nobody(desk: Desk) -> None:
    (job,) = await desk.sent("bob@there.example", message_id="<m@s.example>")
    await desk.sent("bob@there.example", message_id="<m@s.example>", received_ms=2 * NOW)
    assert await desk.store.purge(NOW + 1) == 1
    await desk.bring(dsn("bob@there.example", returned="Message-ID: <m@s.example>"), BOX.seal(job.recipient_id))
    (stored,) = await desk.unmatched()
    assert stored.recipient_id == job.recipient_id


async def test_an_auto_reply_to_postmaster_is_nothing_to_show(desk: Desk) -> None:
    await desk.bring("From: a@b.example\nSubject: Out of office\nAuto-Submitted: auto-replied\n\nI am away.\n")
    assert await desk.unmatched() == []


async def test_a_flood_to_postmaster_keeps_the_newest(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("storage.dsn_room.MOST_UNSIGNED", 2)
    monkeypatch.setattr("relay.returns._MOST_UNPROVEN_BYTES", 100)
    for number in range(5):
        await desk.bring(f"Subject: flood {number}\n\n" + "x" * 500 + "\n")
    kept = await desk.unmatched()
    assert [stored.raw[:16] for stored in kept] == [b"Subject: flood 4", b"Subject: flood 3"]
    assert {len(stored.raw) for stored in kept} == {100}


async def test_who_has_met_a_return_path_cannot_fill_the_disk_by_it(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A return path takes a bounded number of bounce messages, others than it go on taking theirs."""
    monkeypatch.setattr("storage.dsn_room.MOST_OF_ONE", 2)
    ann, bob = await desk.sent("ann@there.example", "bob@there.example")
    path = BOX.seal(ann.recipient_id)
    for number in range(2):
        await desk.bring(f"Subject: hello {number}\n\nhello\n", path)
    assert await desk.answered("Subject: hello 2\n\nhello\n", path) == "552 5.2.2 Enough has come back to this address"
    assert await desk.answered(dsn("bob@there.example"), path, BOX.seal(bob.recipient_id)) == "250 2.0.0 Ok"
    assert (await desk.row(bob.recipient_id)).status is Status.FAILED


async def test_what_comes_faster_than_it_is_understood_waits_in_the_store_and_not_in_memory(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("relay.returns._HELD_AT_ONCE", 2)
    jobs = await desk.sent(*(f"{number}@there.example" for number in range(40)))
    most, settle = 0, desk.returns._settle

    async def counted(*given: Any) -> None:
        nonlocal most
        most = max(most, len(desk.returns._in_hand))
        await settle(*given)

    monkeypatch.setattr(desk.returns, "_settle", counted)
    taken = [desk.returns.take(dsn(job.address).encode(), job.recipient_id, "") for job in jobs]
    assert await asyncio.gather(*taken) == [True] * 40
    while desk.returns._under_way:
        await asyncio.wait(desk.returns._under_way)
    assert {(await desk.row(job.recipient_id)).status for job in jobs} == {Status.FAILED}
    assert most <= 10  # the two that were held, and a batch of those that waited
    assert await desk.store.waiting_dsns(9) == []


@pytest.mark.parametrize(
    ("type_", "category"), [("abuse", "spam"), ("auth-failure", "authentication"), ("not-spam", "other")]
)
async def test_a_complaint_is_an_event_with_its_kind(desk: Desk, type_: str, category: str) -> None:
    (job,) = await desk.sent("bob@there.example")
    for _ in range(2):
        await desk.bring(COMPLAINT.format(type=type_, fields=""), BOX.seal(job.recipient_id))
    row = await desk.row(job.recipient_id)
    assert (row.status, row.category) == (Status.SENT, None)
    (entry,) = await desk.timeline(job.recipient_id, TimelineKind.COMPLAINT)
    assert (entry.category, entry.status) == (category, Status.SENT)


async def test_a_complaint_to_postmaster_is_matched_by_the_return_path_that_it_names(desk: Desk) -> None:
    (job,) = await desk.sent("bob@there.example")
    path = f"{BOX.seal(job.recipient_id)}@{DOMAIN}"
    await desk.bring(COMPLAINT.format(type="abuse", fields=f"Original-Mail-From: <{path}>"))
    (entry,) = await desk.timeline(job.recipient_id, TimelineKind.COMPLAINT)
    assert entry.text.startswith("feedback report: spam")


async def test_what_an_earlier_process_stored_is_taken_up_some_at_a_time(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("relay.returns._WAITING_AT_ONCE", 2)
    jobs = await desk.sent(*(f"r{number}@there.example" for number in range(5)))
    for job in jobs:
        await desk.store.accept_dsn(dsn(job.address).encode(), job.recipient_id, "", NOW)
    await desk.returns.resume()
    while desk.returns._under_way:
        await asyncio.wait(desk.returns._under_way)
    assert {(await desk.row(job.recipient_id)).status for job in jobs} == {Status.FAILED}


async def test_newer_rules_change_categories_and_no_status(desk: Desk) -> None:
    """A reply judged wrongly once, a report, and a fact that is right already."""
    wrong, right = await accept(desk.store, "wrong@there.example", "right@there.example")
    unknown = Reply(550, "5.1.1", "User unknown")
    at_rcpt = {"phase": "rcpt", "rules": 0}
    await desk.store.settle(result(wrong, Event.BOUNCE, unknown, category="policy", **at_rcpt))
    await desk.store.settle(result(right, Event.FAIL, unknown, category="user unknown", **at_rcpt))
    (reported,) = await desk.sent("reported@there.example")
    await desk.bring(dsn("reported@there.example"), BOX.seal(reported.recipient_id))
    assert [some async for some in changes(desk.reader) if some] == [[*await _only(desk, wrong)]]
    # As an older table would have had it.
    async for facts in desk.reader.judged(0):
        for fact in facts:
            if fact.dsn_id:
                await desk.store.recategorise([(fact, "other", 0)])
    changed = [change async for some in changes(desk.reader) for change in some]
    assert [(fact.recipient, fact.category, category) for fact, category in changed] == [
        ("wrong@there.example", "policy", "user unknown"),
        ("reported@there.example", "other", "user unknown"),
    ]
    assert await write(desk.store, changed) == 2
    assert await write(desk.store, changed) == 0
    rows = [await desk.row(job.recipient_id) for job in (wrong, right, reported)]
    assert [row.status for row in rows] == [Status.BOUNCED, Status.FAILED, Status.FAILED]
    assert {row.category for row in rows} == {"user unknown"}
    assert [change async for some in changes(desk.reader) for change in some] == []
    assert {fact.rules async for facts in desk.reader.judged(0) for fact in facts} == {0, VERSION}


async def _only(desk: Desk, job: Job) -> list[Any]:
    facts = [fact async for some in desk.reader.judged(0) for fact in some]
    return [(fact, "user unknown") for fact in facts if fact.recipient_id == job.recipient_id]


async def test_what_is_no_longer_kept_and_what_was_before_the_time_stay(desk: Desk) -> None:
    (job,) = await desk.sent("bob@there.example")
    await desk.bring(dsn("bob@there.example"), BOX.seal(job.recipient_id))
    (fact,) = [fact async for some in desk.reader.judged(0) for fact in some]
    assert await desk.store.recategorise([(fact, "other", 0)]) == 1
    assert [some async for some in changes(desk.reader, fact.at_ms + 1)] == []
    assert [len(some) async for some in changes(desk.reader, fact.at_ms)] == [1]
    assert await desk.store.purge_dsns(fact.at_ms + 1) == 1
    assert [some async for some in changes(desk.reader)] == []
    # Somebody else judged it meanwhile.
    assert await desk.store.recategorise([(replace(fact, category="policy"), "spam", 0)]) == 0


async def test_a_complaint_judged_anew_leaves_the_last_replys_category(desk: Desk) -> None:
    (job,) = await desk.sent("bob@there.example")
    path = BOX.seal(job.recipient_id)
    await desk.bring(dsn("bob@there.example"), path)
    await desk.bring(COMPLAINT.format(type="abuse", fields=""), path)
    facts = [fact async for some in desk.reader.judged(0) for fact in some]
    (complaint,) = [fact for fact in facts if fact.kind is TimelineKind.COMPLAINT]
    assert await desk.store.recategorise([(complaint, "other", 0)]) == 1
    assert (await desk.row(job.recipient_id)).category == "user unknown"
    ((changed, category),) = [change async for some in changes(desk.reader) for change in some]
    assert (changed.kind, category) == (TimelineKind.COMPLAINT, "spam")


async def test_a_report_on_several_is_read_anew_for_each(desk: Desk) -> None:
    await desk.sent("ann@there.example", "bob@there.example", message_id="<m@s.example>")
    await desk.bring(dsn("ann@there.example", "bob@there.example", returned="Message-ID: <m@s.example>"))
    facts = [fact async for some in desk.reader.judged(0) for fact in some]
    assert await desk.store.recategorise([(fact, "other", 0) for fact in facts]) == 2
    changed = [change async for some in changes(desk.reader) for change in some]
    assert [(fact.recipient, category) for fact, category in changed] == [
        ("ann@there.example", "user unknown"),
        ("bob@there.example", "user unknown"),
    ]
