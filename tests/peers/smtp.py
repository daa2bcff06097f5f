"""An SMTP server on loopback that does what its script says; in a thread of its own, for any kind of test.

    with ScriptedServer(Script(rcpt="550 5.1.1 no such user")) as server:
        ... server.address, server.port ...
    assert server.messages[0].content == b"..."

A step is a reply ("250 ok"; lines of a multiline reply joined by "\\n", each with its code), or one of

    HANG            never answer, keep the connection
    DROP            close the connection
    RESET           close it with RST
    STALL           neither answer nor read any more
    Raw(b"...")     send these bytes as they are
    Then("250 ok", DROP)   do one after the other

or a list of steps: one for each time the phase is met in the server's whole life, the last one repeats.
`rcpt` and `dot` may also be a function of the recipient's address, `banner` of the client's. The default of
each phase is to agree.
"""

import asyncio
import atexit
import base64
import datetime as dt
import ipaddress
import shutil
import socket
import ssl
import struct
import tempfile
import threading
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID


@dataclass(frozen=True)
class Raw:
    """Bytes to send as they are."""

    data: bytes


@dataclass(frozen=True)
class Do:
    """Something to do with the connection."""

    what: str


@dataclass(frozen=True)
class Then:
    """One step after the other."""

    first: "Step"
    second: "Step"


HANG, DROP, RESET, STALL = Do("hang"), Do("drop"), Do("reset"), Do("stall")
Step = str | Raw | Do | Then
Steps = Step | list[Step] | Callable[[str], Step]

DEFAULT_EXTENSIONS = ("PIPELINING", "8BITMIME", "SMTPUTF8", "SIZE 104857600", "ENHANCEDSTATUSCODES")


@dataclass
class Script:
    """What to answer in each phase."""

    banner: Steps = "220 peer.test ESMTP"
    extensions: tuple[str, ...] = DEFAULT_EXTENSIONS
    ehlo: Steps | None = None
    """None: 250 with the extensions."""
    helo: Steps = "250 peer.test"
    starttls: Steps = "220 2.0.0 go ahead"
    handshake: Steps = "tls"
    """"tls", or a step instead of the TLS handshake."""
    auth: Steps = "235 2.7.0 welcome"
    """After the credentials were taken (`Conversation.credentials`)."""
    mail: Steps = "250 2.1.0 sender ok"
    rcpt: Steps = "250 2.1.5 recipient ok"
    data: Steps = "354 go ahead"
    body: Steps = ""
    """"": read to the final dot; another step is done after `body_bytes` of it."""
    body_bytes: int = 0
    dot: Steps = "250 2.0.0 kept"
    rset: Steps = "250 2.0.0 reset"
    quit: Steps = "221 2.0.0 bye"
    tls: bool = False
    """Whether STARTTLS is offered and TLS is understood."""
    implicit_tls: bool = False
    certificate: str | ssl.SSLContext = "peer.test"
    """The name that the server's own certificate is made out to, or a context with another one."""
    tls_version: ssl.TLSVersion | None = None
    """The newest that the server speaks."""
    most_messages: int = 0
    """After so many messages of a connection MAIL is answered 421 and the connection closed; 0: no end."""
    strict: bool = True
    """Whether MAIL within a transaction is answered 503, as RFC 5321, 4.1.4 has it."""


@dataclass(frozen=True)
class Got:
    """A message that was read to its final dot."""

    sender: str
    recipients: tuple[str, ...]
    content: bytes
    """Dot-stuffing undone."""
    reply: str
    """The dot's step, as text."""


@dataclass
class Conversation:
    """One connection."""

    commands: list[str] = field(default_factory=list)
    """Command lines, credentials left out."""
    reads: list[bytes] = field(default_factory=list)
    """What each read of the socket brought, up to 200 bytes of it: shows what came in one write."""
    credentials: tuple[str, str] | None = None
    tls: str | None = None
    peer: str = ""
    """The address that it came from."""
    sni: str | None = None
    """The name that the client asked for in its handshake."""
    resumed: bool = False
    """Whether its TLS was an earlier connection's."""
    body_so_far: int = 0
    ended: bool = False
    """The peer's end was seen."""


class _EndOfConversationError(Exception):
    """Stop serving this connection."""


class ScriptedServer:
    """Serves the script on one port; a context manager."""

    def __init__(self, script: Script | None = None, address: str = "127.0.0.1", port: int = 0) -> None:
        self.script = script or Script()
        self.address = address
        self.port = port
        self.conversations: list[Conversation] = []
        self.messages: list[Got] = []
        self._met: dict[str, int] = {}
        self._changed = threading.Condition()

    # Its life.

    def __enter__(self) -> Self:
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run, name="smtp-peer", daemon=True)
        self._thread.start()
        self._ready.wait()
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join()

    def wait_for(self, what: Callable[[Self], bool], seconds: float = 10.0) -> None:
        """Block until `what(server)` holds; it is asked again each time something happened."""
        with self._changed:
            assert self._changed.wait_for(lambda: what(self), seconds), "the peer waited in vain"

    async def until(self, what: Callable[[Self], bool], seconds: float = 10.0) -> None:
        """As `wait_for`, in an event loop."""
        await asyncio.to_thread(self.wait_for, what, seconds)

    @property
    def commands(self) -> list[str]:
        """All command lines of all conversations."""
        return [command for each in self.conversations for command in each.commands]

    def _run(self) -> None:
        asyncio.run(self._serve())

    async def _serve(self) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        self.tls = self._context()
        context = self.tls if self.script.implicit_tls else None
        server = await asyncio.start_server(self._converse, self.address, self.port, ssl=context, limit=1 << 20)
        self.port = server.sockets[0].getsockname()[1]
        if self.script.body == STALL:
            # Else the kernel may take all of a message for us, with a buffer that grows to tens of megabytes.
            server.sockets[0].setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 16)
        self._tasks: set[asyncio.Task[Any]] = set()
        self._writers: list[asyncio.StreamWriter] = []
        self._ready.set()
        await self._stop.wait()
        server.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for writer in self._writers:
            writer.transport.abort()
        for _ in range(3):  # the loop closes the sockets
            await asyncio.sleep(0)

    def _context(self) -> ssl.SSLContext:
        chosen = self.script.certificate
        context = server_tls(chosen) if isinstance(chosen, str) else chosen
        if self.script.tls_version is not None:
            context = server_tls_anew(str(chosen))
            context.maximum_version = self.script.tls_version
        return context

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task
        self._tasks.add(task)
        self._writers.append(writer)
        conversation = Conversation(peer=writer.get_extra_info("peername")[0])
        with self._changed:
            self.conversations.append(conversation)
            self._changed.notify_all()
        try:
            await _Talk(self, conversation, reader, writer).run()
        except (_EndOfConversationError, ConnectionError, asyncio.IncompleteReadError, TimeoutError, ssl.SSLError):
            pass
        except asyncio.CancelledError:
            writer.transport.abort()
        finally:
            writer.close()
            self._tasks.discard(task)
            with self._changed:
                conversation.ended = True
                self._changed.notify_all()

    def _note(self, act: Callable[[], None]) -> None:
        with self._changed:
            act()
            self._changed.notify_all()

    def _step(self, phase: str, address: str = "") -> Step:
        steps = getattr(self.script, phase)
        if callable(steps):
            return steps(address)  # type: ignore[no-any-return]
        if isinstance(steps, list):
            met = self._met[phase] = self._met.get(phase, -1) + 1
            return steps[min(met, len(steps) - 1)]  # type: ignore[no-any-return]
        return steps  # type: ignore[no-any-return]


class _Talk:
    """One connection being served."""

    def __init__(
        self,
        server: ScriptedServer,
        conversation: Conversation,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> None:
        self._server, self._conversation = server, conversation
        self._reader, self._writer = reader, writer
        self._buffer = b""
        self._sender: str | None = None
        self._recipients: list[str] = []
        self._messages = 0

    async def run(self) -> None:
        self._note_tls()
        await self._act(self._server._step("banner", self._conversation.peer))
        verbs: dict[str, Callable[[str], Coroutine[Any, Any, None]]] = {
            "EHLO": self._ehlo,
            "HELO": self._helo,
            "STARTTLS": self._starttls,
            "AUTH": self._auth,
            "MAIL": self._mail,
            "RCPT": self._rcpt,
            "DATA": self._data,
            "RSET": self._rset,
            "QUIT": self._quit,
        }
        while True:
            line = (await self._line()).decode("utf-8", "replace")
            self._server._note(lambda line=line: self._conversation.commands.append(line))  # type: ignore[misc]
            verb = line.split(" ", 1)[0].split(":")[0].upper()
            await verbs.get(verb, self._unknown)(line)

    async def _fill(self) -> None:
        data = await self._reader.read(1 << 16)
        if not data:
            raise _EndOfConversationError
        self._server._note(lambda: self._conversation.reads.append(data[:200]))
        self._buffer += data

    async def _line(self) -> bytes:
        while b"\n" not in self._buffer:
            await self._fill()
        line, _, self._buffer = self._buffer.partition(b"\n")
        return line.rstrip(b"\r")

    async def _act(self, step: Step) -> None:
        if isinstance(step, Then):
            await self._act(step.first)
            await self._act(step.second)
        elif isinstance(step, Do):
            await self._do(step.what)
        else:
            data = step.data if isinstance(step, Raw) else (step.replace("\n", "\r\n") + "\r\n").encode()
            self._writer.write(data)
            await self._writer.drain()

    async def _do(self, what: str) -> None:
        if what == "hang":
            while True:
                await self._fill()
        if what == "stall":
            await asyncio.Event().wait()
        if what == "reset":
            linger = struct.pack("ii", 1, 0)
            raw = self._writer.get_extra_info("socket")
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            self._writer.transport.abort()
        raise _EndOfConversationError

    async def _helo(self, _: str) -> None:
        await self._act(self._server._step("helo"))

    async def _unknown(self, _: str) -> None:
        await self._act("502 5.5.1 unknown")

    async def _ehlo(self, _: str) -> None:
        script = self._server.script
        if script.ehlo is not None:
            await self._act(self._server._step("ehlo"))
            return
        offered = list(script.extensions)
        if script.tls and self._conversation.tls is None:
            offered.append("STARTTLS")
        lines = ["peer.test", *offered]
        await self._act("\n".join(f"250{' ' if line is lines[-1] else '-'}{line}" for line in lines))

    async def _starttls(self, _: str) -> None:
        step = self._server._step("starttls")
        await self._act(step)
        if not (isinstance(step, str) and step.startswith("2")):
            return
        handshake = self._server._step("handshake")
        if handshake != "tls":
            await self._act(handshake)
            return
        self._buffer = b""

        def note(_: ssl.SSLObject, name: str | None, __: ssl.SSLContext) -> None:
            self._conversation.sni = name

        self._server.tls.sni_callback = note  # type: ignore[assignment]
        await self._writer.start_tls(self._server.tls)
        self._note_tls()

    def _note_tls(self) -> None:
        tls = self._writer.get_extra_info("ssl_object")
        self._conversation.tls = tls.version() if tls else None
        self._conversation.resumed = bool(tls and tls.session_reused)

    async def _auth(self, line: str) -> None:
        words = line.split(" ")
        self._conversation.commands[-1] = " ".join(words[:2])
        if words[1].upper() == "PLAIN":
            _, user, password = base64.b64decode(words[2]).decode().split("\0")
        else:
            user = base64.b64decode(words[2] if len(words) > 2 else await self._ask("VXNlcm5hbWU6")).decode()
            password = base64.b64decode(await self._ask("UGFzc3dvcmQ6")).decode()
        self._conversation.credentials = (user, password)
        await self._act(self._server._step("auth"))

    async def _ask(self, challenge: str) -> bytes:
        await self._act(f"334 {challenge}")
        return await self._line()

    async def _mail(self, line: str) -> None:
        script = self._server.script
        if script.most_messages and self._messages >= script.most_messages:
            await self._act(Then("421 4.7.0 too many messages in this connection", DROP))
        if self._sender is not None and script.strict:
            await self._act("503 5.5.1 nested MAIL")
            return
        step = self._server._step("mail")
        if isinstance(step, str) and step.startswith("2"):
            self._sender = _address(line)
        await self._act(step)

    async def _rcpt(self, line: str) -> None:
        if self._sender is None:
            await self._act("503 5.5.1 MAIL first")
            return
        step = self._server._step("rcpt", _address(line))
        if isinstance(step, str) and step.startswith("2"):
            self._recipients.append(_address(line))
        await self._act(step)

    async def _data(self, _: str) -> None:
        script = self._server.script
        if not self._recipients and script.data == Script.data:
            await self._act("554 5.5.1 no valid recipients")
            return
        step = self._server._step("data")
        await self._act(step)
        if isinstance(step, str) and step.startswith("3"):
            await self._body()

    async def _body(self) -> None:
        step = self._server._step("body")
        # CRLF of DATA stands before the content, so that a lone dot is found as any other.
        body, self._buffer = bytearray(b"\r\n" + self._buffer), b""
        looked = 0
        while (end := body.find(b"\r\n.\r\n", looked)) < 0:
            looked = max(0, len(body) - 4)
            self._conversation.body_so_far = len(body) - 2
            if step and len(body) - 2 >= self._server.script.body_bytes:
                await self._act(step)
                step = ""
            await self._fill()
            body += self._buffer
            self._buffer = b""
        self._buffer = bytes(body[end + 5 :])
        await self._take(bytes(body[2 : end + 2]))

    async def _take(self, stuffed: bytes) -> None:
        recipients = tuple(self._recipients)
        step = self._server._step("dot", recipients[0] if recipients else "")
        if not recipients:
            step = "554 5.5.1 no valid recipients"
        content = stuffed.replace(b"\r\n..", b"\r\n.")
        content = content[1:] if content.startswith(b"..") else content
        got = Got(self._sender or "", recipients, content, str(step))
        self._sender, self._recipients = None, []
        self._messages += 1
        self._server._note(lambda: self._server.messages.append(got))
        await self._act(step)

    async def _rset(self, _: str) -> None:
        self._sender, self._recipients = None, []
        await self._act(self._server._step("rset"))

    async def _quit(self, _: str) -> None:
        await self._act(Then(self._server._step("quit"), DROP))


def _address(line: str) -> str:
    return line[line.index("<") + 1 : line.rindex(">")]


_contexts: dict[str, ssl.SSLContext] = {}


def server_tls(name: str = "peer.test") -> ssl.SSLContext:
    """Return a context with a self-signed certificate for `name`, "127.0.0.1" and "localhost"."""
    if name not in _contexts:
        _make(name)
    return _contexts[name]


def server_tls_anew(name: str) -> ssl.SSLContext:
    """Return a context of its own with the certificate of `server_tls(name)`."""
    server_tls(name)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(_folder / f"{name}.pem", _folder / f"{name}.key")
    return context


def ca_file(name: str = "peer.test") -> Path:
    """Return a PEM file that makes a client trust `server_tls(name)`."""
    server_tls(name)
    return _folder / f"{name}.pem"


_folder = Path(tempfile.mkdtemp(prefix="peer-tls-"))
atexit.register(shutil.rmtree, _folder, ignore_errors=True)


def _make(name: str) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = dt.datetime.now(dt.UTC)
    names = x509.SubjectAlternativeName(
        [x509.DNSName(name), x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
    )
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=30))
        .add_extension(names, critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem, secret = _folder / f"{name}.pem", _folder / f"{name}.key"
    pem.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    secret.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem, secret)
    _contexts[name] = context


def free_port(*addresses: str) -> int:
    """Return a port that is free on all these addresses now."""
    while True:
        with socket.socket() as first:
            first.bind((addresses[0] if addresses else "127.0.0.1", 0))
            port: int = first.getsockname()[1]
            try:
                for address in addresses[1:]:
                    with socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET) as other:
                        other.bind((address, port))
            except OSError:
                continue
            return port
