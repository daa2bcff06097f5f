"""Duties become mail: composed, stored and gone in one, by the settings and by user."""

import asyncio
import email
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from relay.answer.settings import AnswerSettings
from relay.answers import Answers
from relay.inject.plan import InjectOptions
from relay.receive.accept import Acceptor
from storage.model import Job, LogFilter, LogRow, Reply, User, message_id_of
from storage.people import POLICY
from storage.reader import Reader
from storage.status import Event, Status
from storage.store import Store, StoreFailedError
from storage.token import Purpose, TokenBox
from tests.storage.makers import BUSY, DAY, FAR, UNKNOWN, accept, message, new_recipient, report, result

BOX = TokenBox(b"k" * 32, Purpose.RETURN_PATH)
HOUR = 3_600_000
LATER = 2_000_000_000_000


class Nowhere:
    """A delivery that takes nothing: what is stored stays in the store."""

    def room(self) -> int:
        return 0

    def submit(self, jobs: Sequence[Job]) -> None:
        assert not jobs


class Desk:
    """Answers of one process, and the clock that it goes by."""

    def __init__(self, store: Store, reader: Reader, state_dir: Path, **settings: Any) -> None:
        self.store, self.reader = store, reader
        self.now_ms = LATER
        acceptor = Acceptor(store, InjectOptions(), "relay.test", Nowhere(), lifetime_ms=DAY)
        self.answers = Answers(
            store,
            acceptor,
            BOX,
            AnswerSettings(**settings),
            state_dir=state_dir,
            hostname="relay.test",
            bounce_domain="bounces.test",
            lifetime_ms=DAY,
            now_ms=lambda: self.now_ms,
        )

    async def notices(self) -> list[LogRow]:
        """What was written to senders, oldest first."""
        await self.answers.answer()
        rows = await self.reader.log(LogFilter(), limit=1000)
        return [row for row in reversed(rows) if row.sender == ""]

    async def mails(self) -> list[email.message.Message]:
        found = []
        for row in await self.notices():
            content = await self.store.content(message_id_of(row.queue_id) or 0)
            assert content is not None
            found.append(email.message_from_bytes(content))
        return found


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    opened = await Store.open(tmp_path, POLICY)
    yield opened
    await opened.close()


@pytest.fixture
async def reader(store: Store, tmp_path: Path) -> AsyncIterator[Reader]:
    opened = await Reader.open(tmp_path)
    yield opened
    await opened.close()


@pytest.fixture
def desk(store: Store, reader: Reader, tmp_path: Path) -> Desk:
    return Desk(store, reader, tmp_path)


async def fail(store: Store, *addresses: str, reply: Reply = UNKNOWN, **of_message: Any) -> list[Job]:
    """Let a message fail: to somebody new each time, since who fails is on the Blocked Email list then."""
    jobs = await accept(store, *(addresses or [f"r{store.next_id()}@there.example"]), **of_message)
    await asyncio.gather(*(store.settle(result(job, Event.FAIL, reply)) for job in jobs))
    return jobs


async def test_recipients_that_fail_together_are_told_of_in_one_mail(desk: Desk) -> None:
    await fail(desk.store, "a@x.example", "b@x.example", content=b"Subject: s\r\n\r\nText\r\n")
    (mail,) = await desk.mails()
    status = mail.get_payload()[1].get_payload()
    assert [one["Final-Recipient"] for one in status[1:]] == ["rfc822; a@x.example", "rfc822; b@x.example"]
    assert mail.get_payload()[2].get_payload()[0].get_payload() == "Text\r\n"
    (row,) = await desk.notices()
    assert (row.recipient, row.sender, row.status) == ("ann@sender.example", "", Status.UNSENT)
    assert (row.tracked, row.untracked_reason) == (False, "report")
    assert mail["Received"].startswith("by relay.test (Telltale) id ")
    assert await desk.store.duties.due(FAR, 9) == []


async def test_a_notice_that_fails_is_told_to_nobody(desk: Desk) -> None:
    """RFC 5321, 4.5.5: whatever becomes of it, there is no next one."""
    await fail(desk.store)
    (row,) = await desk.notices()
    (job,) = await desk.store.claim(FAR, 9)
    assert job.recipient_id == row.recipient_id
    assert job.notify == "NEVER"
    await desk.store.settle(result(job, Event.FAIL, UNKNOWN))
    assert len(await desk.notices()) == 1


async def test_two_processes_answer_once(desk: Desk, store: Store, reader: Reader, tmp_path: Path) -> None:
    for number in range(10):
        await fail(store, f"u{number}@x.example")
    other = Desk(store, reader, tmp_path)
    await asyncio.gather(desk.answers.answer(), other.answers.answer())
    assert len(await desk.notices()) == 10


async def test_a_delay_that_is_over_is_not_told(desk: Desk) -> None:
    jobs = await accept(desk.store, "a@x.example", "b@x.example")
    for job in jobs:
        await desk.store.settle(replace(result(job, Event.DEFER, BUSY), warn_ms=LATER))
    (again, _) = await desk.store.claim(FAR, 9)
    await desk.store.settle(result(again, Event.DELIVER))
    (mail,) = await desk.mails()
    assert mail["Subject"] == "Delayed: Hello"
    assert "<b@x.example>" in mail.get_payload()[0].get_payload()
    assert "<a@x.example>" not in mail.get_payload()[0].get_payload()
    assert await desk.store.duties.due(FAR, 9) == []


async def test_a_user_hears_of_a_delay_at_a_time_of_one_s_own(desk: Desk, store: Store) -> None:
    await store.add_user(User("ann", "hash"))
    await store.set_user("ann", answers='{"delay": 28800}')
    (job,) = await accept(store, user="ann", received_ms=LATER)
    await store.settle(replace(result(job, Event.DEFER, BUSY), warn_ms=LATER + 4 * HOUR))
    desk.now_ms = LATER + 4 * HOUR
    assert await desk.notices() == []
    desk.now_ms = LATER + 8 * HOUR
    (mail,) = await desk.mails()
    assert mail["Subject"].startswith("Delayed")


async def test_a_success_is_told_who_asked(desk: Desk) -> None:
    new = replace(new_recipient(desk.store), notify="SUCCESS")
    (job,) = await desk.store.accept(message(desk.store), b"x", [new], lifetime_ms=DAY, leased=True)
    await desk.store.settle(result(job, Event.DELIVER))
    (mail,) = await desk.mails()
    assert mail["Subject"] == "Relayed: Hello"
    said = replace(report(job.recipient_id, Event.DELIVER), action="delivered")
    await desk.store.settle_dsn(await desk.store.accept_dsn(b"r", job.recipient_id, "", 1), [said], "dsn")
    assert [mail["Subject"] for mail in await desk.mails()] == ["Relayed: Hello", "Delivered: Hello"]


async def test_a_user_is_told_what_that_user_wants(desk: Desk, store: Store) -> None:
    await store.add_user(User("quiet", "hash"))
    await store.set_user("quiet", answers='{"failures": "no"}')
    await fail(store, user="quiet")
    assert await desk.notices() == []
    assert await store.duties.due(FAR, 9) == []
    await fail(store, user="gone")
    assert len(await desk.notices()) == 1


async def test_a_bombed_sender_gets_a_digest(store: Store, reader: Reader, tmp_path: Path) -> None:
    desk = Desk(store, reader, tmp_path, most_per_hour=3)
    for number in range(8):
        await fail(store, f"u{number}@x.example")
    assert len(await desk.notices()) == 3
    desk.now_ms += 4 * HOUR
    *_, digest = await desk.mails()
    assert digest["Subject"] == "Undeliverable: 5 of your messages"
    desk.now_ms += 40 * HOUR
    assert len(await desk.notices()) == 4


async def cast(store: Store, *addresses: str) -> list[Job]:
    return await accept(store, *addresses, broadcast="Spring", broadcast_type="general")


async def test_the_failures_of_a_broadcast_come_in_digests_at_its_time_and_at_its_end(desk: Desk) -> None:
    """One in four hours, one when it is done, and later ones in their time: nobody is left out or told of twice."""
    jobs = await cast(desk.store, *(f"u{number}@x.example" for number in range(6)))
    await desk.store.settle(result(jobs[0], Event.FAIL, UNKNOWN))
    assert await desk.notices() == []
    desk.now_ms += 4 * HOUR
    assert [mail["Subject"] for mail in await desk.mails()] == ['Undeliverable: 1 of the broadcast "Spring"']
    for job in jobs[1:3]:
        await desk.store.settle(result(job, Event.BOUNCE, BUSY))
    desk.now_ms += HOUR
    assert len(await desk.notices()) == 1
    for job in jobs[3:]:
        await desk.store.settle(result(job, Event.DELIVER))
    desk.now_ms += HOUR
    *_, last = await desk.mails()
    assert last["Subject"] == 'Undeliverable: 2 of the broadcast "Spring"'
    assert "No copy is under way any more." in last.get_payload()[0].get_payload()
    late = replace(report(jobs[3].recipient_id, Event.FAIL), recipient_id=jobs[3].recipient_id)
    await desk.store.settle_dsn(await desk.store.accept_dsn(b"r", jobs[3].recipient_id, "", 1), [late], "dsn")
    desk.now_ms += HOUR
    assert len(await desk.notices()) == 2
    desk.now_ms += 4 * HOUR
    *_, later = await desk.mails()
    assert "u3@x.example" in later.get_payload()[1].get_payload(decode=True).decode()
    assert len(await desk.notices()) == 3


async def test_what_is_more_than_a_digest_holds_is_counted(
    desk: Desk, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("relay.answers._MOST_COLLECTED", 2)
    for job in await cast(store, *(f"u{number}@x.example" for number in range(5))):
        await store.settle(result(job, Event.FAIL, UNKNOWN))
    (digest,) = await desk.mails()
    assert digest["Subject"].startswith("Undeliverable: 2+ of")
    desk.now_ms += 40 * HOUR
    assert len(await desk.notices()) == 1


async def returned(store: Store, job: Job, raw: bytes) -> int:
    dsn_id = await store.accept_dsn(raw, job.recipient_id, "bob@x.example", 1)
    await store.settle_dsn(dsn_id, [], "auto-reply", forward=True)
    return dsn_id


async def test_an_auto_reply_is_forwarded(desk: Desk) -> None:
    (job,) = await accept(desk.store)
    await returned(desk.store, job, b"From: bob@x.example\r\nSubject: away\r\n\r\nAway\r\n")
    (mail,) = await desk.mails()
    assert (mail["Subject"], mail["To"], mail["Reply-To"]) == ("away", "<ann@sender.example>", "<bob@x.example>")
    assert mail["Delivered-To"] == f"{BOX.seal(job.recipient_id)}@bounces.test"


async def test_a_forward_that_comes_back_ends_there(desk: Desk) -> None:
    """A sender whose address is itself a return path, of ours or by another Telltale that forwards to us."""
    (job,) = await accept(desk.store)
    ours = f"Delivered-To: {BOX.seal(job.recipient_id)}@bounces.test\r\n".encode()
    others = b"".join(b"Delivered-To: %d@far.test\r\n" % number for number in range(20))
    for trace in (ours, others):
        await returned(desk.store, job, trace + b"\r\nText\r\n")
    assert await desk.notices() == []
    assert await desk.store.duties.due(FAR, 9) == []
    await returned(desk.store, job, b"Delivered-To: someone@far.test\r\n\r\nText\r\n")
    assert len(await desk.notices()) == 1


async def test_forwards_beyond_the_bound_wait_for_the_next_hour(store: Store, reader: Reader, tmp_path: Path) -> None:
    desk = Desk(store, reader, tmp_path, most_per_hour=2)
    (job,) = await accept(store)
    for _ in range(5):
        await returned(store, job, b"Subject: x\r\n\r\nText\r\n")
    assert len(await desk.notices()) == 2
    desk.now_ms += HOUR
    assert len(await desk.notices()) == 4


async def test_a_return_path_that_leaked_brings_its_sender_no_flood(desk: Desk, store: Store) -> None:
    """Whoever has met it may write to it for ever: that neither reaches the sender nor fills the disk."""
    (job,) = await accept(store)
    flood = [await returned(store, job, b"Subject: buy\r\n\r\n" + b"x" * 50_000) for _ in range(25)]
    assert len(await desk.notices()) == 20
    assert await store.duties.due(FAR, 9) == []
    sizes = [len(mail[1]) for dsn_id in flood if (mail := await store.duties.returned_mail(dsn_id))]
    assert sorted(sizes)[4:6] == [16 * 1024, 50_016]
    (other,) = await accept(store)
    await returned(store, other, b"Subject: away\r\n\r\nAway\r\n")
    assert len(await desk.notices()) == 21


async def test_a_forward_whose_mail_is_kept_no_more_is_dropped(desk: Desk) -> None:
    (job,) = await accept(desk.store)
    await returned(desk.store, job, b"Text")
    await desk.store.purge_dsns(FAR)
    assert await desk.notices() == []
    assert await desk.store.duties.due(FAR, 9) == []


async def test_a_sender_that_is_no_address_is_told_nothing_and_holds_up_nobody(desk: Desk) -> None:
    await fail(desk.store, sender="nobody")
    await fail(desk.store)
    assert len(await desk.notices()) == 1
    assert await desk.store.duties.due(FAR, 9) == []


async def test_a_bug_in_one_answer_holds_up_no_other(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    await fail(desk.store, subject="first")
    await fail(desk.store, subject="second")
    from relay import answers

    real = answers.notice

    def broken(group: Any, *rest: Any) -> bytes:
        if group.message.subject == "first":
            raise ValueError("a bug")
        return real(group, *rest)

    monkeypatch.setattr("relay.answers.notice", broken)
    assert [mail["Subject"] for mail in await desk.mails()] == ["Undeliverable: second"]
    assert "our-bug" in caplog.text
    monkeypatch.setattr("relay.answers.notice", real)
    desk.now_ms += HOUR
    assert len(await desk.notices()) == 2


async def test_what_the_store_does_not_take_is_answered_later(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    await fail(desk.store)
    with monkeypatch.context() as broken:

        async def refuse(*_: Any, **__: Any) -> bool:
            raise StoreFailedError("no")

        broken.setattr(desk.store.duties, "answer", refuse)
        with pytest.raises(StoreFailedError):
            await desk.answers.answer()
    assert len(await desk.notices()) == 1


async def test_one_process_has_its_turn_and_the_next_one_when_it_stops(
    store: Store, reader: Reader, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("relay.answers._LOOK_SECONDS", 0.01)
    served = {"first": asyncio.Event(), "second": asyncio.Event()}
    desks = {name: Desk(store, reader, tmp_path) for name in served}
    for name, one in desks.items():

        async def noted(met: asyncio.Event = served[name]) -> None:
            met.set()

        monkeypatch.setattr(one.answers, "answer", noted)
    async with asyncio.timeout(20):
        desks["first"].answers.start()
        await served["first"].wait()
        desks["second"].answers.start()
        served["first"].clear()
        await served["first"].wait()
        assert not served["second"].is_set()
        await desks["first"].answers.stop()
        await served["second"].wait()
    await desks["second"].answers.stop()


async def test_trouble_is_told_and_ends_nothing(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("relay.answers._LOOK_SECONDS", 0.01)
    done = asyncio.Event()
    troubles: list[Exception] = [StoreFailedError("the disk"), ValueError("a bug")]

    async def answer() -> None:
        if troubles:
            raise troubles.pop(0)
        done.set()

    monkeypatch.setattr(desk.answers, "answer", answer)
    desk.answers.start()
    async with asyncio.timeout(20):
        await done.wait()
    await desk.answers.stop()
    assert "the disk" in caplog.text
    assert "our-bug" in caplog.text


async def test_a_bug_in_one_digest_holds_up_no_other(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    from relay import answers

    real = answers.digest_mail

    def broken(digest: Any, *rest: Any, **options: Any) -> bytes:
        if digest.broadcast == "First":
            raise ValueError("a bug")
        return real(digest, *rest, **options)

    for name in ("First", "Second"):
        for job in await accept(desk.store, f"{name}@x.example", broadcast=name, broadcast_type="general"):
            await desk.store.settle(result(job, Event.FAIL, UNKNOWN))
    monkeypatch.setattr("relay.answers.digest_mail", broken)
    assert [mail["Subject"] for mail in await desk.mails()] == ['Undeliverable: 1 of the broadcast "Second"']
    assert "our-bug" in caplog.text
    monkeypatch.setattr("relay.answers.digest_mail", real)
    desk.now_ms += HOUR
    assert len(await desk.notices()) == 2


async def test_a_digest_to_a_sender_that_is_no_address_is_dropped(desk: Desk) -> None:
    for job in await accept(desk.store, sender="nobody", broadcast="Spring", broadcast_type="general"):
        await desk.store.settle(result(job, Event.FAIL, UNKNOWN))
    assert await desk.notices() == []
    desk.now_ms += 40 * HOUR
    assert await desk.notices() == []
    assert await desk.store.duties.digests(FAR, 9) == []


async def test_a_digest_whose_duties_were_purged_is_no_mail(desk: Desk) -> None:
    jobs = await cast(desk.store, "a@x.example", "b@x.example")
    await desk.store.settle(result(jobs[0], Event.FAIL, UNKNOWN))
    assert await desk.notices() == []
    await desk.store.settle(result(jobs[1], Event.DELIVER))
    assert await desk.store.purge(FAR) == 1
    desk.now_ms += 40 * HOUR
    assert await desk.notices() == []
    assert await desk.store.duties.digests(FAR, 9) == []


async def test_a_mail_that_is_not_taken_is_told_in_the_log(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    await fail(desk.store)
    monkeypatch.setattr("relay.receive.accept.MAX_RECEIVED", -1)
    assert await desk.notices() == []
    assert "event=not-answered" in caplog.text
    assert await desk.store.duties.due(FAR, 9) == []


async def test_answers_that_never_began_can_end(desk: Desk) -> None:
    await desk.answers.stop()
