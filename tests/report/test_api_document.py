"""The OpenAPI document against the server: whatever it allows is answered as it says."""

import asyncio
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import schemathesis
from hypothesis import HealthCheck, settings
from schemathesis import checks, openapi
from schemathesis.transport.serialization import Binary

from report import api
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


schema = openapi.from_dict(document(api.OPERATIONS)).exclude(operation_id=sorted(LEFT_OUT))


@schema.parametrize()
@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
def test_whatever_the_document_allows_is_answered_as_it_says(case: schemathesis.Case, served: Served) -> None:
    if "wait" in (case.query or {}):
        case.query["wait"] = "0"
    headers = {"Authorization": f"Bearer {served.token}"}
    answer = case.call(base_url=f"{served.base}/api/v1", headers=headers, timeout=20)
    case.validate_response(
        answer,
        checks=[
            checks.not_a_server_error,
            checks.status_code_conformance,
            checks.content_type_conformance,
            checks.response_schema_conformance,
        ],
    )
