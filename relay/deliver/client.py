"""One connection to one server, from MAIL to the final dot, message after message.

Rules: the connection is taken over after EHLO, STARTTLS and AUTH (`connect.py`). What may be pipelined is
written at once (RFC 2920). The phase is known at every moment, so that what broke after the final dot is
in doubt and what broke before is not. On trouble the connection is aborted: never may a buffer be flushed
to a server that we have given up. No exception comes out of here: every end is an Outcome.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final

from relay.deliver.reply import ReplyReader, garbled, ours, read
from storage.model import Phase, Reply

_CHUNK: Final = 128 * 1024
_CLOSING: Final = 421


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Seconds to wait in each phase (RFC 5321, 4.5.3.2)."""

    connect: float = 30.0
    """Postfix's smtp_connect_timeout; the kernel's own takes two minutes."""
    greeting: float = 300.0
    """Also for EHLO, STARTTLS and AUTH, each."""
    mail: float = 300.0
    rcpt: float = 300.0
    data: float = 120.0
    block: float = 180.0
    """For each part of the content to leave."""
    dot: float = 600.0
    quit: float = 5.0


@dataclass(frozen=True, slots=True)
class Extensions:
    """What the server offers, of what we use."""

    pipelining: bool = False
    eight_bit: bool = False
    smtputf8: bool = False
    size: int | None = None
    """The largest message it takes in bytes; 0: no fixed limit; None: SIZE is not offered (RFC 1870, 4)."""

    @classmethod
    def read(cls, offered: Mapping[str, str]) -> "Extensions":
        """Read keywords in lower case with their parameters."""
        size = offered.get("size")
        limit = int(size) if size and size.isascii() and size.isdigit() and len(size) < 20 else 0  # noqa: PLR2004 - RFC 1870, 3: at most 20 digits
        return cls(
            "pipelining" in offered, "8bitmime" in offered, "smtputf8" in offered, limit if size is not None else None
        )


@dataclass(frozen=True, slots=True)
class Transaction:
    """One copy to one recipient."""

    return_path: str
    recipient: str
    content: bytes = field(repr=False)
    smtputf8: bool = False
    """Whether the sender declared it with SMTPUTF8 (RFC 6531)."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a transaction ended."""

    reply: Reply
    phase: Phase
    in_doubt: bool = False
    """The final dot was sent and no whole reply came: the server may have the message."""


def unsendable(transaction: Transaction, offered: Extensions) -> Outcome | None:
    """Return why this server can not be given this copy, before a word is said to it; None where it can."""
    addresses = transaction.return_path + transaction.recipient
    if not addresses.isprintable():
        return Outcome(ours("5.1.3", "the address holds characters that no SMTP command can carry"), Phase.RCPT)
    if not offered.smtputf8 and _needs_smtputf8(transaction, addresses):
        text = "the address or a header needs SMTPUTF8, which the server does not offer"
        return Outcome(ours("5.6.7", text), Phase.MAIL)
    size = len(transaction.content)
    if offered.size and size > offered.size:
        text = f"the message has {size} bytes, the server takes {offered.size}"
        return Outcome(ours("5.3.4", text), Phase.MAIL)
    return None


def _needs_smtputf8(transaction: Transaction, addresses: str) -> bool:
    """Whether addresses or headers hold what only SMTPUTF8 may carry; the body is 8BITMIME's (RFC 6531, 3.2)."""
    if not addresses.isascii():
        return True
    if not transaction.smtputf8:
        return False
    head, _, _ = transaction.content.partition(b"\r\n\r\n")
    return not head.isascii()


def commands(transaction: Transaction, offered: Extensions) -> tuple[bytes, bytes, bytes]:
    """Return MAIL, RCPT and DATA for this copy.

    8-bit content is declared where 8BITMIME is offered, and sent as it is where not: nearly all servers
    take it, and refusing it would lose mail that others deliver. It is not re-encoded yet.
    """
    mail = f"MAIL FROM:<{transaction.return_path}>"
    if offered.size is not None:
        mail += f" SIZE={len(transaction.content)}"
    if offered.eight_bit and not transaction.content.isascii():
        mail += " BODY=8BITMIME"
    if offered.smtputf8 and (transaction.smtputf8 or not (transaction.return_path + transaction.recipient).isascii()):
        mail += " SMTPUTF8"
    return f"{mail}\r\n".encode(), f"RCPT TO:<{transaction.recipient}>\r\n".encode(), b"DATA\r\n"


def stuffed(content: bytes) -> bytes:
    """Return content ready for DATA but for the final dot: a dot before each leading dot, CRLF at the end (4.5.2)."""
    if b"\r\n." in content:
        content = content.replace(b"\r\n.", b"\r\n..")
    if content.startswith(b"."):
        content = b"." + content
    return content if not content or content.endswith(b"\r\n") else content + b"\r\n"


# What a reply is due to. Ints: they are compared for every reply.
_RSET, _MAIL, _RCPT, _DATA, _DOT, _LONE_DOT, _QUIT = range(7)
_PHASES: Final = (Phase.MAIL, Phase.MAIL, Phase.RCPT, Phase.DATA, Phase.AFTER_DOT, Phase.DATA, Phase.AFTER_DOT)
_WHILE: Final = {
    Phase.MAIL: "while waiting for the reply to MAIL",
    Phase.RCPT: "while waiting for the reply to RCPT",
    Phase.DATA: "while waiting for the reply to DATA",
    Phase.CONTENT: "while sending the content",
    Phase.AFTER_DOT: "after the final dot: the server may have the message",
}


class _Flight:
    """A transaction under way."""

    __slots__ = ("failure", "future", "steps", "transaction")

    def __init__(self, transaction: Transaction, future: asyncio.Future[Outcome]) -> None:
        self.transaction = transaction
        self.future = future
        self.failure: Outcome | None = None
        self.steps: deque[tuple[int, bytes]] = deque()


class Session(asyncio.Protocol):
    """The connection after EHLO: takes one transaction after the other.

    `on_end` is called once, when no further transaction can be started. `on_dot` is called when a final
    dot has been written: from then on the next transaction may be started, whose commands leave with the
    content in one write (RFC 2920, 3.1).
    """

    def __init__(
        self,
        transport: asyncio.Transport,
        extensions: Extensions,
        timeouts: Timeouts,
        loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        """Take over `transport`, which has just read the reply to EHLO or AUTH."""
        self._loop = loop or asyncio.get_running_loop()
        self._transport = transport
        self.extensions = extensions
        self._timeouts = timeouts
        self._reader = ReplyReader()
        self._expected: deque[tuple[int, _Flight | None]] = deque()
        self._writing: _Flight | None = None
        self._body = memoryview(b"")
        self._seconds = (timeouts.mail, timeouts.mail, timeouts.rcpt, timeouts.data, timeouts.dot, timeouts.dot)
        self._paused = False
        self._needs_reset = False
        self._dead = False
        self.on_dot: Callable[[], None] | None = None
        self.on_end: Callable[[], None] | None = None
        self._deadline = float("inf")
        shortest = min(timeouts.mail, timeouts.rcpt, timeouts.data, timeouts.block, timeouts.dot, timeouts.quit)
        self._tick_seconds = max(shortest / 4, 0.01)
        self._timer = self._loop.call_later(self._tick_seconds, self._tick)
        # The last part of a content is written when all before it has left: a connection that breaks
        # earlier is then known to have broken before the dot.
        transport.set_write_buffer_limits(high=_CHUNK // 2, low=0)
        transport.set_protocol(self)
        if transport.is_closing():
            self._break(ours("4.4.2", "lost connection"))

    @property
    def alive(self) -> bool:
        """Whether a transaction may be started."""
        return not self._dead

    @property
    def after_dot(self) -> bool:
        """Whether the reply to a final dot is being waited for."""
        return any(slot == _DOT for slot, _ in self._expected)

    def start(self, transaction: Transaction) -> asyncio.Future[Outcome]:
        """Begin a transaction; the future has its outcome, and never an exception.

        To be called when the one before has its outcome, or its final dot is written (`on_dot`).
        """
        future: asyncio.Future[Outcome] = self._loop.create_future()
        refusal = unsendable(transaction, self.extensions)
        if refusal is not None:
            future.set_result(refusal)
            return future
        if self._dead:
            future.set_result(Outcome(_explained(ours("4.4.2", "lost connection"), Phase.MAIL), Phase.MAIL))
            return future
        flight = _Flight(transaction, future)
        mail, rcpt, data = commands(transaction, self.extensions)
        self._deadline = self._loop.time() + self._timeouts.mail
        if self.extensions.pipelining and not self._needs_reset:
            self._transport.write(mail + rcpt + data)
            self._expected.extend(((_MAIL, flight), (_RCPT, flight), (_DATA, flight)))
            return future
        steps = flight.steps
        steps.extend(((_MAIL, mail), (_RCPT, rcpt), (_DATA, data)))
        if self._needs_reset:
            steps.appendleft((_RSET, b"RSET\r\n"))
            self._needs_reset = False
        self._next_steps(flight)
        return future

    def close(self) -> None:
        """Say QUIT and close when the server has answered, or after a moment; nothing may be under way."""
        if self._dead:
            return
        self._expected.append((_QUIT, None))
        self._deadline = self._loop.time() + self._timeouts.quit
        self._transport.write(b"QUIT\r\n")

    def abort(self) -> None:
        """Break the connection at once; what is under way has its outcome when this returns."""
        self._break(ours("4.3.2", "we closed the connection"))

    # The transport's side.

    def data_received(self, data: bytes) -> None:
        """Take what the server says."""
        for code, raw in self._reader.feed(data):
            if self._dead:
                return
            self._take(code, raw)
        if self._reader.garbage is not None:
            self._break(garbled(self._reader.garbage))

    def connection_lost(self, exc: Exception | None) -> None:
        """End what is under way."""
        reason = f": {exc.strerror or exc}" if isinstance(exc, OSError) else ""
        self._break(ours("4.4.2", f"lost connection{reason}"))

    def pause_writing(self) -> None:
        """Write no more content for now."""
        self._paused = True

    def resume_writing(self) -> None:
        """All that was written has left: go on."""
        self._paused = False
        if self._writing is not None:
            self._write_body(self._writing)

    # Replies.

    def _take(self, code: int, raw: bytes) -> None:
        if not self._expected:
            self._take_unasked(code, raw)
            return
        slot, flight = self._expected.popleft()
        if flight is None:
            self._break(ours("4.4.2", "closed"))
            return
        if code == _CLOSING:
            self._take_closing(slot, flight, read(code, raw))
        elif slot == _DOT:
            self._take_dot(flight, code, raw)
        elif slot == _DATA:
            self._take_data(flight, code, raw)
        elif slot == _LONE_DOT:
            self._finish(flight, flight.failure)
        elif code // 100 == 2:  # noqa: PLR2004 - positive completion
            if flight.steps and not self.extensions.pipelining:
                self._next_steps(flight)
            self._deadline = self._loop.time() + self._seconds[self._expected[0][0]]
        else:
            self._take_refusal(slot, flight, code, raw)

    def _take_refusal(self, slot: int, flight: _Flight, code: int, raw: bytes) -> None:
        """RSET, MAIL or RCPT was not agreed to."""
        if slot == _RSET or code // 100 == 3:  # noqa: PLR2004 - an intermediate reply has no place here
            self._expected.appendleft((slot, flight))
            self._break(garbled(raw))
            return
        if flight.failure is None:
            flight.failure = Outcome(read(code, raw), _PHASES[slot])
        if not self._owed(flight):
            self._finish(flight, flight.failure)

    def _take_data(self, flight: _Flight, code: int, raw: bytes) -> None:
        kind = code // 100
        if kind == 3:  # noqa: PLR2004 - go ahead
            if flight.failure is None:
                self._begin_body(flight)
            else:
                # RFC 2920, 3.1: the server waits for content for nobody; a lone dot ends that.
                self._transport.write(b".\r\n")
                self._expected.append((_LONE_DOT, flight))
                self._deadline = self._loop.time() + self._timeouts.dot
        elif kind == 2:  # noqa: PLR2004 - no answer to DATA
            self._expected.appendleft((_DATA, flight))
            self._break(garbled(raw))
        else:
            self._finish(flight, flight.failure or Outcome(read(code, raw), Phase.DATA))

    def _take_dot(self, flight: _Flight, code: int, raw: bytes) -> None:
        if code // 100 == 3:  # noqa: PLR2004 - no answer to a message
            self._expected.appendleft((_DOT, flight))
            self._break(garbled(raw))
            return
        if not self._expected:
            self._deadline = float("inf")
        # A refused message ends the transaction as a taken one does (RFC 5321, 4.1.1.4): no RSET is needed.
        _resolve(flight, Outcome(read(code, raw), Phase.AFTER_DOT))

    def _take_closing(self, slot: int, flight: _Flight, reply: Reply) -> None:
        """421: the server closes; what it was asked besides has the same answer (RFC 5321, 3.8)."""
        _resolve(flight, flight.failure or Outcome(reply, _PHASES[slot]))
        self._break(reply)

    def _take_unasked(self, code: int, raw: bytes) -> None:
        """Take what nothing was asked for: a refusal in the middle of the content, or a farewell."""
        self._break(read(code, raw))

    def _owed(self, flight: _Flight) -> bool:
        return any(waiting is flight for _, waiting in self._expected)

    def _finish(self, flight: _Flight, outcome: Outcome | None) -> None:
        """End a flight that sent no message: the server may still hold its MAIL."""
        self._needs_reset = True
        self._deadline = float("inf")
        if outcome is not None:
            _resolve(flight, outcome)

    # Writing.

    def _next_steps(self, flight: _Flight) -> None:
        """Write the next command, or all of them where they may be pipelined."""
        count = len(flight.steps) if self.extensions.pipelining else 1
        steps = [flight.steps.popleft() for _ in range(count)]
        self._expected.extend((slot, flight) for slot, _ in steps)
        self._transport.write(b"".join([line for _, line in steps]))

    def _begin_body(self, flight: _Flight) -> None:
        content = stuffed(flight.transaction.content)
        if len(content) < _CHUNK // 2 and not self._transport.is_closing():
            self._transport.write(content + b".\r\n")
            self._dot_is_written(flight)
            return
        self._body = memoryview(content)
        self._writing = flight
        self._write_body(flight)

    def _write_body(self, flight: _Flight) -> None:
        # A transport that is closing takes writes and drops them: the dot was not sent then.
        while not self._paused and not self._transport.is_closing():
            self._deadline = self._loop.time() + self._timeouts.block
            part, self._body = self._body[:_CHUNK], self._body[_CHUNK:]
            if not self._body:
                self._writing = None
                self._transport.write(bytes(part) + b".\r\n")
                self._dot_is_written(flight)
                return
            self._transport.write(part)

    def _dot_is_written(self, flight: _Flight) -> None:
        self._expected.append((_DOT, flight))
        self._deadline = self._loop.time() + self._timeouts.dot
        if self.on_dot is not None:
            self.on_dot()

    # The end.

    def _tick(self) -> None:
        if self._loop.time() >= self._deadline:
            self._break(ours("4.4.2", "timed out"))
        else:
            self._timer = self._loop.call_later(self._tick_seconds, self._tick)

    def _break(self, reason: Reply) -> None:
        """Abort the connection; each transaction under way ends with `reason` in its phase."""
        if self._dead:
            return
        self._dead = True
        self._timer.cancel()
        self._transport.abort()
        if self._writing is not None:
            self._end(self._writing, Phase.CONTENT, reason)
        for slot, flight in self._expected:
            if flight is not None:
                self._end(flight, _PHASES[slot], reason)
        self._expected.clear()
        self._writing, self._body = None, memoryview(b"")
        if self.on_end is not None:
            self.on_end()

    def _end(self, flight: _Flight, phase: Phase, reason: Reply) -> None:
        in_doubt = phase is Phase.AFTER_DOT
        _resolve(flight, flight.failure or Outcome(_explained(reason, phase), phase, in_doubt))


def _resolve(flight: _Flight, outcome: Outcome) -> None:
    # A flight has several replies due; the first end counts. A waiter that was cancelled wants none.
    if not flight.future.done():
        flight.future.set_result(outcome)


def _explained(reason: Reply, phase: Phase) -> Reply:
    if reason.code:
        return reason
    return Reply(0, reason.enhanced, f"{reason.text} {_WHILE[phase]}")
