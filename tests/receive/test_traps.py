"""The traps of aiosmtpd 1.4.6: one law for each, so that no change of ours or theirs opens one again."""

import asyncio
import contextlib
import email
import logging
import socket
import ssl
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from pathlib import Path
from typing import Any, cast

import pytest
import uvloop
from aiosmtpd.smtp import SMTP

from relay.receive import replies
from relay.receive.accept import Acceptor
from relay.receive.auth import Authenticator
from relay.receive.listener import SubmissionListener
from relay.receive.settings import SubmissionSettings
from relay.receive.tls import server_context
from storage.settings import Endpoint, ServerSettings
from tests.receive.conftest import CONTENT, HOST, Build, Place, Talk, careless, until


async def test_content_is_read_in_bulk(place: Place) -> None:
    """Not line by line: 8 MB of short lines are a matter of milliseconds a megabyte."""
    talk = await place.connect()
    await talk.begin()
    assert (await talk("DATA")).startswith("354 ")
    place.store.failure = OSError("not stored: only the reading is measured")
    content = b"From: a@a.example\r\n\r\n" + b"0123456789\r\n" * 700_000
    begun = time.process_time()
    await talk.send(content + b".\r\n")
    assert (await talk.reply()).startswith("451 ")
    assert time.process_time() - begun < 2


async def test_a_line_that_never_ends_takes_no_memory(build: Build) -> None:
    place = await build(max_message_bytes=1_000_000)
    service = place.listener._service
    talk = await place.connect()
    await talk.begin()
    assert (await talk("DATA")).startswith("354 ")
    for _ in range(40):
        await talk.send(b"x" * 500_000)
        assert service.budget.used <= 1_000_000
    await talk.send(b"\r\n.\r\n")
    assert (await talk.reply()).startswith("552 5.3.4 ")


async def test_all_sessions_share_one_budget_of_memory(build: Build) -> None:
    place = await build(max_bytes_in_flight=300_000)
    talks = [await place.connect() for _ in range(3)]
    for talk in talks:
        await talk.begin()
        assert (await talk("DATA")).startswith("354 ")
        await talk.send(b"x" * 140_000)
    for talk in talks:
        await talk.send(b"\r\n.\r\n")
    answers = sorted([(await talk.reply())[:9] for talk in talks])
    assert answers == ["250 2.0.0", "250 2.0.0", "452 4.3.1"]
    assert place.listener._service.budget.used == 0


async def test_a_command_line_that_never_ends_is_cut_off(place: Place) -> None:
    talk = await place.connect()
    (session,) = place.listener._service.sessions
    for _ in range(20):
        await talk.send(b"x" * 100_000)
        assert len(session._input) < 1 << 20
    assert (await talk.reply()).startswith("421 4.7.0 ")


async def test_lines_over_a_thousand_bytes_are_taken(place: Place) -> None:
    """Real clients send them; they are kept whole, in an encoding that every next hop takes (RFC 5321, 4.5.3.1.6)."""
    talk = await place.connect()
    await talk.begin()
    line = b"y" * 100_000
    assert (await talk.message(b"From: a@a.example\r\n\r\n" + line + b"\r\n")).startswith("250 ")
    content = await place.content()
    assert max(map(len, content.split(b"\r\n"))) <= 998
    assert email.message_from_bytes(content).get_payload(decode=True) == line + b"\r\n"


@pytest.mark.parametrize("end", [b"\n.\n", b"\n.\r\n", b"\r\n.\n", b"\r.\r\n", b"\r.\r", b"\r\n.\r", b"\r.\n"])
async def test_nothing_is_smuggled(place: Place, end: bytes) -> None:
    """What we do not take for the end of a message, no other server can: CVE-2023-51764 and kin."""
    talk = await place.connect()
    await talk.begin()
    smuggled = (
        b"MAIL FROM:<evil@e.example>\r\nRCPT TO:<victim@v.example>\r\nDATA\r\nFrom: evil@e.example\r\n\r\nEvil\r\n"
    )
    reply = await talk.message(CONTENT[:-2] + end + smuggled)
    assert reply.startswith(("250 2.0.0 ", "550 5.6.0 "))
    rows = await place.rows()
    assert [row.recipient for row in rows] == ["bob@b.example"] * len(rows)
    if rows:
        content = await place.content()
        assert content.count(b"\r") == content.count(b"\n") == content.count(b"\r\n")
    assert (await talk("NOOP")).startswith("250 ")


@pytest.mark.parametrize(
    "argument",
    [
        "<a@=?utf-8?q?evil.example?=>",
        "<=?utf-8?q?a=40evil.example?=>",
        "<a@b.example",
        "<",
        "<<>>",
        "<a\x0bb@b.example>",
        "a@b.example",
    ],
)
async def test_addresses_are_what_they_look_like(place: Place, argument: str) -> None:
    talk = await place.connect()
    sender = await talk(f"MAIL FROM:{argument}")
    await talk("RSET")
    await talk("MAIL FROM:<>")
    recipient = await talk(f"RCPT TO:{argument}")
    assert (sender[0], recipient[0]) == ("5", "5")


async def test_a_local_part_that_looks_encoded_stays_as_it_is(place: Place) -> None:
    talk = await place.connect()
    await talk.begin("=?utf-8?q?a=0D=0Ab=40evil.example?=@b.example")
    assert (await talk.message()).startswith("250 ")
    assert [job.address for job in place.outbox.jobs] == ["=?utf-8?q?a=0D=0Ab=40evil.example?=@b.example"]


async def test_the_null_sender_is_no_text(place: Place) -> None:
    talk = await place.connect()
    await talk.begin(sender="")
    assert (await talk("MAIL FROM:<>")).startswith("503 ")
    assert (await talk.message()).startswith("250 ")
    assert [row.sender for row in await place.rows()] == [""]


async def test_parameters_keep_their_case(place: Place) -> None:
    talk = await place.connect()
    assert (await talk("MAIL FROM:<ann@a.example> ENVID=MixedCase AUTH=<> RET=FULL")).startswith("250 ")
    assert (await talk("RCPT TO:<bob@b.example> ORCPT=rfc822;Bob@B.Example NOTIFY=NEVER")).startswith("250 ")
    assert (await talk.message()).startswith("250 ")
    (job,) = place.outbox.jobs
    assert (job.message.envid, job.orcpt) == ("MixedCase", "rfc822;Bob@B.Example")


async def test_our_own_failure_is_temporary_and_resets_the_envelope(
    place: Place, caplog: pytest.LogCaptureFixture
) -> None:
    place.store.failure = RuntimeError("a bug with details")
    talk = await place.connect()
    await talk.begin()
    reply = await talk.message()
    assert reply.startswith("451 4.3.0 ")
    assert "details" not in reply
    assert "a bug with details" in caplog.text
    assert (await talk("DATA")).startswith("503 ")
    place.store.failure = None
    await talk.begin()
    assert (await talk.message()).startswith("250 ")


async def test_a_steady_slow_upload_is_not_cut(place: Place) -> None:
    """Time is counted from block to block, not from the last command."""
    talk = await place.connect()
    place.limit(command_timeout=0.05, data_timeout=5)
    await talk.send(b"MAIL FROM:<ann@a.example>\r\nRCPT TO:<bob@b.example>\r\nDATA\r\n")
    assert [reply[:3] for reply in await talk.replies(3)] == ["250", "250", "354"]
    begun = asyncio.get_running_loop().time()
    await talk.send(CONTENT)
    while asyncio.get_running_loop().time() < begun + 0.2:
        await talk.send(b"a line now and then\r\n")
        await asyncio.sleep(0.01)
    await talk.send(b".\r\n")
    assert (await talk.reply()).startswith("250 ")


async def test_an_idle_client_is_told_before_it_is_cut_off(place: Place) -> None:
    talk = await place.connect()
    place.limit(command_timeout=0.05)
    assert (await talk("NOOP")).startswith("250 ")
    assert (await talk.reply()).startswith("421 4.4.2 ")
    assert await talk.at_end()


@contextlib.asynccontextmanager
async def trickle(talk: Talk, every_seconds: float) -> AsyncIterator[None]:
    """Send a byte now and then, as long as the other side takes it."""

    async def send() -> None:
        with contextlib.suppress(ConnectionError):
            while True:
                await talk.send(b"N")
                await asyncio.sleep(every_seconds)

    sending = asyncio.create_task(send())
    yield
    sending.cancel()
    await asyncio.wait([sending])


async def test_a_command_may_not_trickle(place: Place) -> None:
    """Slow loris: the time of a command line is that of the whole line."""
    talk = await place.connect()
    place.limit(command_timeout=0.2)
    assert (await talk("NOOP")).startswith("250 ")

    async with trickle(talk, 0.01):
        assert (await talk.reply()).startswith("421 4.4.2 ")


@pytest.mark.parametrize("limits", [{"data_timeout": 0.05}, {"data_grace": 0.1, "data_bytes_per_second": 1e9}])
async def test_content_may_neither_stop_nor_trickle(place: Place, limits: dict[str, float]) -> None:
    place.limit(**limits)
    talk = await place.connect()
    await talk.begin()
    assert (await talk("DATA")).startswith("354 ")

    async with trickle(talk, 0.01 if "data_grace" in limits else 60):
        assert (await talk.reply()).startswith("421 4.4.2 ")
    assert await place.rows() == []


@pytest.mark.parametrize("leave", ["eof", "reset"])
async def test_a_client_that_leaves_does_not_stop_the_commit(place: Place, leave: str) -> None:
    place.store.go_on.clear()
    talk = await place.connect()
    await talk.begin()
    assert (await talk("DATA")).startswith("354 ")
    await talk.send(CONTENT + b".\r\n")
    await asyncio.wait_for(place.store.reached.wait(), 5)
    (session,) = place.listener._service.sessions
    if leave == "eof":
        talk.writer.close()
    else:
        # A close with SO_LINGER 0 is a reset.
        sock = talk.writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        talk.writer.transport.abort()
    await until(lambda: session._ended)
    assert not session.task.done()
    place.store.go_on.set()
    await asyncio.wait_for(session.task, 5)
    assert [row.recipient for row in await place.rows()] == ["bob@b.example"]
    assert [job.address for job in place.outbox.jobs] == ["bob@b.example"]


async def test_inside_implicit_tls_auth_is_offered_and_starttls_is_not(strict: Place) -> None:
    talk = await strict.connect(tls=True, greet=False)
    offered = await talk.greet()
    assert "AUTH PLAIN LOGIN" in offered
    assert "STARTTLS" not in offered
    assert (await talk("STARTTLS")).startswith("503 5.5.1 ")
    assert (await talk("AUTH PLAIN AGFubgBzZWNyZXQ=")).startswith("235 2.7.0 ")


async def test_connections_are_limited_for_each_client(build: Build, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    place = await build(max_connections_per_client=2)
    first, _ = await place.connect(), await place.connect()
    for tls in (False, True):
        try:
            refused = await place.connect(tls=tls, greet=False)
        except (ssl.SSLError, ConnectionError):
            assert tls
        else:
            assert (await refused.reply()).startswith("421 4.7.0 ")
            assert await refused.at_end()
    assert caplog.text.count("event=too-many-connections") == 2
    assert (await first("QUIT")).startswith("221 ")
    assert await first.at_end()
    await until(lambda: place.listener._service.connections.total == 1)
    await place.connect()


async def test_connections_are_limited_in_all(build: Build) -> None:
    place = await build(max_connections=1)
    await place.connect()
    refused = await place.connect(greet=False)
    assert (await refused.reply()).startswith("421 4.7.0 ")


@pytest.mark.parametrize(
    "junk", ["NOOP", "RSET", "FOO", "VRFY x", "EHLO x", "MAIL FROM:x", "AUTH x", "DATA", "x" * 20_000]
)
async def test_commands_that_bring_nothing_forward_are_limited(place: Place, junk: str) -> None:
    place.limit(max_junk=10)
    talk = await place.connect()
    answers = []
    while not (reply := await talk(junk)).startswith("421 "):
        answers.append(reply)
    assert reply.startswith("421 4.7.0 ")
    assert len(answers) <= 10
    assert await talk.at_end()


async def test_a_message_makes_good_for_the_commands_before_it(place: Place) -> None:
    place.limit(max_junk=10)
    talk = await place.connect()
    for _ in range(5):
        for _ in range(8):
            assert (await talk("NOOP")).startswith("250 ")
        await talk.begin()
        assert (await talk.message()).startswith("250 ")


@pytest.mark.parametrize("line", ["GET / HTTP/1.1", "POST / HTTP/1.1", "CONNECT a:25 HTTP/1.1", "OPTIONS * HTTP/1.1"])
async def test_a_web_browser_is_not_talked_to(place: Place, line: str) -> None:
    """A hostile page can make a browser on a trusted host send us commands in the body of a request."""
    talk = await place.connect(greet=False)
    await talk.reply()
    await talk.send(f"{line}\r\nHost: x\r\n\r\nEHLO x\r\nMAIL FROM:<>\r\n".encode())
    assert (await talk.reply()).startswith("421 4.7.0 ")
    assert await talk.at_end()


async def test_tries_to_log_in_are_limited_for_a_session_and_for_a_client(strict: Place) -> None:
    answers = []
    for _ in range(3):
        talk = await strict.connect(tls=True)
        for _ in range(4):
            reply = await talk("AUTH PLAIN AGFubgB3cm9uZw==")
            answers.append(reply[:9])
            if not reply or (len(answers) % 3 == 0 and (await talk.reply()).startswith("421 4.7.0 ")):
                break
    assert answers == ["535 5.7.8"] * 5 + ["454 4.7.0"] * 4


def test_limits_of_a_session_are_its_own() -> None:
    """aiosmtpd keeps the sizes of commands in one dictionary for all sessions; we do not use it."""
    assert dict(SMTP.command_size_limits) == {}


async def test_the_sizes_that_one_session_is_granted_are_not_the_next_ones(place: Place) -> None:
    for _ in range(3):
        talk = await place.connect()
        await talk("EHLO again")
        assert (await talk("MAIL FROM:<ann@a.example> ENVID=" + "x" * 90)).startswith("250 ")
    assert all(not session.command_size_limits for session in place.listener._service.sessions)


async def test_a_slow_password_holds_up_nobody_else(strict: Place) -> None:
    """The hash is computed in a thread; meanwhile other sessions are served."""
    guesser, other = await strict.connect(tls=True), await strict.connect()
    guess = asyncio.create_task(guesser("AUTH PLAIN AG5vYm9keQB3cm9uZw=="))
    served = 0
    while not guess.done():
        assert (await other("RSET")).startswith("250 ")
        served += 1
        if served > 50:
            break
    assert served >= 2
    assert (await guess).startswith("535 5.7.8 ")


@pytest.mark.parametrize("mechanism", ["PLAIN", "plain", "Plain"])
async def test_the_mechanism_may_be_written_in_any_case(strict: Place, mechanism: str) -> None:
    talk = await strict.connect(tls=True)
    assert (await talk(f"AUTH {mechanism} AGFubgBzZWNyZXQ=")).startswith("235 2.7.0 ")


async def test_a_long_response_to_a_challenge_is_read_whole(strict: Place) -> None:
    """RFC 4954, 4: up to 12,288 bytes."""
    talk = await strict.connect(tls=True)
    assert (await talk("AUTH PLAIN")) == "334 "
    assert (await talk("A" * 12_288)).startswith("501 5.5.2 ")  # zeros only: no credentials, but read
    assert (await talk("AUTH PLAIN")) == "334 "
    assert (await talk("A" * 12_289)).startswith("500 5.5.6 ")
    assert (await talk("NOOP")).startswith("250 ")


async def test_a_host_name_is_never_looked_up(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "getfqdn", lambda: pytest.fail("a blocking look-up at each connection"))
    await place.connect()


async def test_commands_sent_in_clear_behind_starttls_are_forgotten(strict: Place) -> None:
    talk = await strict.connect()
    await talk.send(b"STARTTLS\r\nEHLO injected\r\nNOOP\r\n")
    assert (await talk.reply()).startswith("220 2.0.0 ")
    await talk.writer.start_tls(careless())
    assert (await talk("MAIL FROM:<>")).startswith("503 5.5.1 ")


async def test_what_was_said_before_tls_counts_no_more(place: Place) -> None:
    talk = await place.connect()
    await talk.begin()
    await talk.starttls()
    assert (await talk("DATA")).startswith("503 5.5.1 ")
    assert (await talk("MAIL FROM:<>")).startswith("503 5.5.1 ")
    assert "STARTTLS" not in await talk("EHLO client.example")
    await talk.begin()
    assert (await talk.message()).startswith("250 ")
    content = await place.content()
    assert b"with ESMTPS id" in content
    assert b"(using TLSv1.3 with cipher " in content


async def test_a_client_that_speaks_no_tls_after_starttls_is_let_go(
    place: Place, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    talk = await place.connect()
    assert (await talk("STARTTLS")).startswith("220 ")
    (session,) = place.listener._service.sessions
    await talk.send(b"EHLO in clear\r\n")
    await asyncio.wait_for(session.task, 5)
    assert "event=tls-failed" in caplog.text
    assert place.listener._service.connections.total == 0 or await talk.at_end()


async def test_a_tls_handshake_that_stops_is_cut_off(place: Place) -> None:
    place.limit(tls_timeout=0.05)
    reader, writer = await asyncio.open_connection(place.secure.host, place.secure.port)
    writer.write(b"\x16\x03\x01")
    assert await asyncio.wait_for(reader.read(), 5) == b""
    writer.close()
    await writer.wait_closed()


RUNNERS: list[Callable[[Coroutine[Any, Any, None]], None]] = [asyncio.run, uvloop.run]


@pytest.mark.parametrize("run", RUNNERS, ids=["asyncio", "uvloop"])
def test_a_tls_client_that_is_faster_than_we_are_loses_nothing(run: Callable[..., None], tmp_path: Path) -> None:
    """Its first bytes may be there before the TLS layer is; the two loops differ in when they begin to read."""
    run(_fast_tls_client(tmp_path))


async def _fast_tls_client(state_dir: Path) -> None:
    tls = server_context(None, None, state_dir, HOST)
    settings = SubmissionSettings(listen=(), tls_listen=(cast("Any", "127.0.0.1:0"),))
    server = ServerSettings(hostname=HOST, state_dir=state_dir)
    listener = SubmissionListener(settings, server, cast("Acceptor", None), cast("Authenticator", None), tls)
    await listener.start()
    # The kernel accepts and buffers, while this loop, the server's, does not run.
    clients = [FastClient(listener.addresses[0]) for _ in range(20)]
    greetings = await asyncio.gather(*[client.greeting() for client in clients])
    assert greetings == [b"220 relay.example ESMTP Telltale\r\n"] * 20
    for client in clients:
        client.socket.close()
    await listener.drain(0)


class FastClient:
    """A TLS client that has sent its first bytes before the server's loop turns once."""

    def __init__(self, endpoint: Endpoint) -> None:
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = careless().wrap_bio(self.incoming, self.outgoing)
        self.socket = socket.create_connection((endpoint.host, endpoint.port))
        with pytest.raises(ssl.SSLWantReadError):
            self.tls.do_handshake()
        self.socket.sendall(self.outgoing.read())
        self.socket.setblocking(False)

    async def greeting(self) -> bytes:
        await self._until_done(self.tls.do_handshake)
        return bytes(await self._until_done(lambda: self.tls.read(100)))

    async def _until_done(self, step: Callable[[], Any]) -> Any:
        loop = asyncio.get_running_loop()
        while True:
            try:
                done = step()
            except ssl.SSLWantReadError:
                self.incoming.write(await asyncio.wait_for(loop.sock_recv(self.socket, 65536), 5))
            else:
                await loop.sock_sendall(self.socket, self.outgoing.read())
                return done


def test_no_reply_repeats_a_client() -> None:
    texts = [reply.text for name, reply in vars(replies).items() if name.isupper()]
    assert texts
    assert all("{" not in text and "%" not in text for text in texts)
