"""The OpenAPI 3.1 document of the API, and a page that shows it.

Rule: made of the models that validate, at the first request for it; nothing is written twice.
"""

import json
import re
from collections.abc import Mapping, Sequence
from functools import cache
from hashlib import sha256
from http import HTTPStatus
from typing import Any, Final

from aiohttp import hdrs, web
from pydantic.json_schema import JsonSchemaMode, models_json_schema

from report import html
from report.api.model import Problem, Taken
from report.api.operation import Operation, packed
from report.api.reading import JSON
from report.asked import API, Asked, Route
from report.problem import JSON as PROBLEM

_REF: Final = "#/components/schemas/{model}"
_PARAMETER: Final = re.compile(r"\{(\w+)(?::[^}]*)?\}")
_OF_ALL: Final = (
    HTTPStatus.BAD_REQUEST,
    HTTPStatus.UNAUTHORIZED,
    HTTPStatus.FORBIDDEN,
    HTTPStatus.SERVICE_UNAVAILABLE,
)
_RETRIED: Final = frozenset({HTTPStatus.SERVICE_UNAVAILABLE, HTTPStatus.TOO_MANY_REQUESTS})
_OF_BODIES: Final = (
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
    HTTPStatus.UNPROCESSABLE_ENTITY,
    HTTPStatus.REQUEST_TIMEOUT,
)


_TAGS: Final = {
    "messages": "Mail of one's own.",
    "log": "The Email Log.",
    "events": "What happens, in order.",
    "broadcasts": "Mail to many.",
    "contacts": "People and their addresses.",
    "blocked": "The Blocked Email list.",
    "unsubscribed": "Who left which types of broadcasts.",
    "stats": "What was counted.",
    "webhooks": "Where events are sent to.",
    "token": "What a token may do.",
}


def openapi(operations: Sequence[Operation]) -> dict[str, Any]:
    """Return the document."""
    schemas, shared = _schemas(operations)
    queries = {one.query: shared.pop(one.query.__name__) for one in operations if one.query is not None}
    paths: dict[str, dict[str, Any]] = {}
    for one in operations:
        path = _PARAMETER.sub(r"{\1}", one.path)
        made = paths.setdefault(path, {})[one.method.lower()] = _operation(one, path, schemas, queries)
        if links := _links(one, operations):
            made["responses"][str(one.status.value)]["links"] = links
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Telltale",
            "version": "1",
            "summary": "Send mail, and learn what became of it.",
            "description": "Programs come with an API token. Errors are problems (RFC 9457). docs/api.md has examples.",
        },
        "tags": [{"name": name, "description": text} for name, text in _TAGS.items()],
        "servers": [{"url": API}],
        "security": [{"token": []}],
        "paths": paths,
        "components": {
            "schemas": shared,
            "securitySchemes": {
                "token": {"type": "http", "scheme": "bearer", "description": "As `telltale token add` prints it."}
            },
        },
    }


def _links(one: Operation, operations: Sequence[Operation]) -> dict[str, Any]:
    """Return what may be done with what an operation made, by its id."""
    if one.method != "POST" or one.answer is None or "id" not in one.answer.model_fields or "{" in one.path:
        return {}
    with_it = [other for other in operations if other.path.startswith(f"{one.path}/{{id}}")]
    return {other.name: {"operationId": other.name, "parameters": {"id": "$response.body#/id"}} for other in with_it}


_Key = tuple[Any, JsonSchemaMode]


def _schemas(operations: Sequence[Operation]) -> tuple[dict[_Key, dict[str, Any]], dict[str, Any]]:
    models: dict[_Key, None] = {(Problem, "serialization"): None}
    for one in operations:
        for model in (one.query, one.body):
            if model is not None:
                models[model, "validation"] = None
        for answer in (one.answer, *[other for _, other in one.others]):
            if answer is not None:
                models[answer, "serialization"] = None
    found, shared = models_json_schema(list(models), ref_template=_REF)
    return {(model, mode): schema for (model, mode), schema in found.items()}, shared["$defs"]


_Queries = Mapping[type[Taken], dict[str, Any]]


def _operation(one: Operation, path: str, schemas: dict[_Key, dict[str, Any]], queries: _Queries) -> dict[str, Any]:
    parameters = [
        {"name": name, "in": "path", "required": True, "description": text, "schema": schema}
        for name, text, schema in (_OF_PATHS[name] for name in _PARAMETER.findall(path))
    ]
    if one.query is not None:
        parameters += _query_parameters(queries[one.query])
    parameters += [
        {"name": name, "in": "header", "required": False, "description": text, "schema": _HEADER}
        for name, text in one.headers
    ]
    needs = "Any token may." if one.scope is None else f"Needs the scope `{one.scope.value}`."
    made: dict[str, Any] = {
        "operationId": one.name,
        "tags": [path.split("/")[1]],
        "summary": one.summary,
        "description": f"{one.about} {needs}".strip(),
        "parameters": parameters,
        "responses": _responses(one, path, schemas),
    }
    if one.body is not None or one.media:
        content: dict[str, Any] = {} if one.body is None else {JSON: {"schema": schemas[one.body, "validation"]}}
        content |= {media: {"schema": dict(schema)} for media, schema in one.media.items()}
        made["requestBody"] = {"required": True, "content": content}
    return made


_HEADER: Final = {"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[!-~]+$"}
_OF_PATHS: Final = {
    "id": ("id", "As answers name it.", {"type": "string", "minLength": 1, "maxLength": 100}),
    "address": ("address", "An address, or @domain.", {"type": "string", "minLength": 1, "maxLength": 320}),
}


def _query_parameters(schema: dict[str, Any]) -> list[dict[str, Any]]:
    needed = schema.get("required", ())
    return [
        {"name": name, "in": "query", "required": name in needed, "schema": _given(about)}
        | ({"description": about["description"]} if "description" in about else {})
        for name, about in schema.get("properties", {}).items()
    ]


def _given(about: dict[str, Any]) -> dict[str, Any]:
    """Return the schema of a parameter that is there: None is one that is not."""
    kept = {name: value for name, value in about.items() if name not in {"title", "description"}}
    others = [one for one in kept.get("anyOf", ()) if one != {"type": "null"}]
    if len(others) == 1:
        kept = {name: value for name, value in kept.items() if name not in {"anyOf", "default"}} | others[0]
    return kept


def _responses(one: Operation, path: str, schemas: dict[_Key, dict[str, Any]]) -> dict[str, Any]:
    schema = schemas[one.answer, "serialization"] if one.answer is not None else None
    good: dict[str, Any] = {"description": one.status.phrase, "headers": {"X-Request-Id": _REQUEST_ID}}
    if one.status is not HTTPStatus.NO_CONTENT:
        good["content"] = {one.gives: {"schema": schema or {"type": "string"}}}
    made = {str(one.status.value): good}
    for status, other in one.others:
        content = {one.gives: {"schema": schemas[other, "serialization"]}}
        made[str(status.value)] = {"description": status.phrase, "headers": good["headers"], "content": content}
    problem = {PROBLEM: {"schema": schemas[Problem, "serialization"]}}
    bodies = _OF_BODIES if one.body is not None or one.media else ()
    named = (HTTPStatus.NOT_FOUND,) if "{" in path else ()
    for status in sorted({*_OF_ALL, *bodies, *named, *one.problems}):
        headers = {"X-Request-Id": _REQUEST_ID} | ({"Retry-After": _RETRY_AFTER} if status in _RETRIED else {})
        made[str(status.value)] = {"description": status.phrase, "headers": headers, "content": problem}
    return made


_REQUEST_ID: Final = {"description": "The name of the request in the log.", "schema": {"type": "string"}}
_RETRY_AFTER: Final = {"description": "Seconds after which to try again.", "schema": {"type": "integer"}}


def _examples(document: dict[str, Any]) -> dict[str, str]:
    """Return an example of a body for operations, by their names."""
    found = {}
    for one in [one for methods in document["paths"].values() for one in methods.values()]:
        schema = one.get("requestBody", {"content": {}})["content"].get(JSON, {"schema": {}})["schema"]
        about = document["components"]["schemas"].get(schema.get("$ref", "").removeprefix("#/components/schemas/"), {})
        for example in about.get("examples", ())[:1]:
            told = {name: example[name] for name in about["properties"] if name in example}
            found[one["operationId"]] = json.dumps(told, ensure_ascii=False, indent=2)
    return found


def routes(operations: Sequence[Operation]) -> tuple[Route, ...]:
    """Return where the document and the page are."""

    @cache
    def made() -> dict[str, Any]:
        return openapi(operations)

    async def as_document(asked: Asked) -> web.Response:
        text = json.dumps(made() | {"servers": [{"url": asked.desk.base.path + API}]}, separators=(",", ":"))
        tag = f'"{sha256(text.encode()).hexdigest()[:16]}"'
        headers = {hdrs.ETAG: tag, hdrs.CACHE_CONTROL: "no-cache"}
        if tag in asked.request.headers.get(hdrs.IF_NONE_MATCH, ""):
            return web.Response(status=HTTPStatus.NOT_MODIFIED, headers=headers)
        answer = web.Response(text=text, content_type=JSON, headers=headers)
        packed(asked, answer)
        return answer

    async def as_page(asked: Asked) -> web.Response:
        facts = {
            "document": made(),
            "examples": _examples(made()),
            "base": asked.desk.base.path + API,
            "origin": asked.request.url.origin(),
        }
        return html.page(asked, "api.html", facts)

    return (
        Route("GET", f"{API}/openapi.json", as_document, None, tokens=True),
        Route("GET", f"{API}/docs", as_page, None, tokens=True),
    )
