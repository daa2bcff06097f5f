"""report/pages/log.py, export.py: what is asked for is what is shown, and nobody sees more than their own."""

import csv
import io
import json
import re
from collections.abc import AsyncIterator
from html import unescape

import pytest

from report.server import ReportServer
from storage.access import Role
from storage.model import BodyType, Message, NewRecipient, queue_id
from storage.status import Status
from tests.report.browsing import Browser, add_user, browsing, served
from tests.report.mailing import START, Mail


@pytest.fixture
async def server(week: Mail) -> AsyncIterator[ReportServer]:
    for name, role in (("root", Role.ADMIN), ("ann", Role.SENDER), ("vera", Role.VIEWER)):
        await add_user(week.store, name, role)
    async with served(week.state_dir) as server:
        yield server


@pytest.fixture
async def browser(server: ReportServer) -> AsyncIterator[Browser]:
    async with browsing(server) as browser:
        await browser.log_in("root")
        yield browser


def recipients(html: str) -> list[str]:
    return re.findall(r'class="recipient"><a href="[^"]*">([^<]*)</a>', html)


async def submitted_by(mail: Mail, user: str, count: int = 1, broadcast: str | None = None) -> None:
    for number in range(count):
        ids = mail.store.next_id(), mail.store.next_id()
        message = Message(
            ids[0], START, f"{user}@sender.test", BodyType.SEVEN_BIT, False, 1, b"", user=user, subject=f"By {user}",
            broadcast=broadcast,
        )  # fmt: skip
        person = NewRecipient(ids[1], f"{user}-{number}@own.test", "own.test", Status.UNSENT)
        await mail.store.accept(message, b"x", [person], lifetime_ms=10**9, leased=True)


async def test_the_page_shows_what_is_known_of_each_recipient(browser: Browser) -> None:
    html = await browser.get("/log")
    assert all(status.value in html for status in Status)
    assert len(recipients(html)) == 7
    assert "no such user (550 5.1.1)" in html
    assert '<time datetime="2026-11-23T14:00:01.000Z"' in html
    assert "(no subject)" in html


async def test_text_of_mail_is_escaped(week: Mail, browser: Browser) -> None:
    await week.accept('"<b>"@example.test', subject="<script>alert(1)</script> & more\u202e")
    html = await browser.get("/log")
    assert "&lt;script&gt;alert(1)&lt;/script&gt; &amp; more" in html
    assert "<script>alert" not in html
    assert "<b>" not in html
    assert "\u202e" not in html


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("recipient=ann@example.test", ["ann@example.test", "ann@example.test"]),
        ("recipient=@other.test", ["cyd@other.test"]),
        ("recipient=such", ["no-such-user@example.test"]),
        ("status=failed", ["no-such-user@example.test"]),
        ("status=failed&status=soft-bounced", ["no-such-user@example.test", "cyd@other.test"]),
        ("subject=gr%C3%BC%C3%9Fe", ["dan@example.test"]),
        ("sender=nobody", []),
        ("since=2026-11-23T14:01Z&until=2026-11-23T14:02Z", ["dan@example.test"]),
        ("queue_id=nonsense", []),
        ("status=failed&other=1&recipient=", ["no-such-user@example.test"]),
    ],
)
async def test_filters_choose_rows(browser: Browser, query: str, found: list[str]) -> None:
    html = await browser.get(f"/log?{query}")
    assert recipients(html) == found
    assert found or "No mail matches these filters" in html


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("status=gone", "“gone” is not a status".replace("“", "&#34;").replace("”", "&#34;")),
        ("since=soon", "no point in time"),
        ("range=2y", "no range of time"),
        ("before=xyz", "cannot be read"),
        ("before=0000000000001&after=0000000000001", "cannot be read"),
    ],
)
async def test_what_cannot_be_read_is_told(browser: Browser, query: str, words: str) -> None:
    assert words in await browser.get(f"/log?{query}")
    assert browser.status == 200


async def test_the_form_keeps_what_was_asked_for(browser: Browser) -> None:
    html = await browser.get('/log?recipient="><x&status=failed&sender=s')
    assert 'value="&#34;&gt;&lt;x"' in html
    assert '<input type="hidden" name="status" value="failed">' in html
    assert '<details class="more" open>' in html


async def test_pages_follow_each_other_in_both_directions(week: Mail, browser: Browser) -> None:
    await submitted_by(week, "ann", 120, "spring")
    html = await browser.get("/log?broadcast=spring")
    seen = [recipients(html)]
    assert 'rel="prev"' not in html
    while older := re.search(r'rel="next" href="([^"]+)"', browser.text):
        seen.append(recipients(await browser.get(unescape(older[1]))))
    assert [len(page) for page in seen] == [50, 50, 20]
    assert [address for page in seen for address in page] == [f"ann-{n}@own.test" for n in reversed(range(120))]
    back = re.search(r'rel="prev" href="([^"]+)"', browser.text)
    assert back
    assert recipients(await browser.get(unescape(back[1]))) == seen[1]
    back = re.search(r'rel="prev" href="([^"]+)"', browser.text)
    assert back
    assert recipients(await browser.get(unescape(back[1]))) == seen[0]
    assert 'rel="prev"' not in browser.text


async def test_a_sender_sees_own_mail_only_everywhere(week: Mail, server: ReportServer) -> None:
    """Filters, exports and addresses of pages lead to nobody else's mail."""
    await submitted_by(week, "ann", 2)
    await submitted_by(week, "bob", 1)
    (foreign,) = await week.accept("x@foreign.test")
    async with browsing(server) as browser:
        await browser.log_in("ann")
        for path in (
            "/log",
            "/log?recipient=@own.test",
            "/log?status=unsent",
            "/log?sender=@sender.test",
            "/log?user=bob",
        ):
            assert recipients(await browser.get(path)) == ["ann-1@own.test", "ann-0@own.test"], path
        assert "data-count" not in browser.text
        assert await browser.get(f"/recipient/{queue_id(foreign.recipient_id)}")
        assert browser.status == 404
        assert "foreign" not in browser.text
        lines = (await browser.get("/log.jsonl")).splitlines()
        assert [json.loads(line)["recipient"] for line in lines] == ["ann-1@own.test", "ann-0@own.test"]


async def test_a_viewer_sees_all(server: ReportServer) -> None:
    async with browsing(server) as browser:
        await browser.log_in("vera")
        assert len(recipients(await browser.get("/log"))) == 7


async def test_an_export_holds_exactly_what_the_filters_show(week: Mail, browser: Browser) -> None:
    await submitted_by(week, "ann", 1100, "spring")
    table = list(csv.DictReader(io.StringIO(await browser.get("/log.csv?broadcast=spring"), newline="")))
    assert browser.headers["Content-Disposition"] == 'attachment; filename="email-log.csv"'
    assert [row["recipient"] for row in table] == [f"ann-{n}@own.test" for n in reversed(range(1100))]
    lines = (await browser.get("/log.jsonl?status=failed")).splitlines()
    assert [json.loads(line)["status"] for line in lines] == ["Failed"]
    assert (await browser.get("/log.csv?queue_id=nonsense")).count("\n") == 1
    await browser.get("/log.csv?since=soon")
    assert browser.status == 400


async def test_a_story_tells_everything(week: Mail, browser: Browser) -> None:
    html = await browser.get("/log?recipient=bob@example.test")
    link = next(link for link in browser.links() if link.startswith("/recipient/"))
    html = await browser.get(link)
    for words in (
        "mx1.example.test",
        "198.51.100.25",
        "TLSv1.3",
        "0.25 s",
        "250 2.0.0",
        "bounced later",
        "the end of the message",
    ):
        assert words in html, words
    bounce = next(link for link in browser.links() if "/bounce/" in link)
    assert ">raw</pre>" in await browser.get(bounce)
    await browser.get(link + "/bounce/0000000000001")
    assert browser.status == 404


async def test_the_story_of_an_opened_one_names_who_fetched(browser: Browser) -> None:
    await browser.get("/log?status=opened")
    html = await browser.get(next(link for link in browser.links() if link.startswith("/recipient/")))
    assert "scanner" in html
    assert "person" in html
    assert "1 fetch by machines" in html


@pytest.mark.parametrize("code", ["x", "0000000000000", "0000000000001", "%00", "ü" * 13])
async def test_an_unknown_recipient_is_told(browser: Browser, code: str) -> None:
    await browser.get(f"/recipient/{code}")
    assert browser.status == 404


async def test_an_empty_log_says_what_to_do_next(mail: Mail) -> None:
    await add_user(mail.store, "root")
    async with served(mail.state_dir) as server, browsing(server) as browser:
        await browser.log_in("root")
        for path in ("/", "/log"):
            assert "Send a message to Telltale" in await browser.get(path)


async def test_a_soft_bounced_one_says_when_it_is_tried_next(browser: Browser) -> None:
    await browser.get("/log?status=soft-bounced")
    html = await browser.get(next(link for link in browser.links() if link.startswith("/recipient/")))
    assert "Next attempt" in html
