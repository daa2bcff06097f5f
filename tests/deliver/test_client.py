import asyncio
import itertools
import socket
import ssl
import struct
import threading
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.deliver.client import Extensions, Outcome, Session, Timeouts, Transaction, commands, stuffed, unsendable
from relay.deliver.last_words import LastWords, last_words
from storage.model import Phase
from tests.peers.smtp import DROP, HANG, RESET, Raw, Script, ScriptedServer, Step, Then, server_tls

pytestmark = pytest.mark.both_loops

SOON = Timeouts(mail=0.1, rcpt=0.1, data=0.1, block=0.1, dot=0.1, quit=0.1)
OFFERED = Extensions(pipelining=True, eight_bit=True, smtputf8=True, size=0)
ALONE = Extensions(pipelining=False, eight_bit=True, smtputf8=True, size=0)
MESSAGE = b"Subject: hello\r\n\r\n.one\r\n..two\r\nthree\r\n"


def copy(content: bytes = MESSAGE, to: str = "to@example.test", return_path: str = "from@relay.test") -> Transaction:
    return Transaction(return_path, to, content)


class Opened:
    """Opens sessions past EHLO without aiosmtplib, and closes them after the test."""

    def __init__(self) -> None:
        self.sessions: list[Session] = []

    async def __call__(
        self, server: ScriptedServer, offered: Extensions = OFFERED, timeouts: Timeouts | None = None
    ) -> Session:
        loop = asyncio.get_running_loop()
        sock = socket.create_connection((server.address, server.port))
        sock.setblocking(False)
        await loop.sock_recv(sock, 1000)
        await loop.sock_sendall(sock, b"EHLO relay.test\r\n")
        await loop.sock_recv(sock, 1000)
        transport, _ = await loop.create_connection(asyncio.Protocol, sock=sock)
        session = Session(transport, offered, timeouts or Timeouts())
        self.sessions.append(session)
        return session


@pytest.fixture
async def opened() -> AsyncIterator[Opened]:
    opened = Opened()
    yield opened
    for session in opened.sessions:
        session.abort()
    for _ in range(3):  # the loop closes the sockets
        await asyncio.sleep(0)


async def outcome_of(
    opened: Opened, script: Script, offered: Extensions = OFFERED, content: bytes = MESSAGE
) -> Outcome:
    hangs = HANG in (script.mail, script.rcpt, script.data, script.dot)
    with ScriptedServer(script) as server:
        session = await opened(server, offered, SOON if hangs else None)
        outcome = await session.start(copy(content))
        session.abort()
        return outcome


@pytest.mark.parametrize("offered", [OFFERED, ALONE])
async def test_a_message_arrives_as_it_is(opened: Opened, offered: Extensions) -> None:
    with ScriptedServer() as server:
        session = await opened(server, offered)
        outcome = await session.start(copy())
        assert (outcome.reply.code, outcome.reply.enhanced, outcome.phase) == (250, "2.0.0", Phase.AFTER_DOT)
        assert not outcome.in_doubt
        assert [(m.sender, m.recipients, m.content) for m in server.messages] == [
            ("from@relay.test", ("to@example.test",), MESSAGE)
        ]


async def test_what_may_be_pipelined_is_one_write(opened: Opened) -> None:
    with ScriptedServer() as server:
        session = await opened(server)
        await session.start(copy())
        reads = server.conversations[0].reads
        assert reads[1].startswith(b"MAIL FROM:<from@relay.test> SIZE=")
        assert reads[1].endswith(b"\r\nRCPT TO:<to@example.test>\r\nDATA\r\n")
        assert len(reads) == 3


async def test_without_pipelining_each_command_waits_for_its_reply(opened: Opened) -> None:
    with ScriptedServer() as server:
        session = await opened(server, ALONE)
        await session.start(copy())
        assert [read.split(b" ")[0].strip() for read in server.conversations[0].reads[1:4]] == [
            b"MAIL",
            b"RCPT",
            b"DATA",
        ]


async def test_a_connection_is_used_for_many_messages(opened: Opened) -> None:
    with ScriptedServer() as server:
        session = await opened(server)
        for n in range(20):
            assert (await session.start(copy(to=f"r{n}@example.test"))).reply.code == 250
        assert len(server.conversations) == 1
        assert [m.recipients for m in server.messages] == [(f"r{n}@example.test",) for n in range(20)]
        assert "RSET" not in server.commands


# Each phase times each kind of answer.

ANSWERS: list[tuple[Step, str]] = [
    ("450 4.2.0 later", "450 4.2.0"),
    ("550 5.1.1 never", "550 5.1.1"),
    ("421 4.3.2 closing", "421 4.3.2"),
    (Then("421 4.3.2 closing", DROP), "421 4.3.2"),
    (DROP, "0 4.4.2"),
    (RESET, "0 4.4.2"),
    (HANG, "0 4.4.2"),
    (Raw(b"what?\r\n"), "0 4.5.0"),
    (Raw(b"\x00\xff" * 40000), "0 4.5.0"),
]
PHASES = {"mail": Phase.MAIL, "rcpt": Phase.RCPT, "data": Phase.DATA, "dot": Phase.AFTER_DOT}
CASES = list(itertools.product(PHASES, ANSWERS, [OFFERED, ALONE]))


def brief(outcome: Outcome) -> str:
    return f"{outcome.reply.code} {outcome.reply.enhanced}"


@pytest.mark.parametrize(("phase", "answer", "offered"), CASES)
async def test_each_phase_times_each_answer(
    opened: Opened, phase: str, answer: tuple[Step, str], offered: Extensions
) -> None:
    step, expected = answer
    outcome = await outcome_of(opened, Script(**{phase: step}), offered)
    assert outcome.phase is PHASES[phase]
    assert brief(outcome) == expected
    # In doubt exactly where the dot was sent and no whole reply came.
    assert outcome.in_doubt is (phase == "dot" and outcome.reply.code == 0)


@pytest.mark.parametrize("offered", [OFFERED, ALONE])
@pytest.mark.parametrize(
    ("phase", "step"), [("mail", "354 go"), ("rcpt", "354 go"), ("data", "250 ok"), ("dot", "354 more")]
)
async def test_a_reply_of_another_kind_is_garbage(opened: Opened, phase: str, step: Step, offered: Extensions) -> None:
    outcome = await outcome_of(opened, Script(**{phase: step}), offered)
    assert brief(outcome) == "0 4.5.0"
    assert outcome.phase is PHASES[phase]
    assert outcome.in_doubt is (phase == "dot")


async def test_what_broke_says_where(opened: Opened) -> None:
    assert (
        await outcome_of(opened, Script(mail=DROP))
    ).reply.text == "lost connection while waiting for the reply to MAIL"
    outcome = await outcome_of(opened, Script(dot=HANG))
    assert outcome.reply.text == "timed out after the final dot: the server may have the message"


@pytest.mark.parametrize(
    "data", ["503 5.5.1 no recipients", "554 5.5.1 no recipients", "354 go ahead", "451 4.3.0 later"]
)
async def test_after_a_refused_recipient_the_connection_goes_on(opened: Opened, data: str) -> None:
    """The server answers DATA in the middle of the pipeline as it likes; the recipient's reply counts."""
    script = Script(rcpt=["550 5.1.1 no such user", "250 ok"], data=[data, "354 go ahead"])
    with ScriptedServer(script) as server:
        session = await opened(server)
        refused = await session.start(copy(to="nobody@example.test"))
        assert (brief(refused), refused.phase) == ("550 5.1.1", Phase.RCPT)
        assert session.alive
        taken = await session.start(copy(to="somebody@example.test"))
        assert brief(taken) == "250 2.0.0"
        assert [m.recipients for m in server.messages if m.recipients] == [("somebody@example.test",)]
        assert "RSET" in server.commands
        assert len(server.conversations) == 1


@pytest.mark.parametrize("offered", [OFFERED, ALONE])
@pytest.mark.parametrize("phase", ["mail", "rcpt", "data", "dot"])
async def test_after_any_refusal_the_next_message_arrives(opened: Opened, phase: str, offered: Extensions) -> None:
    good = "354 go ahead" if phase == "data" else "250 ok"
    with ScriptedServer(Script(**{phase: ["550 5.7.1 not this one", good]})) as server:
        session = await opened(server, offered)
        assert brief(await session.start(copy())) == "550 5.7.1"
        assert brief(await session.start(copy())) == "250 2.0.0" if phase != "dot" else "250 None"
        assert len(server.conversations) == 1


async def test_a_refused_reset_ends_the_connection(opened: Opened) -> None:
    with ScriptedServer(Script(rcpt="550 5.1.1 no", rset="500 what")) as server:
        session = await opened(server)
        await session.start(copy())
        outcome = await session.start(copy())
        assert (brief(outcome), outcome.phase) == ("0 4.5.0", Phase.MAIL)
        assert not session.alive


BIG = MESSAGE + b".line of a large message\r\n" * 200_000


async def test_a_large_message_arrives_as_it_is(opened: Opened) -> None:
    with ScriptedServer() as server:
        session = await opened(server)
        assert (await session.start(copy(BIG))).reply.code == 250
        assert server.messages[0].content == BIG


@pytest.mark.parametrize(
    ("step", "expected"),
    [
        ("552 5.3.4 too big", "552 5.3.4"),
        ("421 4.3.2 closing", "421 4.3.2"),
        (DROP, "0 4.4.2"),
        (RESET, "0 4.4.2"),
        (Raw(b"oops\n"), "0 4.5.0"),
    ],
)
async def test_trouble_in_the_middle_of_the_content_is_no_doubt(opened: Opened, step: Step, expected: str) -> None:
    """The content is not sent to its end, so the server cannot have taken it."""
    script = Script(body=step, body_bytes=100_000)
    outcome = await outcome_of(opened, script, content=BIG * 4)
    assert (brief(outcome), outcome.phase, outcome.in_doubt) == (expected, Phase.CONTENT, False)


# Replies that come while the content is written.


class Blunt:
    """A server that answers in mid-content, and leaves by RST, as one does that closes with unread bytes."""

    def __init__(self, reply: bytes, *, tls: bool) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address, self.port = self._listener.getsockname()
        self._reply, self._tls = reply, tls
        self.gone = threading.Event()
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def _serve(self) -> None:
        raw, _ = self._listener.accept()
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16384)
        raw.settimeout(5)
        peer = server_tls().wrap_socket(raw, server_side=True) if self._tls else raw
        peer.recv(1000)
        peer.sendall(b"250 ok\r\n250 ok\r\n354 go ahead\r\n")
        peer.recv(1000)
        peer.sendall(self._reply)
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        peer.close()
        self._listener.close()
        self.gone.set()

    def join(self) -> None:
        self._thread.join()


async def opened_to(blunt: Blunt, *, tls: bool, timeouts: Timeouts | None = None) -> Session:
    loop = asyncio.get_running_loop()
    below, protocol = await loop.create_connection(asyncio.Protocol, blunt.address, blunt.port)
    transport = below
    if tls:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        secured = await loop.start_tls(below, protocol, context)
        LastWords(below)
        assert secured is not None
        transport = secured
    return Session(transport, OFFERED, timeouts or Timeouts(), below=below)


@pytest.mark.parametrize("tls", [False, True])
@pytest.mark.parametrize(
    ("reply", "expected"),
    [
        (b"552 5.3.4 too big\r\n", "552 5.3.4"),
        (b"421 4.3.2 closing\r\n", "421 4.3.2"),
        (b"554-5.7.1 you\r\n554 5.7.1 again\r\n", "554 5.7.1"),
        (b"oops\r\n", "0 4.5.0"),
        (b"55", "0 4.4.2"),
        (b"", "0 4.4.2"),
    ],
)
async def test_a_reply_is_read_again_when_writing_the_body_fails(
    opened: Opened, reply: bytes, expected: str, *, tls: bool
) -> None:
    """RFC 5321, 4.2.5, and real servers: what was said before the RST is what was meant; nothing said is trouble."""
    blunt = Blunt(reply, tls=tls)
    session = await opened_to(blunt, tls=tls)
    opened.sessions.append(session)
    pieces: list[int] = []
    write = session._transport.write

    class Late:
        """Writes its second piece when the server is gone, before the loop has looked at the socket."""

        def __getattr__(self, name: str) -> object:
            return getattr(session_transport, name)

        def write(self, data: bytes | memoryview) -> None:
            pieces.extend([len(data)] if len(data) > 1000 else [])
            assert len(pieces) < 2 or blunt.gone.wait(5)
            write(data)

    session_transport = session._transport
    session._transport = Late()  # type: ignore[assignment]
    outcome = await asyncio.wait_for(session.start(copy(BIG * 2)), 10)
    blunt.join()
    assert (brief(outcome), outcome.phase, outcome.in_doubt) == (expected, Phase.CONTENT, False)


async def test_a_late_reply_to_a_body_that_stalled_is_the_outcome(opened: Opened) -> None:
    """A server that stops reading, thinks, and refuses: its words count, not our patience."""
    with ScriptedServer(Script(body="452 4.3.1 no room", body_bytes=1)) as server:
        session = await opened(server)
        outcome = await session.start(copy(BIG * 4))
        assert (brief(outcome), outcome.phase, outcome.in_doubt) == ("452 4.3.1", Phase.CONTENT, False)


async def test_a_server_that_stops_reading_is_given_up_and_never_gets_the_dot(opened: Opened) -> None:
    server_socket = socket.create_server(("127.0.0.1", 0))
    server_socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
    loop = asyncio.get_running_loop()
    sock = socket.create_connection(server_socket.getsockname())
    peer, _ = server_socket.accept()
    transport, _ = await loop.create_connection(asyncio.Protocol, sock=sock)
    session = Session(transport, OFFERED, SOON)
    opened.sessions.append(session)
    future = session.start(copy(BIG))
    peer.recv(1000)
    peer.sendall(b"250 ok\r\n250 ok\r\n354 go\r\n")
    outcome = await future
    assert (outcome.phase, outcome.reply.text) == (Phase.CONTENT, "timed out while sending the content")
    assert not outcome.in_doubt
    peer.settimeout(5)
    received = b""
    while True:
        try:
            piece = await asyncio.to_thread(peer.recv, 1 << 20)
        except ConnectionResetError:
            break
        if not piece:
            break
        received += piece
    assert b"\r\n.\r\n" not in received
    peer.close()
    server_socket.close()


async def test_a_farewell_between_messages_ends_the_connection(opened: Opened) -> None:
    with ScriptedServer(Script(dot=Then("250 ok", "421 4.4.2 idle too long"))) as server:
        session = await opened(server)
        ended = asyncio.Event()
        session.on_end = ended.set
        assert (await session.start(copy())).reply.code == 250
        await asyncio.wait_for(ended.wait(), 5)
        assert not session.alive
        late = await session.start(copy())
        assert (brief(late), late.phase) == ("0 4.4.2", Phase.MAIL)


async def test_quit_is_said_and_answered(opened: Opened) -> None:
    with ScriptedServer() as server:
        session = await opened(server)
        await session.start(copy())
        session.close()
        await server.until(lambda s: s.conversations[0].ended)
        assert server.commands[-1] == "QUIT"
        await asyncio.sleep(0.02)
        assert not session.alive
        session.close()


async def test_a_server_that_does_not_answer_quit_is_left(opened: Opened) -> None:
    with ScriptedServer(Script(quit=HANG)) as server:
        session = await opened(server, timeouts=SOON)
        ended = asyncio.Event()
        session.on_end = ended.set
        session.close()
        await asyncio.wait_for(ended.wait(), 5)


async def test_abort_gives_every_transaction_its_end(opened: Opened) -> None:
    with ScriptedServer(Script(dot=HANG)) as server:
        session = await opened(server)
        waiting = session.start(copy())
        await server.until(lambda s: bool(s.messages))
        assert session.after_dot
        session.abort()
        assert (await waiting).in_doubt


async def test_a_waiter_that_left_harms_nobody(opened: Opened) -> None:
    with ScriptedServer() as server:
        session = await opened(server)
        session.start(copy()).cancel()
        await server.until(lambda s: bool(s.messages))
        await asyncio.sleep(0.05)
        assert (await session.start(copy())).reply.code == 250


def test_nothing_is_waited_for_where_nothing_was_said() -> None:
    assert last_words(asyncio.BaseTransport()) == b"", "its socket is gone"
    here, there = socket.socketpair()
    here.setblocking(False)
    transport = asyncio.BaseTransport({"socket": here})
    assert last_words(transport) == b""
    there.sendall(b"421 bye")
    there.close()
    assert last_words(transport) == b"421 bye"
    here.close()
    assert last_words(transport) == b""


async def test_tls_below_is_told_of_all_that_happens(opened: Opened) -> None:
    """What stands between a transport and its TLS passes everything on."""
    told: list[object] = []

    class Tls(asyncio.BufferedProtocol):
        def eof_received(self) -> bool:
            told.append("eof")
            return True

        def pause_writing(self) -> None:
            told.append("pause")

        def resume_writing(self) -> None:
            told.append("resume")

        def connection_lost(self, exc: Exception | None) -> None:
            told.append(exc)

    loop = asyncio.get_running_loop()
    here, there = socket.socketpair()
    transport, _ = await loop.create_connection(Tls, sock=here)
    between = LastWords(transport)
    assert between.eof_received()
    between.pause_writing()
    between.resume_writing()
    between.connection_lost(None)
    assert told == ["eof", "pause", "resume", None]
    transport.abort()
    there.close()
    for _ in range(3):
        await asyncio.sleep(0)


# Pure parts.


def test_commands_say_what_the_server_offers() -> None:
    plain = commands(copy(), Extensions())
    assert plain == (b"MAIL FROM:<from@relay.test>\r\n", b"RCPT TO:<to@example.test>\r\n", b"DATA\r\n")
    eight = commands(Transaction("", "to@example.test", "é\r\n".encode()), OFFERED)
    assert eight[0] == b"MAIL FROM:<> SIZE=4 BODY=8BITMIME\r\n"
    utf8 = commands(Transaction("", "ö@example.test", b"x\r\n"), OFFERED)
    assert utf8[:2] == (b"MAIL FROM:<> SIZE=3 SMTPUTF8\r\n", "RCPT TO:<ö@example.test>\r\n".encode())
    dsn = commands(replace(copy(), mail_parameters=" RET=HDRS", rcpt_parameters=" NOTIFY=NEVER"), OFFERED)
    assert dsn[0].endswith(b" RET=HDRS\r\n")
    assert dsn[1] == b"RCPT TO:<to@example.test> NOTIFY=NEVER\r\n"
    assert commands(copy("é\r\n".encode()), Extensions())[0] == b"MAIL FROM:<from@relay.test>\r\n"


@pytest.mark.parametrize(
    ("transaction", "offered", "enhanced"),
    [
        (copy(b"x" * 11), Extensions(size=10), "5.3.4"),
        (copy(b"x" * 11), Extensions(size=0), None),
        (copy(b"x" * 11), Extensions(), None),
        (copy(to="ö@example.test"), Extensions(), "5.6.7"),
        (copy(to="ö@example.test"), Extensions(smtputf8=True), None),
        (copy(to="a@b.test>\r\nDATA"), OFFERED, "5.1.3"),
        (copy(return_path="a\x00@b.test"), OFFERED, "5.1.3"),
        (copy(to='"a b"@example.test'), OFFERED, None),
    ],
)
def test_what_a_server_cannot_be_given_is_not_begun(
    transaction: Transaction, offered: Extensions, enhanced: str | None
) -> None:
    refusal = unsendable(transaction, offered)
    assert (refusal and refusal.reply.enhanced) == enhanced


async def test_an_unsendable_copy_costs_the_server_nothing(opened: Opened) -> None:
    with ScriptedServer() as server:
        session = await opened(server, Extensions(pipelining=True, size=10))
        outcome = await session.start(copy())
        assert (brief(outcome), outcome.phase) == ("0 5.3.4", Phase.MAIL)
        assert session.alive
        assert server.commands == ["EHLO relay.test"]


@pytest.mark.parametrize(
    ("size", "limit"), [("1000", 1000), ("", 0), ("0", 0), ("x", 0), ("9" * 30, 0), ("٣", 0), (None, None)]
)
def test_size_is_read_as_servers_write_it(size: str | None, limit: int | None) -> None:
    assert Extensions.read({} if size is None else {"size": size}).size == limit


@pytest.mark.parametrize(
    ("content", "sent"),
    [
        (b"", b""),
        (b"a\r\n", b"a\r\n"),
        (b"a", b"a\r\n"),
        (b".\r\n", b"..\r\n"),
        (b"a\r\n.\r\n.\r\n", b"a\r\n..\r\n..\r\n"),
        (b"a\r\n..b\r\n", b"a\r\n...b\r\n"),
        (b"a.b\r\n", b"a.b\r\n"),
    ],
)
def test_dots_are_stuffed(content: bytes, sent: bytes) -> None:
    assert stuffed(content) == sent


@given(st.lists(st.sampled_from([b".", b"\r\n", b"a", b"..", b"\r\n."])))
def test_no_content_ends_itself(pieces: list[bytes]) -> None:
    """RFC 5321, 4.5.2: no line of what is sent is a lone dot, and a server gets back what was stored."""
    content = b"".join(pieces)
    sent = stuffed(content)
    lines = sent.split(b"\r\n")
    assert b"." not in lines
    assert not sent or sent.endswith(b"\r\n")
    back = b"\r\n".join(line.removeprefix(b".") for line in lines)
    assert back in {content, content + b"\r\n"}
