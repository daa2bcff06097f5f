"""report/api: what is sent in other ways than one message in JSON: tried out, some at once, and to many."""

import asyncio
import base64
import json
from collections.abc import AsyncIterator
from email import message_from_bytes, policy
from email.message import EmailMessage
from typing import Any

import pytest

from report.server import ReportServer
from storage.access import Role
from storage.logquery import Query
from storage.model import message_id_of
from storage.people import Blocked, NewAddress, NewContact, Source
from tests.report.asking import Program, add_token, program, serving
from tests.report.mailing import START, Mail

LETTER = {"from": "Ann <ann@sender.test>", "to": ["bob@example.test"], "subject": "Hello", "text": "Hi, Bob"}
NEWS = {"name": "May", "from": "Ann <ann@sender.test>", "subject": "Hello {{ name }}", "start": "2040-01-01T00:00:00Z"}
BOB = {"recipients": [{"address": "bob@example.test", "name": "Bob", "fields": {"code": "4711"}}]}
FILE = {"name": "a.txt", "type": "text/plain", "content": base64.b64encode(b"hello {{ name }}").decode()}


@pytest.fixture
async def server(mail: Mail) -> AsyncIterator[ReportServer]:
    async with serving(mail.state_dir, max_recipients=20) as server:
        yield server


@pytest.fixture
async def prog(server: ReportServer, mail: Mail) -> AsyncIterator[Program]:
    async with program(server, await add_token(mail.store)) as asking:
        yield asking


async def stored(server: ReportServer) -> EmailMessage:
    """The message of the last broadcast."""
    assert server._desk
    rows = await server._desk.reader._all(Query("SELECT template FROM broadcast_run ORDER BY id DESC LIMIT 1"))
    return message_from_bytes(rows[0][0], policy=policy.default)  # type: ignore[return-value]


async def test_a_dry_run_tells_what_sending_then_does(prog: Program, mail: Mail) -> None:
    """Of everybody, whatever holds them back; and it stores nothing."""
    await prog.post("/messages", LETTER | {"to": ["met@example.test"], "broadcast": "May"})
    await mail.store.blocked.add([Blocked("no@example.test", Source.MANUAL, START, "asked for it")], "root")
    await mail.store.blocked.add([Blocked("@closed.test", Source.MANUAL, START)], "root")
    await mail.store.contacts.put([NewContact((NewAddress("choosy@example.test", ("news",)),))], START)
    body = LETTER | {
        "to": ["bob@example.test", "NO@example.test", "met@example.test", "x@closed.test"],
        "cc": ["choosy@example.test", "Bob@Example.test", "MET@example.test"],
        "broadcast": "May",
        "broadcast_type": "general",
    }
    status, tried = await prog.ask("POST", "/messages?dry_run=true", json=body, headers={"Idempotency-Key": "k"})
    assert (status, tried["tracked"], tried["untracked_reason"]) == (200, True, None)
    assert len((await prog.get("/log"))[1]["recipients"]) == 1
    status, sent = await prog.post("/messages", body, "k")
    assert status == 202
    told = [{name: one[name] for name in ("address", "status", "why")} for one in sent["recipients"]]
    assert tried["recipients"] == told
    assert {one["status"] for one in told} == {"Unsent", "Blocked", "Duplicate", "No Email Selected"}


async def test_a_dry_run_refuses_what_sending_refuses(prog: Program, server: ReportServer, mail: Mail) -> None:
    async with program(server, await add_token(mail.store, "bob", Role.SENDER, senders=("@bob.test",))) as bob:
        status, problem = await bob.ask("POST", "/messages?dry_run=true", json=LETTER)
        assert (status, problem["enhanced_status"]) == (403, "5.7.1")
    raw = {"data": b"Subject: x\n\nHi\n", "headers": {"Content-Type": "message/rfc822"}}
    ask = "/messages?dry_run=true&mail_from=ann@sender.test&rcpt_to=bob@example.test"
    assert (await prog.ask("POST", ask, **raw))[1]["recipients"][0]["status"] == "Unsent"
    assert (await prog.ask("POST", "/messages?dry_run=maybe", json=LETTER))[0] == 400
    _, untracked = await prog.ask("POST", "/messages?dry_run=1", json=LETTER | {"track": False})
    assert untracked["tracked"] is False


async def test_each_message_of_a_batch_has_its_own_result(prog: Program, server: ReportServer, mail: Mail) -> None:
    many = [f"{n}@x.test" for n in range(21)]
    messages = [LETTER | {"text": "1"}, LETTER | {"to": many}, LETTER | {"text": "3"}]
    status, told = await prog.post("/messages/batch", {"messages": messages})
    assert (status, told["accepted"]) == (200, 2)
    assert [one["status"] for one in told["results"]] == [202, 422, 202]
    assert told["results"][1]["problem"]["enhanced_status"] == "4.5.3"
    assert told["results"][1]["id"] is None
    for place, text in ((0, b"\r\n1\r\n"), (2, b"\r\n3\r\n")):
        one = told["results"][place]
        assert one["recipients"][0]["status"] == "Unsent"
        assert text in (await mail.store.content(message_id_of(one["id"]) or 0) or b"")
    async with program(server, await add_token(mail.store, "bob", Role.SENDER, senders=("@bob.test",))) as bob:
        _, told = await bob.post("/messages/batch", {"messages": [LETTER, LETTER | {"from": "x@bob.test"}]})
        assert [one["status"] for one in told["results"]] == [403, 202]


async def test_a_batch_that_cannot_be_read_sends_nothing(prog: Program) -> None:
    status, problem = await prog.post("/messages/batch", {"messages": [LETTER, LETTER | {"to": ["nobody"]}]})
    assert (status, problem["errors"][0]["pointer"]) == (422, "/messages/1/to/0")
    assert (await prog.post("/messages/batch", {"messages": []}))[0] == 422
    assert (await prog.post("/messages/batch", {"messages": [LETTER] * 501}))[0] == 422
    assert (await prog.get("/log"))[1]["recipients"] == []


async def test_a_batch_that_comes_again_sends_what_is_left(prog: Program, mail: Mail) -> None:
    """Whatever was stored before a kill is answered, the rest is sent: each message once."""
    body = {"messages": [LETTER | {"text": str(n)} for n in range(120)]}
    answers = await asyncio.gather(*[prog.post("/messages/batch", body, "k1") for _ in range(3)])
    ids = [[one["id"] for one in told["results"]] for _, told in answers]
    assert ids[0] == ids[1] == ids[2]
    assert len(set(ids[0])) == 120
    _, page = await prog.get("/log", limit=200)
    assert len(page["recipients"]) == 120
    _, other = await prog.post("/messages/batch", {"messages": [LETTER]}, "k1")
    assert (other["accepted"], other["results"][0]["status"]) == (0, 422)
    assert (await prog.post("/messages", LETTER, "k1"))[0] == 202  # a key of a message is another one


async def test_of_a_batch_that_was_killed_half_way_the_rest_is_sent(
    prog: Program, server: ReportServer, mail: Mail, monkeypatch: pytest.MonkeyPatch
) -> None:
    body = {"messages": [LETTER | {"text": str(n)} for n in range(6)]}
    assert server._desk
    store, real, left = server._desk.store, server._desk.store.post, [3]

    async def post(*args: Any, **named: Any) -> Any:
        left[0] -= 1
        if left[0] < 0:
            raise RuntimeError("killed")
        return await real(*args, **named)

    monkeypatch.setattr(store, "post", post)
    assert (await prog.post("/messages/batch", body, "k"))[0] == 500
    monkeypatch.undo()
    status, told = await prog.post("/messages/batch", body, "k")
    assert (status, told["accepted"]) == (200, 6)
    assert len((await prog.get("/log"))[1]["recipients"]) == 6


@pytest.mark.parametrize(
    ("content", "parts"),
    [
        ({"text": "Dear {{ name }}"}, ["text/plain"]),
        ({"html": "<p>Dear {{ name }}"}, ["text/plain", "text/html"]),
        ({"html": "<p>Dear {{ name }}", "text": "Dear {{ code }}"}, ["text/plain", "text/html"]),
        ({"html": "<p>x", "text": "x", "attachments": [FILE]}, ["text/plain", "text/html", "text/plain"]),
        ({"text": "x", "headers": {"X-Mine": "4711"}, "reply_to": ["help@sender.test"]}, ["text/plain"]),
    ],
)
async def test_a_broadcast_says_what_a_message_may_say(
    prog: Program, server: ReportServer, content: dict[str, object], parts: list[str]
) -> None:
    status, made = await prog.post("/broadcasts", NEWS | BOB | content)
    assert (status, made.get("detail")) == (201, None)
    message = await stored(server)
    assert [part.get_content_type() for part in message.walk() if not part.is_multipart()] == parts
    assert (message["Subject"], message["From"]) == ("Hello {{ name }}", "Ann <ann@sender.test>")
    for name, value in (("X-Mine", "4711"), ("Reply-To", "help@sender.test")):
        assert message[name] == (value if "headers" in content else None)
    for part in message.iter_attachments():
        assert part.get_content() == "hello {{ name }}"


async def test_a_broadcast_of_a_whole_message(prog: Program, server: ReportServer) -> None:
    raw = b"Subject: Own {{ code }}\r\nTo: x@y.test\r\nContent-Type: text/plain\r\n\r\nDear {{ name }}\r\n"
    body = {name: NEWS[name] for name in ("name", "from", "start")} | BOB | {"raw": base64.b64encode(raw).decode()}
    assert (await prog.post("/broadcasts", body))[1]["subject"] == "Own {{ code }}"
    message = await stored(server)
    assert (message["To"], message.get_content().strip()) == (None, "Dear {{ name }}")
    assert (await prog.post("/broadcasts", body | {"subject": "Mine", "name": "b"}))[1]["subject"] == "Mine"
    for wrong in ({"text": "x"}, {"track": False}, {"raw": "?"}, {"attachments": [FILE]}):
        assert (await prog.post("/broadcasts", body | wrong))[0] == 422
    status, problem = await prog.post("/broadcasts", body | {"raw": base64.b64encode(b"\r\n\r\nx").decode()})
    assert (status, "no header" in problem["detail"]) == (422, True)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"text": None}, "expected html, text, or both"),
        ({"subject": None}, "expected a subject"),
        ({"recipients": []}, "expected list, or recipients"),
        ({"text": "{{ nmae"}, "line 1"),
        ({"text": "{{ plan }}"}, 'lack the field "plan"'),
    ],
)
async def test_what_is_wrong_with_a_broadcast_is_said(prog: Program, change: dict[str, object], words: str) -> None:
    status, problem = await prog.post("/broadcasts", NEWS | BOB | {"text": "x"} | change)
    assert (status, words in problem["detail"]) == (422, True), problem


async def test_a_broadcast_is_tried_out(prog: Program, mail: Mail) -> None:
    """Everybody's fate, fields that are missing and recipients that are none; and nothing is stored."""
    await mail.store.blocked.add([Blocked("no@example.test", Source.MANUAL, START)], "root")
    people = [{"address": f"{name}@example.test", "fields": {"code": "1"}} for name in ("bob", "no", "bob")]
    body = NEWS | {"text": "{{ code }} {{ plan }}", "recipients": [*people, {"address": "nobody"}]}
    status, told = await prog.ask("POST", "/broadcasts?dry_run=true", json=body)
    assert status == 200, told
    assert (told["total"], told["statuses"]) == (3, {"Unsent": 1, "Blocked": 1, "Duplicate": 1})
    assert {one["field"] for one in told["missing"]} == {"name", "plan"}
    assert (told["bad"], told["first_bad"][0]["line"]) == (1, 4)
    assert (await prog.get("/broadcasts"))[1]["broadcasts"] == []
    json.dumps(told)
