"""How long pages and API answers take on a long log: builds one, asks each some times, prints median and worst.

    .venv/bin/python bench/pages.py [--rows 1000000] [--dir DIR] [--times 15] [--budget-ms 100]

The log is built by SQL into a store of the store's own schema: half of it single messages, half broadcasts of 500
recipients a message, all ten statuses, 90 days long. With --dir it is kept, and a second run finds it there. Ends
with 1 where a median is over the budget.
"""

import argparse
import asyncio
import contextlib
import re
import sqlite3
import statistics
import sys
import tempfile
import time
from importlib.resources import files
from pathlib import Path
from urllib.parse import quote

import aiohttp
from argon2 import PasswordHasher

from report.given import Given
from report.server import ReportServer
from report.settings import ReportSettings
from storage.access import TOKEN_MARK, TOKEN_PREFIX_CHARS, ApiToken, Role, Scope, hashed
from storage.feed import Place
from storage.model import User, queue_id
from storage.people import POLICY
from storage.reader import Reader
from storage.settings import ServerSettings
from storage.status import Status
from storage.store import Store
from storage.stretch import COUNTS, STRETCH_RECIPIENTS
from storage.webhook_model import HookAttempt, Retry, Told, Webhook
from storage.webhook_verbs import KEPT_FAILED

DAYS = 90
BLOCK = 500
BATCH = 200_000
HOOKS = 100
SECRET = "whsec_" + "c2Vj" * 11
PASSWORD = "a password for the bench"
TOKENS = {name: TOKEN_MARK + (name * 40)[:40] for name in ("root", "ann")}
CHEAP = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)

STATUS = """CASE WHEN h < 600 THEN 'Delivered' WHEN h < 870 THEN 'Opened' WHEN h < 900 THEN 'Sent'
 WHEN h < 915 THEN 'Soft Bounced' WHEN h < 920 THEN 'Unsent' WHEN h < 950 THEN 'Bounced' WHEN h < 985 THEN 'Failed'
 WHEN h < 992 THEN 'Blocked' WHEN h < 997 THEN 'Duplicate' ELSE 'No Email Selected' END"""
# i: the row; first: the first row of its message; id of a message is that of its first row, of a recipient 1 µs more.
ROWS = f"""WITH RECURSIVE n(i) AS (SELECT :low UNION ALL SELECT i + 1 FROM n WHERE i + 1 < :high),
 r AS (SELECT i, CASE WHEN i / {BLOCK} % 2 THEN i ELSE i / {BLOCK} * {BLOCK} END AS first,
  i / {BLOCK} % 2 = 0 AS bulk, i / {BLOCK} AS block, i * 2654435761 % 1000 AS h,
  (:start_us + i * :step_us) << 10 AS id, (:start_us + i * :step_us) / 1000 AS ms,
  CASE WHEN i % 900001 = 77 THEN 'needle.example' ELSE 'd' || (i * 31 % 5000) || '.example' END AS domain,
  CASE WHEN i % 900001 = 77 THEN 'rare.person' ELSE 'user' || (i * 7919 % 3000017) END AS local FROM n)"""
MESSAGES = f"""INSERT INTO message (id, received_ms, sender, sender_domain, body, smtputf8, size, plan, envid, ret,
 user, client, message_id, from_header, subject, untracked_reason, broadcast, broadcast_type, first_recipient,
 last_recipient)
 SELECT id, ms, CASE WHEN bulk THEN 'news@news.example' ELSE 'shop' || (i % 40)
 || '@shop.example' END, CASE WHEN bulk THEN 'news.example' ELSE 'shop.example' END, '7BIT', 0, 4096, x'', NULL, NULL,
 CASE WHEN block % 200 = 1 THEN 'ann' ELSE 'bulk' END, '192.0.2.1', '<' || i || '@bench>', 'The Sender',
 CASE WHEN bulk THEN 'The weekly newsletter, number ' || (block / 20) WHEN i % 50511 = 509 THEN 'A quokka for you'
 ELSE 'Your invoice ' || i END, NULL, CASE WHEN bulk THEN 'news-' || (block / 20) END,
 CASE WHEN bulk THEN 'general' END,
 id + 1024,
 ((:start_us + (CASE WHEN bulk THEN min(i + {BLOCK} - 1, :rows - 1) ELSE i END) * :step_us) << 10) + 1024
 FROM r WHERE i = first"""
RECIPIENTS = f"""INSERT INTO recipient (id, message_id, address, domain, expires_ms, status, attempts, due_ms,
 last_attempt_ms, code, enhanced, diagnostic, category, mx, delivered_ms, opens, first_open_ms) SELECT id + 1024,
 (:start_us + first * :step_us) << 10, local || '@' || domain, domain, ms + 432000000, {STATUS}, h < 992,
 CASE WHEN h >= 900 AND h < 920 THEN ms + 3600000 END, ms + 900, CASE WHEN h >= 900 AND h < 985 THEN 550 ELSE 250 END,
 '2.0.0', CASE WHEN h >= 900 AND h < 985 THEN 'User unknown in virtual mailbox table' ELSE 'Ok: queued' END, NULL,
 'mx1.' || domain, ms + 900, h >= 600 AND h < 870, CASE WHEN h >= 600 AND h < 870 THEN ms + 600000 END FROM r"""
ATTEMPTS = f"""INSERT INTO attempt (recipient_id, id, at_ms, duration_ms, phase, code, enhanced, text, mx, address,
 tls, in_doubt, status) SELECT id + 1024, id + 1, ms + 900, 250, 'after-dot', 250, '2.0.0', 'Ok: queued',
 'mx1.' || domain, '198.51.100.25',
 'TLSv1.3 TLS_AES_256_GCM_SHA384 verified', 0, {STATUS} FROM r WHERE h < 992"""
FOUND = """ FROM recipient r JOIN message m ON m.id = r.message_id
 WHERE r.id >= ((:start_us + :low * :step_us) << 10) + 1024"""
NUMBER = f"(((r.id >> 10) - :start_us) / :step_us) / {STRETCH_RECIPIENTS} + 1"
HOURS = (
    f"INSERT INTO hour SELECT m.received_ms / 3600000, min(m.id), max(r.id){FOUND} GROUP BY 1 ON CONFLICT (hour)"
    " DO UPDATE SET first_id = min(first_id, excluded.first_id), last_id = max(last_id, excluded.last_id)"
)
STRETCHES = (
    f"INSERT INTO by_address SELECT {NUMBER}, r.domain, r.address, r.id{FOUND} ORDER BY 1, 2, 3 COLLATE NOCASE, 4",
    f"INSERT INTO by_sender SELECT {NUMBER}, m.sender_domain, m.sender, r.id{FOUND} ORDER BY 1, 2, 3, 4",
    f"INSERT INTO by_user SELECT {NUMBER}, m.user, r.id{FOUND} ORDER BY 1, 2, 3",
    f"INSERT INTO by_broadcast SELECT {NUMBER}, m.broadcast, r.id{FOUND} AND m.broadcast IS NOT NULL ORDER BY 1, 2, 3",
    f"INSERT INTO stretch SELECT {NUMBER}, max(m.received_ms), 1, min(r.id), max(r.id){FOUND} GROUP BY 1",
    f"INSERT INTO stretch_of SELECT DISTINCT 'broadcast', m.broadcast, {NUMBER}{FOUND} AND m.broadcast IS NOT NULL",
    f"INSERT INTO stretch_of SELECT DISTINCT 'user', m.user, {NUMBER}{FOUND}",
    f"INSERT INTO stretch_of SELECT DISTINCT 'sender', m.sender_domain, {NUMBER}{FOUND}",
    HOURS,
)

# As a log is counted that was there before the counters.
COUNTERS = files("storage").joinpath("sql/010_stats.sql").read_text().partition("-- What is in the log already.")[2]


def build(state_dir: Path, rows: int) -> None:
    connection = sqlite3.connect(state_dir / "telltale.db", isolation_level=None)
    connection.execute("PRAGMA synchronous = OFF")
    connection.execute("PRAGMA cache_size = -400000")
    now_us = time.time_ns() // 1000
    facts = {"rows": rows, "step_us": DAYS * 86_400_000_000 // rows}
    facts["start_us"] = now_us - rows * facts["step_us"]
    for low in range(0, rows, BATCH - BATCH % STRETCH_RECIPIENTS):
        at = facts | {"low": low, "high": min(rows, low + BATCH - BATCH % STRETCH_RECIPIENTS)}
        connection.execute("BEGIN")
        for sql in (MESSAGES, RECIPIENTS, ATTEMPTS):
            connection.execute(_with(sql), at)
        for sql in STRETCHES:
            connection.execute(sql, at)
        connection.execute("COMMIT")
        print(f"\r{at['high']:,} rows", end="", file=sys.stderr, flush=True)
    counted = dict(connection.execute("SELECT status, count(*) FROM recipient GROUP BY status"))
    values = [counted.get(status.value, 0) for status in Status]
    sql = (
        f"INSERT INTO change (touched, accepted, {', '.join(COUNTS)}) VALUES (x'', NULL, {','.join('?' * len(values))})"
    )
    connection.execute(sql, values)
    connection.execute("UPDATE stretch SET serial = (SELECT max(serial) FROM change)")
    counted_ = time.monotonic()
    connection.executescript(COUNTERS)
    print(f"counters filled in {time.monotonic() - counted_:.0f} s", file=sys.stderr)
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()
    print(file=sys.stderr)


def _with(sql: str) -> str:
    head, _, rest = sql.partition(" SELECT ")
    return f"{head} {ROWS} SELECT {rest}"


async def made(state_dir: Path, rows: int) -> None:
    state_dir.mkdir(exist_ok=True)
    if (state_dir / "telltale.db").exists():
        return
    store = await Store.open(state_dir, POLICY)
    for name, role in (("root", Role.ADMIN), ("ann", Role.SENDER)):
        await store.add_user(User(name, CHEAP.hash(PASSWORD), (), 0, role))
        secret, scopes = TOKENS[name], frozenset(Scope)
        await store.add_token(ApiToken(hashed(secret), secret[:TOKEN_PREFIX_CHARS], name, "bench", scopes, 0))
    began = time.monotonic()
    await store.close()
    build(state_dir, rows)
    built = time.monotonic()
    store = await Store.open(state_dir, POLICY)
    while await store.enter_words(20_000) == 20_000:
        pass
    await store.close()
    size = sum(file.stat().st_size for file in state_dir.glob("telltale.db*"))
    words = (time.monotonic() - built) / rows * 1e6
    print(f"built in {built - began:.0f} s, {size / 1e6:,.0f} MB; words {words:.1f} µs a recipient")


async def hooked(state_dir: Path) -> None:
    """Fill a store with webhooks, stopped ones, each with as many calls and events to be sent again as one may have."""
    reader, store = await Reader.open(state_dir), await Store.open(state_dir, POLICY)
    for number in range(HOOKS - len(await reader.webhooks.all())):
        user = "ann" if number % 2 else None
        hook = Webhook(f"wh_{number}", f"https://example.org/{number}", SECRET, frozenset(), user, 0, Place(0, 0))
        await store.webhooks.add(hook, "root")
        calls = [
            HookAttempt(at, 20, "recipient.bounced", Place(1, at), None, status, f"{status} said", 1)
            for at in range(KEPT_FAILED)
            for status in (204, 503)
        ]
        again = [Retry(Place(1, at), at, 1) for at in range(2000)]
        place = Place(1, 0)
        await store.webhooks.tell(Told(hook.id, place, place, 1, "503 said", again, next_ms=2, attempts=calls))
        await store.webhooks.stop(hook.id, 1, "root")
    await store.close()
    await reader.close()


def pages(state_dir: Path) -> dict[str, str]:
    connection = sqlite3.connect(state_dir / "telltale.db")
    ids = [row[0] for row in connection.execute("SELECT first_id FROM stretch ORDER BY number")]
    middle = queue_id(ids[len(ids) // 2])
    (rare,) = connection.execute("SELECT message_id FROM recipient WHERE id = ?", (ids[len(ids) // 3],)).fetchone()
    sql = "SELECT broadcast_id FROM broadcast_share WHERE what = 'domain' GROUP BY 1 ORDER BY count(*) DESC LIMIT 1"
    largest = queue_id(connection.execute(sql).fetchone()[0])
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
        "a part of a sender": "/log?sender=shop7",
        "a part of a subject that is none": "/log?subject=zzz",
        "a broadcast": "/log?broadcast=news-3",
        "a broadcast's failures": "/log?broadcast=news-3&status=failed",
        "the oldest broadcast, its end": "/log?broadcast=news-0&status=opened",
        "a broadcast that is none": "/log?broadcast=nothing",
        "the last day": "/log?range=24h",
        "an hour in the past": f"/log?since={quote(_ago(40))}&until={quote(_ago(39.95))}",
        "failures of a domain": "/log?status=failed&recipient=@d77.example",
        "delivered, of a part that is none": "/log?status=delivered&recipient=zzz",
        "a queue id": f"/log?queue_id={queue_id(rare)}",
        "a common word": "/log?q=newsletter",
        "a rare word": "/log?q=quokka",
        "two common words": "/log?q=weekly+newsletter",
        "a word of addresses": "/log?q=d77",
        "beginnings": "/log?q=quok*",
        "a word that is none": "/log?q=zzz",
        "a common word's failures": "/log?q=newsletter&status=failed",
        "the overview": "/",
        "the overview of 30 days": "/?range=30d",
        "broadcasts": "/broadcasts",
        "the largest broadcast": f"/broadcasts/{largest}",
        "reading": "/reading",
        "reading of a year": "/reading?range=1y",
        "addresses to fix": "/addresses",
        "addresses to fix, a part": "/addresses?q=user77",
        "addresses to fix, of contacts": "/addresses?contacts=yes",
        "the log in": "/login",
        "the account": "/account",
        "webhooks": "/webhooks",
        "a webhook": "/webhooks/wh_1",
        "a webhook's failures": "/webhooks/wh_1?show=failed",
    }
    for status in Status:
        made[f"{status}"] = f"/log?status={status.name.lower().replace('_', '-')}"
    return made


def answers(state_dir: Path) -> dict[str, str]:
    connection = sqlite3.connect(state_dir / "telltale.db")
    sql = "SELECT first_id FROM stretch WHERE number = (SELECT max(number) / 2 FROM stretch)"
    (middle,) = connection.execute(sql).fetchone()
    connection.close()
    return {
        "api: the newest": "/log?limit=200",
        "api: from the middle": f"/log?cursor=before.{queue_id(middle)}",
        "api: a recipient": "/log?recipient=rare.person@needle.example",
        "api: a recipient domain": "/log?recipient=@d77.example",
        "api: failures": "/log?status=failed",
        "api: a common word": "/log?q=newsletter",
        "api: a word that is none": "/log?q=zzz",
        "api: a recipient's story": f"/log/{queue_id(middle)}",
        "api: events": "/events",
        "api: events of the last day": f"/events?since={quote(_ago(1))}",
        "api: broadcasts": "/broadcasts",
        "api: stats": "/stats",
        "api: stats of 30 days": "/stats?range=30d",
        "api: contacts": "/contacts",
        "api: blocked": "/blocked",
        "api: webhooks": "/webhooks",
        "api: a webhook's calls": "/webhooks/wh_1/attempts?limit=200",
    }


async def ask_api(base: str, state_dir: Path, times: int, budget_ms: float) -> list[str]:
    slow = []
    for name, only in (("root", ""), ("ann", "/log?|/stats|/events")):
        async with aiohttp.ClientSession(headers={"Authorization": f"Bearer {TOKENS[name]}"}) as session:
            for title, path in answers(state_dir).items():
                if only and not re.match(only.replace("?", r"\?"), path):
                    continue
                median, worst, _ = await timed(session, f"{base}/api/v1{path}", times)
                shown = title if name == "root" else f"{title}, own"
                slow += [shown] if median > budget_ms else []
                print(f"{shown:36} {median:6.1f} ms {worst:6.1f} ms{'  over' if median > budget_ms else ''}")
    return slow


def _ago(days: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%MZ", time.gmtime(time.time() - days * 86400))


async def log_in(session: aiohttp.ClientSession, base: str, name: str) -> None:
    async with session.get(base + "/login") as answer:
        found = re.search(r'form_token" value="(\w+)"', await answer.text())
    assert found
    fields = {"form_token": found[1], "name": name, "password": PASSWORD}
    async with session.post(base + "/login", data=fields) as answer:
        assert answer.url.path == "/", answer.status


async def timed(session: aiohttp.ClientSession, url: str, times: int) -> tuple[float, float, int]:
    taken, rows = [], 0
    for _ in range(times):
        began = time.perf_counter()
        async with session.get(url, headers={"Accept": "text/html"}) as answer:
            text = await answer.text()
            assert answer.status == 200, (url, answer.status, text[:500])
        taken.append((time.perf_counter() - began) * 1000)
        rows = text.count('<tr role="row" id=')
    return statistics.median(taken), max(taken), rows


async def ask(state_dir: Path, times: int, budget_ms: float) -> bool:
    own = ServerSettings(state_dir=state_dir)
    server = ReportServer(Given(ReportSettings(listen=("127.0.0.1:0",)), own, POLICY))  # type: ignore[arg-type]
    await server.start()
    base, slow = f"http://{server.addresses[0]}", []
    print(f"{'page':36} {'median':>9} {'worst':>9}  rows")
    for name, wanted in (
        ("root", pages(state_dir)),
        (
            "ann",
            {
                "own mail of a sender": "/log",
                "own failures": "/log?status=failed",
                "own overview": "/?range=30d",
                "own reading": "/reading?range=1y",
                "own addresses to fix": "/addresses",
            },
        ),
    ):
        async with aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True)) as session:
            await log_in(session, base, name)
            more = {}
            if name == "root":
                async with session.get(base + "/log?recipient=rare.person@needle.example") as answer:
                    story = re.search(r'href="(/recipient/\w+)"', await answer.text())
                more = {"a recipient's story": story[1]} if story else {}
            for title, path in (wanted | more).items():
                median, worst, rows = await timed(session, base + path, times)
                slow += [title] if median > budget_ms else []
                print(f"{title:36} {median:6.1f} ms {worst:6.1f} ms {rows:5}{'  over' if median > budget_ms else ''}")
    slow += await ask_api(base, state_dir, times, budget_ms)
    await server.drain()
    return not slow


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--dir", type=Path)
    parser.add_argument("--times", type=int, default=15)
    parser.add_argument("--budget-ms", type=float, default=100)
    given = parser.parse_args()
    with contextlib.ExitStack() as stack:
        folder = given.dir or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        asyncio.run(made(folder, given.rows))
        asyncio.run(hooked(folder))
        sys.exit(0 if asyncio.run(ask(folder, given.times, given.budget_ms)) else 1)


if __name__ == "__main__":
    main()
