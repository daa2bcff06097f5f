"""Reads what a request brings: its parameters and its body, as models.

Rules: nothing is read from a request but by a model. Bodies are bounded before they are read, in bytes, in time and in
what they would make of themselves in memory. What is wrong is told with its place, and with what was expected there.
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from http import HTTPStatus
from typing import Any, Final, TypeVar, get_args, get_origin

from pydantic import BaseModel, ValidationError

from report.api.model import Taken
from report.api.shape import MOST_VALUES, wrong_shape
from report.asked import Asked
from report.problem import ProblemError
from storage.model import message_id_of
from storage.typed import nearest

JSON: Final = "application/json"
MOST_BYTES: Final = 1 << 20
_READ_SECONDS: Final = 120
_IDLE_SECONDS: Final = 60
_MOST_NAME_CHARS: Final = 50
_MOST_WRONG: Final = 1000
_MOST_TOLD: Final = 20

M = TypeVar("M", bound=BaseModel)


def query(asked: Asked, model: type[Taken] | None) -> Taken | None:
    """Return the parameters as their model; raises ProblemError."""
    given = asked.request.query
    known = model.model_fields if model is not None else {}
    for name in given:
        if name not in known:
            raise _no_parameter(name[:_MOST_NAME_CHARS], list(known))
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
        raise _wrong_parameter(error) from None


def _no_parameter(name: str, known: Sequence[str]) -> ProblemError:
    detail = f'There is no parameter "{name}"; {_meant(name, known)}'
    return ProblemError(HTTPStatus.BAD_REQUEST, detail, errors=[{"parameter": name, "detail": detail}])


def _meant(name: str, known: Sequence[str]) -> str:
    if not known:
        return "there are none here."
    meant = nearest(name, known)
    return f'did you mean "{meant}"?' if meant else f"there are {', '.join(known)}."


def _wrong_parameter(error: ValidationError) -> ProblemError:
    found = error.errors(include_url=False, include_input=False, include_context=False)
    errors = [{"parameter": str(one["loc"][0]) if one["loc"] else "", "detail": _words(one["msg"])} for one in found]
    first = errors[0]
    detail = f"A parameter cannot be read. {first['parameter']}: {first['detail']}"
    return ProblemError(HTTPStatus.BAD_REQUEST, detail, errors=errors[:_MOST_TOLD])


def cursor_id(code: str | None) -> int | None:
    """Return where a list goes on, as `next` of an answer named it; None: at its beginning."""
    id_ = None if code is None else message_id_of(code)
    if code is not None and id_ is None:
        raise ProblemError(HTTPStatus.BAD_REQUEST, "The cursor is none of ours: expected `next` of an answer.")
    return id_


def check_type(asked: Asked, media: Sequence[str]) -> None:
    """Refuse a body of another type than these."""
    if asked.request.content_type not in media:
        there = " or ".join(media)
        detail = f"The Content-Type must be {there}."
        raise ProblemError(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, detail, headers={"Accept": ", ".join(media)})


def parsed(model: type[M], raw: bytes, most_values: int = MOST_VALUES) -> M:
    """Return a JSON body as its model; raises ProblemError."""
    if too_much := wrong_shape(raw, most_values):
        raise ProblemError(HTTPStatus.UNPROCESSABLE_ENTITY, too_much)
    try:
        return model.model_validate_json(raw)
    except ValidationError as error:
        first = error.errors(include_url=False)[0] if error.error_count() == 1 else None
        if first is not None and first["type"] == "json_invalid":
            detail = f"The body is no JSON: {first['msg'].removeprefix('Invalid JSON: ')}."
            raise ProblemError(HTTPStatus.BAD_REQUEST, detail) from None
        raise wrong_body(model, error) from None


def wrong_body(model: type[BaseModel], error: ValidationError, within: str = "") -> ProblemError:
    """Return what is wrong with a body, or with the part of it at the pointer `within`."""
    detail = "The body is not as expected."
    if error.error_count() > _MOST_WRONG:  # a list of them would take a thousand times what the body did
        return ProblemError(HTTPStatus.UNPROCESSABLE_ENTITY, f"{detail} There are {error.error_count()} faults in it.")
    found = error.errors(include_url=False, include_input=False, include_context=False)
    errors = [
        {"pointer": within + _pointer(one["loc"]), "detail": _told(model, one["type"], one["loc"], one["msg"])}
        for one in found[:_MOST_TOLD]
    ]
    first = errors[0]
    detail = f"{detail} {first['pointer']}: {first['detail']}"
    return ProblemError(HTTPStatus.UNPROCESSABLE_ENTITY, detail, errors=errors)


def _told(model: type[BaseModel], kind: str, where: Sequence[int | str], message: str) -> str:
    if kind != "extra_forbidden":
        return _words(message)
    names = _names_at(model, where[:-1])
    name = str(where[-1])[:_MOST_NAME_CHARS]
    return f"there is no such member; {_meant(name, names)}"


def _words(message: str) -> str:
    return message.removeprefix("Value error, ")


def _names_at(model: type[BaseModel], where: Sequence[int | str]) -> list[str]:
    """Return which members the object at a place of a body may have."""
    for part in where:
        if isinstance(part, str):
            model = _model_of(next((one.annotation for name, one in _fields(model) if name == part), None)) or model
    return [name for name, _ in _fields(model)]


def _fields(model: type[BaseModel]) -> list[tuple[str, Any]]:
    return [(about.alias or name, about) for name, about in model.model_fields.items()]


def _model_of(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((found for one in get_args(annotation) if (found := _model_of(one))), None)


def _pointer(where: Sequence[int | str]) -> str:
    return "".join([f"/{str(part).replace('~', '~0').replace('/', '~1')}" for part in where])


async def read(asked: Asked, most: int) -> bytes:
    """Return a body of at most so many bytes; raises ProblemError where it is larger, or comes too slowly."""
    try:
        async with asyncio.timeout(_READ_SECONDS):
            return b"".join([part async for part in pieces(asked, most)])
    except TimeoutError:
        raise ProblemError(HTTPStatus.REQUEST_TIMEOUT, f"The body took more than {_READ_SECONDS} seconds.") from None


async def pieces(asked: Asked, most: int) -> AsyncIterator[bytes]:
    """Give a body piece by piece; raises ProblemError where it has more bytes than `most`, or none come for a while."""
    length, size = asked.request.content_length, 0
    if length is not None and length > most:
        raise _too_large(most)
    while True:
        try:
            async with asyncio.timeout(_IDLE_SECONDS):
                part = await asked.request.content.readany()
        except TimeoutError:
            detail = f"Nothing more of the body came for {_IDLE_SECONDS} seconds."
            raise ProblemError(HTTPStatus.REQUEST_TIMEOUT, detail) from None
        if not part:
            return
        size += len(part)
        if size > most:
            raise _too_large(most)
        yield part


def _too_large(most: int) -> ProblemError:
    return ProblemError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"A body has at most {most} bytes here.")
