"""The verbs of the Blocked Email list.

Rule: each change of the list leaves a row in `blocked_change`, so that it can be told who did what.
"""
# ruff: noqa: S608 - SQL is put together from words of this program only; values are parameters

import json
from collections.abc import Sequence
from typing import Any, Final

from storage.address import address_key
from storage.blocked_query import BlockedFilter, conditions
from storage.people import Blocked
from storage.statements import Keys, Rows, clean
from storage.transaction import Transaction

_KNOWN: Final = Keys(
    "SELECT json_group_array(json_array(address, source, expires_ms)) FROM blocked WHERE address IN ({})"
)
_WRITE: Final = Rows.insert(
    "blocked",
    "id,address,domain,source,category,reason,created_ms,expires_ms,recipient_id",
    "ON CONFLICT (address, source) DO UPDATE SET category=excluded.category, reason=excluded.reason,"
    " created_ms=excluded.created_ms, expires_ms=excluded.expires_ms, recipient_id=excluded.recipient_id",
)
_CHANGE: Final = Rows.insert("blocked_change", "id,at_ms,change,address,source,category,reason,actor,recipient_id")
_LISTED: Final = "SELECT id FROM blocked WHERE address IN (SELECT value FROM json_each(?))"
_EXPIRED: Final = "SELECT id FROM blocked WHERE expires_ms <= ? ORDER BY expires_ms LIMIT ?"
_GONE: Final = (
    "SELECT json_group_array(json_array(id, recipient_id, address, source, category, reason))"
    " FROM blocked WHERE id IN ({})"
)
_DELETE: Final = "DELETE FROM blocked WHERE id IN (SELECT value FROM json_each(?))"
_FORGET: Final = (
    "DELETE FROM blocked_change WHERE id IN (SELECT id FROM blocked_change WHERE at_ms < ? ORDER BY at_ms LIMIT ?)"
)
_FORGET_BOUNCES: Final = (
    "DELETE FROM bounce_count WHERE (address, recipient_id) IN"
    " (SELECT address, recipient_id FROM bounce_count WHERE at_ms < ? ORDER BY at_ms LIMIT ?)"
)
_FOR_EVER: Final = 1 << 62

PROGRAM: Final = "telltale"
"""The actor of what nobody asked for."""


def add(transaction: Transaction, wanted: Sequence[tuple[Sequence[Blocked], str]]) -> list[int]:
    """Put entries on the list for an actor; the answers are how many are new on it."""
    return [put(transaction, entries, actor) for entries, actor in wanted]


def put(transaction: Transaction, entries: Sequence[Blocked], actor: str) -> int:
    """Put entries on the list, where none of the same address and source lasts as long; return how many are new."""
    keys = [clean(address_key(entry.address)) for entry in entries]
    known: dict[tuple[str, str], int] = {
        (_folded(address), source): _end(expires_ms)
        for address, source, expires_ms in _KNOWN.read(transaction.connection, keys)
    }
    written, changes, added = {}, [], 0
    for key, entry in zip(keys, entries, strict=True):
        one = (_folded(key), entry.source)
        end = known.get(one, 0)
        if _end(entry.expires_ms) <= max(end, entry.created_ms):
            continue
        known[one] = _end(entry.expires_ms)
        new = end <= entry.created_ms
        added += new
        written[one] = _values(transaction.ids.next(), key, entry)
        changes.append(
            (transaction.ids.next(), entry.created_ms, "added" if new else "changed", *_told(key, entry, actor))
        )
    _WRITE.run(transaction.connection, list(written.values()))
    _CHANGE.run(transaction.connection, changes)
    if written:
        transaction.place.stamp.renew()
    return added


def remove(transaction: Transaction, wanted: Sequence[tuple[Sequence[str], str, int]]) -> list[int]:
    """Take addresses off the list: (addresses, actor, now); the answers are how many were on it."""
    answers = []
    for addresses, actor, now_ms in wanted:
        keys = json.dumps([clean(address_key(address)) for address in addresses])
        gone = _delete(transaction, _LISTED, (keys,), "removed", actor, now_ms)
        answers.append(len({_folded(address) for address in gone}))
    return answers


def undo(transaction: Transaction, wanted: Sequence[tuple[BlockedFilter, int, str, int]]) -> list[int]:
    """Take some of the entries off that a filter wants: (filter, at most, actor, now); the answers are how many."""
    answers = []
    for filter_, limit, actor, now_ms in wanted:
        where, values = conditions(filter_)
        some = f"SELECT b.id FROM blocked b WHERE {where} LIMIT ?"
        answers.append(len(_delete(transaction, some, (*values, limit), "undone", actor, now_ms)))
    return answers


def expire(transaction: Transaction, wanted: Sequence[tuple[int, int, int]]) -> list[int]:
    """Take some of the expired entries off the list, and forget what is past its keep: (now, kept since, at most)."""
    run, within_ms = transaction.connection.execute, transaction.policy.blocking.within * 1000
    answers = []
    for now_ms, since_ms, limit in wanted:
        gone = len(_delete(transaction, _EXPIRED, (now_ms, limit), "expired", PROGRAM, now_ms))
        gone += run(_FORGET, (since_ms, limit)).rowcount
        answers.append(gone + run(_FORGET_BOUNCES, (now_ms - within_ms, limit)).rowcount)
    return answers


def _delete(
    transaction: Transaction, ids: str, values: Sequence[Any], change: str, actor: str, now_ms: int
) -> list[str]:
    """Delete the entries that `ids` selects, each with a row that tells of it; return their addresses."""
    found = transaction.connection.execute(_GONE.format(ids), values).fetchone()
    gone = json.loads(found[0])
    if gone:
        told = [(transaction.ids.next(), now_ms, change, *rest, actor, by) for _, by, *rest in gone]
        _CHANGE.run(transaction.connection, told)
        transaction.connection.execute(_DELETE, (json.dumps([row[0] for row in gone]),))
        transaction.place.stamp.renew()
    return [row[2] for row in gone]


def _values(id_: int, key: str, entry: Blocked) -> tuple[object, ...]:
    return (
        id_,
        key,
        key.rpartition("@")[2],
        entry.source,
        entry.category,
        entry.reason,
        entry.created_ms,
        entry.expires_ms,
        entry.recipient_id,
    )


def _told(key: str, entry: Blocked, actor: str) -> tuple[object, ...]:
    return key, entry.source, entry.category, entry.reason, actor, entry.recipient_id


def _end(expires_ms: int | None) -> int:
    return _FOR_EVER if expires_ms is None else expires_ms


def _folded(key: str) -> str:
    return address_key(key, fold=True)
