"""report/api on the wire: methods, types, parameters, packed answers, links, and the names of requests."""

import gzip
import json
from collections.abc import Iterator

import aiohttp
import pytest
from pydantic import BaseModel

from report.api.model import Given
from report.server import ReportServer
from storage.access import Role, Scope
from storage.status import Event
from tests.report.asking import Program, add_token, program
from tests.report.mailing import START, Mail

LETTER = {"from": "Ann <ann@sender.test>", "to": ["bob@example.test"], "subject": "Hello", "text": "Hi, Bob"}


async def test_a_head_is_a_get_without_its_body(prog: Program) -> None:
    for path in ("/log", "/openapi.json"):
        async with prog.session.head(
            f"{prog.base}/api/v1{path}", headers={"Authorization": f"Bearer {prog.token}"}
        ) as a:
            assert (a.status, await a.read()) == (200, b"")
            assert int(a.headers.get("Content-Length", "1")) > 0


async def test_the_methods_of_an_address_are_told(prog: Program) -> None:
    async with prog.session.options(f"{prog.base}/api/v1/contacts/x") as answer:
        assert (answer.status, answer.headers["Allow"]) == (204, "DELETE, GET, HEAD, OPTIONS, PUT")
        assert not [name for name in answer.headers if name.startswith("Access-Control")]
    status, problem = await prog.ask("PATCH", "/messages")
    assert (status, prog.headers["Allow"]) == (405, "OPTIONS, POST")
    assert problem["detail"] == "PATCH is nothing that can be done here; there are OPTIONS, POST."
    status, problem = await prog.get("/mesages")
    assert (status, problem["detail"]) == (404, "There is no such operation; /api/v1/docs lists all.")


async def test_a_type_that_is_not_taken_is_answered_with_those_that_are(prog: Program) -> None:
    status, _ = await prog.ask("POST", "/messages", data="x=1")
    assert (status, prog.headers["Accept"]) == (415, "application/json, message/rfc822")


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("/log?statsu=failed", 'There is no parameter "statsu"; did you mean "status"?'),
        ("/log?zzz=1", 'There is no parameter "zzz"; there are q, recipient, sender'),
        ("/webhooks?limit=1", 'There is no parameter "limit"; there are none here.'),
        ("/log?limit=900", "A parameter cannot be read. limit: Input should be less than or equal to 200"),
    ],
)
async def test_a_parameter_that_is_none_is_told_what_was_meant(prog: Program, path: str, words: str) -> None:
    status, problem = await prog.get(path)
    assert status == 400
    assert words in problem["detail"]
    assert problem["errors"][0]["parameter"] in path


async def test_a_member_that_is_none_is_told_what_was_meant(prog: Program) -> None:
    _, problem = await prog.post("/messages", LETTER | {"subjct": "x"})
    assert problem["errors"] == [{"pointer": "/subjct", "detail": 'there is no such member; did you mean "subject"?'}]
    _, problem = await prog.post("/messages", LETTER | {"attachments": [{"nme": "x", "name": "a", "content": ""}]})
    assert problem["errors"][0]["detail"] == 'there is no such member; did you mean "name"?'
    _, problem = await prog.post("/contacts", {"key": "x", "zzz": 1})
    assert "there are key, name, addresses, fields, lists" in problem["detail"]


async def test_a_long_answer_is_packed_for_who_takes_it(prog: Program, mail: Mail) -> None:
    await mail.accept(*[f"{n}@example.test" for n in range(20)])
    await prog.get("/log")
    assert (prog.headers.get("Content-Encoding"), prog.headers["Vary"]) == ("gzip", "Accept-Encoding")
    await prog.get("/log", limit=1)
    assert "Content-Encoding" not in prog.headers
    await prog.ask("GET", "/log", headers={"Accept-Encoding": "gzip;q=0, deflate"})
    assert "Content-Encoding" not in prog.headers


async def test_a_packed_body_is_taken_and_counted_as_what_comes_out(prog: Program) -> None:
    """A few kilobytes that become a hundred megabytes are too large, and wait for room as large ones do."""
    head = {"Content-Encoding": "gzip", "Content-Type": "application/json"}
    packed = gzip.compress(json.dumps(LETTER).encode())
    assert (await prog.ask("POST", "/messages", data=packed, headers=head))[0] == 202
    bomb = gzip.compress(b" " * 100_000_000)
    assert len(bomb) < 200_000
    status, problem = await prog.ask("POST", "/messages", data=bomb, headers=head)
    assert (status, "at most" in problem["detail"]) == (413, True)
    assert (await prog.ask("POST", "/messages", data=b"none", headers=head))[0] == 400


async def test_the_next_page_is_a_link(prog: Program, mail: Mail) -> None:
    await mail.accept(*[f"{n}@example.test" for n in range(3)])
    _, page = await prog.get("/log", limit=2, sender="news@sender.test", status="unsent")
    link, _, rel = prog.headers["Link"].partition("; ")
    assert rel == 'rel="next"'
    async with prog.session.get(
        prog.base + link.strip("<>"), headers={"Authorization": f"Bearer {prog.token}"}
    ) as answer:
        last = await answer.json()
        assert "Link" not in answer.headers
    assert len({row["id"] for row in page["recipients"] + last["recipients"]}) == 3
    await prog.get("/events", since="2000-01-01T00:00:00Z")
    assert "since" not in prog.headers["Link"]
    assert "after=" in prog.headers["Link"]


async def test_a_refusal_and_the_log_name_the_request(prog: Program, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "telltale.report")
    _, problem = await prog.post("/messages", LETTER | {"to": []})
    name = problem["request_id"]
    assert prog.headers["X-Request-Id"] == name
    assert f"event=refused request={name} status=422 user=prog method=POST path=/api/v1/messages" in caplog.text
    await prog.get("/log")
    assert prog.headers["X-Request-Id"] not in {"", name}


async def test_who_has_no_token_is_told_how_to_come_by_one(api: ReportServer, mail: Mail) -> None:
    async with aiohttp.ClientSession(f"http://{api.addresses[0]}") as session:
        for headers in ({}, {"Accept": "text/html"}):
            async with session.get("/api/v1/log", headers=headers) as answer:
                assert (answer.status, answer.headers["WWW-Authenticate"]) == (401, 'Bearer realm="telltale"')
                assert "telltale token add" in (await answer.json(content_type=None))["detail"]
    token = await add_token(mail.store, "reads", Role.ADMIN, frozenset({Scope.LOG_READ}))
    async with program(api, token) as reads:
        status, problem = await reads.post("/messages", LETTER)
        assert (status, problem["detail"]) == (403, "This token may not do this: it takes the scope messages:send.")
        assert 'error="insufficient_scope", scope="messages:send"' in reads.headers["WWW-Authenticate"]
    async with program(api, await add_token(mail.store, "views", Role.VIEWER)) as views:
        assert "views may not do this" in (await views.post("/messages", LETTER))[1]["detail"]


async def test_a_token_tells_what_it_may_do(api: ReportServer, mail: Mail) -> None:
    """By any scope, and by none too much."""
    scopes = frozenset({Scope.BLOCKED_READ, Scope.SEND})
    token = await add_token(mail.store, "bob", Role.SENDER, scopes, senders=("@bob.test",))
    async with program(api, token) as bob:
        status, told = await bob.get("/token")
    assert (status, told["user"], told["role"]) == (200, "bob", "sender")
    assert (told["scopes"], told["senders"]) == (["messages:send"], ["@bob.test"])
    assert told["limits"]["max_recipients"] == 1000
    async with program(api, "tt_" + "x" * 40) as nobody:
        assert (await nobody.get("/token"))[0] == 401


async def test_the_document_is_fetched_once(prog: Program) -> None:
    async with prog.session.get(f"{prog.base}/api/v1/openapi.json") as answer:
        tag = answer.headers["ETag"]
    async with prog.session.get(f"{prog.base}/api/v1/openapi.json", headers={"If-None-Match": tag}) as answer:
        assert (answer.status, await answer.read()) == (304, b"")


async def test_all_times_are_written_alike(prog: Program, mail: Mail) -> None:
    """RFC 3339, in UTC, to the millisecond."""
    await mail.accept("ann@example.test")
    (row,) = (await prog.get("/log"))[1]["recipients"]
    (event,) = (await prog.get("/events", since="2000-01-01T00:00:00Z"))[1]["events"]
    (hour,) = (await prog.get("/stats", range="30d"))[1]["hours"]
    for text in (row["received"], event["timestamp"], event["data"]["event"]["at"], hour["hour"]):
        assert len(text) == len("2026-11-23T14:00:00.000Z"), text
        assert text.endswith("Z")
    json.dumps(row)


@pytest.mark.parametrize("name", ["Soft Bounced", "soft-bounced", "soft_bounced", "SOFT BOUNCED"])
async def test_a_status_is_asked_for_as_answers_name_it(prog: Program, mail: Mail, name: str) -> None:
    (job, _) = await mail.accept("ann@example.test", "bob@example.test")
    await mail.settle(job, Event.DEFER, next_ms=START)
    (row,) = (await prog.get("/log", status=name))[1]["recipients"]
    assert (row["recipient"], row["status"]) == ("ann@example.test", "Soft Bounced")
    status, problem = await prog.get("/log", status="soft")
    assert (status, "'Soft Bounced'" in problem["detail"]) == (400, True)


@pytest.mark.parametrize(
    "path", ["/log?cursor=before.0", "/contacts?cursor=0", "/blocked?cursor=0", "/broadcasts?cursor=0"]
)
async def test_a_cursor_of_nobody_is_refused(prog: Program, path: str) -> None:
    status, problem = await prog.get(path)
    assert (status, problem["detail"]) == (400, "The cursor is none of ours: expected `next` of an answer.")


def _answers(model: type[BaseModel] = Given) -> Iterator[type[BaseModel]]:
    for one in model.__subclasses__():
        yield one
        yield from _answers(one)


def test_no_answer_writes_a_time_in_another_way() -> None:
    plain = [
        f"{model.__name__}.{name}"
        for model in _answers()
        for name, about in model.model_fields.items()
        if "datetime" in repr(about) and "PlainSerializer" not in repr(about)
    ]
    assert plain == []
