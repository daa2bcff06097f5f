"""One operation of the API: how it is asked, what it takes and gives, and the way of a request through it.

Rules: programs come with a token, and never with a browser's session, so that no page elsewhere can ask in somebody's
name. What an answer says of more is a link too (RFC 8288).
"""

import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from http import HTTPStatus
from types import MappingProxyType
from typing import Any, Final

from aiohttp import hdrs, web
from pydantic import BaseModel

from report.api import reading
from report.api.model import Taken
from report.api.reading import JSON, MOST_BYTES, read
from report.asked import API, Asked, Route
from storage.access import Scope

BYTES: Final = MappingProxyType({"type": "string", "format": "binary"})
"""The schema of a body that is no JSON."""
_LARGE_BYTES: Final = 256 * 1024
# What fits into a packet is not worth packing.
_PACKED_BYTES: Final = 1400
_REFUSED: Final = re.compile(r";q=0(\.0*)?$")
# Parameters that say where a list goes on.
_PLACES: Final = ("cursor", "after")

Answer = BaseModel | web.StreamResponse
Call = Callable[[Asked, Any, Any], Awaitable[Answer]]
"""Takes the request, its parameters and its body, as their models."""


@dataclass(frozen=True, slots=True)
class Operation:
    """One operation."""

    method: str
    path: str
    name: str
    """The operationId."""
    summary: str
    scope: Scope | None
    """None: any token may."""
    call: Call
    query: type[Taken] | None = None
    body: type[Taken] | None = None
    answer: type[BaseModel] | None = None
    status: HTTPStatus = HTTPStatus.OK
    media: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """Further types of bodies, with their schemas."""
    also: Sequence[str] = ()
    """Types of bodies that the document tells in words: what a client is made of has one for files."""
    reads: bool = False
    """Whether it reads the body itself, by `read` and `parsed`, and gets None for one."""
    streams: bool = False
    """Whether what it reads does not stay in memory."""
    others: Sequence[tuple[HTTPStatus, type[BaseModel]]] = ()
    """Further good answers."""
    gives: str = JSON
    headers: Sequence[tuple[str, str]] = ()
    """Header fields that it reads, with what they are for."""
    problems: Sequence[HTTPStatus] = ()
    """Of its own, beside those that all have."""
    about: str = ""
    """More sentences, for the document."""


def route(operation: Operation) -> Route:
    """Return the way into an operation."""

    async def handler(asked: Asked) -> web.StreamResponse:
        if asked.who.session is not None:
            raise asked.unknown()
        query = reading.query(asked, operation.query)
        async with asked.desk.room_for_large(asked.who.user) if _is_large(asked, operation) else nullcontext():
            answer = await operation.call(asked, query, await _body(asked, operation))
        if not isinstance(answer, web.StreamResponse):
            answer = _linked(asked, operation, answer, as_json(answer, operation.status))
        packed(asked, answer)
        return answer

    return Route(operation.method, API + operation.path, handler, operation.scope, tokens=True)


def _is_large(asked: Asked, operation: Operation) -> bool:
    """Whether a body may take much memory; what streams to disk does not."""
    if not operation.reads or operation.streams:
        return False
    length = asked.request.content_length
    packed_body = hdrs.CONTENT_ENCODING in asked.request.headers  # its length says nothing of what comes out
    return length is None or length > _LARGE_BYTES or packed_body


def as_json(answer: BaseModel, status: HTTPStatus = HTTPStatus.OK) -> web.Response:
    """Return a model as an answer."""
    return web.Response(status=status, text=answer.model_dump_json(), content_type=JSON)


def packed(asked: Asked, answer: web.StreamResponse) -> None:
    """Let an answer that is worth it travel as gzip, to those who take that."""
    if not isinstance(answer, web.Response) or not isinstance(answer.body, bytes) or len(answer.body) < _PACKED_BYTES:
        return
    answer.headers[hdrs.VARY] = hdrs.ACCEPT_ENCODING
    taken = asked.request.headers.get(hdrs.ACCEPT_ENCODING, "").lower().replace(" ", "").split(",")
    if any(one.partition(";")[0] == "gzip" and not _REFUSED.search(one) for one in taken):
        answer.enable_compression(web.ContentCoding.gzip)


def _linked(asked: Asked, operation: Operation, answer: BaseModel, made: web.Response) -> web.Response:
    next_ = getattr(answer, "next", None)
    known = operation.query.model_fields if operation.query is not None else {}
    place = next((name for name in _PLACES if name in known), None)
    if next_ is not None and place is not None:
        pairs = [(name, value) for name, value in asked.request.query.items() if name not in {place, "since"}]
        at = asked.url(asked.request.path.removeprefix(asked.desk.base.path), (*pairs, (place, next_)))
        made.headers["Link"] = f'<{at}>; rel="next"'
    return made


async def _body(asked: Asked, operation: Operation) -> BaseModel | None:
    media = (*((JSON,) if operation.body is not None else ()), *operation.media, *operation.also)
    if not media:
        return None
    reading.check_type(asked, media)
    return (
        None
        if operation.reads or operation.body is None
        else reading.parsed(operation.body, await read(asked, MOST_BYTES))
    )
