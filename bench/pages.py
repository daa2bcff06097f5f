"""How long pages and API answers take on a long log: builds one, asks each some times, prints median and worst.

    .venv/bin/python bench/pages.py [--rows 1000000] [--dir DIR] [--times 15] [--budget-ms 100] [--busy 300] [--whole]

The log and the people around it are those of bench/long_log.py. With --dir they are kept, and a second run finds them
there. With --busy a process accepts and settles as many messages a second into the same store meanwhile. Exports are
read as far as 50,000 rows; with --whole, only they are asked, to their end, which tells how the memory grows. Ends
with 1 where a median is over the budget.
"""

import argparse
import asyncio
import contextlib
import itertools
import re
import resource
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from urllib.parse import quote

import aiohttp

# This folder has a relay.py, too.
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from long_log import PASSWORD, TOKENS, made

from relay.posting import Posting, PostingSettings
from report.given import Given
from report.server import ReportServer
from storage.model import (
    Attempt,
    BodyType,
    Message,
    NewRecipient,
    Phase,
    Reply,
    Result,
    queue_id,
)
from storage.people import POLICY
from storage.status import Event, Status
from storage.store import Store
from telltale.config import Config
from telltale.for_pages import handed

EXPORT_ROWS = 50_000
ROW = '<tr role="row" id='
# Who goes away in the middle has a place among the exports until the next part is written.
_PLACE_SECONDS = 0.5
EVENT_MS = 1000.0
"""A page that follows is told within this: the log is looked at each 400 ms."""


class Times:
    """What was measured, and what of it was over the budget."""

    def __init__(self, times: int, budget_ms: float) -> None:
        self.times = times
        self.budget_ms = budget_ms
        self.slow: list[str] = []
        self.worst = (0.0, "")

    def note(
        self,
        title: str,
        taken: list[float],
        more: object = "",
        budget_ms: float | None = None,
        cpu: float | None = None,
    ) -> None:
        """Print one line; `taken` in milliseconds, `cpu` too: of this process, which is the asking one as well."""
        median, worst = statistics.median(taken), max(taken)
        budget = budget_ms or self.budget_ms
        if median > budget:
            self.slow.append(title)
        if budget_ms is None:
            self.worst = max(self.worst, (worst, title))
        spent = "" if cpu is None else f"{cpu:6.1f} ms"
        over = "  over" if median > budget else ""
        print(f"{title:36} {median:6.1f} ms {worst:6.1f} ms {spent:>9} {more:>8}{over}", flush=True)


def pages(state_dir: Path) -> dict[str, str]:
    connection = sqlite3.connect(state_dir / "telltale.db")
    ids = [row[0] for row in connection.execute("SELECT first_id FROM stretch ORDER BY number")]
    middle = queue_id(ids[len(ids) // 2])
    (rare,) = connection.execute("SELECT message_id FROM recipient WHERE id = ?", (ids[len(ids) // 3],)).fetchone()
    sql = "SELECT broadcast_id FROM broadcast_share WHERE what = 'domain' GROUP BY 1 ORDER BY count(*) DESC LIMIT 1"
    largest = queue_id(connection.execute(sql).fetchone()[0])
    (contact,) = connection.execute("SELECT max(id) FROM contact").fetchone()
    connection.close()
    made = {
        "the newest": "/log",
        "from the middle, older": f"/log?before={middle}",
        "from the middle, newer": f"/log?after={middle}",
        "a recipient": "/log?recipient=rare.person@needle.example",
        "a recipient that is none": "/log?recipient=nobody@nowhere.example",
        "a recipient domain": "/log?recipient=@d77.example",
        "a part of a recipient": "/log?recipient=user77",
        "a part that is none": "/log?recipient=zzz",
        "a sender": "/log?sender=shop7@shop.example",
        "a sender that is none": "/log?sender=nobody@nowhere.example",
        "a part of a sender": "/log?sender=shop7",
        "a part of a subject that is none": "/log?subject=zzz",
        "a broadcast": "/log?broadcast=news-3",
        "a broadcast's failures": "/log?broadcast=news-3&status=failed",
        "the oldest broadcast, opened": "/log?broadcast=news-0&status=opened",
        "a broadcast that is none": "/log?broadcast=nothing",
        "the last day": "/log?range=24h",
        "an hour in the past": f"/log?since={quote(_ago(40))}&until={quote(_ago(39.95))}",
        "failures of a domain": "/log?status=failed&recipient=@d77.example",
        "delivered, of a part that is none": "/log?status=delivered&recipient=zzz",
        "failures, a day in the past, words": "/log?status=failed&q=newsletter"
        f"&since={quote(_ago(60))}&until={quote(_ago(59))}",
        "all filters": "/log?status=failed&status=bounced&q=weekly&broadcast=news-3&sender=@news.example"
        f"&recipient=user&since={quote(_ago(90))}&until={quote(_ago(80))}",
        "a reason": "/log?category=user+unknown",
        "a reason that is none": "/log?category=zzz",
        "a queue id": f"/log?queue_id={queue_id(rare)}",
        "a common word": "/log?q=newsletter",
        "a common word, an old broadcast": "/log?q=newsletter&broadcast=news-3",
        "a rare word": "/log?q=quokka",
        "two common words": "/log?q=weekly+newsletter",
        "two that no mail has together": "/log?q=newsletter+invoice",
        "a word of addresses": "/log?q=d77",
        "a beginning": "/log?q=quok*",
        "a beginning of nearly all": "/log?q=user*",
        "a beginning of many": "/log?q=user7*",
        "a beginning of few": "/log?q=user777*",
        "one letter": "/log?q=n*",
        "a beginning that is none": "/log?q=zzz*",
        "a word that is none": "/log?q=zzz",
        "a common word's failures": "/log?q=newsletter&status=failed",
        "the overview": "/",
        "the overview of 30 days": "/?range=30d",
        "broadcasts": "/broadcasts",
        "the largest broadcast": f"/broadcasts/{largest}",
        "whom to call about it": f"/broadcasts/{largest}/call",
        "who has not been seen to read it": f"/broadcasts/{largest}/call?who=unread",
        "to send a broadcast": "/broadcasts/new",
        "reading": "/reading",
        "reading of a year": "/reading?range=1y",
        "addresses to fix": "/addresses",
        "addresses to fix, a part": "/addresses?q=user77",
        "addresses to fix, of contacts": "/addresses?contacts=yes",
        "contacts": "/contacts",
        "contacts of a large list": "/contacts?list=list+0",
        "contacts, a beginning of few": "/contacts?q=user777",
        "contacts, a beginning of all": "/contacts?q=user",
        "contacts, a domain": "/contacts?q=@d77.example",
        "contacts, of a list and a domain": "/contacts?q=@d77.example&list=list+3",
        "contacts, a name that is none": "/contacts?q=nobody",
        "a contact": f"/contacts/{queue_id(contact)}",
        "lists": "/lists",
        "blocked": "/blocked",
        "blocked, a beginning of few": "/blocked?q=gone777",
        "blocked, a beginning of all": "/blocked?q=gone",
        "blocked, a domain": "/blocked?q=@d77.example",
        "blocked, by complaints": "/blocked?source=complaint",
        "blocked, of a category": "/blocked?category=no-such-user",
        "blocked, of a category that is none": "/blocked?category=nothing",
        "a blocked address": "/blocked/of/gone7@d217.example",
        "unsubscribed": "/unsubscribed",
        "unsubscribed, a beginning": "/unsubscribed?q=user7",
        "users": "/users",
        "a user": "/users/ann",
        "webhooks": "/webhooks",
        "a webhook": "/webhooks/wh_1",
        "a webhook's failures": "/webhooks/wh_1?show=failed",
        "the log in": "/login",
        "the account": "/account",
    }
    for status in Status:
        made[f"{status}"] = f"/log?status={status.name.lower().replace('_', '-')}"
    return made


OWN = {
    "own mail of a sender": "/log",
    "own failures": "/log?status=failed",
    "own words": "/log?q=invoice",
    "own overview": "/?range=30d",
    "own reading": "/reading?range=1y",
    "own addresses to fix": "/addresses",
}


def answers(state_dir: Path) -> dict[str, str]:
    connection = sqlite3.connect(state_dir / "telltale.db")
    sql = "SELECT first_id FROM stretch WHERE number = (SELECT max(number) / 2 FROM stretch)"
    (middle,) = connection.execute(sql).fetchone()
    (message,) = connection.execute("SELECT message_id FROM recipient WHERE id = ?", (middle,)).fetchone()
    connection.close()
    return {
        "api: the newest": "/log?limit=200",
        "api: from the middle": f"/log?cursor=before.{queue_id(middle)}",
        "api: a recipient": "/log?recipient=rare.person@needle.example",
        "api: a recipient domain": "/log?recipient=@d77.example",
        "api: a broadcast": "/log?broadcast=news-3",
        "api: failures": "/log?status=failed",
        "api: a common word": "/log?q=newsletter",
        "api: a beginning of nearly all": "/log?q=user*",
        "api: a word that is none": "/log?q=zzz",
        "api: a recipient's story": f"/log/{queue_id(middle)}",
        "api: a message": f"/messages/{queue_id(message)}",
        "api: events": "/events",
        "api: events of the last day": f"/events?since={quote(_ago(1))}",
        "api: broadcasts": "/broadcasts",
        "api: stats": "/stats",
        "api: stats of 30 days": "/stats?range=30d",
        "api: contacts": "/contacts",
        "api: contacts, a beginning of few": "/contacts?q=user777",
        "api: contacts, a beginning of all": "/contacts?q=user",
        "api: blocked": "/blocked",
        "api: blocked, a beginning of few": "/blocked?q=gone777",
        "api: unsubscribed": "/unsubscribed",
        "api: webhooks": "/webhooks",
        "api: a webhook's calls": "/webhooks/wh_1/attempts?limit=200",
    }


_OWN_ANSWERS = ("/log?", "/stats", "/events")


def _ago(days: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%MZ", time.gmtime(time.time() - days * 86400))


async def log_in(session: aiohttp.ClientSession, base: str, name: str) -> None:
    async with session.get(base + "/login") as answer:
        found = re.search(r'form_token" value="(\w+)"', await answer.text())
    assert found
    fields = {"form_token": found[1], "name": name, "password": PASSWORD}
    async with session.post(base + "/login", data=fields) as answer:
        assert answer.url.path != "/login", answer.status


async def taken(session: aiohttp.ClientSession, url: str, times: int) -> tuple[list[float], float, str]:
    """Ask some times; return how long each answer took, the median of the CPU's time (in ms), and the last answer."""
    took: list[float] = []
    cpu: list[float] = []
    text = ""
    for _ in range(times):
        began, spent = time.perf_counter(), time.process_time()
        async with session.get(url, headers={"Accept": "text/html"}) as answer:
            text = await answer.text()
            assert answer.status == 200, (url, answer.status, text[:500])
        took.append((time.perf_counter() - began) * 1000)
        cpu.append((time.process_time() - spent) * 1000)
    return took, statistics.median(cpu), text


def token(name: str) -> aiohttp.ClientSession:
    return aiohttp.ClientSession(headers={"Authorization": f"Bearer {TOKENS[name]}"})


async def ask_pages(base: str, state_dir: Path, times: Times) -> None:
    for name, wanted in (("root", pages(state_dir)), ("ann", OWN)):
        async with aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True)) as session:
            await log_in(session, base, name)
            more = {}
            if name == "root":
                *_, text = await taken(session, base + "/log?recipient=rare.person@needle.example", 1)
                story = re.search(r'href="(/recipient/\w+)"', text)
                more = {"a recipient's story": story[1]} if story else {}
            for title, path in (wanted | more).items():
                took, cpu, text = await taken(session, base + path, times.times)
                further = " …" if "Look further" in text else ""
                times.note(title, took, f"{text.count(ROW)}{further}" if "/log" in path else "", cpu=cpu)
            if name == "root":
                await ask_live(session, base, times)


async def ask_live(session: aiohttp.ClientSession, base: str, times: Times) -> None:
    """Follow the log; the mail that the page is told of is posted by the API."""
    opened, told = [], []
    for number in range(times.times):
        *_, text = await taken(session, base + "/log", 1)
        found = re.search(r'data-serial="(\d+)"', text)
        assert found
        began = time.perf_counter()
        async with session.get(f"{base}/live?first&since={found[1]}") as stream:
            await stream.content.readline()
            opened.append((time.perf_counter() - began) * 1000)
            await post(base, number)
            began = time.perf_counter()
            while not (await stream.content.readline()).startswith(b"event: change"):
                pass
            told.append((time.perf_counter() - began) * 1000)
    times.note("live: opened", opened)
    times.note("live: told of a mail after its 202", told, budget_ms=EVENT_MS)


async def post(base: str, number: int) -> float:
    """Post a mail; return how long its answer took, in milliseconds."""
    body = {"from": "root@news.example", "to": [f"live{number}@d1.example"], "subject": "Now", "text": "Hello."}
    async with token("root") as session:
        began = time.perf_counter()
        async with session.post(f"{base}/api/v1/messages", json=body) as answer:
            assert answer.status == 202, await answer.text()
        return (time.perf_counter() - began) * 1000


async def ask_api(base: str, state_dir: Path, times: Times) -> None:
    for name in ("root", "ann"):
        async with token(name) as session:
            for title, path in answers(state_dir).items():
                if name == "root" or path.startswith(_OWN_ANSWERS):
                    took, cpu, _ = await taken(session, f"{base}/api/v1{path}", times.times)
                    times.note(title if name == "root" else f"{title}, own", took, cpu=cpu)
    times.note("api: to post a mail", [await post(base, number) for number in range(times.times)])


EXPORTS = {
    "log.csv": "/log.csv",
    "log.jsonl": "/log.jsonl",
    "log.csv, failures": "/log.csv?status=failed",
    "log.csv, a broadcast": "/log.csv?broadcast=news-3",
    "log.csv, a common word": "/log.csv?q=newsletter",
    "log.csv, a beginning of nearly all": "/log.csv?q=user*",
    "contacts.csv": "/contacts.csv",
    "blocked.csv": "/blocked.csv",
    "addresses.csv": "/addresses.csv",
}


async def ask_exports(base: str, times: Times, *, whole: bool) -> None:
    print(f"\n{'export':36} {'first':>9} {'worst':>9} {'':>9} {'rows/s':>8}")
    for title, path in EXPORTS.items():
        first = []
        async with token("root") as session:
            for _ in range(1 if whole else times.times):
                began = time.perf_counter()
                async with session.get(base + path) as answer:
                    assert answer.status == 200, (path, answer.status)
                    await answer.content.readany()
                    first.append((time.perf_counter() - began) * 1000)
                await asyncio.sleep(_PLACE_SECONDS)
            rows, began = 0, time.perf_counter()
            async with session.get(base + path) as answer:
                async for part in answer.content.iter_any():
                    rows += part.count(b"\n")
                    if rows > EXPORT_ROWS and not whole:
                        break
            seconds = time.perf_counter() - began
        await asyncio.sleep(_PLACE_SECONDS)
        times.note(title, first, f"{rows / seconds:,.0f}")
        if whole:
            peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
            print(f"{'':36} {rows:,} rows in {seconds:.0f} s; peak of memory so far {peak:.0f} MB")


@contextlib.asynccontextmanager
async def serving(state_dir: Path) -> AsyncIterator[str]:
    config = Config.model_validate(
        {"server": {"state_dir": state_dir, "hostname": "mail.example"}, "report": {"listen": ["127.0.0.1:0"]}}
    )
    at = PostingSettings(config.server, config.submission, config.retry, config.tracking, config.broadcast, config.dkim)
    given = Given(config.report, config.server, POLICY, lambda store: Posting(store, at), handed=handed(config))
    server = ReportServer(given)
    await server.start()
    try:
        yield f"http://{server.addresses[0]}"
    finally:
        await server.drain()


async def ask(state_dir: Path, times: Times, *, whole: bool) -> None:
    async with serving(state_dir) as base:
        if not whole:
            print(f"{'page':36} {'median':>9} {'worst':>9} {'CPU':>9} {'rows':>8}")
            await ask_pages(base, state_dir, times)
            await ask_api(base, state_dir, times)
        await ask_exports(base, times, whole=whole)


async def write(state_dir: Path, per_second: int) -> None:
    """Accept and settle messages until the standard input ends; print how many a second that were."""
    store = await Store.open(state_dir, POLICY)
    ended = asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    began, running = time.monotonic(), set[asyncio.Task[None]]()
    done = 0
    for number in itertools.count():
        if ended.done():
            break
        task = asyncio.create_task(_deliver(store, number))
        running.add(task)
        task.add_done_callback(running.discard)
        done += 1
        await asyncio.sleep(max(0.0, began + number / per_second - time.monotonic()))
    await asyncio.gather(*running)
    print(f"\nmeanwhile {done / (time.monotonic() - began):.0f} messages a second were accepted and settled")
    await store.close()


async def _deliver(store: Store, number: int) -> None:
    now_ms = time.time_ns() // 1_000_000
    message = Message(
        store.next_id(), now_ms, f"shop{number % 40}@shop.example", BodyType.SEVEN_BIT, False, 2048, b"", user="bulk",
        from_header="The Shop", subject=f"Your invoice {number}",
        message_id=f"<{now_ms}.{number}@bench>", broadcast=f"live-{number // 1000}" if number % 5 == 0 else None,
    )  # fmt: skip
    domain = f"d{number * 31 % 5000}.example"
    people = [NewRecipient(store.next_id(), f"user{number * 7919 % 3000017}@{domain}", domain, Status.UNSENT)]
    for job in await store.accept(message, b"x" * 2048, people, lifetime_ms=432_000_000, leased=True):
        attempt = Attempt(now_ms, 250, Phase.AFTER_DOT, Reply(250, "2.0.0", "Ok: queued"), f"mx1.{domain}")
        await store.settle(Result(job, attempt, Event.DELIVER))


@contextlib.contextmanager
def busy(state_dir: Path, per_second: int) -> Iterator[None]:
    command = [sys.executable, __file__, "--dir", str(state_dir), "--writer", str(per_second)]
    with subprocess.Popen(command, stdin=subprocess.PIPE) as writer:
        try:
            yield
        finally:
            assert writer.stdin
            writer.stdin.close()
            writer.wait()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--dir", type=Path)
    parser.add_argument("--times", type=int, default=15)
    parser.add_argument("--budget-ms", type=float, default=100)
    parser.add_argument("--busy", type=int, default=0)
    parser.add_argument("--whole", action="store_true")
    parser.add_argument("--writer", type=int, default=0, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.writer:
        asyncio.run(write(given.dir, given.writer))
        return
    times = Times(given.times, given.budget_ms)
    with contextlib.ExitStack() as stack:
        folder = given.dir or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        asyncio.run(made(folder, given.rows))
        if given.busy:
            stack.enter_context(busy(folder, given.busy))
        asyncio.run(ask(folder, times, whole=given.whole))
    print(f"\nthe worst answer: {times.worst[0]:.0f} ms, {times.worst[1]}")
    print(f"over {given.budget_ms:.0f} ms: {', '.join(times.slow) or 'none'}")
    sys.exit(1 if times.slow else 0)


if __name__ == "__main__":
    main()
