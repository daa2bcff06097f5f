"""One operation of the API: how it is asked, what it takes and gives, and the way of a request through it.

Rules: programs come with a token, and never with a browser's session, so that no page elsewhere can ask in somebody's
name. Nothing is read from a request but by a model. Bodies are bounded before they are read.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any, Final, TypeVar, get_origin

from aiohttp import web
from pydantic import BaseModel, ValidationError

from report.api.model import Taken
from report.asked import Asked, Route
from report.problem import ProblemError
from storage.access import Scope

BASE: Final = "/api/v1"
JSON: Final = "application/json"
MOST_BYTES: Final = 1 << 20
_LARGE_BYTES: Final = 256 * 1024
_READ_SECONDS: Final = 120
_MOST_WRONG: Final = 1000

M = TypeVar("M", bound=BaseModel)
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
    scope: Scope
    call: Call
    query: type[Taken] | None = None
    body: type[Taken] | None = None
    answer: type[BaseModel] | None = None
    status: HTTPStatus = HTTPStatus.OK
    media: Sequence[str] = ()
    """Further types of bodies."""
    reads: bool = False
    """Whether it reads the body itself, by `read` and `parsed`, and gets None for one."""
    streams: bool = False
    """Whether what it reads does not stay in memory."""
    gives: str = JSON
    headers: Sequence[tuple[str, str]] = ()
    """Header fields that it reads, with what they are for."""
    problems: Sequence[HTTPStatus] = field(default=())
    """Of its own, beside those that all have."""


def route(operation: Operation) -> Route:
    """Return the way into an operation."""

    async def handler(asked: Asked) -> web.StreamResponse:
        if asked.who.session is not None:
            detail = "The API takes API tokens: Authorization: Bearer tt_…; `telltale token add` makes one."
            raise ProblemError(HTTPStatus.UNAUTHORIZED, detail, headers={"WWW-Authenticate": "Bearer"})
        query = _query(asked, operation.query)
        async with asked.desk.room_for_large(asked.who.user) if _is_large(asked, operation) else nullcontext():
            answer = await operation.call(asked, query, await _body(asked, operation))
        return answer if isinstance(answer, web.StreamResponse) else as_json(answer, operation.status)

    return Route(operation.method, BASE + operation.path, handler, operation.scope, tokens=True)


def _is_large(asked: Asked, operation: Operation) -> bool:
    """Whether a body may take much memory; what streams to disk does not."""
    length = asked.request.content_length
    return operation.reads and not operation.streams and (length is None or length > _LARGE_BYTES)


def as_json(answer: BaseModel, status: HTTPStatus = HTTPStatus.OK) -> web.Response:
    """Return a model as an answer."""
    return web.Response(status=status, text=answer.model_dump_json(), content_type=JSON)


def _query(asked: Asked, model: type[Taken] | None) -> Taken | None:
    given = asked.request.query
    known = model.model_fields if model is not None else {}
    for name in given:
        if name not in known:
            there = f"; there are {', '.join(known)}" if known else ""
            raise ProblemError(HTTPStatus.BAD_REQUEST, f'There is no parameter "{name[:50]}"{there}.')
    values: dict[str, object] = {}
    for name, about in known.items():
        some = given.getall(name, [])
        if get_origin(about.annotation) is tuple:
            values |= {name: some} if some else {}
        elif len(some) > 1:
            raise ProblemError(HTTPStatus.BAD_REQUEST, f'The parameter "{name}" was given more than once.')
        elif some:
            values[name] = some[0]
    try:
        return model.model_validate(values) if model is not None else None
    except ValidationError as error:
        raise _wrong(HTTPStatus.BAD_REQUEST, "A parameter cannot be read.", error) from None


async def _body(asked: Asked, operation: Operation) -> BaseModel | None:
    if operation.body is None:
        return None
    if asked.request.content_type not in (JSON, *operation.media):
        there = " or ".join((JSON, *operation.media))
        raise ProblemError(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, f"The Content-Type must be {there}.")
    return None if operation.reads else parsed(operation.body, await read(asked, MOST_BYTES))


def parsed(model: type[M], raw: bytes) -> M:
    """Return a body as its model; raises ProblemError."""
    try:
        return model.model_validate_json(raw)
    except ValidationError as error:
        first = error.errors(include_url=False)[0] if error.error_count() == 1 else None
        if first is not None and first["type"] == "json_invalid":
            detail = f"The body is no JSON: {first['msg'].removeprefix('Invalid JSON: ')}."
            raise ProblemError(HTTPStatus.BAD_REQUEST, detail) from None
        raise _wrong(HTTPStatus.UNPROCESSABLE_ENTITY, "The body is not as expected.", error) from None


async def read(asked: Asked, most: int) -> bytes:
    """Return a body of at most so many bytes; raises ProblemError where it is larger."""
    length = asked.request.content_length
    if length is not None and length > most:
        raise _too_large(most)
    parts, size = [], 0
    try:
        async with asyncio.timeout(_READ_SECONDS):
            async for part in asked.request.content.iter_any():
                size += len(part)
                if size > most:
                    raise _too_large(most)
                parts.append(part)
    except TimeoutError:
        raise ProblemError(HTTPStatus.REQUEST_TIMEOUT, f"The body took more than {_READ_SECONDS} seconds.") from None
    return b"".join(parts)


def _too_large(most: int) -> ProblemError:
    return ProblemError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"A body has at most {most} bytes here.")


def _wrong(status: HTTPStatus, detail: str, error: ValidationError) -> ProblemError:
    if error.error_count() > _MOST_WRONG:  # a list of them would take a thousand times what the body did
        return ProblemError(status, f"{detail} There are {error.error_count()} faults in it.")
    found = error.errors(include_url=False, include_input=False, include_context=False)
    errors = [{"pointer": _pointer(one["loc"]), "detail": one["msg"].removeprefix("Value error, ")} for one in found]
    first = errors[0]
    return ProblemError(status, f"{detail} {first['pointer']}: {first['detail']}", errors=errors[:20])


def _pointer(where: Sequence[int | str]) -> str:
    return "".join([f"/{str(part).replace('~', '~0').replace('/', '~1')}" for part in where])
