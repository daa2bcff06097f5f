"""What the store's own verbs read outside of transactions, in a thread and on a connection of its own."""
# ruff: noqa: S608 - SQL is put together from words of this program only; values are parameters

import json
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from storage import large
from storage.admit_verb import held_back
from storage.commit import told
from storage.held import Held
from storage.lane import Call
from storage.model import BodyType, Job, Message, NewRecipient
from storage.recipient import NEVER
from storage.status import Status

# Entries of the due index that one claim looks at. A reader is in nobody's way (WAL): this bounds the
# time that the claim itself takes, some 30 ms.
_MOST_SCANNED: Final = 100_000


class Lookups:
    """Holds the reading connection; all of it runs in one thread, the opening aside."""

    def __init__(self, connection: sqlite3.Connection, state_dir: Path) -> None:
        self.connection = connection
        self.state_dir = state_dir
        connection.execute("PRAGMA query_only = ON")

    def ready(self) -> None:
        """Wait for nobody: readers are in nobody's way."""

    def serve(self, calls: Sequence[Call]) -> None:
        """Answer each call by itself."""
        for call in calls:
            try:
                call.answer = call.verb(self, [call.argument])[0]
            except Exception as error:  # noqa: BLE001 - whatever it is, it belongs to the caller
                call.error = told(error)

    def close(self) -> None:
        """Close the connection."""
        self.connection.close()


@dataclass(frozen=True, slots=True)
class Look:
    """What a claim looks for."""

    now_ms: int
    limit: int
    skip_domains: Sequence[str]
    offset: int
    """Entries of the due index to pass over: those that the look before found only domains to skip in."""


_DUE: Final = (
    "SELECT json_group_array(id) FROM (SELECT id FROM (SELECT id, domain FROM recipient INDEXED BY recipient_due"
    " WHERE due_ms IS NOT NULL AND due_ms <= ? ORDER BY due_ms LIMIT ? OFFSET ?)"
    " WHERE domain NOT IN (SELECT value FROM json_each(?)) LIMIT ?)"
)
_SEEN: Final = (
    "SELECT count(*) FROM (SELECT 1 FROM recipient INDEXED BY recipient_due"
    " WHERE due_ms IS NOT NULL AND due_ms <= ? LIMIT ? OFFSET ?)"
)


def look_due(lookups: Lookups, looks: Sequence[Look]) -> list[tuple[list[int], int]]:
    """Return who seems due, the longest due first, and the offset for the next look."""
    return [_look_due(lookups.connection, look) for look in looks]


def _look_due(connection: sqlite3.Connection, look: Look) -> tuple[list[int], int]:
    skip = json.dumps(list(look.skip_domains))
    values = (look.now_ms, _MOST_SCANNED, look.offset, skip, look.limit)
    ids: list[int] = json.loads(connection.execute(_DUE, values).fetchone()[0])
    if len(ids) == look.limit:
        return ids, look.offset
    # A queue that begins with more of the skipped domains than one look may see must not hide the rest:
    # the next look goes on behind them, and begins anew at the end.
    (seen,) = connection.execute(_SEEN, (look.now_ms, _MOST_SCANNED, look.offset)).fetchone()
    return ids, look.offset + seen if seen == _MOST_SCANNED else 0


MESSAGE_COLUMNS: Final = (
    "m.id, m.received_ms, m.sender, m.body, m.smtputf8, m.size, m.plan, m.envid, m.ret, m.user, m.client,"
    " m.message_id, m.from_header, m.subject, m.untracked_reason, m.broadcast, m.broadcast_type"
)
"""What `message_of` reads, of `message m`."""

_JOB: Final = (
    f"SELECT r.id, r.address, r.domain, r.status, r.attempts, r.expires_ms, r.notify, r.orcpt, r.losses,"
    f" {MESSAGE_COLUMNS}"
    " FROM json_each(?) AS wanted CROSS JOIN recipient r ON r.id = wanted.value JOIN message m ON m.id = r.message_id"
)


def read_jobs(lookups: Lookups, wanted: Sequence[dict[int, int]]) -> list[list[Job]]:
    """Return the jobs of recipients leased to this process, given as leases by recipient id, in that order."""
    return [_read_jobs(lookups.connection, leases) for leases in wanted]


def _read_jobs(connection: sqlite3.Connection, leases: dict[int, int]) -> list[Job]:
    rows = connection.execute(_JOB, (json.dumps(list(leases)),)).fetchall()
    return [_job(row, leases[row[0]]) for row in rows]


def _job(row: Sequence[Any], lease: int) -> Job:
    id_, address, domain, status, attempts, expires_ms, notify, orcpt, losses, *message = row
    return Job(
        message_of(message),
        id_,
        address,
        domain,
        Status(status),
        attempts,
        expires_ms,
        lease,
        notify=notify,
        orcpt=orcpt,
        losses=losses,
    )


def message_of(row: Sequence[Any]) -> Message:
    """Return the message that MESSAGE_COLUMNS gave."""
    values = list(row)
    values[3] = BodyType(values[3])
    values[4] = bool(values[4])
    return Message(*values)


def read_content(lookups: Lookups, message_ids: Sequence[int]) -> list[bytes | None]:
    """Return stored contents; None where one was dropped."""
    return [_read_content(lookups, message_id) for message_id in message_ids]


def _read_content(lookups: Lookups, message_id: int) -> bytes | None:
    sql = "SELECT body, file FROM content WHERE message_id=?"
    found = lookups.connection.execute(sql, (message_id,)).fetchone()
    if found is None:
        return None
    body: bytes | None = found[0]
    if body is not None:
        return body
    try:
        body = large.path_of(lookups.state_dir, found[1]).read_bytes()
    except FileNotFoundError:
        return None  # dropped since the row was read
    return body


@dataclass(frozen=True, slots=True)
class InMemory:
    """Recipients that are leased and wait, to be held against the lists."""

    jobs: Sequence[Job]
    known: Held
    now_ms: int
    fold: bool


def find_held_back(lookups: Lookups, wanted: Sequence[InMemory]) -> list[set[int]]:
    """Return which recipients the Blocked Email list or a contact's choice holds back."""
    return [_find_held_back(lookups.connection, one) for one in wanted]


def _find_held_back(connection: sqlite3.Connection, wanted: InMemory) -> set[int]:
    named = [
        (job.message.broadcast_type, NewRecipient(job.recipient_id, job.address, job.domain)) for job in wanted.jobs
    ]
    everybody = [new for _, new in named] if wanted.known.blocked else []
    typed = [(type_, new) for type_, new in named if type_ is not None] if wanted.known.choosy else []
    return set(held_back(connection, everybody, typed, wanted.now_ms, fold=wanted.fold))


_NEXT_DUE: Final = (
    "SELECT due_ms FROM recipient INDEXED BY recipient_due"
    " WHERE due_ms IS NOT NULL AND due_ms < ? AND lease IS NULL ORDER BY due_ms LIMIT 1"
)


def read_next_due(lookups: Lookups, asked: Sequence[None]) -> list[int | None]:
    """Return when the next unleased recipient is due; None where none waits."""
    found = lookups.connection.execute(_NEXT_DUE, (NEVER,)).fetchone()
    return [found[0] if found else None] * len(asked)


def read_waiting_dsns(lookups: Lookups, wanted: Sequence[tuple[int, int]]) -> list[list[tuple[int, int | None, bytes]]]:
    """Return (id, recipient id of the return path, raw) of bounce messages not settled yet, oldest first.

    Asked for by (the id that they come after, how many).
    """
    sql = "SELECT id, recipient_id, raw FROM dsn WHERE kind IS NULL AND id > ? ORDER BY id LIMIT ?"
    return [lookups.connection.execute(sql, one).fetchall() for one in wanted]
