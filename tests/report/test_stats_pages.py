"""report/pages/overview.py, broadcasts.py, reading.py, addresses.py: the numbers on the pages are those of the mail."""

import csv
import io
import re
from html import unescape

import pytest

from report.server import ReportServer
from report.words import phones
from storage.broadcast_model import Chunk, NewRun, RunOrder, RunState
from storage.model import BodyType, HitKind, Job, Message, NewRecipient, Phase, Reply, queue_id
from storage.people import NewAddress, NewContact
from storage.reader import Reader
from storage.status import Event, Status
from tests.report.browsing import Browser, browsing
from tests.report.mailing import START, Mail
from tests.storage.makers import result

GONE = Reply(550, "5.1.1", "User unknown")
PEOPLE = ("ada@a.test", "bob@a.test", "cyd@b.test", "eve@b.test")
PAGES = ("/", "/?range=7d", "/broadcasts", "/reading", "/addresses", "/addresses.csv")


async def broadcast(mail: Mail, name: str, *addresses: str, user: str | None = None, **more: str) -> list[Job]:
    facts = {"broadcast_type": "general", "subject": f"About {name}", "from_header": "News <news@x.test>"} | more
    message = Message(
        mail.store.next_id(),
        START,
        "news@x.test",
        BodyType.SEVEN_BIT,
        False,
        1,
        b"",
        user=user,
        broadcast=name,
        **facts,
    )  # type: ignore[arg-type]
    people = [NewRecipient(mail.store.next_id(), one, one.rpartition("@")[2]) for one in addresses]
    return await mail.store.accept(message, b"x", people, lifetime_ms=10**9, leased=True, once=True)


async def sent(mail: Mail, name: str = "spring", user: str | None = None, **more: str) -> list[Job]:
    """A broadcast to five: opened, fetched by a machine, delivered, failed, and one that waits."""
    jobs = await broadcast(mail, name, *PEOPLE[:3], f"dan-{name[-10:]}@b.test", PEOPLE[3], user=user, **more)
    for job in jobs[:3]:
        await mail.settle(job, Event.DELIVER)
    await mail.hit(jobs[0])
    await mail.hit(jobs[1], HitKind.PREFETCH, "fetched ahead")
    await mail.settle(jobs[3], Event.FAIL, GONE, phase=Phase.RCPT)
    return jobs


def tiles(html: str) -> dict[str, str]:
    found = re.findall(r'<div class="tile"><dt>(.*?)</dt><dd>(.*?)</dd>', html, re.DOTALL)
    return {name: " ".join(re.sub("<[^>]*>", " ", value).split()) for name, value in found}


def rows(html: str, heading: str) -> list[list[str]]:
    table = html[html.index(f'id="{heading}"') :].partition("<tbody")[2].partition("</tbody>")[0]
    lines = re.findall(r"<tr.*?>(.*?)</tr>", table, re.DOTALL)
    cells = [re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", line, re.DOTALL) for line in lines]
    return [[unescape(re.sub("<[^>]*>", "", cell)).strip() for cell in line if "<svg" not in cell] for line in cells]


async def page_of(browser: Browser, name: str) -> str:
    html = await browser.get("/broadcasts")
    link = re.search(rf'href="(/broadcasts/\w+)">{name}<', html)
    assert link, html
    return link[1]


@pytest.mark.parametrize("path", PAGES)
async def test_pages_are_there_before_any_mail_is(root: Browser, path: str) -> None:
    await root.get(path)
    assert root.status == 200


@pytest.mark.parametrize("path", PAGES)
async def test_nobody_sees_numbers_who_is_not_logged_in(server: ReportServer, path: str) -> None:
    async with browsing(server) as browser:
        await browser.get(path, allow_redirects=False)
        assert browser.status in {303, 401}


async def test_the_overview_adds_up(mail: Mail, root: Browser) -> None:
    """Every recipient of the time is in one of the numbers, and in the plot's table."""
    await sent(mail)
    await broadcast(mail, "spring", *PEOPLE)
    for range_ in ("24h", "7d", "30d", "nonsense"):
        html = await root.get(f"/?range={range_}")
        assert tiles(html) == {
            "Accepted": "9 recipients", "Delivered": "3 60 % of what was to be sent",
            "Opened": "1 33 % of what arrived", "Did not arrive": "1 20 % bounced or failed",
            "Waiting now": "1 tried again by itself",
        }  # fmt: skip
        (line,) = rows(html, "plot-mail")
        assert line[1:] == ["1", "2", "1", "1", "4"]
    assert "No relay process is running" in html


async def test_what_waits_from_before_is_told(mail: Mail, root: Browser) -> None:
    """The queue is as it is now, however short the time is that the other numbers are of."""
    before = mail.store.next_id() - (2 * 86_400_000_000 << 10)
    message = Message(before, START, "news@x.test", BodyType.SEVEN_BIT, False, 1, b"")
    await mail.store.accept(
        message, b"x", [NewRecipient(before + 1024, "a@b.test", "b.test")], lifetime_ms=10**9, leased=True
    )
    await root.get("/")
    assert "No mail was accepted in the last 24 hours" in root.text
    assert ">1</a> from before waits" in root.text
    (gone,) = await broadcast(mail, "x", "b@b.test")
    await mail.settle(gone, Event.DELIVER)
    assert tiles(await root.get("/"))["Waiting now"] == "1 tried again by itself"


async def test_a_broadcast_tells_how_it_went(mail: Mail, root: Browser) -> None:
    await sent(mail)
    html = await root.get(await page_of(root, "spring"))
    assert "Delivery Results of 5 recipients" in html
    assert 'aria-label="1 Opened, 2 Delivered, ' not in html  # in the order of the statuses
    assert 'aria-label="1 Unsent, 2 Delivered, 1 Opened, 1 Failed"' in html
    assert tiles(html) == {
        "Got it": "3 60 % of all", "Read it": "1 33 % of who got it",
        "Not seen to read it": "2 read unseen, or not read",
        "Did not get it": "2 whom to call, and why",
        "Open rate": "33 % 1 of 3", "Cannot be tracked": "0 sent without an image",
        "Fetched by machines only": "1 no person was seen", "Behind clients that fetch ahead": "33 % 1 recipient",
    }  # fmt: skip
    assert rows(html, "domains") == [["b.test", "3", "0 %", "1"], ["a.test", "2", "50 %", "0"]]
    assert rows(html, "plot-waits") == [["5 to 15 minutes", "1"]]
    assert rows(html, "plot-week") == [["Monday", "1"]]
    assert "Other reasons" in html
    assert "Ask" not in html


async def test_reasons_come_with_advice(mail: Mail, root: Browser) -> None:
    jobs = await broadcast(mail, "spring", "ada@a.test", "bob@a.test")
    for job in jobs:
        await mail.store.settle(result(job, Event.FAIL, GONE, at_ms=START, category="user unknown"))
    html = await root.get(await page_of(root, "spring"))
    assert "No such user" in html
    assert "Ask the person for a new one." in html
    assert "Nobody has been seen to open it yet" in html


async def test_copies_without_an_image_are_in_no_rate(mail: Mail, root: Browser) -> None:
    """Nobody is fooled: what cannot be known stands apart."""
    await sent(mail)
    for job in await broadcast(mail, "signed", "ada@a.test", "bob@a.test", untracked_reason="signed"):
        await mail.settle(job, Event.DELIVER)
    html = await root.get(await page_of(root, "signed"))
    assert tiles(html)["Open rate"] == "– 0 of 0"
    assert tiles(html)["Cannot be tracked"] == "2 sent without an image"
    html = await root.get("/reading?range=30d")
    assert tiles(html)["Open rate"] == "33 % 1 of 3"
    assert tiles(html)["Cannot be tracked"] == "2 sent without an image"
    assert rows(html, "by-type") == [["general", "33 %", "1 of 3", "1", "2"]]
    assert [line[0] for line in rows(html, "by-subject")] == ["About spring", "About signed"]


async def test_who_changes_the_from_address_is_told(mail: Mail, root: Browser) -> None:
    for at, address in enumerate(("a", "b", "a")):
        await sent(mail, f"news-{at}", from_header=f"News <{address}@x.test>")
    html = await root.get("/reading?range=1y")
    assert "2 changes in 3 broadcasts" in html
    assert [line[0] for line in rows(html, "by-sender")] == ["a@x.test", "b@x.test"]


async def test_addresses_to_fix_tell_whom_to_call(mail: Mail, root: Browser) -> None:
    fields = {"Mobile phone": "+49 731 1234", "class": "=1+1"}
    await mail.store.contacts.put([NewContact((NewAddress("dan-spring@b.test"),), "k1", "Dan Reader", fields)], START)
    jobs = await sent(mail)
    await mail.bounce_later(jobs[2])
    html = await root.get("/addresses")
    found = re.findall(r'rowheader" scope="row" class="addressed"><a href="[^"]*">([^<]*)</a>', html)
    assert sorted(found) == ["cyd@b.test", "dan-spring@b.test"]
    assert "Dan Reader" in html
    assert '<a href="tel:+497311234">+49 731 1234</a>' in html
    assert "no such user (550 5.1.1)" in html
    assert "cyd@b.test" not in await root.get("/addresses?contacts=yes")
    assert "dan-spring@b.test" not in await root.get("/addresses?q=CYD")
    assert "No address matches" in await root.get("/addresses?q=nobody")
    lines = list(csv.DictReader(io.StringIO(await root.get("/addresses.csv?q=dan"), newline="")))
    assert [(line["address"], line["phone"], line["contact_key"]) for line in lines] == [
        ("dan-spring@b.test", "'+49 731 1234", "k1")
    ]


async def test_addresses_come_in_pages(mail: Mail, root: Browser, reader: Reader) -> None:
    """Each stands on one page, whoever's it is and however many were tried at the same time."""
    for number in range(120):
        for job in await broadcast(mail, f"b{number % 3}", f"p{number:03}@a.test", user=("ann", "bob")[number % 2]):
            await mail.settle(job, Event.FAIL, GONE, phase=Phase.RCPT)
    seen: list[str] = []
    html = await root.get("/addresses")
    while True:
        seen += re.findall(r'rowheader" scope="row" class="addressed"><a href="[^"]*">([^<]*)</a>', html)
        older = re.search(r'rel="next" href="([^"]+)"', html)
        if older is None:
            break
        html = await root.get(unescape(older[1]))
    assert sorted(seen) == [f"p{number:03}@a.test" for number in range(120)]
    assert len(list(csv.reader(io.StringIO(await root.get("/addresses.csv"))))) == 121
    assert len((await reader.stats.invalid("ann", limit=100)).rows) == 60


async def test_a_sender_sees_own_numbers_only(mail: Mail, server: ReportServer, root: Browser) -> None:
    await sent(mail, "others", user="bob")
    foreign = await page_of(root, "others")
    await sent(mail, "own", user="ann")
    async with browsing(server) as browser:
        await browser.log_in("ann")
        assert tiles(await browser.get("/"))["Accepted"] == "5 recipients"
        assert "What waits, by site" not in browser.text
        for path in ("/broadcasts", "/reading", "/addresses", "/addresses.csv"):
            html = await browser.get(path)
            assert browser.status == 200
            assert "others" not in html
            assert "Who to call" not in html
        await browser.get(foreign)
        assert browser.status == 404
        assert len(list(csv.reader(io.StringIO(await browser.get("/addresses.csv"))))) == 2


async def a_run(mail: Mail, owner: str) -> int:
    run = NewRun(
        "spring", "general", "news@x.test", "Spring is here", b"{}", personal=False, per_hour=3600, owner=owner
    )
    run_id = await mail.store.broadcasts.create(run, START)
    await mail.store.broadcasts.add(run_id, [Chunk(0, 100, b"[]"), Chunk(1, 100, b"[]")])
    await mail.store.broadcasts.start(run_id, None, START)
    return run_id


async def test_a_run_is_paused_resumed_and_cancelled(mail: Mail, root: Browser, reader: Reader) -> None:
    run_id = await a_run(mail, "")
    path = await page_of(root, "spring")
    assert "sending" in root.text
    assert "Going out: 0 of 200 (0 %)" in await root.get(path)
    assert "3 min to go" in root.text
    for order, state in ((RunOrder.PAUSE, RunState.PAUSED), (RunOrder.RESUME, RunState.SENDING)):
        await root.submit(f"{path}/order", run=queue_id(run_id), order=order)
        run = await reader.broadcasts.run(run_id)
        assert run
        assert run.state is state
        assert run.note == "by root"
    await root.submit(f"{path}/order", run=queue_id(run_id), order="resume")
    assert root.status == 409
    await root.get(path)
    for fields in ({"run": queue_id(run_id), "order": "dance"}, {"run": "x", "order": "pause"}, {}):
        await root.get(path)
        await root.submit(f"{path}/order", **fields)
        assert root.status == 400
    await root.get(path)
    await root.submit(f"{path}/order", run=queue_id(run_id), order="cancel")
    assert "Going out" not in root.text
    assert (await reader.broadcasts.runs(1))[0].state is RunState.CANCELLED


@pytest.mark.parametrize(("user", "owner", "may"), [("vera", "", False), ("ann", "", False), ("ann", "ann", True)])
async def test_only_who_may_orders_a_run(
    mail: Mail, server: ReportServer, reader: Reader, user: str, owner: str, may: bool
) -> None:
    """A viewer orders nothing, and a sender own broadcasts only; no form of another session counts."""
    run_id = await a_run(mail, owner)
    run = await reader.broadcasts.run(run_id)
    assert run
    path = f"/broadcasts/{queue_id(run.broadcast_id)}"
    async with browsing(server) as browser:
        await browser.log_in(user)
        assert ('value="pause"' in await browser.get(path)) is may
        await browser.get("/account")
        await browser.submit(f"{path}/order", run=queue_id(run_id), order="pause")
        assert (browser.status == 200) is may
        await browser.post(f"{path}/order", {"run": queue_id(run_id), "order": "cancel"})
        assert browser.status == 403
    run = await reader.broadcasts.run(run_id)
    assert run
    assert run.state is (RunState.PAUSED if may else RunState.SENDING)


async def test_broadcasts_come_in_pages(mail: Mail, root: Browser) -> None:
    for number in range(60):
        await broadcast(mail, f"b{number:02}", "ada@a.test")
    html = await root.get("/broadcasts")
    first = re.findall(r'href="/broadcasts/\w+">(b\d\d)<', html)
    older = re.search(r'rel="next" href="([^"]+)"', html)
    assert older
    second = re.findall(r'href="/broadcasts/\w+">(b\d\d)<', await root.get(unescape(older[1])))
    assert first + second == [f"b{number:02}" for number in reversed(range(60))]


@pytest.mark.parametrize("code", ["x", "0000000000001", "%00"])
async def test_an_unknown_broadcast_is_told(root: Browser, code: str) -> None:
    await root.get(f"/broadcasts/{code}")
    assert root.status == 404


async def test_hostile_names_are_text(mail: Mail, root: Browser) -> None:
    hostile = "<script>alert(1)</script>\u202e'\""
    await sent(mail, hostile, subject=hostile, from_header=f"{hostile} <x@y.test>", broadcast_type=hostile)
    for path in ("/", "/broadcasts", "/reading", "/addresses"):
        html = await root.get(path)
        assert "<script>alert" not in html
        assert "\u202e" not in html
    await root.get("/broadcasts")
    html = await root.get(next(link for link in root.links() if re.fullmatch(r"/broadcasts/\w{13}", link)))
    assert root.status == 200
    assert "<script>alert" not in html
    for path in (
        "/addresses?at=zz&of=<&after=%00",
        "/addresses?at=0000000000001&of=%ed%a0%80&after=%ff%00&q=%ff",
        "/broadcasts?before=<>",
        "/reading?range=<",
        "/?range=%00",
    ):
        await root.get(path)
        assert root.status == 200


def test_telephone_numbers_are_fields_that_say_so() -> None:
    assert phones({"Phone": "1", "mobile": "", "TEL private": "2", "city": "Ulm"}) == ("1", "2")


async def test_counts_of_all_statuses_are_those_of_the_log(week: Mail, reader: Reader) -> None:
    """The hours' counters together are the log's own counts."""
    hours = await reader.stats.hours(0)
    counts = await reader.status_counts()
    assert {s: sum(each[s] for each in hours.values()) for s in Status} == {s: counts.get(s, 0) for s in Status}
    assert await reader.stats.hours(0, "nobody") == {}
