"""The verbs of the Blocked Email list.

Rule: each change of the list leaves a row in `blocked_change`, so that it can be told who did what, and undone.
"""

from collections.abc import Sequence
from typing import Final

from storage.address import address_key
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
_FOR_EVER: Final = 1 << 62


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
