"""relay/receive/session.py and wire.py: the wire, as RFC 5321 and its extensions have it."""

import asyncio
import logging
import re
import socket

import pytest
import uvloop

from relay.receive.settings import SubmissionSettings
from storage.status import Status
from tests.receive.conftest import CONTENT, Build, Place, until


async def test_these_laws_are_shown_on_the_loop_of_production() -> None:
    assert isinstance(asyncio.get_running_loop(), uvloop.Loop)


async def test_the_greeting_and_what_is_offered(place: Place) -> None:
    talk = await place.connect(greet=False)
    assert await talk.reply() == "220 relay.example ESMTP Telltale"
    assert (await talk("EHLO client.example")).split("\n") == [
        "250-relay.example",
        f"250-SIZE {SubmissionSettings().max_message_bytes}",
        "250-8BITMIME",
        "250-SMTPUTF8",
        "250-PIPELINING",
        "250-ENHANCEDSTATUSCODES",
        "250-STARTTLS",
        "250 DSN",
    ]


async def test_a_message_is_taken_and_stored_before_the_client_hears_of_it(place: Place) -> None:
    talk = await place.connect()
    await talk.begin("bob@b.example", "carl@C.example")
    reply = await talk.message(b"From: Ann <ann@a.example>\r\nSubject: Hello\r\n\r\n..dot\r\n")
    found = re.fullmatch(r"250 2\.0\.0 queued as (\w{13})", reply)
    assert found
    rows = await place.rows()
    assert [(row.queue_id, row.recipient, row.sender, row.subject, row.status) for row in rows] == [
        (found[1], "bob@b.example", "ann@a.example", "Hello", Status.UNSENT),
        (found[1], "carl@c.example", "ann@a.example", "Hello", Status.UNSENT),
    ]
    content = place.outbox.jobs[0].content
    assert content
    assert content.startswith(
        b"Received: from client.example ([127.0.0.1])\r\n\tby relay.example (Telltale) with ESMTP id "
    )
    assert content.endswith(b"\r\nSubject: Hello\r\n\r\n.dot\r\n")
    assert [job.address for job in place.outbox.jobs] == ["bob@b.example", "carl@c.example"]


async def test_an_address_twice_in_one_transaction_is_a_duplicate(place: Place) -> None:
    talk = await place.connect()
    await talk.begin("bob@b.example", "bob@B.Example", "Bob@b.example", '"bob"@b.example')
    assert (await talk.message()).startswith("250 ")
    statuses = [row.status for row in await place.rows()]
    assert statuses == [Status.UNSENT, Status.DUPLICATE, Status.UNSENT, Status.DUPLICATE]
    assert [job.address for job in place.outbox.jobs] == ["bob@b.example", "Bob@b.example"]


async def test_the_next_message_knows_nothing_of_the_one_before(place: Place) -> None:
    talk = await place.connect()
    for _ in range(2):
        await talk.begin("bob@b.example")
        assert (await talk.message()).startswith("250 ")
    assert [row.status for row in await place.rows()] == [Status.UNSENT, Status.UNSENT]
    assert (await talk("DATA")).startswith("503 ")


async def test_the_null_sender_and_the_bare_postmaster(place: Place) -> None:
    talk = await place.connect()
    await talk.begin("Postmaster", sender="")
    assert (await talk.message()).startswith("250 ")
    (row,) = await place.rows()
    assert (row.sender, row.recipient) == ("", "Postmaster@relay.example")


async def test_dsn_parameters_are_kept(place: Place) -> None:
    talk = await place.connect()
    assert (await talk("MAIL FROM:<ann@a.example> RET=hdrs ENVID=Abc+2B SIZE=50 BODY=8BITMIME")).startswith("250 ")
    assert (await talk("RCPT TO:<bob@b.example> NOTIFY=success,Failure ORCPT=rfc822;Bob@b.example")).startswith("250 ")
    assert (await talk.message()).startswith("250 ")
    (job,) = place.outbox.jobs
    assert (job.message.ret, job.message.envid) == ("HDRS", "Abc+2B")
    assert (job.notify, job.orcpt) == ("SUCCESS,FAILURE", "rfc822;Bob@b.example")


@pytest.mark.parametrize(
    ("said", "reply"),
    [
        (["NOOP"], "250 2.0.0 "),
        (["noop with words"], "250 2.0.0 "),
        (["RSET"], "250 2.0.0 "),
        (["RSET x"], "501 5.5.4 "),
        (["HELP"], "214 2.0.0 "),
        (["VRFY bob"], "252 2.0.0 "),
        (["EXPN all"], "502 5.5.1 "),
        (["EHLO"], "501 5.5.4 "),
        (["HELO"], "501 5.5.4 "),
        (["STARTTLS now"], "501 5.5.4 "),
        (["BDAT 3 LAST"], "500 5.5.1 "),
        ([""], "500 5.5.1 "),
        (["\xff\xfe"], "500 5.5.1 "),
        (["x" * 5000], "500 5.5.2 "),
        (["x" * 20000], "500 5.5.2 "),
        (["MAIL"], "501 5.5.4 "),
        (["MAIL FROM:ann@a.example"], "501 5.5.4 "),
        (["MAIL FROM:<a\x00b@a.example>"], "501 5.5.4 "),
        (["MAIL FROM:<ann>"], "553 5.1.7 "),
        (["MAIL FROM:<ann@a.example> SIZE=999999999"], "552 5.3.4 "),
        (["MAIL FROM:<ann@a.example> FOO=BAR"], "555 5.5.4 "),
        (["MAIL FROM:<ann@a.example>"], "250 2.1.0 "),
        (["MAIL FROM:<ann@a.example>", "MAIL FROM:<ann@a.example>"], "503 5.5.1 "),
        (["RCPT TO:<bob@b.example>"], "503 5.5.1 "),
        (["DATA"], "503 5.5.1 "),
        (["MAIL FROM:<>", "RCPT"], "501 5.5.4 "),
        (["MAIL FROM:<>", "RCPT TO:<>"], "501 5.5.4 "),
        (["MAIL FROM:<>", "RCPT TO:<bob>"], "553 5.1.3 "),
        (["MAIL FROM:<>", "RCPT TO:<bob@[127.0.0.1]>"], "553 5.1.2 "),
        (["MAIL FROM:<>", "RCPT TO:<b\xc3\xb6b@b.example>"], "553 5.6.7 "),
        (["MAIL FROM:<> SMTPUTF8", "RCPT TO:<b\xc3\xb6b@b.example>"], "250 2.1.5 "),
        (["MAIL FROM:<>", "RCPT TO:<bob@b.example>"], "250 2.1.5 "),
        (["MAIL FROM:<>", "RCPT TO:<bob>", "DATA"], "554 5.5.1 "),
        (["MAIL FROM:<>", "RCPT TO:<bob@b.example>", "DATA now"], "501 5.5.4 "),
        (["MAIL FROM:<>", "RCPT TO:<bob@b.example>", "RSET", "DATA"], "503 5.5.1 "),
        (["MAIL FROM:<>", "RCPT TO:<bob@b.example>", "EHLO again", "DATA"], "503 5.5.1 "),
        (["QUIT x"], "501 5.5.4 "),
        (["QUIT"], "221 2.0.0 "),
    ],
)
async def test_every_reply_has_its_enhanced_code(place: Place, said: list[str], reply: str) -> None:
    talk = await place.connect()
    *before, last = said
    for line in before:
        await talk(line.encode("latin-1"))
    assert (await talk(last.encode("latin-1"))).startswith(reply)


@pytest.mark.parametrize("command", ["MAIL FROM:<>", "RCPT TO:<bob@b.example>", "DATA"])
async def test_nothing_goes_before_the_greeting(place: Place, command: str) -> None:
    talk = await place.connect(greet=False)
    await talk.reply()
    assert (await talk(command)).startswith("503 5.5.1 ")


async def test_an_old_client_with_helo(place: Place) -> None:
    talk = await place.connect(greet=False)
    await talk.reply()
    assert await talk("HELO old.example") == "250 relay.example"
    await talk.begin()
    assert (await talk.message()).startswith("250 ")
    assert b") with SMTP id " in await place.content()


async def test_a_pipelining_client_gets_its_replies_in_order(place: Place) -> None:
    """RFC 2920: a whole group in one packet, and the next one behind the content."""
    talk = await place.connect()
    group = b"MAIL FROM:<ann@a.example>\r\nRCPT TO:<bad>\r\nRCPT TO:<bob@b.example>\r\nDATA\r\n"
    await talk.send(group)
    assert [reply[:9] for reply in await talk.replies(4)] == ["250 2.1.0", "553 5.1.3", "250 2.1.5", "354 End d"]
    await talk.send(CONTENT + b".\r\n" + group + CONTENT + b".\r\nQUIT\r\n")
    assert [reply[:3] for reply in await talk.replies(7)] == ["250", "250", "553", "250", "354", "250", "221"]
    assert await talk.at_end()
    assert len(await place.rows()) == 2


async def test_a_client_that_closes_its_side_gets_all_its_replies(place: Place) -> None:
    talk = await place.connect()
    await talk.send(b"MAIL FROM:<ann@a.example>\r\nRCPT TO:<bob@b.example>\r\nDATA\r\n" + CONTENT + b".\r\n")
    talk.writer.write_eof()
    assert [reply[:3] for reply in await talk.replies(4)] == ["250", "250", "354", "250"]
    assert await talk.at_end()


async def test_a_client_that_goes_away_in_its_content_leaves_nothing(place: Place) -> None:
    talk = await place.connect()
    await talk.begin()
    assert (await talk("DATA")).startswith("354 ")
    await talk.send(CONTENT)
    (session,) = place.listener._service.sessions
    await talk.close()
    await asyncio.wait_for(session.task, 5)
    assert await place.rows() == []
    assert place.listener._service.budget.used == 0


async def test_too_many_recipients_for_one_transaction(build: Build) -> None:
    place = await build(max_recipients=2)
    talk = await place.connect()
    await talk.begin("a@b.example", "b@b.example")
    assert (await talk("RCPT TO:<c@b.example>")).startswith("452 4.5.3 ")
    assert (await talk.message()).startswith("250 ")
    assert len(await place.rows()) == 2


async def test_a_client_that_names_bad_recipients_without_end_is_cut_off(build: Build) -> None:
    place = await build(max_recipients=5)
    place.limit(max_junk=5)
    talk = await place.connect()
    assert (await talk("MAIL FROM:<>")).startswith("250 ")
    replies = [(await talk("RCPT TO:<bad>"))[:9] for _ in range(11)]
    assert replies == ["553 5.1.3"] * 11
    assert (await talk.reply()).startswith("421 4.7.0 ")
    assert await talk.at_end()


async def test_a_message_too_big_for_its_announcement_and_for_real(build: Build) -> None:
    place = await build(max_message_bytes=1000)
    talk = await place.connect()
    assert (await talk("MAIL FROM:<> SIZE=1001")).startswith("552 5.3.4 ")
    await talk.begin()
    assert (await talk.message(b"x" * 2000 + b"\r\n")).startswith("552 5.3.4 ")
    await talk.begin()
    assert (await talk.message()).startswith("250 ")
    assert place.listener._service.budget.used == 0


async def test_a_message_without_end_is_cut_off(build: Build, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("relay.receive.session.PATIENCE_BYTES", 10_000)
    place = await build(max_message_bytes=1000)
    talk = await place.connect()
    await talk.begin()
    assert (await talk("DATA")).startswith("354 ")
    await talk.send(b"x" * 12_000)
    assert (await talk.reply()).startswith("552 5.3.4 ")
    assert await talk.at_end()


async def test_a_bug_of_ours_ends_the_transaction_and_not_the_session(
    place: Place, caplog: pytest.LogCaptureFixture
) -> None:
    talk = await place.connect()
    (session,) = place.listener._service.sessions
    del session.transaction.recipients  # type: ignore[attr-defined]
    assert (await talk("MAIL FROM:<>")).startswith("250 ")
    assert (await talk("RCPT TO:<bob@b.example>")).startswith("451 4.3.0 ")
    assert (await talk("RCPT TO:<bob@b.example>")).startswith("503 ")
    await talk.begin()
    assert (await talk.message()).startswith("250 ")
    assert "event=command-failed command=RCPT" in caplog.text
    assert "AttributeError" in caplog.text


async def test_a_bug_outside_of_a_command_ends_that_session_only(
    place: Place, caplog: pytest.LogCaptureFixture
) -> None:
    talk = await place.connect()
    (session,) = place.listener._service.sessions
    del session.service  # type: ignore[attr-defined]
    await talk.send(b"NOOP\r\n")
    await talk.reply()
    assert await talk.at_end()
    assert "event=session-failed" in caplog.text
    await place.connect()


async def test_many_commands_at_once_do_not_hold_up_the_others(place: Place) -> None:
    place.limit(max_junk=100_000)
    greedy, other = await place.connect(), await place.connect()
    await greedy.send(b"NOOP\r\n" * 5000)
    assert (await other("NOOP")).startswith("250 ")
    assert set(await greedy.replies(5000)) == {"250 2.0.0 Ok"}


async def test_a_client_that_sends_ahead_without_end_is_not_read_ahead(place: Place) -> None:
    """What waits behind a message that is being stored is bounded."""
    place.store.go_on.clear()
    talk = await place.connect()
    await talk.begin()
    assert (await talk("DATA")).startswith("354 ")
    await talk.send(CONTENT + b".\r\n")
    await place.store.reached.wait()
    (session,) = place.listener._service.sessions
    talk.writer.write(b"NOOP\r\n" * 100_000)
    await until(lambda: session._reading_paused)
    held = len(session._input)
    place.limit(max_junk=10**9)
    place.store.go_on.set()
    assert held < 1 << 20
    replies = await talk.replies(100_001)
    assert replies[0].startswith("250 2.0.0 queued as ")
    assert set(replies[1:]) == {"250 2.0.0 Ok"}


async def test_a_client_that_does_not_read_is_waited_for_and_then_cut_off(
    place: Place, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    talk = await place.connect()
    (session,) = place.listener._service.sessions
    session.pause_writing()  # as the transport does when its buffer is full
    await talk.send(b"NOOP\r\n")
    await talk.reply()
    await talk.send(b"NOOP\r\n")
    session.resume_writing()
    assert (await talk.reply()).startswith("250 ")
    place.limit(command_timeout=0.05)
    session.pause_writing()
    await talk.send(b"NOOP\r\n")
    await asyncio.wait_for(session.task, 5)
    assert "event=replies-not-read" in caplog.text
    assert place.listener._service.connections.total == 0


async def test_last_words_that_nobody_reads_keep_no_connection(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("relay.receive.wire._LINGER_SECONDS", 0.05)
    place.limit(max_junk=10_000)
    with socket.socket() as deaf:
        deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1024)
        deaf.setblocking(False)
        loop = asyncio.get_running_loop()
        await loop.sock_connect(deaf, (place.plain.host, place.plain.port))
        await until(lambda: len(place.listener._service.sessions) == 1)
        (session,) = place.listener._service.sessions
        assert session.transport
        session.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1024)
        await loop.sock_sendall(deaf, b"HELP\r\n" * 500 + b"QUIT\r\n")
        await asyncio.wait_for(session.task, 5)
        assert session.transport.get_write_buffer_size() > 0
        await until(lambda: place.listener._service.connections.total == 0)


async def test_a_message_that_is_announced_finds_no_room(build: Build) -> None:
    place = await build(max_bytes_in_flight=1000)
    talk = await place.connect()
    assert (await talk("MAIL FROM:<> SIZE=1001")).startswith("452 4.3.1 ")
    await talk.begin()
    place.listener._service.budget.take(1000)
    assert (await talk.message()).startswith("452 4.3.1 ")
    place.listener._service.budget.give(1000)
    await talk.begin()
    assert (await talk.message()).startswith("250 ")


async def test_room_that_goes_between_mail_and_data_is_missed_before_the_content(build: Build) -> None:
    place = await build(max_bytes_in_flight=1000)
    talk = await place.connect()
    assert (await talk("MAIL FROM:<> SIZE=900")).startswith("250 ")
    assert (await talk("RCPT TO:<bob@b.example>")).startswith("250 ")
    place.listener._service.budget.take(500)
    assert (await talk("DATA")).startswith("452 4.3.1 ")
