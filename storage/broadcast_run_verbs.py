"""The verbs of a run: from a draft to its last recipient.

Rule: a chunk is accepted, taken off, and counted in one transaction, by compare-and-set on how many were done: whoever
runs it, and however often it dies, nobody gets it twice and nobody is left out.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Final

from storage import large, queue_verbs
from storage.broadcast_ledger import broadcast_of, forget_unsent
from storage.broadcast_model import Chunk, NewRun, RunOrder, RunState
from storage.model import Job, TimelineKind
from storage.queue_verbs import Acceptance
from storage.recipient import remove
from storage.statements import Rows, clean
from storage.transaction import Transaction, event_values

_DAY_MS: Final = 86_400_000
_SWEPT_AT_ONCE: Final = 200

_CREATE: Final = (
    "INSERT INTO broadcast_run (id, broadcast_id, type, state, created_ms, sender, subject, template, personal,"
    " per_hour, chunks, total, done_chunks, done, unsent, blocked, duplicate, no_email_selected, note)"
    " VALUES (?, ?, ?, 'draft', ?, ?, ?, ?, ?, ?, 0, 0, 0, 0, 0, 0, 0, 0, '')"
)


def create(transaction: Transaction, wanted: Sequence[tuple[NewRun, int]]) -> list[int]:
    """Make drafts at the times given; the answers are their ids."""
    ids = []
    for run, now_ms in wanted:
        broadcast_id = broadcast_of(transaction, run.owner, run.name, run.type, now_ms)
        ids.append(transaction.ids.next())
        values = (ids[-1], broadcast_id, clean(run.type), now_ms, clean(run.sender), clean(run.subject), run.template)
        transaction.connection.execute(_CREATE, (*values, run.personal, run.per_hour))
    return ids


def add_chunks(transaction: Transaction, wanted: Sequence[tuple[int, Sequence[Chunk]]]) -> list[None]:
    """Add recipients to drafts."""
    run = transaction.connection.execute
    for run_id, chunks in wanted:
        for chunk in chunks:
            run("INSERT INTO broadcast_chunk VALUES (?, ?, ?)", (run_id, chunk.number, chunk.recipients))
        sql = "UPDATE broadcast_run SET chunks = chunks + ?, total = total + ? WHERE id = ?"
        run(sql, (len(chunks), sum(chunk.count for chunk in chunks), run_id))
    return [None] * len(wanted)


def start(transaction: Transaction, wanted: Sequence[tuple[int, int | None, int]]) -> list[bool]:
    """Let drafts go: (run, when to begin or None for now, now); False where it is no draft (any more)."""
    answers = []
    for run_id, start_ms, now_ms in wanted:
        later = start_ms is not None and start_ms > now_ms
        state = RunState.SCHEDULED if later else RunState.SENDING
        values = (state, start_ms, None if later else now_ms, run_id)
        sql = "UPDATE broadcast_run SET state = ?, start_ms = ?, started_ms = ? WHERE id = ? AND state = 'draft'"
        answers.append(transaction.connection.execute(sql, values).rowcount == 1)
        _end_if_done(transaction, run_id, now_ms)
    return answers


def begin(transaction: Transaction, wanted: Sequence[tuple[int, int]]) -> list[bool]:
    """Begin scheduled runs: (run, now); False where it is not to begin (any more)."""
    sql = (
        "UPDATE broadcast_run SET state = 'sending', started_ms = ifnull(started_ms, ?)"
        " WHERE id = ? AND state = 'scheduled' AND start_ms <= ?"
    )
    return [transaction.connection.execute(sql, (now, run_id, now)).rowcount == 1 for run_id, now in wanted]


_ORDERS: Final = {
    RunOrder.PAUSE: "UPDATE broadcast_run SET state = 'paused', note = ? WHERE id = ? AND ? > 0"
    " AND state IN ('scheduled', 'sending')",
    RunOrder.RESUME: "UPDATE broadcast_run SET note = ?,"
    " state = CASE WHEN start_ms > ?3 AND started_ms IS NULL THEN 'scheduled' ELSE 'sending' END,"
    " started_ms = CASE WHEN start_ms > ?3 AND started_ms IS NULL THEN NULL ELSE ifnull(started_ms, ?3) END"
    " WHERE id = ?2 AND state = 'paused'",
    RunOrder.CANCEL: "UPDATE broadcast_run SET state = 'cancelled', note = ?, ended_ms = ?3 WHERE id = ?2"
    " AND state IN ('draft', 'scheduled', 'sending', 'paused')",
}


def order(transaction: Transaction, wanted: Sequence[tuple[int, RunOrder, int, str]]) -> list[bool]:
    """Pause, resume or cancel runs: (run, order, now, a note); False where the run is not in a state for it."""
    return [
        transaction.connection.execute(_ORDERS[told], (clean(note), run_id, now_ms)).rowcount == 1
        for run_id, told, now_ms, note in wanted
    ]


@dataclass(frozen=True, slots=True)
class ChunkSent:
    """The messages of a chunk, ready to be accepted."""

    run_id: int
    number: int
    count: int
    """How many of its recipients are decided on; the others are in `later`."""
    now_ms: int
    messages: Sequence[Acceptance]
    unfit: Mapping[int, str] = field(default_factory=dict)
    """Why the messages of these unleased recipients could not be made: none of them is sent."""
    later: bytes = b""
    """Recipients, as in `Chunk`, who make a new chunk at the end."""


_TAKE: Final = (
    "UPDATE broadcast_run SET done_chunks = done_chunks + 1, done = done + ?,"
    " first_message = ifnull(first_message, ?) WHERE id = ? AND state = 'sending' AND done_chunks = ?"
)
_LATER: Final = "INSERT INTO broadcast_chunk SELECT id, chunks, ? FROM broadcast_run WHERE id = ?"
_OF_RUN: Final = Rows.insert("broadcast_run_message", "message_id,run_id")
_DECIDED: Final = (
    "SELECT json_group_array(json_array(status, n)) FROM (SELECT status, count(*) AS n FROM recipient"
    " WHERE id IN (SELECT value FROM json_each(?)) GROUP BY status)"
)
_COLUMNS: Final = {
    "Unsent": "unsent",
    "Bounced": "unsent",
    "Blocked": "blocked",
    "Duplicate": "duplicate",
    "No Email Selected": "no_email_selected",
}


def send(transaction: Transaction, wanted: Sequence[ChunkSent]) -> list[list[Job] | None]:
    """Accept chunks; None, and nothing happens, where it is not this chunk's turn (any more)."""
    return [_send(transaction, chunk) for chunk in wanted]


def _send(transaction: Transaction, chunk: ChunkSent) -> list[Job] | None:
    connection = transaction.connection
    message_ids = [acceptance.message.id for acceptance in chunk.messages]
    values = (chunk.count, min(message_ids, default=None), chunk.run_id, chunk.number)
    if connection.execute(_TAKE, values).rowcount != 1:
        _forget_files(transaction, chunk)
        return None
    connection.execute("DELETE FROM broadcast_chunk WHERE run_id = ? AND number = ?", (chunk.run_id, chunk.number))
    jobs = [job for some in queue_verbs.accept(transaction, chunk.messages) for job in some] if message_ids else []
    if chunk.later:
        connection.execute(_LATER, (chunk.later, chunk.run_id))
        connection.execute("UPDATE broadcast_run SET chunks = chunks + 1 WHERE id = ?", (chunk.run_id,))
    _end_unfit(transaction, chunk)
    _OF_RUN.run(connection, [(message_id, chunk.run_id) for message_id in message_ids])
    _count(transaction, chunk)
    _end_if_done(transaction, chunk.run_id, chunk.now_ms)
    return jobs


def _forget_files(transaction: Transaction, chunk: ChunkSent) -> None:
    for acceptance in chunk.messages:
        if acceptance.file:
            transaction.after.append(partial(large.remove, transaction.place.state_dir, acceptance.file))


def _end_unfit(transaction: Transaction, chunk: ChunkSent) -> None:
    """End those whom nothing holds back any more, while there is nothing that they could be sent."""
    if not chunk.unfit:
        return
    rows = transaction.load(chunk.unfit)
    ended = [row for row in rows.values() if remove(row, chunk.now_ms, f"not sent: {chunk.unfit[row.id]}")]
    transaction.write_events(
        [event_values(row, transaction.ids.next(), chunk.now_ms, TimelineKind.QUEUE, row.diagnostic) for row in ended]
    )
    forget_unsent(transaction, ended)
    transaction.save(rows, ended)


def _count(transaction: Transaction, chunk: ChunkSent) -> None:
    ids = [recipient.id for acceptance in chunk.messages for recipient in acceptance.recipients]
    decided = json.loads(transaction.connection.execute(_DECIDED, (json.dumps(ids),)).fetchone()[0])
    for status, number in decided:
        column = _COLUMNS[status]
        sql = f"UPDATE broadcast_run SET {column} = {column} + ? WHERE id = ?"  # noqa: S608 - our own words
        transaction.connection.execute(sql, (number, chunk.run_id))


def _end_if_done(transaction: Transaction, run_id: int, now_ms: int) -> None:
    sql = (
        "UPDATE broadcast_run SET state = 'done', ended_ms = ? WHERE id = ? AND state = 'sending'"
        " AND done_chunks = chunks"
    )
    transaction.connection.execute(sql, (now_ms, run_id))


_LEFT: Final = (
    "SELECT id FROM broadcast_run r WHERE state = 'cancelled'"
    " AND EXISTS (SELECT 1 FROM broadcast_chunk c WHERE c.run_id = r.id) LIMIT 1"
)
_SWEEP: Final = (
    "DELETE FROM broadcast_chunk WHERE run_id = ?1 AND number IN"
    " (SELECT number FROM broadcast_chunk WHERE run_id = ?1 LIMIT ?2)"
)


def sweep(transaction: Transaction, wanted: Sequence[int]) -> list[int]:
    """Cancel drafts that a day has forgotten, and delete some recipients of what was cancelled; 0 at the end."""
    run = transaction.connection.execute
    answers = []
    for now_ms in wanted:
        sql = "UPDATE broadcast_run SET state = 'cancelled', ended_ms = ? WHERE state = 'draft' AND created_ms < ?"
        run(sql, (now_ms, now_ms - _DAY_MS))
        left = run(_LEFT).fetchone()
        answers.append(run(_SWEEP, (left[0], _SWEPT_AT_ONCE)).rowcount if left else 0)
    return answers
