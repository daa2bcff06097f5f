"""report/pages/live.py, hub.py: pages that are open hear of what changes, and of nothing else."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest

from report import hub as hubs
from report.pages import live
from report.server import ReportServer
from storage.access import Role
from storage.model import queue_id
from storage.status import Event
from tests.report.browsing import Browser, add_user, browsing, served
from tests.report.mailing import Mail


@pytest.fixture
async def server(mail: Mail, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[ReportServer]:
    monkeypatch.setattr(hubs, "LOOK_SECONDS", 0.01)
    monkeypatch.setattr(live, "_LOOK_SECONDS", 0.02)
    await add_user(mail.store, "root")
    await add_user(mail.store, "ann", Role.SENDER)
    async with served(mail.state_dir) as server:
        yield server


@pytest.fixture
async def browser(server: ReportServer) -> AsyncIterator[Browser]:
    async with browsing(server) as browser:
        await browser.log_in("root")
        yield browser


class Stream:
    """An open stream of events."""

    def __init__(self, answer: aiohttp.ClientResponse) -> None:
        self.answer = answer

    async def line(self) -> str:
        async with asyncio.timeout(10):
            return (await self.answer.content.readline()).decode().rstrip("\n")

    async def event(self) -> tuple[int, str, dict[str, Any]]:
        """Return the next event's id, name and data."""
        fields: dict[str, str] = {}
        while True:
            line = await self.line()
            name, _, value = line.partition(": ")
            if not line and "event" in fields:
                return int(fields["id"]), fields["event"], json.loads(fields["data"])
            fields[name] = value


@asynccontextmanager
async def following(browser: Browser, query: str, **headers: str) -> AsyncIterator[Stream]:
    async with browser.session.get(f"{browser.base}/live?{query}", headers=headers) as answer:
        assert (answer.status, answer.content_type) == (200, "text/event-stream")
        yield Stream(answer)


async def serial(server: ReportServer) -> int:
    assert server._desk
    return await server._desk.reader.serial()


async def test_a_row_that_is_shown_changes_and_a_new_one_is_announced(
    mail: Mail, server: ReportServer, browser: Browser
) -> None:
    (job,) = await mail.accept("ann@example.test")
    code = queue_id(job.recipient_id)
    async with following(browser, f"since={await serial(server)}&id={code}&first=1") as stream:
        await mail.settle(job, Event.DELIVER)
        _, name, data = await stream.event()
        assert name == "change"
        assert list(data["rows"]) == [code]
        assert 'data-status="Delivered"' in data["rows"][code]
        assert data["counts"]["Delivered"] == 1
        await mail.accept("bob@example.test", "cyd@example.test")
        _, _, data = await stream.event()
        assert (data["fresh"], data["many"], "rows" in data) == (2, False, False)


async def test_only_what_matches_the_filters_is_new(mail: Mail, server: ReportServer, browser: Browser) -> None:
    query = f"since={await serial(server)}&first=1&recipient=@wanted.test"
    async with following(browser, query) as stream:
        await mail.accept("x@other.test")
        await mail.accept("x@wanted.test")
        fresh = 0
        while not fresh:
            fresh = (await stream.event())[2]["fresh"]
        assert fresh == 1


async def test_who_comes_back_goes_on_where_they_stopped(mail: Mail, server: ReportServer, browser: Browser) -> None:
    """What happened between two connections is told, by the id of the last event, which goes before the page's own."""
    began = await serial(server)
    await mail.accept("a@example.test")
    async with following(browser, f"since={began}&first=1") as stream:
        last, _, data = await stream.event()
        assert data["fresh"] == 1
    await mail.accept("b@example.test", "c@example.test")
    async with following(browser, f"since={began}&first=1", **{"Last-Event-ID": str(last)}) as stream:
        assert (await stream.event())[2]["fresh"] == 2


async def test_who_was_away_for_too_long_is_told_to_look_anew(mail: Mail, browser: Browser) -> None:
    await mail.accept("a@example.test")
    async with following(browser, "since=999999999") as stream:
        await mail.accept("b@example.test")
        assert await stream.line() == "retry: 2000"


async def test_a_sender_hears_nothing_of_others(mail: Mail, server: ReportServer) -> None:
    (job,) = await mail.accept("x@foreign.test")
    async with browsing(server) as ann:
        await ann.log_in("ann")
        query = f"since={await serial(server)}&first=1&id={queue_id(job.recipient_id)}"
        async with following(ann, query) as stream:
            await mail.settle(job, Event.DELIVER)
            _, _, data = await stream.event()
            assert data == {"rows": {}}


async def test_a_stream_ends_with_its_session(
    mail: Mail, browser: Browser, server: ReportServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live, "_BEATS", 2)
    async with following(browser, f"since={await serial(server)}") as stream:
        assert await stream.line() == "retry: 2000"
        while await stream.line() != ": still here":
            pass
        await mail.store.end_sessions_of("root")
        async with asyncio.timeout(10):
            await stream.answer.content.read()
        assert stream.answer.content.at_eof()


async def test_a_stream_ends_with_its_session_however_much_happens(
    mail: Mail, browser: Browser, server: ReportServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A log in which something happens all the time leaves no pause to look in; who is out is out all the same."""
    monkeypatch.setattr(live, "_BEATS", 10)

    async def happen() -> None:
        while True:
            await mail.accept("x@example.test")

    async with following(browser, f"since={await serial(server)}&first=1") as stream:
        busy = asyncio.create_task(happen())
        try:
            await stream.event()
            await mail.store.set_user("root", role=Role.SENDER)
            async with asyncio.timeout(10):
                await stream.answer.content.read()
        finally:
            busy.cancel()
        assert stream.answer.content.at_eof()


async def test_followers_are_bounded_and_leave_their_place(browser: Browser, server: ReportServer) -> None:
    assert server._desk
    hub, since = server._desk.hub, await serial(server)
    open_streams = []
    for _ in range(hubs.MOST_OF_ONE):
        answer = await browser.session.get(f"{browser.base}/live?since={since}")
        assert answer.status == 200
        open_streams.append(answer)
    refused = await browser.session.get(f"{browser.base}/live?since={since}")
    assert (refused.status, refused.headers["Retry-After"]) == (503, "30")
    for answer in open_streams:
        answer.close()
    async with asyncio.timeout(10):
        while hub._followers:  # noqa: ASYNC110 - nobody tells that a browser went away
            await asyncio.sleep(0.01)
    assert hub._watch is None


async def test_a_drain_ends_streams_at_once(browser: Browser, server: ReportServer) -> None:
    async with following(browser, f"since={await serial(server)}") as stream:
        await stream.line()
        async with asyncio.timeout(3):
            await server.drain()


@pytest.mark.parametrize("since", ["", "x", "-1", "9" * 30, "²"])
async def test_what_is_no_serial_is_refused(browser: Browser, since: str) -> None:
    async with browser.session.get(f"{browser.base}/live", params={"since": since}) as answer:
        assert answer.status == 400


async def test_a_page_of_numbers_hears_that_something_changed_and_how_far_to_go_on(
    mail: Mail, server: ReportServer, browser: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is told nothing of the mail itself; what happens after the word was given is another word."""
    monkeypatch.setattr(live, "_WHOLE_SECONDS", 0.05)
    async with following(browser, f"since={await serial(server)}&whole=1") as stream:
        for _ in range(2):
            await mail.accept("ann@example.test")
            reached, name, data = await stream.event()
            assert (name, data) == ("change", {})
            assert reached == await serial(server)
