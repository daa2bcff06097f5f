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

from relay.deliver.last_words import last_words
from relay.deliver.reply import ReplyReader, garbled, ours, read
from storage.frozen import frozen
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
    dsn: bool = False
    size: int | None = None
    """The largest message it takes in bytes; 0: no fixed limit; None: SIZE is not offered (RFC 1870, 4)."""

    @classmethod
    def read(cls, offered: Mapping[str, str]) -> "Extensions":
        """Read keywords in lower case with their parameters."""
        size = offered.get("size")
        limit = int(size) if size and size.isascii() and size.isdigit() and len(size) < 20 else 0  # noqa: PLR2004 - RFC 1870, 3: at most 20 digits
        return cls(
            pipelining="pipelining" in offered,
            eight_bit="8bitmime" in offered,
            smtputf8="smtputf8" in offered,
            dsn="dsn" in offered,
            size=limit if size is not None else None,
        )


@frozen
class Transaction:
    """One copy to one recipient."""

    return_path: str
    recipient: str
    content: bytes = field(repr=False)
    smtputf8: bool = False
    """Whether the sender declared it with SMTPUTF8 (RFC 6531)."""
    mail_parameters: str = ""
    rcpt_parameters: str = ""
    """The DSN parameters (`dsn.parameters`), each after a blank; "" where the server does not offer DSN."""


@frozen
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
    if not (offered.smtputf8 or addresses.isascii()):
        return Outcome(ours("5.6.7", "the address needs SMTPUTF8, which the server does not offer"), Phase.MAIL)
    size = len(transaction.content)
    if offered.size and size > offered.size:
        text = f"the message has {size} bytes, the server takes {offered.size}"
        return Outcome(ours("5.3.4", text), Phase.MAIL)
    return None


def commands(transaction: Transaction, offered: Extensions) -> tuple[bytes, bytes, bytes]:
    """Return MAIL, RCPT and DATA for this copy, which was made for what the server offers.

    8-bit content is declared (RFC 6152, 2); header fields that are 8-bit without the sender's word that they are
    Unicode are not (RFC 6531, 3.4 would have us promise that).
    """
    mail = f"MAIL FROM:<{transaction.return_path}>"
    if offered.size is not None:
        mail += f" SIZE={len(transaction.content)}"
    if offered.eight_bit and not transaction.content.isascii():
        mail += " BODY=8BITMIME"
    if offered.smtputf8 and (transaction.smtputf8 or not (transaction.return_path + transaction.recipient).isascii()):
        mail += " SMTPUTF8"
    rcpt = f"RCPT TO:<{transaction.recipient}>{transaction.rcpt_parameters}\r\n"
    return f"{mail}{transaction.mail_parameters}\r\n".encode(), rcpt.encode(), b"DATA\r\n"


def stuffed(content: bytes) -> bytes:
    """Return content ready for DATA but for the final dot: a dot before each leading dot, CRLF at the end (4.5.2)."""
    if b"\r\n." in content:
        content = content.replace(b"\r\n.", b"\r\n..")
    if content.startswith(b"."):
        content = b"." + content
    return content if not content or content.endswith(b"\r\n") else content + b"\r\n"


# What a reply is due to. Ints: they are compared for every reply.
_RSET, _MAIL, _RCPT, _DATA, _DOT, _LONE_DOT, _QUIT = range(7)
_AGREEABLE: Final = frozenset({_RSET, _MAIL, _RCPT})
_PHASES: Final = (Phase.MAIL, Phase.MAIL, Phase.RCPT, Phase.DATA, Phase.AFTER_DOT, Phase.DATA, Phase.AFTER_DOT)
_WHILE: Final = {
    Phase.MAIL: "while waiting for the reply to MAIL",
    Phase.RCPT: "while waiting for the reply to RCPT",
    Phase.DATA: "while waiting for the reply to DATA",
    Phase.CONTENT: "while sending the content",
    Phase.AFTER_DOT: "after the final dot: the server may have the message",
}


class _Flight:
    """The transaction under way."""

    __slots__ = ("failure", "future", "steps", "transaction")

    def __init__(self, transaction: Transaction, future: asyncio.Future[Outcome]) -> None:
        self.transaction = transaction
        self.future = future
        self.failure: Outcome | None = None
        """The first refusal; what the server says to the rest of the pipeline is only its echo."""
        self.steps: deque[tuple[int, bytes]] = deque()
        """Commands not written yet."""

    def end(self, outcome: Outcome) -> None:
        """Give the outcome, but for a waiter that was cancelled and wants none."""
        if not self.future.done():
            self.future.set_result(outcome)


class Session(asyncio.Protocol):
    """The connection after EHLO: takes one transaction after the other.

    `on_end` is called once, when no further transaction can be started. The next MAIL is not written with
    the content of the message before, though RFC 2920, 3.1 allows it: it saved 3 of 40 microseconds, and
    would hold a recipient behind another's slow final dot.
    """

    def __init__(
        self,
        transport: asyncio.Transport,
        extensions: Extensions,
        timeouts: Timeouts,
        loop: asyncio.AbstractEventLoop | None = None,
        below: asyncio.Transport | None = None,
    ) -> None:
        """Take over `transport`, which has just read the reply to EHLO or AUTH.

        `below` is the transport below TLS, where it is known: it alone tells at once that writing failed.
        """
        self._loop = loop or asyncio.get_running_loop()
        self._transport = transport
        self._below = below or transport
        self.extensions = extensions
        self.on_end: Callable[[], None] | None = None
        self._reader = ReplyReader()
        self._flight: _Flight | None = None
        self._expected: deque[int] = deque()
        self._body: memoryview | None = None
        self._paused = False
        self._needs_reset = False
        self._dead = False
        at = timeouts
        self._seconds = (at.mail, at.mail, at.rcpt, at.data, at.dot, at.dot, at.quit)
        self._block_seconds = at.block
        self._deadline = float("inf")
        self._tick_seconds = max(min(at.block, *self._seconds) / 4, 0.01)
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
        return _DOT in self._expected

    def start(self, transaction: Transaction) -> asyncio.Future[Outcome]:
        """Begin a transaction; the future has its outcome, and never an exception.

        To be called when the one before has its outcome.
        """
        future: asyncio.Future[Outcome] = self._loop.create_future()
        refusal = unsendable(transaction, self.extensions)
        if refusal is None and self._dead:
            refusal = Outcome(_explained(ours("4.4.2", "lost connection"), Phase.MAIL), Phase.MAIL)
        if refusal is not None:
            future.set_result(refusal)
            return future
        mail, rcpt, data = commands(transaction, self.extensions)
        self._flight = flight = _Flight(transaction, future)
        if self.extensions.pipelining and not self._needs_reset:
            self._ask((_MAIL, _RCPT, _DATA), mail + rcpt + data)
            return future
        flight.steps.extend(((_MAIL, mail), (_RCPT, rcpt), (_DATA, data)))
        if self._needs_reset:
            flight.steps.appendleft((_RSET, b"RSET\r\n"))
            self._needs_reset = False
        self._next_steps(flight)
        return future

    def close(self) -> None:
        """Say QUIT and close when the server has answered, or after a moment; nothing may be under way."""
        if not self._dead:
            self._ask((_QUIT,), b"QUIT\r\n")

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
        """End what is under way, by what the server said last where it said something."""
        if exc is not None and self._flight is not None and not self._dead:
            self.data_received(last_words(self._transport))
        reason = f": {exc.strerror or exc}" if isinstance(exc, OSError) else ""
        self._break(ours("4.4.2", f"lost connection{reason}"))

    def pause_writing(self) -> None:
        """Write no more content for now."""
        self._paused = True

    def resume_writing(self) -> None:
        """All that was written has left: go on."""
        self._paused = False
        self._go_on_writing()

    # Replies.

    def _take(self, code: int, raw: bytes) -> None:
        flight = self._flight
        if flight is None or not self._expected:
            # A refusal in the middle of the content, a farewell, or the reply to QUIT.
            self._break(read(code, raw))
            return
        slot = self._expected.popleft()
        kind = code // 100
        if code == _CLOSING:
            # RFC 5321, 3.8: the server closes, whatever it was asked besides.
            self._expected.clear()
            self._finish(flight, flight.failure or Outcome(read(code, raw), _PHASES[slot]))
            self._break(read(code, raw))
        elif kind == 2 and slot == _DOT:  # noqa: PLR2004 - positive completion
            self._finish(flight, Outcome(read(code, raw), Phase.AFTER_DOT))
        elif kind == 2 and slot in _AGREEABLE:  # noqa: PLR2004 - as above
            self._go_on(flight)
        elif kind == 3 and slot == _DATA:  # noqa: PLR2004 - intermediate
            self._take_go_ahead(flight)
        elif slot == _LONE_DOT and flight.failure is not None:
            self._finish(flight, flight.failure)
        elif kind < 4 or slot == _RSET:  # noqa: PLR2004 - a kind of reply that has no place here
            self._expected.appendleft(slot)
            self._break(garbled(raw))
        else:
            self._take_refusal(flight, slot, Outcome(read(code, raw), _PHASES[slot]))

    def _take_refusal(self, flight: _Flight, slot: int, refusal: Outcome) -> None:
        flight.failure = flight.failure or refusal
        # RFC 5321, 4.1.1.4: a message that is refused has ended its transaction as one that is taken has.
        self._needs_reset = slot != _DOT
        if self._expected:
            self._go_on(flight)
        else:
            self._finish(flight, flight.failure)

    def _take_go_ahead(self, flight: _Flight) -> None:
        if flight.failure is None:
            self._begin_body(flight)
        else:
            # RFC 2920, 3.1: the server waits for content for nobody; a lone dot ends that.
            self._ask((_LONE_DOT,), b".\r\n")

    def _go_on(self, flight: _Flight) -> None:
        if flight.steps and not self._expected:
            self._next_steps(flight)
        else:
            self._deadline = self._loop.time() + self._seconds[self._expected[0]]

    def _finish(self, flight: _Flight, outcome: Outcome) -> None:
        self._flight = None
        self._deadline = float("inf")
        flight.end(outcome)

    # Writing.

    def _ask(self, slots: tuple[int, ...], lines: bytes) -> None:
        self._expected.extend(slots)
        self._deadline = self._loop.time() + self._seconds[slots[0]]
        self._transport.write(lines)

    def _next_steps(self, flight: _Flight) -> None:
        """Write the next command, or all of them where they may be pipelined."""
        count = len(flight.steps) if self.extensions.pipelining else 1
        steps = [flight.steps.popleft() for _ in range(count)]
        self._ask(tuple(slot for slot, _ in steps), b"".join([line for _, line in steps]))

    def _begin_body(self, flight: _Flight) -> None:
        content = stuffed(flight.transaction.content)
        if len(content) < _CHUNK // 2 and not self._below.is_closing():
            self._ask((_DOT,), content + b".\r\n")
        else:
            self._write_body(memoryview(content))

    def _write_body(self, body: memoryview) -> None:
        """Write the next part of the content; after the last one the dot."""
        # A transport that is closing takes writes and drops them: the dot was not sent then.
        if not self._paused and not self._below.is_closing():
            if len(body) <= _CHUNK:
                self._body = None
                self._ask((_DOT,), bytes(body) + b".\r\n")
                return
            self._transport.write(body[:_CHUNK])
            body = body[_CHUNK:]
            if not self._paused:
                # A server may refuse at any time: what it says is read between two parts, not after the last.
                self._loop.call_soon(self._go_on_writing)
        self._body = body
        self._deadline = self._loop.time() + self._block_seconds

    def _go_on_writing(self) -> None:
        if self._flight is not None and self._body is not None and not self._paused:
            self._write_body(self._body)

    # The end.

    def _tick(self) -> None:
        if self._loop.time() >= self._deadline:
            self._break(ours("4.4.2", "timed out"))
        else:
            self._timer = self._loop.call_later(self._tick_seconds, self._tick)

    def _break(self, reason: Reply) -> None:
        """Abort the connection; what is under way ends with `reason` in its phase."""
        if self._dead:
            return
        self._dead = True
        self._timer.cancel()
        self._transport.abort()
        if self._flight is not None:
            phase = _PHASES[self._expected[0]] if self._expected else Phase.CONTENT
            outcome = Outcome(_explained(reason, phase), phase, in_doubt=phase is Phase.AFTER_DOT)
            self._finish(self._flight, self._flight.failure or outcome)
        self._body = None
        if self.on_end is not None:
            self.on_end()


def _explained(reason: Reply, phase: Phase) -> Reply:
    if reason.code:
        return reason
    return Reply(0, reason.enhanced, f"{reason.text} {_WHILE[phase]}")
