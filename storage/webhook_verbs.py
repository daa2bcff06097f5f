"""The verbs of webhooks.

Rules: how far an endpoint was told moves in the transaction that writes what it did not take: an event is sent, or it
is to be sent, at every moment. What is kept of calls and of orders is bounded for each endpoint, in the same
transactions.
"""

import json
from collections.abc import Sequence
from typing import Final

from storage.feed import Place
from storage.statements import Rows, clean
from storage.transaction import Transaction
from storage.webhook_model import HookAttempt, Told, Webhook

KEPT_TAKEN: Final = 50
KEPT_FAILED: Final = 100
"""The last calls of an endpoint that are kept: those that it took, and those that it did not."""
_KEPT_CHANGES: Final = 100
# Of secrets that sign along: who clicks twice loses none that an endpoint may still know.
_MOST_FORMER: Final = 5

OF_ONE: Final = ("webhook_retry", "webhook_attempt", "webhook_change")
"""What belongs to an endpoint and goes with it, by the column `webhook`."""

_ADD: Final = (
    "INSERT INTO webhook (id, url, secret, types, user, created_ms, serial, place, note)"
    " SELECT ?,?,?,?,?,?, max(serial) + 1, 0, '' FROM change"
)
_CHANGE: Final = "INSERT INTO webhook_change (webhook, id, at_ms, change, actor) VALUES (?,?,?,?,?)"
_OLD_CHANGES: Final = (
    "DELETE FROM webhook_change WHERE webhook=?1 AND id <="
    " (SELECT id FROM webhook_change WHERE webhook=?1 ORDER BY id DESC LIMIT 1 OFFSET ?2)"
)


def add(transaction: Transaction, wanted: Sequence[tuple[Webhook, str]]) -> list[None]:
    """Add endpoints for an actor; they are told of all that happens from now on."""
    for hook, actor in wanted:
        user = None if hook.user is None else clean(hook.user)
        values = hook.id, clean(hook.url), hook.secret, json.dumps(sorted(hook.types)), user, hook.created_ms
        transaction.connection.execute(_ADD, values)
        _note(transaction, hook.id, hook.created_ms, "added", actor)
    return [None] * len(wanted)


def _note(transaction: Transaction, id_: str, at_ms: int, change: str, actor: str) -> None:
    """Remember who ordered what."""
    values = clean(id_), transaction.ids.next(), at_ms, clean(change), clean(actor)
    transaction.connection.execute(_CHANGE, values)
    transaction.connection.execute(_OLD_CHANGES, (clean(id_), _KEPT_CHANGES))


def remove(transaction: Transaction, wanted: Sequence[str]) -> list[bool]:
    """Forget endpoints; False where there is none of this id."""
    return [_remove(transaction, clean(id_)) for id_ in wanted]


def _remove(transaction: Transaction, id_: str) -> bool:
    for table in OF_ONE:
        transaction.connection.execute(f"DELETE FROM {table} WHERE webhook=?", (id_,))  # noqa: S608 - our own words
    return transaction.connection.execute("DELETE FROM webhook WHERE id=?", (id_,)).rowcount == 1


# What was learned of an endpoint is forgotten, so that it is called at once.
_AT_ONCE: Final = "failing_ms=NULL, next_ms=NULL, note=''"
_DUE: Final = "UPDATE webhook_retry SET due_ms=? WHERE webhook=? AND due_ms > ?"


def stop(transaction: Transaction, wanted: Sequence[tuple[str, int, str]]) -> list[bool]:
    """Stop endpoints: (id, now, actor); False where there is none of this id."""
    sql = "UPDATE webhook SET stopped_ms=?, failing_ms=NULL, next_ms=NULL, note=? WHERE id=?"
    return [
        _ordered(transaction, sql, (now_ms, clean(f"stopped by {actor}")), id_, now_ms, "stopped", actor)
        for id_, now_ms, actor in wanted
    ]


def enable(transaction: Transaction, wanted: Sequence[tuple[str, int, str]]) -> list[bool]:
    """Start endpoints, from where they were and at once: (id, now, actor); False where there is none of this id."""
    sql = f"UPDATE webhook SET stopped_ms=NULL, {_AT_ONCE} WHERE id=?"  # noqa: S608 - our own words
    answers = []
    for id_, now_ms, actor in wanted:
        answers.append(_ordered(transaction, sql, (), id_, now_ms, "enabled", actor))
        transaction.connection.execute(_DUE, (now_ms, clean(id_), now_ms))
    return answers


def change(transaction: Transaction, wanted: Sequence[tuple[Webhook, int, str, str]]) -> list[bool]:
    """Give endpoints the URL and types they have here: (endpoint, now, what that is called, actor); False: gone."""
    sql = f"UPDATE webhook SET url=?, types=?, {_AT_ONCE} WHERE id=? AND stopped_ms IS NULL"  # noqa: S608 - as above
    stopped = "UPDATE webhook SET url=?, types=? WHERE id=?"
    answers = []
    for hook, now_ms, called, actor in wanted:
        values = clean(hook.url), json.dumps(sorted(hook.types))
        answers.append(
            _ordered(transaction, sql, values, hook.id, now_ms, called, actor)
            or _ordered(transaction, stopped, values, hook.id, now_ms, called, actor)
        )
    return answers


def _ordered(
    transaction: Transaction, sql: str, values: tuple[object, ...], id_: str, now_ms: int, change: str, actor: str
) -> bool:
    done = transaction.connection.execute(sql, (*values, clean(id_))).rowcount == 1
    if done:
        _note(transaction, id_, now_ms, change, actor)
    return done


def replay(transaction: Transaction, wanted: Sequence[tuple[str, Place, int, str, str]]) -> list[bool]:
    """Go on from another place: (id, place, now, what it is called, actor); False where there is no such endpoint."""
    sql = "UPDATE webhook SET serial=?, place=? WHERE id=?"
    return [
        _ordered(transaction, sql, (place.serial, place.index), id_, now_ms, f"sent again from {called}", actor)
        for id_, place, now_ms, called, actor in wanted
    ]


def rotate(transaction: Transaction, wanted: Sequence[tuple[str, str, int, int, str]]) -> list[bool]:
    """Give endpoints other secrets: (id, secret, until when the former signs along, now, actor)."""
    return [_rotate(transaction, *one) for one in wanted]


def _rotate(transaction: Transaction, id_: str, secret: str, until_ms: int, now_ms: int, actor: str) -> bool:
    found = transaction.connection.execute("SELECT secret, former FROM webhook WHERE id=?", (clean(id_),)).fetchone()
    if found is None:
        return False
    former = [[found[0], until_ms], *(one for one in json.loads(found[1]) if one[1] > now_ms)][:_MOST_FORMER]
    sql = "UPDATE webhook SET secret=?, former=? WHERE id=?"
    return _ordered(transaction, sql, (secret, json.dumps(former)), id_, now_ms, "given a new secret", actor)


_MOVE: Final = "UPDATE webhook SET serial=?, place=? WHERE id=? AND serial=? AND place=?"
# Who stopped it meanwhile has said why.
_STATE: Final = (
    "UPDATE webhook SET failing_ms=?, note=?, next_ms=?, taken_ms=ifnull(?, taken_ms), stopped_ms=?"
    " WHERE id=? AND stopped_ms IS NULL"
)
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
        execute(_STATE, (told.failing_ms, clean(told.note), told.next_ms, told.taken_ms, told.stopped_ms, id_))
        for retry in told.later:
            execute(_LATER, (retry.place.serial, retry.place.index, retry.due_ms, retry.tries, id_))
        for place in told.over:
            execute(_OVER, (id_, place.serial, place.index))
        _keep(transaction, id_, told.attempts)
    return [None] * len(wanted)


def tried(transaction: Transaction, wanted: Sequence[tuple[str, HookAttempt]]) -> list[None]:
    """Write a call that is none of the events' own: a test."""
    for id_, attempt in wanted:
        _keep(transaction, clean(id_), [attempt])
    return [None] * len(wanted)


_ATTEMPT: Final = Rows.insert(
    "webhook_attempt",
    "webhook,taken,id,at_ms,duration_ms,type,serial,place,recipient_id,status,words,tries,next_ms",
)
_OLD_ATTEMPTS: Final = (
    "DELETE FROM webhook_attempt WHERE webhook=?1 AND taken=?2 AND id <="
    " (SELECT id FROM webhook_attempt WHERE webhook=?1 AND taken=?2 ORDER BY id DESC LIMIT 1 OFFSET ?3)"
)


def _keep(transaction: Transaction, id_: str, attempts: Sequence[HookAttempt]) -> None:
    """Keep calls of an endpoint, if it is still there, and forget those that are too many then."""
    if not attempts or not transaction.connection.execute("SELECT 1 FROM webhook WHERE id=?", (id_,)).fetchone():
        return
    _ATTEMPT.run(transaction.connection, [_values(transaction, id_, one) for one in attempts])
    for taken, kept in ((1, KEPT_TAKEN), (0, KEPT_FAILED)):
        if any(one.taken == taken for one in attempts):
            transaction.connection.execute(_OLD_ATTEMPTS, (id_, taken, kept))


def _values(transaction: Transaction, id_: str, one: HookAttempt) -> tuple[object, ...]:
    return (
        id_,
        int(one.taken),
        transaction.ids.next(),
        one.at_ms,
        one.duration_ms,
        str(one.type),
        one.place.serial if one.place else None,
        one.place.index if one.place else None,
        one.recipient_id,
        one.status,
        clean(one.words),
        one.tries,
        one.next_ms,
    )
