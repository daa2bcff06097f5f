"""report/api: sending, the log, events and their document, by real requests to a real server and store."""

import asyncio
import json
from collections.abc import AsyncIterator
from email import message_from_bytes, policy
from email.message import EmailMessage

import pytest

from report.server import ReportServer
from storage.access import Role, Scope
from storage.logquery import Query
from storage.model import Phase, Reply, message_id_of
from storage.people import Blocked, Source
from storage.status import Event
from tests.report.asking import Program, add_token, program, serving
from tests.report.browsing import add_user, browsing
from tests.report.mailing import START, Mail

LETTER = {"from": "Ann <ann@sender.test>", "to": ["bob@example.test"], "subject": "Hello", "text": "Hi, Bob"}


@pytest.fixture
async def server(mail: Mail) -> AsyncIterator[ReportServer]:
    async with serving(mail.state_dir, max_message_bytes=200_000, max_recipients=5) as server:
        yield server


@pytest.fixture
async def prog(server: ReportServer, mail: Mail) -> AsyncIterator[Program]:
    async with program(server, await add_token(mail.store)) as asking:
        yield asking


async def stored(mail: Mail, code: str) -> EmailMessage:
    content = await mail.store.content(message_id_of(code) or 0)
    assert content is not None
    return message_from_bytes(content, policy=policy.default)  # type: ignore[return-value]


async def test_an_address_is_read_in_no_time_whatever_it_is(prog: Program) -> None:
    """Blanks, quotes and backslashes could be read in very many ways, and everybody waits for who reads."""
    hostile = [" " * 998, '"' + "\\" * 996, " " * 400 + "a" + " " * 400, '"a" ' + " " * 900, "<" * 900]
    async with asyncio.timeout(2):
        status, answer = await prog.post("/messages", LETTER | {"to": hostile * 20})
    assert (status, answer["errors"][0]["pointer"]) == (422, "/to/0")
    for text in ('  "Bob \\"B\\" X"   <bob@example.test> ', "Bob   <bob@example.test>", "<bob@example.test>"):
        assert (await prog.post("/messages", LETTER | {"to": [text]}))[0] == 202


async def test_a_time_that_no_page_can_show_is_refused(prog: Program) -> None:
    """Somebody's broadcast, or an entry, that ends in the year 10000 would be on nobody's page: nor all others."""
    late = "9999-12-31T23:59:59-23:59"
    status, answer = await prog.post("/blocked", {"addresses": ["x@example.test"], "until": late})
    assert (status, answer["errors"][0]["pointer"]) == (422, "/until")
    news = {"name": "May", "from": "ann@sender.test", "subject": "Hi", "html": "<p>Hi"}
    status, answer = await prog.post("/broadcasts", news | {"recipients": [{"address": "b@x.test"}], "start": late})
    assert (status, answer["errors"][0]["pointer"]) == (422, "/start")


async def test_a_message_in_json_is_stored_as_submission_stores_it(prog: Program, mail: Mail) -> None:
    body = LETTER | {
        "to": ["Bob <bob@example.test>", "bob@example.test"],
        "cc": ['"Cyd, Dr." <cyd@example.test>'],
        "bcc": ["dan@example.test"],
        "reply_to": ["help@sender.test"],
        "subject": "Grüße ✉",
        "html": "<p>Hi <b>Bob</b> <img src=cid:logo>",
        "headers": {"X-Order": "4711"},
        "attachments": [
            {"name": "a.txt", "type": "text/plain", "content": "aGVsbG8="},
            {"name": "logo.png", "type": "image/png", "content": "iVBORw==", "content_id": "logo"},
        ],
        "broadcast": "May",
        "broadcast_type": "General",
    }
    status, answer = await prog.post("/messages", body)
    assert status == 202
    assert [one["address"] for one in answer["recipients"]] == [
        "bob@example.test",
        "cyd@example.test",
        "dan@example.test",
    ]
    assert {one["status"] for one in answer["recipients"]} == {"Unsent"}
    message = await stored(mail, answer["id"])
    assert message["From"] == "Ann <ann@sender.test>"
    assert message["Subject"] == "Grüße ✉"
    assert message["Cc"].addresses[0].display_name == "Cyd, Dr."
    assert message["Bcc"] is None
    assert message["X-Broadcast"] is None
    assert message["X-Order"] == "4711"
    assert message["Message-ID"]
    assert message["Date"]
    assert "mail.example" in message["Received"]
    assert [part.get_content_type() for part in message.walk() if not part.is_multipart()] == [
        "text/plain",
        "text/html",
        "image/png",
        "text/plain",
    ]
    status, log = await prog.get("/log", broadcast="May")
    assert [row["sender"] for row in log["recipients"]] == ["ann@sender.test"] * 3
    jobs = await mail.store.claim(2**50, 9)
    assert {job.message.user for job in jobs} == {"prog"}
    assert {job.message.broadcast_type for job in jobs} == {"general"}
    assert all(job.message.plan for job in jobs)


async def test_the_same_key_and_body_are_carried_out_once(prog: Program, mail: Mail) -> None:
    """However often a request comes, and at once, its message is stored once and its answer is the same."""
    answers = await asyncio.gather(*[prog.post("/messages", LETTER, "k1") for _ in range(5)])
    assert {status for status, _ in answers} == {202}
    assert len({json.dumps(answer) for _, answer in answers}) == 1
    assert len((await prog.get("/log"))[1]["recipients"]) == 1
    await prog.post("/messages", LETTER, "k1")
    assert prog.headers["Idempotent-Replayed"] == "true"
    status, problem = await prog.post("/messages", LETTER | {"text": "other"}, "k1")
    assert (status, problem["status"]) == (422, 422)
    assert "new key" in problem["detail"]
    assert (await prog.post("/messages", LETTER, "k2"))[1] != answers[0][1]


async def test_an_answer_tells_what_admission_decided(prog: Program, mail: Mail) -> None:
    await mail.store.blocked.add([Blocked("bob@example.test", Source.MANUAL, START, "asked for it")], "root")
    _, answer = await prog.post("/messages", LETTER | {"cc": ["cyd@example.test"]})
    assert [one["status"] for one in answer["recipients"]] == ["Blocked", "Unsent"]
    assert "asked for it" in answer["recipients"][0]["why"]
    events = (await prog.get("/events", since="2000-01-01T00:00:00Z"))[1]["events"]
    assert [event["type"] for event in events] == ["recipient.blocked", "recipient.accepted"]


async def test_a_raw_message_is_taken_with_its_envelope(prog: Program, mail: Mail) -> None:
    raw = b"From: ann@sender.test\nTo: list@sender.test\nSubject: raw\n\nHi\n.\nthere\n"
    ask = {"params": [("mail_from", "ann@sender.test"), ("rcpt_to", "bob@example.test"), ("rcpt_to", "cyd@x.test")]}
    status, answer = await prog.ask("POST", "/messages", data=raw, headers={"Content-Type": "message/rfc822"}, **ask)
    assert status == 202, answer
    content = await mail.store.content(message_id_of(answer["id"]) or 0)
    assert content
    assert b"Subject: raw\r\n" in content
    assert b"Hi\r\n.\r\nthere\r\n" in content
    status, problem = await prog.ask(
        "POST", "/messages", data=b"a\rb", headers={"Content-Type": "message/rfc822"}, **ask
    )
    assert (status, problem["enhanced_status"]) == (422, "5.6.0")
    assert (await prog.ask("POST", "/messages", data=raw, headers={"Content-Type": "message/rfc822"}))[0] == 400


@pytest.mark.parametrize(
    ("change", "status", "words"),
    [
        ({"to": []}, 422, "expected somebody in to, cc or bcc"),
        ({"text": None}, 422, "expected a text"),
        ({"from": "nobody"}, 422, "/from: expected an address"),
        ({"to": ["a@b.test\r\nBcc: evil@x.test"]}, 422, "/to/0"),
        ({"subject": "a\r\nBcc: evil@x.test"}, 422, "/subject: expected one line"),
        ({"headers": {"X-A": "a\nBcc: evil@x.test"}}, 422, "one line"),
        ({"headers": {"Bcc": "evil@x.test"}}, 422, "written by other means"),
        ({"headers": {"X A": "1"}}, 422, "pattern"),
        ({"attachments": [{"name": 'a"\r\nX: y', "content": ""}]}, 422, "one line"),
        ({"attachments": [{"name": "a", "type": "text/html\r\nX: y", "content": ""}]}, 422, "pattern"),
        ({"attachments": [{"name": "a", "content": "?"}]}, 422, "base64"),
        ({"unknown": 1}, 422, "/unknown"),
        ({"to": [f"{n}@x.test" for n in range(6)]}, 422, "Too many recipients"),
        ({"text": "x" * 210_000}, 413, "too big"),
        ({"text": "x" * 400_000}, 413, "at most"),
    ],
)
async def test_what_is_wrong_is_said_with_its_place(
    prog: Program, change: dict[str, object], status: int, words: str
) -> None:
    found, problem = await prog.post("/messages", LETTER | change)
    assert found == problem["status"] == status
    assert words in problem["detail"]
    assert prog.headers["Content-Type"].startswith("application/problem+json")


async def test_bodies_that_are_no_json_are_refused(prog: Program) -> None:
    headers = {"Content-Type": "application/json"}
    for raw in (b"", b"{", b"\xff", b'{"from": "\\ud800"}'):
        status, problem = await prog.ask("POST", "/messages", data=raw, headers=headers)
        assert status in {400, 422}, problem
    assert (await prog.ask("POST", "/messages", data=b"x", headers={"Content-Type": "text/plain"}))[0] == 415
    assert (await prog.ask("GET", "/log", params={"statsu": "sent"}))[1]["detail"].startswith("There is no parameter")
    assert (await prog.ask("GET", "/log", params={"limit": "0"}))[0] == 400
    assert (await prog.ask("GET", "/log", params=[("limit", "1"), ("limit", "2")]))[0] == 400


async def test_a_sender_sends_and_sees_its_own_only(server: ReportServer, mail: Mail, prog: Program) -> None:
    """Neither another's mail nor another's address: whoever asks is kept to what submission grants."""
    await prog.post("/messages", LETTER)
    token = await add_token(mail.store, "bob", Role.SENDER, senders=("@bob.test",))
    async with program(server, token) as bob:
        assert (await bob.get("/log"))[1]["recipients"] == []
        assert (await bob.get("/events", since="2000-01-01T00:00:00Z"))[1]["events"] == []
        status, problem = await bob.post("/messages", LETTER)
        assert (status, problem["enhanced_status"]) == (403, "5.7.1")
        assert (await bob.post("/messages", LETTER | {"from": "x@bob.test"}))[0] == 202
        (row,) = (await bob.get("/log"))[1]["recipients"]
        (event,) = (await bob.get("/events", since="2000-01-01T00:00:00Z"))[1]["events"]
        assert event["data"]["id"] == row["id"]
        assert (await bob.get("/stats"))[1]["statuses"]["Unsent"] == 1
        status, _ = await bob.get(f"/log/{(await prog.get('/log'))[1]['recipients'][-1]['id']}")
        assert status == 404


async def test_a_token_does_what_its_scopes_and_role_allow(server: ReportServer, mail: Mail) -> None:
    reads = await add_token(mail.store, "reads", Role.ADMIN, frozenset({Scope.LOG_READ}))
    views = await add_token(mail.store, "views", Role.VIEWER)
    for token in (reads, views):
        async with program(server, token) as prog:
            assert (await prog.post("/messages", LETTER))[0] == 403
            assert (await prog.get("/log"))[0] == 200
    async with program(server, "tt_" + "x" * 40) as nobody:
        assert (await nobody.get("/log"))[0] == 401
        assert nobody.headers["WWW-Authenticate"] == 'Bearer realm="telltale", error="invalid_token"'


async def test_the_log_is_paged_to_its_end(prog: Program, mail: Mail) -> None:
    await mail.accept(*[f"{n}@example.test" for n in range(7)])
    seen, cursor = [], {}
    while True:
        _, page = await prog.get("/log", limit=3, **cursor)
        seen += [row["recipient"] for row in page["recipients"]]
        if page["next"] is None:
            break
        cursor = {"cursor": page["next"]}
    assert sorted(seen) == [f"{n}@example.test" for n in range(7)]
    assert (await prog.get("/log", cursor="before.!"))[0] == 400


async def test_the_log_is_asked_by_the_reason_of_a_refusal(prog: Program, mail: Mail) -> None:
    gone, full = await mail.accept("gone@example.test", "full@example.test")
    await mail.settle(gone, Event.FAIL, Reply(550, "5.1.1", "no"), phase=Phase.RCPT, category="user unknown")
    await mail.settle(full, Event.BOUNCE, Reply(550, "5.1.1", "no"), phase=Phase.RCPT, category="mailbox full")
    (row,) = (await prog.get("/log", category="mailbox full"))[1]["recipients"]
    assert row["recipient"] == "full@example.test"


async def test_a_recipient_tells_its_story(prog: Program, mail: Mail) -> None:
    (job,) = await mail.accept("bob@example.test")
    await mail.settle(job, Event.DELIVER)
    (row,) = (await prog.get("/log", status="delivered"))[1]["recipients"]
    _, story = await prog.get(f"/log/{row['id']}")
    assert [event["kind"] for event in story["events"]] == ["accepted", "attempt"]
    assert (await prog.get(f"/messages/{row['queue_id']}"))[1]["recipients"] == [row]
    assert (await prog.get("/messages/zzz"))[0] == 404


async def test_events_are_told_in_order_and_none_is_missed(prog: Program, mail: Mail) -> None:
    """Whoever goes on from `next` gets each event once, whatever the size of the pages."""
    jobs = await mail.accept("a@x.test", "b@x.test", "c@x.test")
    await mail.settle(jobs[0], Event.DELIVER)
    await mail.hit(jobs[0])
    await mail.settle(jobs[1], Event.DELIVER)
    await mail.bounce_later(jobs[1])
    await mail.settle(jobs[2], Event.DEFER, next_ms=START)
    await mail.store.hold([jobs[2].recipient_id], START)
    _, whole = await prog.get("/events", since="2000-01-01T00:00:00Z")
    assert [(event["type"].partition(".")[2], event["data"]["recipient"][0]) for event in whole["events"]] == [
        ("accepted", "a"),
        ("accepted", "b"),
        ("accepted", "c"),
        ("delivered", "a"),
        ("opened", "a"),
        ("delivered", "b"),
        ("failed", "b"),
        ("soft_bounced", "c"),
        ("operated", "c"),
    ]
    for limit in (1, 2, 4):
        after, told = {"since": "2000-01-01T00:00:00Z"}, []
        while True:
            _, page = await prog.get("/events", limit=limit, **after)
            told += page["events"]
            after = {"after": page["next"]}
            if not page["more"] and not page["events"]:
                break
        assert told == whole["events"]
    (only,) = (await prog.get("/events", since="2000-01-01T00:00:00Z", type="recipient.opened"))[1]["events"]
    assert only["data"]["event"]["hit"] == "person"


async def test_who_falls_behind_others_mail_comes_to_the_own(server: ReportServer, mail: Mail) -> None:
    """Answers may be empty, since others' events were looked through; `next` goes on, and the own one is reached."""
    token = await add_token(mail.store, "bob", Role.SENDER, senders=("@bob.test",))
    async with program(server, token) as bob:
        for _ in range(3):
            await mail.accept(*[f"{n}@example.test" for n in range(50)])
        await bob.post("/messages", LETTER | {"from": "x@bob.test"})
        ask, seen, told, places = {"since": "2000-01-01T00:00:00Z"}, 0, [], list[str]()
        while True:
            _, page = await bob.get("/events", limit=1, **ask)
            seen, told = seen + 1, told + page["events"]
            assert page["next"] not in places
            places.append(page["next"])
            ask = {"after": page["next"]}
            if not page["more"]:
                break
        assert [event["data"]["sender"] for event in told] == ["x@bob.test"]
        assert seen < 160


async def test_a_long_poll_ends_when_something_happens(prog: Program, mail: Mail) -> None:
    _, now = await prog.get("/events")
    assert now["events"] == []
    waiting = asyncio.create_task(prog.get("/events", after=now["next"], wait=20))
    await mail.accept("a@x.test")
    async with asyncio.timeout(10):
        _, told = await waiting
    assert [event["type"] for event in told["events"]] == ["recipient.accepted"]
    _, nothing = await prog.get("/events", after=told["next"], wait=1)
    assert nothing["events"] == []


async def test_a_cursor_that_is_kept_no_more_is_told(prog: Program, mail: Mail, server: ReportServer) -> None:
    await mail.accept("a@x.test")
    assert (await prog.get("/events", after="0-0"))[0] == 410
    status, gone = await prog.get("/events", after="999-0")
    assert status == 410
    assert (await prog.get("/events", after=gone["next"]))[0] == 200
    assert (await prog.get("/events", after="1-0", since="2000-01-01T00:00:00Z"))[0] == 400
    assert (await prog.get("/events", since="2000-01-01T00:00:00"))[0] == 400


async def test_what_was_counted_is_told_in_all_and_by_hours(prog: Program, mail: Mail) -> None:
    (job, _) = await mail.accept("a@x.test", "b@x.test")
    await mail.settle(job, Event.DELIVER)
    _, told = await prog.get("/stats", range="7d")
    assert (told["recipients"], told["statuses"]["Delivered"], told["statuses"]["Unsent"]) == (2, 1, 1)
    assert [hour["statuses"] for hour in told["hours"]] == [{"Unsent": 1, "Delivered": 1}]


async def test_large_bodies_wait_for_each_other(prog: Program) -> None:
    """However many come at once, memory holds some; all are answered."""
    body = LETTER | {"html": "<p>" + "x" * 120_000}
    answers = await asyncio.gather(*[prog.post("/messages", body) for _ in range(12)])
    assert {status for status, _ in answers} == {202}


async def test_answers_to_keys_are_forgotten_after_a_day(prog: Program, mail: Mail, server: ReportServer) -> None:
    assert server._desk
    _, first = await prog.post("/messages", LETTER, "k")
    now_ms = server._desk.clock_ms()
    server._desk.clock_ms = lambda: now_ms + 86_400_001
    _, second = await prog.post("/messages", LETTER | {"text": "new"}, "k")
    assert second["id"] != first["id"]
    await prog.post("/messages", LETTER, "other")
    rows = await server._desk.reader._all(Query("SELECT key FROM posted ORDER BY key"))
    assert [row[0] for row in rows] == ["k", "other"]


async def test_the_document_and_the_page_are_for_everybody(prog: Program) -> None:
    async with prog.session.get(f"{prog.base}/api/v1/openapi.json") as answer:
        document = await answer.json()
    assert document["openapi"].startswith("3.1")
    assert set(document["paths"]["/messages"]["post"]["requestBody"]["content"]) == {
        "application/json",
        "message/rfc822",
    }
    async with prog.session.get(f"{prog.base}/api/v1/docs", headers={"Accept": "text/html"}) as answer:
        assert answer.status == 200
        assert "/api/v1/messages" in await answer.text()


async def test_a_browsers_session_opens_no_operation(server: ReportServer, mail: Mail) -> None:
    """No page elsewhere can ask in the name of who is logged in."""
    await add_user(mail.store, "root")
    async with browsing(server) as browser:
        await browser.log_in("root")
        async with browser.session.get(f"{browser.base}/api/v1/log") as answer:
            assert answer.status == 401
        async with browser.session.post(f"{browser.base}/api/v1/messages", json=LETTER) as answer:
            assert answer.status == 401


async def test_followers_are_bounded(prog: Program) -> None:
    after = (await prog.get("/events"))[1]["next"]
    answers = await asyncio.gather(*[prog.get("/events", after=after, wait=1) for _ in range(14)])
    assert [status for status, _ in answers].count(200) == 12
    assert [status for status, _ in answers].count(429) == 2


@pytest.mark.parametrize("key", ["", "a b", "x" * 256, "é"])
async def test_what_is_no_key(prog: Program, key: str) -> None:
    status, _ = await prog.ask("POST", "/messages", json=LETTER, headers={"Idempotency-Key": key})
    assert status == 400


async def test_large_messages_are_once_too(prog: Program, mail: Mail) -> None:
    """Also where their content is in a file, and none of those stays behind."""
    body = LETTER | {"html": "<p>" + "x" * 150_000}
    _, first = await prog.post("/messages", body, "large")
    assert (await prog.post("/messages", body, "large"))[1] == first
    assert len((await prog.get("/log"))[1]["recipients"]) == 1


async def test_a_server_without_mail_takes_none(prog: Program, server: ReportServer) -> None:
    assert server._desk
    server._desk.mailing = None
    assert (await prog.post("/messages", LETTER))[0] == 503


async def test_envelopes_are_for_raw_messages_and_needed_there(prog: Program) -> None:
    status, problem = await prog.ask("POST", "/messages", json=LETTER, params={"mail_from": "a@b.test"})
    assert (status, "raw messages" in problem["detail"]) == (400, True)
    ask = {"params": {"mail_from": "", "rcpt_to": "bob"}, "headers": {"Content-Type": "message/rfc822"}}
    status, problem = await prog.ask("POST", "/messages", data=b"Subject: x\n\n", **ask)
    assert (status, problem["enhanced_status"]) == (422, "5.1.3")


async def test_a_body_with_very_many_faults_is_refused_with_one(prog: Program) -> None:
    """A list of all faults took a thousand times the memory of the body, and everybody waited for it."""
    news = {"name": "May", "from": "ann@sender.test", "subject": "Hi", "html": "<p>Hi", "recipients": [1] * 300_000}
    async with asyncio.timeout(3):
        status, answer = await prog.post("/broadcasts", news)
        assert (status, [one["pointer"] for one in answer["errors"]]) == (422, ["/recipients/0"])
        status, answer = await prog.post("/messages", {str(at): 1 for at in range(20_000)})
    assert (status, answer["detail"]) == (422, "An object of the body has more than 400 members.")
    status, answer = await prog.post("/messages", LETTER | {str(at): 1 for at in range(300)})
    assert (status, len(answer["errors"])) == (422, 20)


async def test_who_is_slow_to_send_much_keeps_nobody_else_from_it(
    prog: Program, mail: Mail, server: ReportServer
) -> None:
    assert server._desk
    slow = await add_token(mail.store, "sam", Role.SENDER)
    head = f"POST /api/v1/messages HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {slow}\r\n"
    head += "Content-Type: application/json\r\nContent-Length: 300000\r\n\r\n{"
    writers = []
    for _ in range(6):
        _, writer = await asyncio.open_connection(server.addresses[0].host, server.addresses[0].port)
        writer.write(head.encode())
        writers.append(writer)
    async with asyncio.timeout(10):
        while not server._desk.large_of["sam"].locked():  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(0.01)
        body = json.dumps(LETTER) + " " * 270_000
        status, _ = await prog.ask("POST", "/messages", data=body, headers={"Content-Type": "application/json"})
    assert status == 202
    for writer in writers:
        writer.close()
