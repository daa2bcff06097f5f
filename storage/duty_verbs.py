"""The verbs that answer duties.

Rule: each sender is told exactly once: the mail is stored and its duties are deleted in one transaction, and nothing is
stored where a duty was gone already.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final

from storage import large, queue_verbs
from storage.duty import Digest
from storage.model import TimelineKind, queue_id
from storage.queue_verbs import Acceptance
from storage.statements import Keys, Rows, clean
from storage.transaction import Transaction, event_values

_PRESENT: Final = Keys("SELECT json_group_array(json_array(id, recipient_id)) FROM duty WHERE id IN ({})")
_DELETE: Final = Keys("DELETE FROM duty WHERE id IN ({})")
_MESSAGES: Final = Keys("SELECT json_group_array(DISTINCT message_id) FROM duty WHERE id IN ({})")
# Duties of a digest that one transaction deletes: the digest is told of in one, its duties go in steps.
_SWEPT_AT_ONCE: Final = 2000


@dataclass(frozen=True, slots=True)
class Answer:
    """A mail that answers duties."""

    mail: Acceptance
    duty_ids: Sequence[int]
    words: str
    """What the timelines of the recipients say of it."""


def answer(transaction: Transaction, wanted: Sequence[Answer]) -> list[bool]:
    """Store mails and delete what they answer; False, and nothing is stored, where a part of it was answered before."""
    return [_answer(transaction, one) for one in wanted]


def _answer(transaction: Transaction, wanted: Answer) -> bool:
    present = _PRESENT.read(transaction.connection, wanted.duty_ids)
    if len({id_ for id_, _ in present}) != len(set(wanted.duty_ids)):
        _forget_file(transaction, wanted.mail)
        return False
    queue_verbs.accept(transaction, [wanted.mail])
    _note(transaction, list(dict.fromkeys(recipient_id for _, recipient_id in present)), wanted)
    drop(transaction, [wanted.duty_ids])
    return True


def _forget_file(transaction: Transaction, mail: Acceptance) -> None:
    if mail.file:
        transaction.after.append(partial(large.remove, transaction.place.state_dir, mail.file))


def _note(transaction: Transaction, recipient_ids: Sequence[int], wanted: Answer) -> None:
    """Tell the timelines."""
    rows = transaction.load(recipient_ids)
    message = wanted.mail.message
    words = f"{wanted.words} ({queue_id(message.id)})"
    transaction.write_events(
        [
            event_values(row, transaction.ids.next(), message.received_ms, TimelineKind.ANSWER, words)
            for row in rows.values()
        ]
    )
    transaction.save(rows, ())
    transaction.touch(rows)


def drop(transaction: Transaction, wanted: Sequence[Sequence[int]]) -> list[None]:
    """Delete duties that need no answer (any more), and content that was kept for them."""
    for duty_ids in wanted:
        message_ids = _MESSAGES.read(transaction.connection, duty_ids)
        _DELETE.run(transaction.connection, duty_ids)
        transaction.drop_content(message_ids, files=True)
    return [None] * len(wanted)


# Of a mail that is not forwarded: enough to see what it was.
_KEPT_BYTES: Final = 16 * 1024
_CUT: Final = "UPDATE dsn SET raw=substr(raw, 1, ?1) WHERE id IN (SELECT value FROM json_each(?2)) AND length(raw) > ?1"


def refuse(transaction: Transaction, wanted: Sequence[tuple[Sequence[int], str]]) -> list[None]:
    """Delete duties to forward mails, and of the mails (ids as JSON) all but how they begin."""
    for duty_ids, dsn_ids in wanted:
        transaction.connection.execute(_CUT, (_KEPT_BYTES, dsn_ids))
        drop(transaction, [duty_ids])
    return [None] * len(wanted)


_POSTPONE: Final = "UPDATE duty SET due_ms=? WHERE id IN (SELECT value FROM json_each(?)) AND due_ms IS NOT NULL"


def postpone(transaction: Transaction, wanted: Sequence[tuple[str, int]]) -> list[None]:
    """Look at duties (ids as JSON) again at a time."""
    for duty_ids, due_ms in wanted:
        transaction.connection.execute(_POSTPONE, (due_ms, duty_ids))
    return [None] * len(wanted)


@dataclass(frozen=True, slots=True)
class Collect:
    """Duties that join a digest."""

    duty_ids: str
    """As JSON."""
    sender: str
    broadcast: str
    now_ms: int
    look_ms: int
    """When to look at the digest."""


_TAKEN: Final = (
    "SELECT id, message_id FROM duty WHERE id IN (SELECT value FROM json_each(?)) AND due_ms IS NOT NULL ORDER BY id"
)
_COLLECT: Final = Rows(
    "UPDATE duty SET id=v.column2, due_ms=NULL, sender=v.column3, broadcast=v.column4 FROM ({}) AS v"
    " WHERE duty.id=v.column1"
)
_OPEN: Final = (
    "INSERT INTO digest (sender, broadcast, due_ms, first_ms) VALUES (?,?,?,?) ON CONFLICT DO UPDATE SET"
    " first_ms=iif(due_ms IS NULL, excluded.first_ms, first_ms), due_ms=ifnull(due_ms, excluded.due_ms)"
)


def collect(transaction: Transaction, wanted: Sequence[Collect]) -> list[None]:
    """Let duties wait for a digest; content is not kept for one.

    Each gets a new id. One that was made earlier may come later than one that was told of, and what is told of is
    known by its last id.
    """
    for one in wanted:
        key = clean(one.sender), clean(one.broadcast)
        taken = transaction.connection.execute(_TAKEN, (one.duty_ids,)).fetchall()
        if taken:
            _COLLECT.run(transaction.connection, [(id_, transaction.ids.next(), *key) for id_, _ in taken])
            transaction.connection.execute(_OPEN, (*key, one.look_ms, one.now_ms))
            transaction.drop_content(list({message_id for _, message_id in taken}), files=True)
    return [None] * len(wanted)


@dataclass(frozen=True, slots=True)
class Told:
    """A mail that tells of a digest."""

    mail: Acceptance
    digest: Digest
    up_to: int | None
    """The last duty that it tells of; it tells of all before, too. None: of all that wait."""
    complete: bool


_TOLD: Final = (
    "UPDATE digest SET last_ms=?, told_to=?, complete=max(complete, ?), due_ms=?"
    " WHERE sender=? AND broadcast=? AND last_ms IS ? AND told_to < ?"
)


def tell(transaction: Transaction, wanted: Sequence[Told]) -> list[bool]:
    """Store digests; False, and nothing is stored, where another told of it before."""
    answers = []
    for one in wanted:
        digest, now_ms = one.digest, one.mail.message.received_ms
        key = clean(digest.sender), clean(digest.broadcast)
        up_to = transaction.ids.next() if one.up_to is None else one.up_to
        # Due at once: what it told of is swept then, and what came meanwhile finds its time.
        values = (now_ms, up_to, int(one.complete), now_ms, *key, digest.last_ms, up_to)
        told = transaction.connection.execute(_TOLD, values).rowcount == 1
        if told:
            queue_verbs.accept(transaction, [one.mail])
        else:
            _forget_file(transaction, one.mail)
        answers.append(told)
    return answers


_SWEEP: Final = (
    "DELETE FROM duty WHERE id IN (SELECT d.id FROM duty d WHERE d.due_ms IS NULL AND d.sender=?1 AND d.broadcast=?2"
    " AND d.id <= (SELECT told_to FROM digest WHERE sender=?1 AND broadcast=?2) ORDER BY d.id LIMIT ?3)"
)
_LOOK_LATER: Final = (
    "UPDATE digest SET due_ms=iif(EXISTS (SELECT 1 FROM duty d WHERE d.due_ms IS NULL AND d.sender=?1"
    " AND d.broadcast=?2 AND d.id > told_to), ?3, NULL) WHERE sender=?1 AND broadcast=?2"
)


def sweep(transaction: Transaction, wanted: Sequence[tuple[str, str]]) -> list[bool]:
    """Delete some duties that a digest told of; False when none is left."""
    return [
        transaction.connection.execute(_SWEEP, (clean(sender), clean(broadcast), _SWEPT_AT_ONCE)).rowcount > 0
        for sender, broadcast in wanted
    ]


def look_later(transaction: Transaction, wanted: Sequence[tuple[str, str, int]]) -> list[None]:
    """Look at digests again at a time, or when something joins them where nothing waits."""
    for sender, broadcast, due_ms in wanted:
        transaction.connection.execute(_LOOK_LATER, (clean(sender), clean(broadcast), due_ms))
    return [None] * len(wanted)


def forget(transaction: Transaction, wanted: Sequence[int]) -> list[None]:
    """Forget digests in which nothing waits and that were sent before a time."""
    for before_ms in wanted:
        transaction.connection.execute(
            "DELETE FROM digest WHERE due_ms IS NULL AND ifnull(last_ms, first_ms) < ?", (before_ms,)
        )
    return [None] * len(wanted)
