"""A long log in a store of the store's own schema, and people around it, built by SQL: for bench/pages.py.

Half of the log is single messages, half broadcasts of 500 recipients a message, all ten statuses, 90 days long. There
are a tenth as many contacts, and three blocked addresses for each hundred recipients: a million and 300,000 of ten
million. That much is built within some five minutes.
"""

import sqlite3
import sys
import time
from importlib.resources import files
from pathlib import Path

from argon2 import PasswordHasher

from storage.access import TOKEN_MARK, TOKEN_PREFIX_CHARS, ApiToken, Role, Scope, hashed
from storage.feed import Place
from storage.model import User
from storage.people import POLICY
from storage.reader import Reader
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
    """Write the log."""
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


# Ids are those of the log's time, so that what is drawn later comes after them.
PEOPLE = """
WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i + 1 < :contacts)
INSERT INTO contact SELECT :first + i, CASE WHEN i % 2 THEN 'k' || i END, 'Name ' || (i * 7919 % 1000003),
 CASE WHEN i % 3 THEN '{}' ELSE '{"city":"Ghent","phone":"+32 9 000 00 00"}' END, :now_ms, :now_ms FROM n;
INSERT INTO contact_address SELECT id, 0, 'user' || (id - :first) || '@d' || (id % 5000) || '.example',
 'd' || (id % 5000) || '.example', CASE WHEN id % 7 THEN NULL ELSE '["general"]' END FROM contact WHERE id >= :first;
INSERT INTO list SELECT :first + value, 'list ' || value, :now_ms FROM json_each('[0,1,2,3,4,5,6,7,8,9]');
INSERT INTO list_member SELECT l.id, c.id FROM list l CROSS JOIN contact c
 WHERE l.id = :first AND c.id >= :first OR l.id > :first AND (c.id + l.id) % 97 = 0;
WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i + 1 < :blocked)
INSERT INTO blocked SELECT :first + i, 'gone' || i || '@d' || (i * 31 % 5000) || '.example',
 'd' || (i * 31 % 5000) || '.example', CASE WHEN i % 9 THEN 'failed' WHEN i % 2 THEN 'manual' ELSE 'complaint' END,
 CASE WHEN i % 9 THEN 'no-such-user' END, 'User unknown', :now_ms - (:blocked - i) * 25000, NULL, NULL FROM n;
INSERT INTO blocked_change SELECT id, created_ms, 'added', address, source, category, reason, 'telltale', NULL
 FROM blocked WHERE id >= :first;
INSERT INTO unsubscribed SELECT address, 'general', :now_ms - contact_id % 1000000 * 1000, 'one-click', NULL
 FROM contact_address WHERE contact_id >= :first AND contact_id % 33 = 0;
"""


def people(state_dir: Path, rows: int) -> None:
    """Fill a store with contacts, lists, blocked addresses and unsubscriptions, where it has none."""
    connection = sqlite3.connect(state_dir / "telltale.db", isolation_level=None)
    if connection.execute("SELECT EXISTS (SELECT 1 FROM contact)").fetchone()[0]:
        connection.close()
        return
    began, now_ms = time.monotonic(), time.time_ns() // 1_000_000
    facts = {"contacts": rows // 10, "blocked": rows * 3 // 100, "now_ms": now_ms, "first": (now_ms * 1000) << 10}
    connection.execute("PRAGMA synchronous = OFF")
    connection.execute("PRAGMA cache_size = -400000")
    connection.execute("BEGIN")
    for sql in PEOPLE.split(";"):
        if sql.strip():
            connection.execute(sql, facts)
    connection.execute("COMMIT")
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()
    print(f"{facts['contacts']:,} contacts, {facts['blocked']:,} blocked in {time.monotonic() - began:.0f} s")


async def made(state_dir: Path, rows: int) -> None:
    """Build it where there is none; a store of an older version is brought to this one."""
    state_dir.mkdir(exist_ok=True)
    if (state_dir / "telltale.db").exists():
        await (await Store.open(state_dir, POLICY)).close()
        people(state_dir, rows)
        await hooked(state_dir)
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
    people(state_dir, rows)
    await hooked(state_dir)


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
