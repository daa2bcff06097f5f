"""relay/receive/accept.py: a queue id only after the commit, and a refusal that fits otherwise."""

import asyncio
import logging
import re
from collections.abc import Sequence
from typing import Any

import pytest

from relay.inject.plan import InjectOptions, Plan
from relay.receive.accept import Acceptor
from relay.receive.envelope import HERE, Envelope, Recipient
from relay.receive.headers import MAX_RECEIVED
from storage.address import Address
from storage.model import BodyType, Job, Message, queue_id
from storage.store import StoreFullError
from tests.receive.conftest import CONTENT, HOST, Build, Outbox, Place


async def accepted(place: Place, content: bytes, *recipients: str, mail: str = "<ann@a.example>") -> Message:
    """Submit `content` and return the message as delivery gets it."""
    talk = await place.connect()
    assert (await talk(f"MAIL FROM:{mail}")).startswith("250 ")
    for recipient in recipients or ("bob@b.example",):
        assert (await talk(f"RCPT TO:<{recipient}>")).startswith("250 ")
    assert (await talk.message(content)).startswith("250 ")
    return place.outbox.jobs[-1].message


async def refused(place: Place, content: bytes) -> str:
    talk = await place.connect()
    await talk.begin()
    reply = await talk.message(content)
    assert await place.rows() == []
    assert place.outbox.jobs == []
    return reply


async def test_nothing_is_promised_before_the_commit(place: Place) -> None:
    place.store.go_on.clear()
    talk = await place.connect()
    await talk.begin()
    answer = asyncio.create_task(talk.message())
    await asyncio.wait_for(place.store.reached.wait(), 5)
    assert not answer.done()
    assert place.outbox.jobs == []
    place.store.go_on.set()
    assert (await answer).startswith("250 ")
    assert len(place.outbox.jobs) == len(await place.rows()) == 1


async def test_what_the_log_will_show(place: Place) -> None:
    message = await accepted(
        place,
        b"From: =?utf-8?q?J=C3=B6rg?= <j@a.example>\r\nSubject: =?utf-8?b?R3LDvMOfZQ==?=\r\n"
        b"Message-ID: <1@a.example>\r\nX-Broadcast: Spring\r\nX-Broadcast-Type: general\r\n\r\nText\r\n",
    )
    assert (message.from_header, message.subject, message.message_id) == (
        "Jörg <j@a.example>",
        "Grüße",
        "<1@a.example>",
    )
    assert (message.broadcast, message.broadcast_type) == ("Spring", "general")
    assert (message.client, message.user, message.sender) == ("127.0.0.1", None, "ann@a.example")
    content = await place.content()
    assert message.size == len(content)
    assert b"X-Broadcast" not in content


async def test_a_message_without_a_message_id_gets_one_and_is_known_by_it(place: Place) -> None:
    message = await accepted(place, b"Subject: x\r\n\r\nText\r\n")
    assert re.fullmatch(r"<\w{13}@relay\.example>", message.message_id)
    assert b"Message-ID: " + message.message_id.encode() + b"\r\n" in await place.content()


async def test_a_message_is_tracked_by_a_plan(place: Place) -> None:
    message = await accepted(place, b"Subject: x\r\nContent-Type: text/html\r\n\r\n<p>Hello</p>\r\n")
    assert message.untracked_reason is None
    assert Plan.from_bytes(message.plan).untracked_reason is None


async def test_an_opt_out_is_honoured_and_stripped(place: Place) -> None:
    message = await accepted(place, b"X-Track-Opens: no\r\nContent-Type: text/html\r\n\r\n<p>Hello</p>\r\n")
    assert (message.plan, message.untracked_reason) == (b"", "opted-out")
    assert b"X-Track" not in await place.content()


async def test_why_there_is_no_plan_is_kept(place: Place) -> None:
    message = await accepted(place, b"Content-Type: text/html; charset=x-unknown\r\n\r\n<p>\xff</p>\r\n")
    assert message.plan == b""
    assert message.untracked_reason


@pytest.mark.parametrize(
    ("options", "mail", "recipients", "reason"),
    [
        (InjectOptions(), "<ann@a.example>", ("bob@b.example",), None),
        (InjectOptions(), "<ann@a.example>", ("bob@b.example", "netdev@vger.kernel.org"), "mailing-list"),
        (InjectOptions(leave_text_from=frozenset({"a.example"})), "<ann@A.example>", (), "text-wanted"),
        (InjectOptions(leave_text_from=frozenset({"a.example"})), "<>", (), None),
        (
            InjectOptions(leave_text_to=frozenset({"b.example"})),
            "<ann@a.example>",
            ("bob@lists.b.example",),
            "text-wanted",
        ),
    ],
)
async def test_plain_text_stays_so_for_the_domains_of_the_envelope(
    build: Build, options: InjectOptions, mail: str, recipients: tuple[str, ...], reason: str | None
) -> None:
    place = await build(options)
    assert (await accepted(place, CONTENT, *recipients, mail=mail)).untracked_reason == reason


async def test_a_bug_in_planning_costs_the_image_and_not_the_message(
    place: Place, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("relay.receive.accept.plan_message", lambda *_: 1 / 0)
    message = await accepted(place, CONTENT)
    assert (message.plan, message.untracked_reason) == (b"", "self-check")
    assert "event=plan-failed" in caplog.text


@pytest.mark.parametrize(
    ("content", "body"),
    [(CONTENT, BodyType.SEVEN_BIT), (CONTENT + b"\xc3\xa4\r\n", BodyType.EIGHT_BIT_MIME)],
)
@pytest.mark.parametrize("asked", ["", " BODY=8BITMIME"])
async def test_the_body_type_is_what_the_content_needs(
    place: Place, content: bytes, body: BodyType, asked: str
) -> None:
    message = await accepted(place, content, mail=f"<ann@a.example>{asked}")
    assert message.body is body


@pytest.mark.parametrize(
    ("mail", "recipient", "subject", "needed"),
    [
        ("<ann@a.example>", "bob@b.example", "Hello", False),
        ("<ann@a.example>", "bob@b.example", "Grüße", False),
        ("<ann@a.example> SMTPUTF8", "bob@b.example", "Hello", False),
        ("<ann@a.example> SMTPUTF8", "bob@bücher.example", "Hello", False),
        ("<ann@a.example> SMTPUTF8", "bob@b.example", "Grüße", True),
        ("<ann@a.example> SMTPUTF8", "böb@b.example", "Hello", True),
        ("<änn@a.example> SMTPUTF8", "bob@b.example", "Hello", True),
    ],
)
async def test_smtputf8_is_asked_for_where_it_is_needed(
    place: Place, mail: str, recipient: str, subject: str, needed: bool
) -> None:
    """A next hop without it must still get what is plain (RFC 6531, 3.2)."""
    message = await accepted(place, f"Subject: {subject}\r\n\r\nä\r\n".encode(), recipient, mail=mail)
    assert message.smtputf8 is needed


async def test_a_message_in_a_loop_is_refused(place: Place) -> None:
    received = b"Received: from a by b; today\r\n"
    assert (await refused(place, received * (MAX_RECEIVED + 1) + CONTENT)).startswith("554 5.4.6 ")
    await accepted(place, received * MAX_RECEIVED + CONTENT)


async def test_a_header_that_is_too_big_is_refused(place: Place) -> None:
    assert (await refused(place, b"X: y\r\n" * 30_000 + CONTENT)) == "552 5.3.4 message header is too big"


async def test_a_full_disk_is_our_trouble(place: Place, caplog: pytest.LogCaptureFixture) -> None:
    place.store.failure = StoreFullError()
    assert (await refused(place, CONTENT)).startswith("452 4.3.1 ")
    assert "event=store-full" in caplog.text


async def test_any_other_failure_of_the_store_too(place: Place, caplog: pytest.LogCaptureFixture) -> None:
    place.store.failure = OSError("the disk is gone")
    assert (await refused(place, CONTENT)).startswith("451 4.3.0 ")
    assert "the disk is gone" in caplog.text


async def test_a_large_message_goes_the_same_way(place: Place) -> None:
    line = b"A long text that goes on and on.\r\n"
    message = await accepted(place, CONTENT + line * 20_000)
    content = await place.content()
    assert message.size == len(content) > 20_000 * len(line)
    assert content.endswith(CONTENT[-8:] + line * 20_000)


async def test_past_the_room_in_memory_recipients_wait_in_the_store(place: Place) -> None:
    place.outbox.free = 1
    talk = await place.connect()
    await talk.begin("a@b.example", "b@b.example")
    assert (await talk.message()).startswith("250 ")
    assert place.outbox.jobs == []
    claimed = await place.store.claim(2**60, 10)
    assert sorted(job.address for job in claimed) == ["a@b.example", "b@b.example"]


async def test_room_is_not_promised_twice(place: Place) -> None:
    """Messages that are being stored at once see each other."""
    place.outbox.free = 2
    place.store.go_on.clear()
    talks = [await place.connect() for _ in range(3)]
    for talk in talks:
        await talk.begin()
    answers = [asyncio.create_task(talk.message()) for talk in talks]
    acceptor = place.listener._service.acceptor  # type: ignore[attr-defined]
    while len(place.listener._service.sessions) < 3 or acceptor._promised < 2:  # noqa: ASYNC110 - nobody tells
        await asyncio.sleep(0)
    place.store.go_on.set()
    assert all([(await answer).startswith("250 ") for answer in answers])
    assert len(place.outbox.jobs) == 2
    assert acceptor._promised == 0


async def test_a_bug_in_delivery_does_not_unsay_the_promise(place: Place, caplog: pytest.LogCaptureFixture) -> None:
    class Broken(Outbox):
        def submit(self, jobs: Sequence[Job]) -> None:
            raise RuntimeError("a bug")

    place.listener._service.acceptor._delivery = Broken()  # type: ignore[attr-defined]
    talk = await place.connect()
    await talk.begin()
    assert (await talk.message()).startswith("250 ")
    assert "event=not-submitted jobs=1" in caplog.text
    assert len(await place.rows()) == 1


async def test_one_line_in_the_log_for_each_message(place: Place, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    await accepted(place, b'Message-ID: <a"b=c@x>\r\n\r\nText\r\n', "bob@b.example", "carl@c.example")
    (line,) = [record.message for record in caplog.records if "nrcpt=" in record.message]
    assert re.fullmatch(
        r'queue_id=\w{13} from=<ann@a\.example> size=\d+ nrcpt=2 client=127\.0\.0\.1 message_id="<a\\"b=c@x>"', line
    )


async def test_the_log_says_who_it_was(build: Build, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    place: Any = await build()
    await accepted(place, CONTENT, mail="<>")
    assert " from=<> " in caplog.text
    assert "user=" not in caplog.text


async def test_a_report_of_ours_goes_out_untracked_and_says_that_it_was_made_here(place: Place) -> None:
    """What the program makes itself takes the way of all mail, but for the image."""
    acceptor = Acceptor(place.store, InjectOptions(), HOST, place.outbox, lifetime_ms=1000)
    to = Recipient(Address("ann", "a.example"))
    envelope = Envelope(HERE, None, (to,), is_report=True)
    report = b"From: d@relay.example\r\nContent-Type: text/html\r\n\r\n<p>Hello</p>\r\n"
    taken = await acceptor.accept(envelope, report, 1_700_000_000_000)
    message = place.outbox.jobs[0].message
    assert taken == queue_id(message.id)
    assert (message.plan, message.untracked_reason, message.sender, message.client) == (b"", "report", "", "")
    assert (await place.content()).startswith(b"Received: by relay.example (Telltale) id ")
