"""report/handover.py: a draft that is sent goes once, or is still there, at any kill of the report server."""

import asyncio
import random
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from report.drafts import Draft, Drafts
from report.handover import Stand, stand
from storage.broadcast_model import NewRun, Run, RunOrder, RunState
from storage.broadcasts import Broadcasts
from storage.model import queue_id
from storage.reader import Reader
from storage.store import StoreFailedError
from tests.report.browsing import Browser, add_user, browsing, served
from tests.report.mailing import START, Mail

# A report server on a state directory, which kills itself at a point, or goes on.
_SERVER = """
import asyncio, os, signal, sys
from pathlib import Path
from report.drafts import Draft
from storage.broadcasts import Broadcasts
from tests.report.browsing import served

point = sys.argv[2]

def die():
    os.kill(os.getpid(), signal.SIGKILL)

def sync(owner, name):
    before = getattr(owner, name)
    def around(*arguments):
        if point == f"before {name}": die()
        came = before(*arguments)
        if point == f"after {name}": die()
        return came
    setattr(owner, name, around)

def verb(name):
    before = getattr(Broadcasts, name)
    async def around(*arguments):
        if point == f"before {name}": die()
        came = await before(*arguments)
        if point == f"after {name}": die()
        return came
    setattr(Broadcasts, name, around)

for name in ("take", "note", "end"): sync(Draft, name)
for name in ("create", "add", "start"): verb(name)
unlink = Path.unlink
def unlinked(path, missing_ok=False):
    unlink(path, missing_ok=missing_ok)
    if point == "in end" and path.name == "message.html": die()
Path.unlink = unlinked

async def main():
    async with served(Path(sys.argv[1])) as server:
        print(server.addresses[0], flush=True)
        await asyncio.Event().wait()

asyncio.run(main())
"""
POINTS = (
    *("after take", "before create", "after create", "before note", "after note", "after add", "before start"),
    *("after start", "before end", "in end", "after end"),
)
RECIPIENTS = 4000
CSV = b"email,name\n" + b"".join(b"%d@x.test,N%d\n" % (number, number) for number in range(RECIPIENTS))
WRITTEN = {"name": "News", "from": "root@sender.test", "subject": "x", "html": "<p>{{ name }}</p>", "list": ""}


@asynccontextmanager
async def apart(state_dir: Path, point: str) -> AsyncIterator[tuple[subprocess.Popen[str], Browser]]:
    """Run a server in a process of its own, with root's browser."""
    command = [sys.executable, "-c", _SERVER, str(state_dir), point]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)  # noqa: ASYNC220 - it is to be killed
    try:
        assert process.stdout
        address = (await asyncio.to_thread(process.stdout.readline)).strip()
        async with aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True)) as session:
            browser = Browser(session, f"http://{address}")
            await browser.log_in("root")
            yield process, browser
    finally:
        process.kill()
        process.wait()
        assert process.stdout
        process.stdout.close()


async def prepare(browser: Browser) -> str:
    await browser.get("/broadcasts/new")
    await browser.upload("/broadcasts/new", {"recipients": ("people.csv", CSV)}, **WRITTEN)
    while "data-live" in browser.text:
        await browser.get(browser.url)
    return browser.url


async def send(browser: Browser, at: str) -> None:
    """Press "Send" until it is on its way."""
    await browser.get(at)
    await browser.submit(f"{at}/send", when="now", rate="", per="hour")
    while "data-live" in browser.text and browser.url == at:
        await browser.get(at)


def went(run: Run) -> bool:
    return run.state is RunState.SENDING and run.started_ms is not None


async def sent_once_or_still_there(mail: Mail, at: str) -> bool:
    """Look at the draft after the kill, and send it where it is still there; return whether it had gone."""
    reader = await Reader.open(mail.state_dir)
    async with served(mail.state_dir) as server, aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True)) as it:
        browser = Browser(it, f"http://{server.addresses[0]}")
        await browser.log_in("root")
        await browser.get(at)
        had_gone = browser.url != at
        if not had_gone:
            assert not any(map(went, await reader.broadcasts.runs(9)))
            assert at in (await browser.get("/broadcasts/new"))
            await send(browser, at)
        runs = [run for run in await reader.broadcasts.runs(9) if run.state is not RunState.CANCELLED]
        gone = [run for run in runs if went(run)]
        assert [run.total for run in gone] == [RECIPIENTS]
        # A run that was made, and not noted any more, never goes; a day later it is cancelled.
        assert {run.state for run in runs} <= {RunState.SENDING, RunState.DRAFT}
        assert browser.url == f"/broadcasts/{queue_id(gone[0].broadcast_id)}"
        await browser.get(at)
        assert browser.url == f"/broadcasts/{queue_id(gone[0].broadcast_id)}"
        assert at not in (await browser.get("/broadcasts/new"))
    await reader.close()
    return had_gone


@pytest.mark.parametrize("point", POINTS)
async def test_whatever_is_killed_a_draft_is_sent_once_or_is_still_there(mail: Mail, point: str) -> None:
    """kill -9 between any two steps: never lost without a word, never sent twice."""
    await add_user(mail.store, "root")
    async with apart(mail.state_dir, point) as (process, browser):
        at = await prepare(browser)
        with pytest.raises(aiohttp.ClientError):
            await browser.submit(f"{at}/send", when="now", rate="", per="hour")
        assert await asyncio.to_thread(process.wait, 10) == -9
    had_gone = await sent_once_or_still_there(mail, at)
    assert had_gone is (point in {"after start", "before end", "in end", "after end"})


@pytest.mark.parametrize("seed", range(3))
async def test_a_kill_at_any_time_leaves_a_draft_sent_or_there(mail: Mail, seed: int) -> None:
    await add_user(mail.store, "root")
    async with apart(mail.state_dir, "never") as (process, browser):
        at = await prepare(browser)
        sending = asyncio.create_task(browser.submit(f"{at}/send", when="now", rate="", per="hour"))
        await asyncio.sleep(random.Random(seed).uniform(0, 0.6))
        process.kill()
        await asyncio.gather(sending, return_exceptions=True)
    await sent_once_or_still_there(mail, at)


@pytest.mark.parametrize("went_before", [True, False])
async def test_a_store_that_fails_at_the_last_step_is_asked_whether_it_went(
    mail: Mail, reader: Reader, monkeypatch: pytest.MonkeyPatch, went_before: bool
) -> None:
    """An error of the disk may come before the commit or after it: the draft is free only where it did not go."""
    start = Broadcasts.start

    async def failing(broadcasts: Broadcasts, *arguments: Any) -> bool:
        if went_before:
            assert await start(broadcasts, *arguments)
        raise StoreFailedError("the disk failed")

    await add_user(mail.store, "root")
    async with served(mail.state_dir) as server, browsing(server) as root:
        await root.log_in("root")
        at = await prepare(root)
        with monkeypatch.context() as broken:
            broken.setattr(Broadcasts, "start", failing)
            await send(root, at)
        if went_before:
            (run,) = await reader.broadcasts.runs(9)
            assert went(run)
            assert root.url == f"/broadcasts/{queue_id(run.broadcast_id)}"
            return
        assert "The disk failed." in root.text
        assert [run.state for run in await reader.broadcasts.runs(9)] == [RunState.CANCELLED]
        await send(root, at)
        assert [run.state for run in await reader.broadcasts.runs(9)] == [RunState.SENDING, RunState.CANCELLED]
        # A draft that goes away just then is no fault of ours.
        gone = await prepare(root)
        draft = Drafts(mail.state_dir).find(gone.rpartition("/")[2], "root")
        assert draft
        Drafts(mail.state_dir).remove(draft.folder)
        assert draft.take() is None


async def test_a_scheduled_run_went_even_where_it_was_cancelled_later(mail: Mail, reader: Reader) -> None:
    """Only a run that never was let go gives its draft free."""
    drafts = Drafts(mail.state_dir)
    new = NewRun("News", "general", "root@sender.test", "x", b"x", personal=False)

    async def stands(run_id: int) -> Stand:
        folder = drafts.new_folder(0.0)
        draft = Draft(folder.name, "root", "News", "", "", "", "", "message.html", "", folder)
        drafts.keep(draft)
        assert await stand(draft, mail.store, reader, START) is Stand.FREE
        turn = draft.take()
        assert turn
        assert draft.take() is None
        draft.note(run_id)
        assert await stand(draft, mail.store, reader, START) is Stand.UNDER_WAY
        turn.give()
        return await stand(draft, mail.store, reader, START)

    later = await mail.store.broadcasts.create(new, START)
    assert await mail.store.broadcasts.start(later, START + 1000, START)
    assert await mail.store.broadcasts.order(later, RunOrder.CANCEL, START)
    assert await stands(later) is Stand.SENT
    never = await mail.store.broadcasts.create(new, START)
    assert await mail.store.broadcasts.order(never, RunOrder.CANCEL, START)
    assert await stands(never) is Stand.FREE
    assert await stands(4711) is Stand.SENT, "the store knows it no more: it is never sent again"
