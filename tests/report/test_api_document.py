"""The OpenAPI document against the server: whatever it allows is answered as it says."""

import asyncio
import json
import threading
import urllib.request
from collections.abc import Iterator
from http import HTTPStatus
from pathlib import Path

import pytest
import schemathesis
from aiohttp import web
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import run_state_machine_as_test
from pydantic import BaseModel
from schemathesis import checks, openapi
from schemathesis.core.failures import FailureGroup
from schemathesis.transport.serialization import Binary

from report import api
from report.api import operation
from report.api.document import openapi as document
from report.settings import WebhookSettings
from storage.people import POLICY
from storage.store import Store
from tests.report.asking import add_token, serving
from tests.report.mailing import Mail

# Calls that wait, and calls of strangers' servers, are tested by themselves.
LEFT_OUT = {"testWebhook"}


@schemathesis.serializer("message/rfc822", "application/jsonl")
def as_bytes(_context: object, value: object) -> bytes:
    return value.data if isinstance(value, Binary) else str(value).encode("utf-8", "replace")


class Served:
    """A server in a thread of its own, with some mail in its log."""

    def __init__(self, state_dir: Path) -> None:
        self.state_dir = state_dir
        self.base = self.token = ""
        self._up = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()))

    async def _run(self) -> None:
        self._loop, self._end = asyncio.get_running_loop(), asyncio.Event()
        store = await Store.open(self.state_dir, POLICY)
        self.token = await add_token(store)
        await Mail(store, self.state_dir).accept("ann@example.test", "bob@example.test")
        async with serving(self.state_dir, WebhookSettings(allow_private=False, timeout=1)) as server:
            self.base = f"http://{server.addresses[0]}"
            self._up.set()
            await self._end.wait()
        await store.close()

    def start(self) -> None:
        self._thread.start()
        assert self._up.wait(20)

    def stop(self) -> None:
        self._loop.call_soon_threadsafe(self._end.set)
        self._thread.join(20)


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    made = Served(tmp_path_factory.mktemp("api"))
    made.start()
    yield made
    made.stop()


openapi.format("mailbox", st.sampled_from(["ann@sender.test", "Ann <ann@sender.test>", '"B, C" <b@x.test>']))
openapi.format("email", st.sampled_from(["bob@example.test", "Cyd@x.test", "dan+x@straße.example"]))
openapi.format("blockable", st.sampled_from(["bob@example.test", "@closed.test"]))
DOCUMENT = document(api.OPERATIONS)
schema = openapi.from_dict(DOCUMENT).exclude(operation_id=sorted(LEFT_OUT))
WORD = [
    checks.not_a_server_error,
    checks.status_code_conformance,
    checks.content_type_conformance,
    checks.response_headers_conformance,
    checks.response_schema_conformance,
]
DESCRIBED = {"description", "$ref"}
QUICK = settings(deadline=None, suppress_health_check=list(HealthCheck), database=None)


def keeps_its_word(case: schemathesis.Case, served: Served) -> None:
    if "wait" in (case.query or {}):
        case.query["wait"] = "0"
    headers = {"Authorization": f"Bearer {served.token}"}
    answer = case.call(base_url=f"{served.base}/api/v1", headers=headers, timeout=20)
    case.validate_response(answer, checks=WORD)


@schema.parametrize()
@settings(QUICK, max_examples=25)
def test_whatever_the_document_allows_is_answered_as_it_says(case: schemathesis.Case, served: Served) -> None:
    keeps_its_word(case, served)


def test_what_one_operation_made_the_others_work_on(served: Served) -> None:
    """Made, shown, changed and removed in any order, by the document's links: what is there is found."""
    schema.config.update(base_url=f"{served.base}/api/v1")

    class Program(schema.as_state_machine()):  # type: ignore[misc]  # made at run time
        def get_call_kwargs(self, case: schemathesis.Case) -> dict[str, object]:
            if "wait" in (case.query or {}):
                case.query["wait"] = "0"
            return {"headers": {"Authorization": f"Bearer {served.token}"}, "timeout": 20}

        def validate_response(self, response: object, case: schemathesis.Case, **_: object) -> None:
            more = [checks.use_after_free, checks.ensure_resource_availability]
            case.validate_response(response, checks=[*WORD, *more])

    phases = [Phase.generate]
    run_state_machine_as_test(Program, settings=settings(QUICK, max_examples=12, stateful_step_count=6, phases=phases))


def _with_a_surprise(answer: BaseModel, status: HTTPStatus = HTTPStatus.OK) -> web.Response:
    return web.json_response(answer.model_dump(mode="json") | {"surprise": 1}, status=status)


def _with_another_status(answer: BaseModel, _status: HTTPStatus = HTTPStatus.OK) -> web.Response:
    return web.Response(
        status=HTTPStatus.ALREADY_REPORTED, text=answer.model_dump_json(), content_type="application/json"
    )


def _with_another_type(answer: BaseModel, status: HTTPStatus = HTTPStatus.OK) -> web.Response:
    return web.Response(status=status, text=answer.model_dump_json(), content_type="text/plain")


def _with_a_fault(_answer: BaseModel, _status: HTTPStatus = HTTPStatus.OK) -> web.Response:
    raise RuntimeError("broken on purpose")


@pytest.mark.parametrize("broken", [_with_a_surprise, _with_another_status, _with_another_type, _with_a_fault])
@pytest.mark.parametrize("path", ["/stats", "/log", "/webhooks"])
def test_a_server_that_breaks_its_word_is_found(
    served: Served, monkeypatch: pytest.MonkeyPatch, broken: object, path: str
) -> None:
    """These tests find what they are there to find."""
    monkeypatch.setattr(operation, "as_json", broken)

    @given(case=schema[path]["GET"].as_strategy())
    @settings(QUICK, max_examples=10, phases=[Phase.generate])
    def ask(case: schemathesis.Case) -> None:
        keeps_its_word(case, served)

    with pytest.raises(FailureGroup):
        ask()


def _examples() -> list[tuple[str, object]]:
    found = []
    for path, methods in DOCUMENT["paths"].items():
        for method, one in methods.items():
            body = one.get("requestBody", {"content": {}})["content"].get("application/json", {"schema": {}})["schema"]
            body = DOCUMENT["components"]["schemas"].get(body.get("$ref", "").rpartition("/")[2], body)
            found += [(f"{method.upper()} {path}", example) for example in body.get("examples", ())]
    return found


def test_the_examples_of_the_document_are_taken(tmp_path: Path) -> None:
    served = Served(tmp_path)
    served.start()
    headers = {"Authorization": f"Bearer {served.token}", "Content-Type": "application/json"}
    try:
        for name, body in _examples():
            method, _, path = name.partition(" ")
            at = f"{served.base}/api/v1{path}"
            request = urllib.request.Request(at, json.dumps(body).encode(), headers, method=method)
            if "{" not in path:
                with urllib.request.urlopen(request, timeout=20) as answer:
                    assert answer.status in {200, 201, 202}, name
    finally:
        served.stop()


def test_the_document_has_examples() -> None:
    assert {name for name, _ in _examples()} >= {
        "POST /messages",
        "POST /messages/batch",
        "POST /broadcasts",
        "POST /contacts",
        "POST /blocked",
    }


def test_every_schema_of_the_document_is_used() -> None:
    text = json.dumps(DOCUMENT)
    assert [name for name in DOCUMENT["components"]["schemas"] if f'"#/components/schemas/{name}"' not in text] == []


def test_whatever_may_be_given_is_described() -> None:
    bodies = [one for _, one in DOCUMENT["components"]["schemas"].items() if one.get("additionalProperties") is False]
    taken = [one for one in bodies if one["title"].startswith("New")]
    assert [name for one in taken for name, about in one["properties"].items() if not DESCRIBED & set(about)] == []
    for path, methods in DOCUMENT["paths"].items():
        for method, one in methods.items():
            assert [p["name"] for p in one["parameters"] if "description" not in p] == [], f"{method} {path}"
