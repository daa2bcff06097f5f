"""The server's answers as bytes: the image above all, and a few small ones beside it.

Rule: pure (the date is an argument). The image's answer depends on nothing but the date, HEAD, and
whether the connection stays: not on the token, the client or the load. No answer names the software.
"""

import json
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final

IMAGE: Final = (
    b"GIF89a"
    b"\x01\x00\x01\x00"  # one pixel wide and high
    b"\x80\x00\x00"  # a colour table of two entries follows; background is entry 0
    b"\xff\xff\xff\x00\x00\x00"
    b"\x21\xf9\x04\x01\x00\x00\x00\x00"  # graphic control: entry 0 is transparent
    b"\x2c\x00\x00\x00\x00\x01\x00\x01\x00\x00"  # the image descriptor
    b"\x02\x02\x44\x01\x00"  # LZW data: the pixel is entry 0
    b"\x3b"
)
"""A transparent GIF of one pixel, 43 bytes."""


@dataclass(frozen=True, slots=True)
class Answer:
    """Status, headers and body of an answer; Date, Content-Length and Connection are added on the wire."""

    status: HTTPStatus
    content_type: str
    body: bytes
    # RFC 9111: no cache between the reader and us may answer in our place.
    cache_control: str = "no-store, no-cache, must-revalidate, private, max-age=0"
    headers: tuple[str, ...] = ()
    """More header lines."""

    def wire(self, date: str, *, head: bool, keep_alive: bool) -> bytes:
        """Return the whole answer; `date` as RFC 9110, 5.6.7 writes it; `head`: without the body."""
        lines = (
            f"HTTP/1.1 {self.status.value} {self.status.phrase}",
            f"Content-Type: {self.content_type}",
            f"Content-Length: {len(self.body)}",
            f"Cache-Control: {self.cache_control}",
            f"Date: {date}",
            *self.headers,
            # Said either way: an HTTP/1.0 client that asked for it needs the word (RFC 9112, 9.3).
            f"Connection: {'keep-alive' if keep_alive else 'close'}",
        )
        return "\r\n".join(lines).encode("ascii") + b"\r\n\r\n" + (b"" if head else self.body)


def problem(status: HTTPStatus, detail: str) -> Answer:
    """Return an error as a JSON problem (RFC 9457)."""
    body = {"type": "about:blank", "title": status.phrase, "status": status.value, "detail": detail}
    return Answer(status, "application/problem+json", json.dumps(body).encode("ascii"))


IMAGE_ANSWER: Final = Answer(HTTPStatus.OK, "image/gif", IMAGE)
ROOT_ANSWER: Final = Answer(
    HTTPStatus.OK, "text/plain; charset=utf-8", b"This host serves images of e-mail messages.\n"
)
HEALTHY: Final = Answer(HTTPStatus.OK, "application/json", b'{"status": "ok"}')
FAILING: Final = problem(HTTPStatus.SERVICE_UNAVAILABLE, "Hits cannot be stored at present; they are kept and retried.")
NOT_FOUND: Final = problem(HTTPStatus.NOT_FOUND, "There is nothing at this address.")
BAD_REQUEST: Final = problem(HTTPStatus.BAD_REQUEST, "This is no HTTP request that this server reads.")
BROKEN: Final = problem(HTTPStatus.INTERNAL_SERVER_ERROR, "The server could not answer; the fault is its own.")
