"""The OpenAPI 3.1 document of the API, and a page that shows it.

Rule: made of the models that validate, at the start; nothing is written twice.
"""

import re
from collections.abc import Sequence
from functools import cache
from http import HTTPStatus
from typing import Any, Final

from aiohttp import web
from pydantic.json_schema import JsonSchemaMode, models_json_schema

from report import html
from report.api.model import Problem
from report.api.operation import BASE, JSON, Operation
from report.asked import Asked, Route
from report.problem import JSON as PROBLEM

_REF: Final = "#/components/schemas/{model}"
_PARAMETER: Final = re.compile(r"\{(\w+)(?::[^}]*)?\}")
_OF_ALL: Final = (
    HTTPStatus.BAD_REQUEST,
    HTTPStatus.UNAUTHORIZED,
    HTTPStatus.FORBIDDEN,
    HTTPStatus.NOT_FOUND,
    HTTPStatus.SERVICE_UNAVAILABLE,
)
_OF_BODIES: Final = (
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
    HTTPStatus.UNPROCESSABLE_ENTITY,
    HTTPStatus.REQUEST_TIMEOUT,
)


def openapi(operations: Sequence[Operation]) -> dict[str, Any]:
    """Return the document."""
    schemas, shared = _schemas(operations)
    paths: dict[str, dict[str, Any]] = {}
    for one in operations:
        path = _PARAMETER.sub(r"{\1}", one.path)
        paths.setdefault(path, {})[one.method.lower()] = _operation(one, path, schemas, shared)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Telltale",
            "version": "1",
            "description": "Send mail, and learn what became of it. Errors are problems (RFC 9457).",
        },
        "servers": [{"url": BASE}],
        "security": [{"token": []}],
        "paths": paths,
        "components": {
            "schemas": shared,
            "securitySchemes": {
                "token": {"type": "http", "scheme": "bearer", "description": "As `telltale token add` prints it."}
            },
        },
    }


_Key = tuple[Any, JsonSchemaMode]


def _schemas(operations: Sequence[Operation]) -> tuple[dict[_Key, dict[str, Any]], dict[str, Any]]:
    models: dict[_Key, None] = {(Problem, "serialization"): None}
    for one in operations:
        for model in (one.query, one.body):
            if model is not None:
                models[model, "validation"] = None
        if one.answer is not None:
            models[one.answer, "serialization"] = None
    found, shared = models_json_schema(list(models), ref_template=_REF)
    return {(model, mode): schema for (model, mode), schema in found.items()}, shared["$defs"]


def _operation(
    one: Operation, path: str, schemas: dict[_Key, dict[str, Any]], shared: dict[str, Any]
) -> dict[str, Any]:
    parameters = [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
        for name in _PARAMETER.findall(path)
    ]
    if one.query is not None:
        parameters += _query_parameters(shared[one.query.__name__])
    parameters += [
        {"name": name, "in": "header", "required": False, "description": text, "schema": _HEADER}
        for name, text in one.headers
    ]
    made: dict[str, Any] = {
        "operationId": one.name,
        "summary": one.summary,
        "description": f"Needs the scope `{one.scope.value}`.",
        "parameters": parameters,
        "responses": _responses(one, schemas),
    }
    if one.body is not None:
        content: dict[str, Any] = {JSON: {"schema": schemas[one.body, "validation"]}}
        content |= {media: {"schema": {"type": "string"}} for media in one.media}
        made["requestBody"] = {"required": True, "content": content}
    return made


_HEADER: Final = {"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[!-~]+$"}


def _query_parameters(schema: dict[str, Any]) -> list[dict[str, Any]]:
    needed = schema.get("required", ())
    return [
        {"name": name, "in": "query", "required": name in needed, "schema": about}
        | ({"description": about["description"]} if "description" in about else {})
        for name, about in schema.get("properties", {}).items()
    ]


def _responses(one: Operation, schemas: dict[_Key, dict[str, Any]]) -> dict[str, Any]:
    schema = schemas[one.answer, "serialization"] if one.answer is not None else None
    content = {one.gives: {"schema": schema or {"type": "string"}}}
    made: dict[str, Any] = {str(one.status.value): {"description": one.status.phrase}}
    if one.status is not HTTPStatus.NO_CONTENT:
        made[str(one.status.value)]["content"] = content
    problem = {PROBLEM: {"schema": schemas[Problem, "serialization"]}}
    bodies = _OF_BODIES if one.body is not None else ()
    for status in sorted({*_OF_ALL, *bodies, *one.problems}):
        made[str(status.value)] = {"description": status.phrase, "content": problem}
    return made


def routes(operations: Sequence[Operation]) -> tuple[Route, ...]:
    """Return where the document and the page are."""

    @cache
    def made() -> dict[str, Any]:
        return openapi(operations)

    async def as_document(asked: Asked) -> web.Response:
        return web.json_response(made() | {"servers": [{"url": asked.desk.base.path + BASE}]})

    async def as_page(asked: Asked) -> web.Response:
        return html.page(asked, "api.html", {"document": made(), "base": asked.desk.base.path + BASE})

    return (
        Route("GET", f"{BASE}/openapi.json", as_document, None, tokens=True),
        Route("GET", f"{BASE}/docs", as_page, None, tokens=True),
    )
