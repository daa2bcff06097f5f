"""report/pages/calling.py: who did not get a broadcast, or was not seen to read it, and how to reach them."""

import csv
import io
import re
from html import unescape

import pytest

from report.pages import calling
from report.server import ReportServer
from storage.model import Reply
from storage.people import NewAddress, NewContact
from storage.status import Event
from tests.report.browsing import Browser, browsing
from tests.report.mailing import START, Mail
from tests.report.test_stats_pages import broadcast, page_of, sent

DAN = {"Mobile phone": "+49 731 1234", "class": "=1+1"}


def addresses(html: str) -> list[str]:
    return re.findall(r'class="addressed"><a href="[^"]*">([^<]*)</a>', html)


async def known(mail: Mail) -> None:
    await mail.store.contacts.put([NewContact((NewAddress("dan-spring@b.test"),), "k1", "Dan Reader", DAN)], START)


async def test_who_did_not_get_it_comes_with_name_and_number(mail: Mail, root: Browser) -> None:
    await known(mail)
    await sent(mail)
    await sent(mail, "autumn")
    path = await page_of(root, "spring")
    assert f'href="{path}/call"' in await root.get(path)
    html = await root.get(f"{path}/call")
    assert addresses(html) == ["eve@b.test", "dan-spring@b.test"]
    assert '<a href="tel:+497311234">+49 731 1234</a>' in html
    assert "Dan Reader" in html
    assert "no such user (550 5.1.1)" in html
    lines = list(csv.DictReader(io.StringIO(await root.get(f"{path}/call.csv"), newline="")))
    assert [(line["name"], line["phone"], line["status"]) for line in lines] == [
        ("", "", "Unsent"), ("Dan Reader", "'+49 731 1234", "Failed"),
    ]  # fmt: skip


async def test_who_has_not_been_seen_to_read_it_is_told_apart(mail: Mail, root: Browser) -> None:
    """Nobody stands in both, and who opened it in neither."""
    await sent(mail)
    path = await page_of(root, "spring")
    html = await root.get(f"{path}/call?who=unread")
    assert addresses(html) == ["cyd@b.test", "bob@a.test"]
    assert "shows no pictures" in html
    assert len(list(csv.reader(io.StringIO(await root.get(f"{path}/call.csv?who=unread"))))) == 3
    assert addresses(await root.get(f"{path}/call?who=nonsense")) == ["eve@b.test", "dan-spring@b.test"]


async def test_when_everybody_got_it_that_is_told(mail: Mail, root: Browser) -> None:
    for job in await broadcast(mail, "spring", "ada@a.test"):
        await mail.settle(job, Event.DELIVER)
    assert "Everybody got it." in await root.get(f"{await page_of(root, 'spring')}/call")


async def test_people_come_in_pages(mail: Mail, root: Browser, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each is on one page, and the file holds all of them."""
    monkeypatch.setattr(calling, "ROWS", 20)
    people = [f"p{number:02}@a.test" for number in range(45)]
    await broadcast(mail, "spring", *people)
    path = await page_of(root, "spring")
    html, seen = await root.get(f"{path}/call"), list[str]()
    while True:
        seen += addresses(html)
        following = re.search(r'rel="next" href="([^"]+)"', html)
        if following is None:
            break
        html = await root.get(unescape(following[1]))
    assert sorted(seen) == people
    assert len(list(csv.reader(io.StringIO(await root.get(f"{path}/call.csv"))))) == 46


async def test_a_sender_sees_own_people_and_no_contacts(mail: Mail, server: ReportServer, root: Browser) -> None:
    """Broadcasts of others with the same name are not mixed in."""
    await known(mail)
    await sent(mail, "spring", user="bob")
    foreign = await page_of(root, "spring")
    async with browsing(server) as ann:
        await ann.log_in("ann")
        await ann.get(f"{foreign}/call")
        assert ann.status == 404
        await sent(mail, "spring", user="ann")
        path = await page_of(ann, "spring")
        html = await ann.get(f"{path}/call")
        assert sorted(addresses(html)) == ["dan-spring@b.test", "eve@b.test"]
        assert "Dan Reader" not in html
        assert "Dan Reader" not in await ann.get(f"{path}/call.csv")


async def test_a_reason_leads_to_its_rows_and_a_row_to_its_broadcast(mail: Mail, root: Browser) -> None:
    """From the number to the people, from a person to the contact, and back to the broadcast."""
    await known(mail)
    jobs = await broadcast(mail, "spring", "dan-spring@b.test", "bob@a.test")
    await mail.settle(jobs[0], Event.FAIL, Reply(550, "5.1.1", "User unknown"), category="user unknown")
    await mail.settle(jobs[1], Event.BOUNCE, Reply(550, "5.7.1", "Spam"), category="spam")
    path = await page_of(root, "spring")
    await root.get(path)
    reason = next(link for link in root.links() if "category=user+unknown" in link)
    html = await root.get(reason)
    assert re.findall(r'id="r-\w+" data-status="(\w+)"', html) == ["Failed"]
    assert "No such user</option>" in html
    story = next(link for link in root.links() if link.startswith("/recipient/"))
    html = await root.get(story)
    assert "Dan Reader" in html
    assert {path, "/log?sender=news%40x.test", "/blocked/of/dan-spring%40b.test"} <= set(root.links())
    await root.get("/log?category=%3Cb%3E")
    assert "No mail matches" in root.text
