"""What a server said last before its connection broke under our writing.

A server that refuses in mid-content says so, closes, and answers what we still write with RST. The event loop meets
that by writing, and drops the connection without another look at what came: the reply would be lost, and the mail
tried again, refused again, for days. The kernel keeps what was received before the RST (tcp(7)), so we read it.

Rule: nothing is waited for; what is not there is not there.
"""

import asyncio
import os
from typing import Final, cast

# More than any reply that we take (`reply.py`), TLS records with all that is theirs included.
_MOST_BYTES: Final = 64 * 1024


def last_words(transport: asyncio.BaseTransport) -> bytes:
    """Return what lies unread in the socket of a transport that broke; to be called in `connection_lost`."""
    sock = transport.get_extra_info("socket")
    if sock is None:
        return b""
    try:
        return os.read(sock.fileno(), _MOST_BYTES)
    except OSError:
        return b""


class LastWords(asyncio.BufferedProtocol):
    """Stands between a transport and the TLS above it, and hands over what came before the connection broke.

    TLS forgets the session as soon as it is told of the loss, so that what was encrypted could not be read then.
    """

    def __init__(self, transport: asyncio.Transport) -> None:
        """Take the place of the transport's protocol, which is TLS, and pass everything on to it."""
        self._transport = transport
        self._tls = cast("asyncio.BufferedProtocol", transport.get_protocol())
        transport.set_protocol(self)

    def get_buffer(self, sizehint: int) -> memoryview:
        """Pass it on."""
        return cast("memoryview", self._tls.get_buffer(sizehint))

    def buffer_updated(self, nbytes: int) -> None:
        """Pass it on."""
        self._tls.buffer_updated(nbytes)

    def eof_received(self) -> bool | None:
        """Pass it on."""
        return self._tls.eof_received()

    def pause_writing(self) -> None:
        """Pass it on."""
        self._tls.pause_writing()

    def resume_writing(self) -> None:
        """Pass it on."""
        self._tls.resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        """Hand over what is unread, then pass it on."""
        said = memoryview(last_words(self._transport)) if exc is not None else memoryview(b"")
        while said:
            room = self.get_buffer(len(said))[: len(said)]
            room[:] = said[: len(room)]
            said = said[len(room) :]
            self.buffer_updated(len(room))
        self._tls.connection_lost(exc)
