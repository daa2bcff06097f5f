"""report/pages/send.py, drafts.py, uploads.py and telltale/for_pages.py: broadcasts by forms."""

import asyncio
import re
import threading
from collections.abc import AsyncIterator, Iterator
from typing import Any

import aiohttp
import pytest

from report import desk, uploads
from report.drafts import KEPT_SECONDS, MOST_A_USER, Draft, Drafts
from report.pages import export, send
from report.server import ReportServer
from storage.access import Role
from storage.broadcast_audience import Audience
from storage.broadcast_model import RunState
from storage.model import User, queue_id
from storage.people import Blocked, NewAddress, NewContact, Source
from storage.reader import Reader
from storage.status import Status
from tests.report.browsing import CHEAP, HTML, PASSWORD, Browser, add_user, browsing, served
from tests.report.mailing import START, Mail

CSV = b"email,name,city\nann@x.test,Ann,Ulm\nbob@x.test,Bob,Bonn\nann@x.test,Ann,Ulm\nno address,,\n"
PAGE = "<p>Hello {{ name }} of {{ city }}</p><script>alert(1)</script>"
WRITTEN = {"name": "News", "from": "Root <root@sender.test>", "subject": "To {{ name }}", "html": PAGE, "list": ""}


@pytest.fixture
async def server(mail: Mail) -> AsyncIterator[ReportServer]:
    await add_user(mail.store, "root")
    await add_user(mail.store, "vera", Role.VIEWER)
    assert await mail.store.add_user(User("ann", CHEAP.hash(PASSWORD), ("@sender.test",), 0, Role.SENDER))
    async with served(mail.state_dir, max_upload_bytes=200_000) as server:
        yield server


async def prepared(browser: Browser, csv: bytes = CSV, **more: str) -> str:
    """Fill the form in; the answer is the draft's page."""
    await browser.get("/broadcasts/new")
    await browser.upload("/broadcasts/new", {"recipients": ("people.csv", csv)}, **(WRITTEN | more))
    return browser.url


def counted(browser: Browser) -> list[str]:
    return re.findall(r'<td class="count">([\d,]+)</td>', browser.text)


async def test_a_broadcast_is_judged_looked_at_and_sent_once(root: Browser, mail: Mail, reader: Reader) -> None:
    await mail.store.blocked.add([Blocked("bob@x.test", Source.MANUAL, START)], "root")
    at = await prepared(root)
    assert re.fullmatch(r"/broadcasts/new/[\w-]{22}", at)
    assert counted(root) == ["1", "1", "1", "0", "1"]  # Unsent, Blocked, Duplicate, No Email Selected, invalid
    assert "no address" in root.text
    assert "To Ann" in root.text
    assert await reader.broadcasts.runs(9) == []

    text = await root.get(f"{at}/mail?of=1")
    assert "Hello Bob of Bonn" in text
    policy = root.headers["Content-Security-Policy"]
    assert policy.startswith("sandbox; default-src 'none'")
    assert "script" not in policy

    await root.get(at)
    fields = {"form_token": root.form_token(), "when": "now", "rate": "5", "per": "second"}
    async with asyncio.TaskGroup() as both:
        clicks = [
            both.create_task(_status(root, f"{at}/send", fields)),
            both.create_task(_status(root, f"{at}/send", fields)),
        ]
    assert min(click.result() for click in clicks) == 303
    (run,) = await reader.broadcasts.runs(9)
    assert (run.name, run.type, run.sender, run.owner) == ("News", "general", "root@sender.test", "root")
    assert (run.total, run.per_hour, run.state) == (3, 18_000, RunState.SENDING)
    # Who comes back to the draft is led to what it became.
    await root.get(at)
    assert root.url == f"/broadcasts/{queue_id(run.broadcast_id)}"
    await root.get(f"/broadcasts/new?draft={at.rpartition('/')[2]}")
    assert root.url == f"/broadcasts/{queue_id(run.broadcast_id)}"
    await root.get("/broadcasts/new")
    assert at not in root.links()
    await root.upload("/broadcasts/new", {}, **WRITTEN, draft=at.rpartition("/")[2])
    assert root.status == 409


class Gate:
    """Keeps who judges recipients waiting until it is opened."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.opened, self.reached = threading.Event(), threading.Event()
        judge = Audience.judge

        def judged(*arguments: Any) -> dict[Status, int]:
            self.reached.set()
            assert self.opened.wait(30)
            return judge(*arguments)

        monkeypatch.setattr(Audience, "judge", judged)
        monkeypatch.setattr(send, "SHORT_SECONDS", 0.1)

    async def arrive(self) -> None:
        assert await asyncio.to_thread(self.reached.wait, 10)

    def close(self) -> None:
        self.opened.clear()
        self.reached.clear()


@pytest.fixture
def gate(monkeypatch: pytest.MonkeyPatch) -> Iterator[Gate]:
    gate = Gate(monkeypatch)
    yield gate
    gate.opened.set()


async def followed(browser: Browser, at: str) -> None:
    """Follow what is under way as its page does, until it is over."""
    while live := re.search(r'data-live="([^"]+/live)" data-serial="(\d+)"', await browser.get(at)):
        async with browser.session.get(f"{browser.base}{live[1]}?since={live[2]}") as stream:
            async for line in stream.content:
                if line.startswith(b"event: change"):
                    break


async def test_a_long_check_tells_how_far_it_is_and_can_be_stopped(
    server: ReportServer, root: Browser, gate: Gate
) -> None:
    """No browser waits for it in the dark, and who stops it goes on writing."""
    at = await prepared(root)
    await gate.arrive()
    await root.get(at)
    assert "Looking who would get it" in root.text
    assert "<progress aria-labelledby" in root.text
    assert '<noscript><meta http-equiv="refresh"' in root.text
    async with browsing(server) as ann:
        await ann.log_in("ann")
        for path in (at, f"{at}/live"):
            assert (await ann.get(path), ann.status)[1] == 404
        await ann.get("/account")
        await ann.submit(at, do="stop")
        assert ann.status == 404
    await root.submit(at, do="stop")
    assert root.url == f"/broadcasts/new?draft={at.rpartition('/')[2]}"
    assert "There is a file of recipients already" in root.text
    gate.opened.set()
    await followed(root, at)
    assert counted(root)[0] == "2"
    # What was found is told for a while, without looking again, unless somebody asks for it.
    gate.close()
    await root.get(at)
    assert counted(root)[0] == "2"
    await root.submit(at, do="anew")
    await gate.arrive()
    await root.get(at)
    assert "Looking who would get it" in root.text


async def test_what_is_being_sent_tells_how_far_it_is_and_can_be_stopped(
    root: Browser, reader: Reader, gate: Gate
) -> None:
    """Nothing goes before all of it is stored: stopped, the draft is there again."""
    gate.opened.set()
    at = await prepared(root)
    await followed(root, at)
    gate.close()
    await root.submit(f"{at}/send", when="now")
    await gate.arrive()
    assert root.url == at
    assert "until then, nothing does" in root.text
    token = root.form_token()
    assert await _status(root, f"{at}/send", {"form_token": token, "when": "now"}) == 303  # who clicks twice
    await root.get(f"/broadcasts/new?draft={at.rpartition('/')[2]}")
    assert root.url == at, "it cannot be changed now"
    assert at in (await root.get("/broadcasts/new"))
    await root.submit(at, do="forget")
    assert root.url == at
    await root.submit(at, do="stop")
    gate.opened.set()
    await followed(root, at)
    assert "It was not sent: handing it over was broken off." in root.text
    assert "1 draft not sent" in (await root.get("/broadcasts"))
    await root.get(at)
    assert await reader.broadcasts.runs(9) == []
    await root.submit(f"{at}/send", when="now")
    await followed(root, at)
    (run,) = await reader.broadcasts.runs(9)
    assert (run.state, run.total) == (RunState.SENDING, 3)
    assert root.url == f"/broadcasts/{queue_id(run.broadcast_id)}"


async def test_a_server_that_ends_while_it_hands_over_leaves_the_draft(mail: Mail, reader: Reader, gate: Gate) -> None:
    await add_user(mail.store, "root")
    gate.opened.set()
    async with served(mail.state_dir) as server, browsing(server) as root:
        await root.log_in("root")
        at = await prepared(root)
        await followed(root, at)
        gate.close()
        await root.submit(f"{at}/send", when="now")
        await gate.arrive()
        asyncio.get_running_loop().call_later(1, gate.opened.set)
    async with served(mail.state_dir) as server, browsing(server) as root:
        await root.log_in("root")
        await followed(root, at)
        assert "It was not sent" in root.text
        assert await reader.broadcasts.runs(9) == []
        await root.get("/broadcasts/new")
        await root.submit(at, do="forget")
        assert (await root.get(at), root.status)[1] == 404


async def test_what_cannot_go_while_it_is_handed_over_is_said(root: Browser, mail: Mail, gate: Gate) -> None:
    """Its last recipient may have been blocked meanwhile."""
    gate.opened.set()
    at = await prepared(root, b"email,name,city\nann@x.test,Ann,Ulm\n")
    await followed(root, at)
    gate.close()
    await root.submit(f"{at}/send", when="now")
    await mail.store.blocked.add([Blocked("ann@x.test", Source.MANUAL, START)], "root")
    gate.opened.set()
    await followed(root, at)
    assert "There is nobody to send to." in root.text


async def _status(browser: Browser, path: str, fields: dict[str, str]) -> int:
    async with browser.session.post(browser.base + path, data=fields, headers=HTML, allow_redirects=False) as answer:
        return answer.status


async def test_it_goes_at_its_time(root: Browser, reader: Reader) -> None:
    at = await prepared(root)
    await root.submit(f"{at}/send", when="later", start="2020-01-01T00:00", rate="", per="hour")
    assert root.status == 422
    await root.submit(f"{at}/send", when="later", start="", rate="x", per="hour")
    assert root.status == 422
    await root.submit(f"{at}/send", when="later", start="2099-01-01T00:00Z", rate="", per="hour")
    (run,) = await reader.broadcasts.runs(9)
    assert (run.start_ms, run.per_hour) == (4_070_908_800_000, None)


async def test_a_field_that_somebody_lacks_is_named_and_keeps_it_here(root: Browser, reader: Reader) -> None:
    at = await prepared(root, b"email,name\nann@x.test,Ann\n")
    assert "<strong>city</strong>: 1 recipient lacks it: ann@x.test" in root.text
    assert "/send" not in root.text
    await root.submit(f"{at}/send", when="now")
    assert root.status == 422
    assert await reader.broadcasts.runs(9) == []


@pytest.mark.parametrize(
    ("more", "told"),
    [
        ({"name": " "}, "Name: "),
        ({"from": "nobody"}, "expected ann@example.org"),
        ({"subject": ""}, "Subject: "),
        ({"html": ""}, "Message: "),
        ({"html": "{% if"}, "message.html"),
        ({"type": "*"}, "Type &#34;*&#34;"),
        ({"list": "nobody"}, ""),
    ],
)
async def test_what_is_wrong_is_said_and_what_was_written_stays(
    root: Browser, mail: Mail, more: dict[str, str], told: str
) -> None:
    await prepared(root, **more)
    if told:
        assert root.status == 422
        assert told in root.text
        assert "There is a file of recipients already" in root.text
        assert str(mail.state_dir) not in root.text


async def test_a_draft_is_changed_without_choosing_its_files_again(root: Browser) -> None:
    at = await prepared(root)
    await root.get(f"/broadcasts/new?draft={at.rpartition('/')[2]}")
    assert "&lt;p&gt;Hello {{ name }}" in root.text
    await root.upload("/broadcasts/new", {}, **(WRITTEN | {"subject": "Anew", "html": ""}), draft=at.rpartition("/")[2])
    assert root.url not in {at, "/broadcasts/new"}
    assert "Anew" in root.text
    assert counted(root)[0] == "2"


async def test_a_list_of_contacts_and_a_message_with_pictures(root: Browser, mail: Mail) -> None:
    await mail.store.contacts.put(
        [
            NewContact((NewAddress("ann@x.test", ("news",)),), name="Ann", lists=("all",)),
            NewContact((NewAddress("bob@x.test"),), name="Bob", lists=("all",)),
        ],
        START,
    )
    message = (
        b"From: x@y.test\r\nSubject: Pictures\r\nMIME-Version: 1.0\r\n"
        b"Content-Type: multipart/related; boundary=b\r\n\r\n"
        b'--b\r\nContent-Type: text/html\r\n\r\n<img src="cid:dot">\r\n'
        b"--b\r\nContent-Type: image/gif\r\nContent-ID: <dot>\r\n"
        b"Content-Transfer-Encoding: base64\r\n\r\nR0lGOA==\r\n--b--\r\n"
    )
    await root.get("/broadcasts/new")
    fields = {"name": "P", "from": "root@sender.test", "subject": "", "html": "", "list": "all", "type": "general"}
    await root.upload("/broadcasts/new", {"message": ("mail.eml", message)}, **fields)
    assert counted(root)[:4] == ["1", "0", "0", "1"]
    text = await root.get(f"{root.url}/mail")
    assert "data:image/gif;base64,R0lGOA==" in text


async def test_a_sender_sends_own_files_from_own_addresses(
    server: ReportServer, root: Browser, mail: Mail, reader: Reader
) -> None:
    await mail.store.contacts.put([NewContact((NewAddress("bob@x.test"),), lists=("all",))], START)
    at = await prepared(root)
    async with browsing(server) as ann:
        await ann.log_in("ann")
        assert (await ann.get(at), ann.status)[1] == 404
        await prepared(ann, **{"from": "ann@other.test"})
        assert "you may send from @sender.test only" in ann.text
        await ann.get("/broadcasts/new")
        assert 'name="list"' not in ann.text
        await ann.upload("/broadcasts/new", {}, **(WRITTEN | {"list": "all", "html": "<p>x</p>"}))
        assert "To: choose" in ann.text
        own = await prepared(ann, **{"from": "ann@sender.test"})
        await ann.submit(f"{own}/send", when="now")
        (run,) = await reader.broadcasts.runs(9)
        assert run.owner == "ann"
    async with browsing(server) as vera:
        await vera.log_in("vera")
        assert (await vera.get("/broadcasts/new"), vera.status)[1] == 403


async def test_no_form_of_others_and_no_more_bytes_than_allowed(root: Browser, mail: Mail) -> None:
    """Nothing is written before the form's token was seen."""
    for fields in ({"form_token": "0" * 64}, {"name": "x"}, {}):
        form = aiohttp.FormData(default_to_multipart=True)
        for name, value in fields.items():
            form.add_field(name, value)
        form.add_field("recipients", b"x" * 1000, filename="x.csv")
        async with root.session.post(root.base + "/broadcasts/new", data=form, headers=HTML) as answer:
            assert answer.status == 403
    assert not (mail.state_dir / "drafts").exists()
    await root.get("/broadcasts/new")
    await root.upload("/broadcasts/new", {"recipients": ("x.csv", b"x" * 210_000)}, **WRITTEN)
    assert root.status == 413
    assert "195.3 KB" in root.text
    await root.get("/broadcasts/new")
    await root.submit("/broadcasts/new", name="x")
    assert root.status == 415
    head = {**HTML, "Content-Type": "multipart/form-data; boundary=b"}
    part, many = b"--b\r\nContent-Disposition: form-data\r\n", b"A: b\r\n" * 5000
    for body in (b"", b"--b\r\n", part + b"\r\nx\r\n--b--\r\n", part + many + b"\r\n", b"--c\r\n\r\n"):
        async with root.session.post(root.base + "/broadcasts/new", data=body, headers=head) as answer:
            assert answer.status in {400, 403}
    assert list((mail.state_dir / "drafts").iterdir()) == []


def test_old_drafts_go_and_nobody_fills_the_disk_with_them(mail: Mail) -> None:
    drafts = Drafts(mail.state_dir)
    first = drafts.new_folder(0.0)
    assert first.stat().st_mode & 0o777 == 0o700
    for number in range(MOST_A_USER + 5):
        folder = drafts.new_folder(0.0)
        drafts.keep(Draft(folder.name, "root", str(number), "", "", "", "", "", "", folder))
    assert len(list((mail.state_dir / "drafts").iterdir())) == MOST_A_USER + 1
    drafts.new_folder(first.stat().st_mtime + KEPT_SECONDS * 2)
    assert len(list((mail.state_dir / "drafts").iterdir())) == 1
    assert drafts.find("..", "root") is None


@pytest.mark.parametrize(
    "message",
    [
        b"Subject: x\r\nContent-Disposition: " + b"(" * 1900 + b"\r\n\r\nx",
        b"Subject: x\r\nContent-Type: text/html; charset=unheard-of\r\n\r\nx",
        b"Subject: x\r\nContent-Type: text/plain" + b"; a=b" * 20_000 + b"\r\n\r\nx",
        b"\x00\xff",
    ],
)
async def test_a_hostile_message_is_refused_in_a_sentence(root: Browser, message: bytes) -> None:
    await root.get("/broadcasts/new")
    files = {"message": ("x.eml", message), "recipients": ("people.csv", CSV)}
    await root.upload("/broadcasts/new", files, **(WRITTEN | {"html": ""}))
    assert root.status == 422
    assert 'role="alert"' in root.text


async def test_a_picture_that_is_named_very_often_is_shown_some_times_only(root: Browser) -> None:
    """A message of 150 KB would be a page of hundreds of megabytes."""
    page = "<img src=cid:logo>" * 6000
    message = (
        "From: a@x.test\nSubject: Hi\nMIME-Version: 1.0\nContent-Type: multipart/related; boundary=b\n\n"
        f"--b\nContent-Type: text/html\n\n{page}\n--b\nContent-Type: image/png\nContent-ID: <logo>\n"
        f"Content-Transfer-Encoding: base64\n\n{'AAAA' * 5000}\n--b--\n"
    )
    await root.get("/broadcasts/new")
    fields = WRITTEN | {"html": "", "subject": ""}
    files = {"message": ("news.eml", message.encode()), "recipients": ("people.csv", b"email\nann@x.test\n")}
    await root.upload("/broadcasts/new", files, **fields)
    assert root.status == 200, root.text
    shown = await root.get(f"{root.url}/mail")
    assert root.status == 200, shown
    assert 0 < shown.count("data:image/png") < 1000
    assert len(shown) < 17 << 20


async def test_one_user_has_some_uploads_and_exports_at_once(
    server: ReportServer, root: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Others go on meanwhile: a connection that is slow costs its user a place, and nobody else."""
    assert server._desk
    monkeypatch.setitem(export._of_users, "root", export.MOST_OF_ONE)
    server._desk.uploads["root"] = desk.MOST_UPLOADS
    await root.get("/log.csv")
    assert (root.status, root.headers["Retry-After"]) == (503, "30")
    await root.get("/broadcasts/new")
    await root.upload("/broadcasts/new", {"recipients": ("people.csv", CSV)}, **WRITTEN)
    assert (root.status, root.headers["Retry-After"]) == (429, "30")
    async with browsing(server) as ann:
        await ann.log_in("ann")
        await ann.get("/log.csv")
        assert ann.status == 200
        await prepared(ann, **{"from": "a@sender.test"})
        assert ann.status == 200
    assert export._of_users["ann"] == server._desk.uploads["ann"] == 0


async def test_a_form_of_thousands_of_parts_is_refused_at_its_beginning(root: Browser) -> None:
    """Eight megabytes of them kept the server from everybody else for 40 s."""
    await root.get("/broadcasts/new")
    form = aiohttp.FormData(default_to_multipart=True)
    form.add_field("form_token", root.form_token())
    for _ in range(200):
        form.add_field("name", "x")
    async with root.session.post(f"{root.base}/broadcasts/new", data=form, headers=HTML) as answer:
        assert "Expected a form of this server" in await answer.text()
    assert answer.status == 400


async def test_a_form_that_stops_coming_is_given_up(
    server: ReportServer, root: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever is slow has all the time; whoever sends nothing more gives the place back."""
    monkeypatch.setattr(uploads, "_IDLE_SECONDS", 0.3)
    await root.get("/broadcasts/new")
    stalled = asyncio.Event()
    part = b'--b\r\nContent-Disposition: form-data; name="%b"\r\n\r\n'

    async def body() -> AsyncIterator[bytes]:
        yield part % b"form_token" + root.form_token().encode() + b"\r\n" + part % b"name"
        for _ in range(4):
            await asyncio.sleep(0.15)  # slow, and longer in all than the time without anything
            yield b"May"
        await stalled.wait()

    head = {**HTML, "Content-Type": "multipart/form-data; boundary=b"}
    async with (
        asyncio.timeout(10),
        root.session.post(f"{root.base}/broadcasts/new", data=body(), headers=head) as answer,
    ):
        assert (answer.status, "Nothing more of the form came" in await answer.text()) == (408, True)
    assert server._desk
    assert server._desk.uploads["root"] == 0
