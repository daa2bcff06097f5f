"""The verbs of webhooks.

Rule: how far an endpoint was told moves in the transaction that writes what it did not take: an event is sent, or it is
to be sent, at every moment.
"""

import json
from collections.abc import Sequence
from typing import Final

from storage.feed import Place
from storage.statements import clean
from storage.transaction import Transaction
from storage.webhook_model import Told, Webhook

_ADD: Final = (
    "INSERT INTO webhook (id, url, secret, types, user, created_ms, serial, place, note)"
    " SELECT ?,?,?,?,?,?, max(serial) + 1, 0, '' FROM change"
)


def add(transaction: Transaction, wanted: Sequence[Webhook]) -> list[None]:
    """Add endpoints, which are told of all that happens from now on."""
    for hook in wanted:
        user = None if hook.user is None else clean(hook.user)
        values = hook.id, clean(hook.url), hook.secret, json.dumps(sorted(hook.types)), user, hook.created_ms
        transaction.connection.execute(_ADD, values)
    return [None] * len(wanted)


def remove(transaction: Transaction, wanted: Sequence[str]) -> list[bool]:
    """Forget endpoints; False where there is none of this id."""
    return [_remove(transaction, id_) for id_ in wanted]


def _remove(transaction: Transaction, id_: str) -> bool:
    transaction.connection.execute("DELETE FROM webhook_retry WHERE webhook=?", (clean(id_),))
    return transaction.connection.execute("DELETE FROM webhook WHERE id=?", (clean(id_),)).rowcount == 1


def switch(transaction: Transaction, wanted: Sequence[tuple[str, int | None, str]]) -> list[bool]:
    """Stop (a time) or start (None) endpoints, with a note; False where there is none of this id."""
    sql = "UPDATE webhook SET stopped_ms=?, failing_ms=NULL, note=? WHERE id=?"
    return [
        transaction.connection.execute(sql, (stopped_ms, clean(note), clean(id_))).rowcount == 1
        for id_, stopped_ms, note in wanted
    ]


def replay(transaction: Transaction, wanted: Sequence[tuple[str, Place]]) -> list[bool]:
    """Go on from another place; False where there is no endpoint of this id."""
    sql = "UPDATE webhook SET serial=?, place=? WHERE id=?"
    return [
        transaction.connection.execute(sql, (place.serial, place.index, clean(id_))).rowcount == 1
        for id_, place in wanted
    ]


_MOVE: Final = "UPDATE webhook SET serial=?, place=? WHERE id=? AND serial=? AND place=?"
_STATE: Final = "UPDATE webhook SET failing_ms=?, note=?, stopped_ms=ifnull(stopped_ms, ?) WHERE id=?"
_LATER: Final = (
    "INSERT INTO webhook_retry (webhook, serial, place, due_ms, tries) SELECT id, ?, ?, ?, ? FROM webhook WHERE id=?"
    " ON CONFLICT DO UPDATE SET due_ms=excluded.due_ms, tries=excluded.tries"
)
_OVER: Final = "DELETE FROM webhook_retry WHERE webhook=? AND serial=? AND place=?"


def tell(transaction: Transaction, wanted: Sequence[Told]) -> list[None]:
    """Write what came of sending events."""
    execute = transaction.connection.execute
    for told in wanted:
        id_ = clean(told.id)
        execute(_MOVE, (told.place.serial, told.place.index, id_, told.was.serial, told.was.index))
        execute(_STATE, (told.failing_ms, clean(told.note), told.stopped_ms, id_))
        for retry in told.later:
            execute(_LATER, (retry.place.serial, retry.place.index, retry.due_ms, retry.tries, id_))
        for place in told.over:
            execute(_OVER, (id_, place.serial, place.index))
    return [None] * len(wanted)
