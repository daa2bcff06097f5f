"""The end of the log's keep: what is old is deleted, some at a time.

Rule: one step is bounded in rows, so that it does not keep those who wait for a commit.
"""
# ruff: noqa: S608 - SQL is put together from words of this program only; values are parameters

import json
import sqlite3
from collections.abc import Sequence
from typing import Final

from storage.judging import UNMATCHED
from storage.logquery import RECIPIENTS_OF_M
from storage.statements import Keys
from storage.status import Status
from storage.stretch import HOUR_MS
from storage.transaction import Transaction
from storage.words import forget_words

# Recipients that one step deletes with their history, unless one message alone has more.
_MOST_RECIPIENTS: Final = 2000

# Bounce messages that speak of nobody that are kept, whatever their age: a flood must not fill the disk. What comes is
# bounded already (storage/dsn_room.py), but for return paths of recipients that the log has forgotten.
_MOST_UNMATCHED: Final = 10_000

_OLD: Final = (
    "SELECT json_group_array(json_array(id, recipients)) FROM (SELECT id,"
    f" (SELECT count(*) FROM recipient r WHERE {RECIPIENTS_OF_M}) AS recipients FROM message m"
    " WHERE id <= (SELECT max(last_id) FROM hour WHERE hour <= ?) AND received_ms < ?"
    " AND NOT EXISTS (SELECT 1 FROM recipient r WHERE r.message_id = m.id AND r.due_ms IS NOT NULL)"
    " ORDER BY id LIMIT ?)"
)
_COUNTED: Final = Keys(
    "SELECT json_group_array(json_array(status, recipients, first_id, last_id)) FROM (SELECT r.status,"
    " count(*) AS recipients, min(r.id) AS first_id, max(r.id) AS last_id"
    f" FROM message m CROSS JOIN recipient r ON {RECIPIENTS_OF_M} WHERE m.id IN ({{}}) GROUP BY r.status)"
)
_THEIRS: Final = f"(SELECT r.id FROM message m CROSS JOIN recipient r ON {RECIPIENTS_OF_M} WHERE m.id IN ({{}}))"
_DELETE: Final = tuple(
    Keys(sql)
    for sql in (
        f"DELETE FROM attempt WHERE recipient_id IN {_THEIRS}",
        f"DELETE FROM event WHERE recipient_id IN {_THEIRS}",
        f"DELETE FROM recipient WHERE id IN {_THEIRS}",
        "DELETE FROM broadcast_run_message WHERE message_id IN ({})",
        "DELETE FROM duty WHERE message_id IN ({})",
        "DELETE FROM message WHERE id IN ({})",
    )
)
_OLD_INVALID: Final = (
    "DELETE FROM invalid_address WHERE (user, address) IN"
    " (SELECT user, address FROM invalid_address WHERE at_ms < ? ORDER BY at_ms LIMIT ?)"
)
_MET: Final = "(SELECT number FROM stretch WHERE first_id <= ? AND last_id >= ?)"
_NOBODY_LEFT: Final = "NOT EXISTS (SELECT 1 FROM by_address WHERE by_address.stretch = stretch.number)"
_LEAVE: Final = (
    *(
        f"DELETE FROM {table} WHERE stretch IN {_MET} AND recipient_id NOT IN (SELECT id FROM recipient)"
        for table in ("by_address", "by_sender", "by_user", "by_broadcast")
    ),
    f"DELETE FROM by_header WHERE stretch IN {_MET} AND message_id NOT IN (SELECT id FROM message)",
    f"DELETE FROM stretch_of WHERE stretch IN (SELECT number FROM stretch WHERE number IN {_MET} AND {_NOBODY_LEFT})",
    f"DELETE FROM stretch WHERE number IN {_MET} AND {_NOBODY_LEFT}",
)


def purge(transaction: Transaction, wanted: Sequence[tuple[int, int]]) -> list[int]:
    """Delete some messages whose recipients are all done: (received before, at most); 0 when none is left."""
    return [_purge(transaction, before_ms, limit) for before_ms, limit in wanted]


def _purge(transaction: Transaction, before_ms: int, limit: int) -> int:
    connection = transaction.connection
    hour = before_ms // HOUR_MS
    connection.execute(_OLD_INVALID, (before_ms, _MOST_RECIPIENTS))
    old = json.loads(connection.execute(_OLD, (hour, before_ms, limit)).fetchone()[0])
    message_ids = _some(old)
    if not message_ids:
        sql = "DELETE FROM hour WHERE hour < ? AND last_id < (SELECT ifnull(min(id), 0) FROM message)"
        connection.execute(sql, (hour,))
        return 0
    bounds = []
    for status, recipients, first_id, last_id in _COUNTED.read(connection, message_ids):
        transaction.count(Status(status), -recipients)
        bounds += [first_id, last_id]
    forget_words(connection, message_ids)
    for statement in _DELETE:
        statement.run(connection, message_ids)
    # Kept for what the sender was to be told, which is too late now.
    transaction.drop_content(message_ids, files=True)
    if bounds:
        _leave_stretches(connection, min(bounds), max(bounds))
    return len(message_ids)


def _some(old: Sequence[tuple[int, int]]) -> list[int]:
    """Return the first of (message id, its recipients) that make one step."""
    taken: list[int] = []
    room = _MOST_RECIPIENTS
    for message_id, recipients in old:
        room -= recipients
        if taken and room < 0:
            break
        taken.append(message_id)
    return taken


def _leave_stretches(connection: sqlite3.Connection, first_id: int, last_id: int) -> None:
    for sql in _LEAVE:
        connection.execute(sql, (last_id, first_id))


_OLD_DSNS: Final = (
    "DELETE FROM dsn WHERE id IN (SELECT id FROM dsn WHERE received_ms < ? AND kind IS NOT NULL ORDER BY id LIMIT ?)"
)
_EXCESS_DSNS: Final = (
    f"DELETE FROM dsn WHERE id IN (SELECT id FROM dsn WHERE {UNMATCHED} AND id <="
    f" (SELECT id FROM dsn WHERE {UNMATCHED} ORDER BY id DESC LIMIT 1 OFFSET ?) ORDER BY id LIMIT ?)"
)


def purge_dsns(transaction: Transaction, wanted: Sequence[tuple[int, int]]) -> list[int]:
    """Delete some settled bounce messages received before a time, or too many to keep: (before, limit)."""
    run = transaction.connection.execute
    return [
        run(_OLD_DSNS, (before_ms, limit)).rowcount or run(_EXCESS_DSNS, (_MOST_UNMATCHED, limit)).rowcount
        for before_ms, limit in wanted
    ]


_OLD_BROADCAST: Final = (
    "SELECT id FROM broadcast WHERE used_ms < ? AND NOT EXISTS (SELECT 1 FROM broadcast_run"
    " WHERE broadcast_id = broadcast.id AND state IN ('draft', 'scheduled', 'sending', 'paused')) LIMIT 1"
)
_FORGET: Final = (
    "DELETE FROM broadcast_ledger WHERE broadcast_id = ? AND key IN"
    " (SELECT key FROM broadcast_ledger WHERE broadcast_id = ? LIMIT ?)"
)


_OLD_HOURS: Final = (
    "DELETE FROM hour_count WHERE hour IN (SELECT hour FROM hour_count WHERE hour < ? ORDER BY hour LIMIT ?)"
)
_OLD_USER_HOURS: Final = (
    "DELETE FROM user_hour_count WHERE (user, hour) IN"
    " (SELECT user, hour FROM user_hour_count WHERE hour < ? ORDER BY hour LIMIT ?)"
)


def purge_broadcasts(transaction: Transaction, wanted: Sequence[tuple[int, int]]) -> list[int]:
    """Forget broadcasts last used before a time, and what was counted until then: (before, limit); 0 at the end."""
    return [_purge_broadcast(transaction.connection, before_ms, limit) for before_ms, limit in wanted]


def _purge_broadcast(connection: sqlite3.Connection, before_ms: int, limit: int) -> int:
    old = connection.execute(_OLD_BROADCAST, (before_ms,)).fetchone()
    if old is None:
        hours = (before_ms // HOUR_MS, limit)
        return connection.execute(_OLD_HOURS, hours).rowcount + connection.execute(_OLD_USER_HOURS, hours).rowcount
    gone = connection.execute(_FORGET, (old[0], old[0], limit)).rowcount
    if gone < limit:
        for table in ("broadcast_run", "broadcast_count", "broadcast_share"):
            connection.execute(f"DELETE FROM {table} WHERE broadcast_id = ?", old)
        connection.execute("DELETE FROM broadcast WHERE id = ?", old)
    return gone + 1
