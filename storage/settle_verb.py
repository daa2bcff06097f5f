"""The verb that writes what attempts came to.

Rule: compare and set. A job knows what its recipient's row held when it was leased, and as long as the
lease is good hardly anything else has moved it. So a group is judged by its jobs and written where the
rows are still so; where one is not, the whole group is run again, each row read before it is judged.
"""
# ruff: noqa: S608 - SQL is put together from words of this program only; values are parameters

from collections.abc import Sequence
from operator import attrgetter
from typing import Any, Final

from storage import block_verb, large
from storage.duty import FAILURES, Owed, of_result
from storage.model import Job, Result, Settled
from storage.recipient import NEVER, Recipient, settle
from storage.statements import Rows
from storage.status import Status
from storage.tally import Whose, hour_of, invalid_of, pending, standing
from storage.transaction import MisjudgedError, Transaction

_MOVED: Final = (
    "status",
    "attempts",
    "due_ms",
    "lease",
    "last_attempt_ms",
    "code",
    "enhanced",
    "diagnostic",
    "category",
    "mx",
    "mx_address",
    "delivered_ms",
    "in_doubt_ms",
)
_SET: Final = ",".join(f"{name}=v.column{at}" for at, name in enumerate(_MOVED, 4))
# A hit that was kept, or an operator's hold, makes another row of it: those are read first.
_WRITE: Final = Rows(
    f"UPDATE recipient SET {_SET} FROM ({{}}) AS v WHERE recipient.id=v.column1 AND recipient.lease=v.column2"
    f" AND recipient.status=v.column3 AND recipient.opens=0 AND recipient.machine_hits=0 AND recipient.due_ms<>{NEVER}"
)
_moved = attrgetter(*_MOVED)

_ATTEMPT: Final = Rows.insert(
    "attempt",
    "recipient_id,id,at_ms,duration_ms,phase,code,enhanced,text,category,rules,mx,address,tls,in_doubt,status,source",
)


def settle_all(transaction: Transaction, results: Sequence[Result]) -> list[Settled]:
    """Judge and write results; nothing is kept for a recipient that is gone (purged)."""
    return _trusted(transaction, results) if transaction.trusting else _read(transaction, results)


def _trusted(transaction: Transaction, results: Sequence[Result]) -> list[Settled]:
    rows = [_row_of(result.job) for result in results]
    values = []
    for row, result in zip(rows, results, strict=True):
        settle(row, result)
        before = result.job.status
        transaction.count(before, -1)
        transaction.count(row.status, 1)
        if row.status is not before:
            _tally(transaction, result.job, row)
        values.append((row.id, result.job.lease, before, *_moved(row)))
    # A recipient met twice is one row: its second answer is without a lease.
    if _WRITE.run(transaction.connection, values) != len(rows):
        raise MisjudgedError
    attempts = [_attempt_values(transaction, row, result) for row, result in zip(rows, results, strict=True)]
    _ATTEMPT.run(transaction.connection, attempts)
    transaction.wrote(attempts)
    transaction.touch(row.id for row in rows)
    _owe(transaction, results)
    block_verb.learn_of(transaction, results)
    done = list({row.message_id for row in rows if row.due_ms is None})
    transaction.drop_content(done, files=_some_large(results))
    return [Settled(row.status, accepted=True) for row in rows]


def _tally(transaction: Transaction, job: Job, row: Recipient) -> None:
    message = job.message
    if message.broadcast:
        tracked = message.untracked_reason is None
        broadcast_id = transaction.broadcast_id(message.user, message.broadcast)
        whose = Whose(message.user, broadcast_id, tracked, job.domain)
        transaction.tally.moved(row.id, whose, pending(job.status), standing(row))
    else:
        hours, hour = transaction.tally.hours, hour_of(row.id)
        hours[hour, message.user, job.status] -= 1
        hours[hour, message.user, row.status] += 1
    if row.status is Status.FAILED:
        transaction.tally.invalid([invalid_of(row, message.user, job.address)])


def _owe(transaction: Transaction, results: Sequence[Result]) -> None:
    """Write what the senders are to be told of; next to nothing where that is nothing."""
    kinds = [of_result(result) for result in results]
    if any(kinds):
        transaction.owe(
            [
                Owed(result.job.message.id, result.job.recipient_id, kind, result.warn_ms)
                for result, kind in zip(results, kinds, strict=True)
                if kind
            ]
        )


def _row_of(job: Job) -> Recipient:
    """Return the row as the job knows it; what it does not know is None or 0, and not written."""
    return Recipient(
        job.recipient_id,
        job.message.id,
        job.status,
        job.attempts,
        0,
        job.lease,
        None,
        None,
        None,
        "",
        None,
        None,
        None,
        None,
        None,
        0,
        0,
        None,
        "",
        job.losses,
        job.expires_ms,
    )


def _read(transaction: Transaction, results: Sequence[Result]) -> list[Settled]:
    rows = transaction.load(result.job.recipient_id for result in results)
    changed: dict[int, Recipient] = {}
    attempts = []
    answers: list[Settled] = []
    for result in results:
        row = rows.get(result.job.recipient_id)
        if row is None:
            answers.append(Settled(result.job.status, accepted=False))
            continue
        accepted = settle(row, result)
        if accepted:
            changed[row.id] = row
        attempts.append(_attempt_values(transaction, row, result))
        answers.append(Settled(row.status, accepted))
    _ATTEMPT.run(transaction.connection, attempts)
    transaction.wrote(attempts)
    # Failures are owed by `save`, whatever made them.
    done = [result for result, answer in zip(results, answers, strict=True) if answer.accepted]
    _owe(transaction, [result for result in done if result.event not in FAILURES])
    block_verb.learn_of(transaction, done)
    transaction.save(rows, changed.values(), files=_some_large(results))
    return answers


def _some_large(results: Sequence[Result]) -> bool:
    return any(result.job.message.size > large.LARGE_BYTES for result in results)


def _attempt_values(transaction: Transaction, row: Recipient, result: Result) -> tuple[Any, ...]:
    attempt = result.attempt
    return (
        row.id,
        transaction.ids.next(),
        attempt.at_ms,
        attempt.duration_ms,
        attempt.phase,
        attempt.reply.code,
        attempt.reply.enhanced,
        attempt.reply.text,
        attempt.category,
        attempt.rules,
        attempt.mx,
        attempt.address,
        attempt.tls,
        int(attempt.in_doubt),
        row.status,
        attempt.source,
    )
