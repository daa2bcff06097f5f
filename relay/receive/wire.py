"""One connection: bytes in and out, time limits, TLS. aiosmtpd's protocol class with a reader of our own.

Rules: every wait has an end, and the client is told (421) before it is cut off; nothing is buffered without
bound; replies to pipelined commands leave together; what was said in clear is forgotten when TLS begins;
a client that goes away stops nothing that was begun for it: a session ends where it next waits for input.
"""

import asyncio
import logging
from typing import ClassVar, Final, cast

from aiosmtpd.smtp import SMTP, Session

from relay.receive import replies
from relay.receive.content import ContentReader
from relay.receive.lines import LineBuffer
from relay.receive.service import Service
from storage.kv import kv
from storage.logins import client_of
from storage.model import Reply

# RFC 4954, 4: the longest line that AUTH may need. All other commands are far below.
MAX_LINE_BYTES: Final = 12_288
# Of one line, read over, until the client is taken for broken.
MAX_OVERLONG_BYTES: Final = 1 << 20
# Pipelined commands that wait while one is served; past it the socket is not read (one read may exceed it).
_MAX_WAITING_BYTES: Final = 1 << 16
# How long a client may take to read our last words.
_LINGER_SECONDS: Final = 20
# The TLS layer has its own timer, and this is for what it does not see.
_TLS_MARGIN_SECONDS: Final = 5
# Pipelined commands served before other sessions get their turn.
_COMMANDS_IN_A_ROW: Final = 64


_log = logging.getLogger("telltale.receive")
# aiosmtpd tells of each connection twice at level info.
logging.getLogger("mail.log").setLevel(logging.WARNING)


def written(reply: Reply) -> bytes:
    """Return a reply's line (RFC 5321, 4.2; RFC 2034)."""
    return f"{reply.code} {reply.enhanced} {reply.text}\r\n".encode()


class Wire(SMTP):
    """A session's connection; the commands are its subclasses'."""

    session: Session
    transport: asyncio.Transport | None
    task: asyncio.Task[None]
    _commands: ClassVar[list[str]] = []

    def __init_subclass__(cls) -> None:
        """Note the names of the commands."""
        cls._commands = [name for name in dir(cls) if name.startswith("smtp_")]

    def __init__(self, service: Service, *, implicit_tls: bool) -> None:
        """Serve one connection for `service`; `implicit_tls`: it begins with TLS (RFC 8314, 3.3)."""
        super().__init__(
            None,
            data_size_limit=service.limits.max_message_bytes,
            enable_SMTPUTF8=True,
            hostname=service.hostname,
            ident="ESMTP Telltale",
            loop=asyncio.get_running_loop(),
        )
        self.service = service
        self.client = ""
        """The peer's address."""
        self.over = False
        """The session ends; nothing more is read."""
        self._implicit_tls = implicit_tls
        self._input = LineBuffer(MAX_LINE_BYTES)
        self._output: list[bytes] = []
        self._content: ContentReader | None = None
        self._content_bytes = 0
        self._content_since = 0.0
        self._last_words: Reply | None = None
        self._waiter: asyncio.Future[bool] | None = None
        self._deadline = 0.0
        self._line_deadline: float | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = 0.0
        self._ended = False
        self._reading_paused = False
        self._writable = asyncio.Event()
        self._writable.set()
        self._open_ends = 2

    def __dir__(self) -> list[str]:
        """Name the commands only: aiosmtpd looks through all names for them, at each connection, for 100 µs."""
        return self._commands

    # The protocol's side: what the transport calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Count the connection, and begin to serve it or turn it away."""
        self.transport = cast("asyncio.Transport", transport)
        peer = transport.get_extra_info("peername")
        self.client = peer[0] if peer else ""
        self._begin_session()
        if not self.service.connections.enter(client_of(self.client)):
            _log.info(kv(event="too-many-connections", client=self.client))
            self.over = True
            if not self._implicit_tls:
                self.transport.write(written(replies.TOO_MANY_CONNECTIONS))
            self._open_ends = 0
            self._close()
            return
        if self._implicit_tls:
            # What comes is for the TLS layer, which is put in by the session's task; where the transport
            # has not begun to read yet it does not heed this, so what comes anyway is kept for the layer.
            self._pause_reading()
        self.service.sessions.add(self)
        self.task = self._handler_coroutine = self.loop.create_task(self._handle_client())

    def data_received(self, data: bytes) -> None:
        """Take bytes: content goes straight to its reader, without waking the session before its end."""
        content = self._content
        if content is None:
            self._input.add(data)
            if self._waiter is not None:
                self._wake(True)
            elif len(self._input) > _MAX_WAITING_BYTES and not self._reading_paused:
                self._pause_reading()
            return
        self._content_bytes += len(data)
        self._deadline = self._content_deadline()
        if content.feed(data):
            self._content = None
            self._input.add(content.rest)
            self._wake(True)

    def eof_received(self) -> bool:
        """Note that no more will come; what came whole is still served and answered."""
        self._ended = True
        self._wake(False)
        # A TLS transport cannot stay open on one side.
        return self.session.ssl is None

    def connection_lost(self, error: Exception | None) -> None:  # noqa: ARG002 - the protocol's signature
        """Note that nobody is there any more; what was begun goes on."""
        self._ended = True
        self.over = True
        self.transport = None
        self._writable.set()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._wake(False)
        self._end()

    def pause_writing(self) -> None:
        """Note that the client does not read its replies."""
        self._writable.clear()

    def resume_writing(self) -> None:
        """Go on."""
        self._writable.set()

    # The session's side.

    async def _handle_client(self) -> None:
        try:
            if self._implicit_tls and not await self._begin_tls():
                return
            self._output.append(f"220 {self.hostname} {self.__ident__}\r\n".encode())
            await self._converse()
        except Exception:  # noqa: BLE001 - a bug of ours ends one session, not the worker
            _log.exception(kv(event="session-failed", client=self.client))
        finally:
            self._end()
            self._close()

    async def _converse(self) -> None:
        in_a_row = 0
        while not self.over:
            line = self._next_line()
            if line is not None:
                await self._obey(line)
                in_a_row += 1
                if in_a_row % _COMMANDS_IN_A_ROW == 0:
                    await asyncio.sleep(0)
            if self.service.draining:
                self.end(replies.SHUTTING_DOWN)
            elif line is None:
                in_a_row = 0
                await self._wait_for_line()

    async def _obey(self, line: bytes) -> None:
        raise NotImplementedError

    def say(self, reply: Reply) -> None:
        """Answer; the line leaves when the session next waits."""
        self._output.append(written(reply))

    def end(self, reply: Reply | None) -> None:
        """End the session, with these last words; the first ones stand."""
        if not self.over:
            self.over = True
            self._last_words = reply

    def drain(self) -> None:
        """End the session where it waits for a command; where it does not, it ends after its present one."""
        if self._waiter is not None and self._content is None:
            self.end(replies.SHUTTING_DOWN)
            self._wake(False)

    def abort(self) -> None:
        """Cut the connection; what was begun goes on."""
        if self.transport is not None:
            self.transport.abort()

    async def read_line(self) -> bytes | None:
        """Return the client's next line, OVERLONG, or None where the session is over."""
        while not self.over:
            line = self._next_line()
            if line is not None:
                return line
            await self._wait_for_line()
        return None

    async def read_content(self, content: ContentReader) -> bool:
        """Feed `content` until it is done; False where the client went away or was too slow."""
        await self._send()
        self._content_since = self.loop.time()
        waiting = self._input.take()
        self._content_bytes = len(waiting)
        if waiting and content.feed(waiting):
            self._input.add(content.rest)
            return True
        self._content = content
        done = await self._wait(self._content_deadline())
        self._content = None
        return done

    async def upgrade(self, go_ahead: Reply) -> None:
        """Say `go_ahead`, begin TLS, and forget what was said before it (RFC 3207, 4.2)."""
        # Nothing is read from here on but by the TLS layer; commands sent in clear behind STARTTLS would be
        # taken for the client's own (CVE-2011-0411).
        self._pause_reading()
        self._input.take()
        self.say(go_ahead)
        await self._send()
        await self._begin_tls()

    async def _begin_tls(self) -> bool:
        """Begin TLS; False: it failed, and the session is over."""
        transport, context = self.transport, self.service.tls
        if transport is None or context is None:
            self.over = True
            return False
        self._reading_paused = False
        seconds = self.service.limits.tls_timeout
        starting = self.loop.create_task(
            self.loop.start_tls(transport, self, context, server_side=True, ssl_handshake_timeout=seconds)
        )
        starting.add_done_callback(lambda _: self._wake(True))
        if self._implicit_tls:
            await _layer_is_there()
            if not starting.done():
                _replay(self._input.take(), transport.get_protocol())
        # Where the socket goes away at the wrong moment, uvloop's start_tls never ends: its end is not all we wait for.
        deadline = self.loop.time() + seconds + _TLS_MARGIN_SECONDS
        while not starting.done() and self.transport is not None and await self._woken(deadline):
            pass
        return self._secured(starting)

    def _secured(self, starting: asyncio.Task[asyncio.Transport | None]) -> bool:
        secured = None
        if not starting.done():
            starting.cancel()
        elif not starting.cancelled():
            error = starting.exception()
            secured = None if error else starting.result()
            if error:
                _log.info(kv(event="tls-failed", client=self.client, error=error))
        if secured is None or self.transport is None or self.over:
            # No words either: in clear they would be no part of TLS.
            self.over = True
            self._last_words = None
            return False
        self.transport = secured
        self._begin_session()
        self.session.ssl = {"ssl_object": secured.get_extra_info("ssl_object")}
        return True

    def _begin_session(self) -> None:
        self._set_rset_state()  # type: ignore[no-untyped-call]  # aiosmtpd's
        self.session = self._create_session()
        self.session.peer = self.client

    def _next_line(self) -> bytes | None:
        line = self._input.next()
        if line is not None:
            self._line_deadline = None
        return line

    async def _wait_for_line(self) -> None:
        # The time is that of the whole line: bytes that trickle in do not renew it.
        if self._line_deadline is None:
            self._line_deadline = self.loop.time() + self.service.limits.command_timeout
        if self._input.skipped > MAX_OVERLONG_BYTES:
            self.end(replies.TOO_MUCH_JUNK)
        await self._wait(self._line_deadline)

    async def _wait(self, deadline: float) -> bool:
        """Send what was said and wait for input; False where none will come: then the session is over."""
        if self._output:
            await self._send()
            if self._input.has_news:  # it came meanwhile
                return True
        if self._ended:
            self.over = True
        if self.over:
            return False
        if self._reading_paused:
            self._resume_reading()
        return await self._woken(deadline)

    async def _woken(self, deadline: float) -> bool:
        """Wait until something comes or ends; False where it ended, or the deadline passed."""
        self._deadline = deadline
        if self._timer is None or self._timer_at > self._deadline:
            self._set_timer()
        self._waiter = self.loop.create_future()
        return await self._waiter

    def _wake(self, came: bool) -> None:
        waiter, self._waiter = self._waiter, None
        if waiter is not None and not waiter.done():
            waiter.set_result(came)

    def _content_deadline(self) -> float:
        """Return when the next bytes of content must be there: soon, and at an average that is not a trickle."""
        limits = self.service.limits
        on_average = self._content_since + limits.data_grace + self._content_bytes / limits.data_bytes_per_second
        return min(self.loop.time() + limits.data_timeout, on_average)

    def _set_timer(self) -> None:
        # One timer a session: the deadline moves with each wait, the timer catches up when it fires.
        if self._timer is not None:
            self._timer.cancel()
        self._timer_at = self._deadline
        self._timer = self.loop.call_at(self._deadline, self._tick)

    def _tick(self) -> None:
        self._timer = None
        if self._waiter is None:
            return
        if self.loop.time() < self._deadline:
            self._set_timer()
            return
        self.end(replies.TIMED_OUT)
        self._wake(False)

    def _pause_reading(self) -> None:
        if self.transport is not None:
            self._reading_paused = True
            self.transport.pause_reading()

    def _resume_reading(self) -> None:
        self._reading_paused = False
        if self.transport is not None:
            self.transport.resume_reading()

    def _flush(self) -> None:
        # A TLS transport that is closing has let go of its parts, and fails at every call.
        if self._output and self.transport is not None and not self.transport.is_closing():
            self.transport.write(b"".join(self._output))
        self._output.clear()

    async def _send(self) -> None:
        """Send what was said; wait where the client does not read, but not for ever."""
        self._flush()
        if self._writable.is_set():
            return
        try:
            async with asyncio.timeout(self.service.limits.command_timeout):
                await self._writable.wait()
        except TimeoutError:
            _log.info(kv(event="replies-not-read", client=self.client))
            self.over = True
            self.abort()

    def _close(self) -> None:
        if self._last_words is not None:
            self.say(self._last_words)
        self._flush()
        transport = self.transport
        if transport is None or transport.is_closing():
            return
        # It stays open until the client has read all; one that never does would stay for ever.
        if transport.get_write_buffer_size():
            self.loop.call_later(_LINGER_SECONDS, transport.abort)
        transport.close()

    def _end(self) -> None:
        """Count down the two ends of a connection, the socket's and the session's; after both it is gone."""
        self._open_ends -= 1
        if self._open_ends == 0:
            self.service.connections.leave(client_of(self.client))
            self.service.sessions.discard(self)


async def _layer_is_there() -> None:
    """Wait until `start_tls`, begun as a task just before, has put its layer in: its own step, then the layer's."""
    await asyncio.sleep(0)
    await asyncio.sleep(0)


def _replay(data: bytes, layer: asyncio.BaseProtocol) -> None:
    """Give `data` to the TLS layer as its transport would (asyncio.BufferedProtocol)."""
    buffered = cast("asyncio.BufferedProtocol", layer)
    left = memoryview(data)
    while left:
        room = memoryview(buffered.get_buffer(len(left)))
        size = min(len(room), len(left))
        room[:size] = left[:size]
        buffered.buffer_updated(size)
        left = left[size:]
