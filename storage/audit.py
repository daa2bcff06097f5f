"""What the queue must never hold: pending recipients that nobody would try, or that nobody can.

Rule: an audit is a walk, some recipients a step, each step one look at an index; what looks wrong is judged again
inside the transaction that mends it. What it finds is a bug, or damage, of ours, and is told as such.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from storage import owners
from storage.lookups import Lookups
from storage.owners import slot_of
from storage.queue_verbs import LEASE_MS, Wait, lose_all
from storage.recipient import NEVER, Recipient, claim
from storage.statements import Keys
from storage.transaction import Transaction

# Clocks of processes on one host agree; a step of the system's clock moves them all.
_SLACK_MS: Final = 60_000
# Longer than anything that keeps a recipient waiting on purpose lasts once it is due.
_OVERDUE_MS: Final = 15 * 60_000


class Fault(StrEnum):
    """Why a recipient would not, or cannot, be tried; the values are for people."""

    LEASE = "its lease belongs to no process that lives"
    OVERDUE_LEASE = "its lease ran out and nobody took it up"
    FAR = "it is due after the end of its life, or of any lease"
    OVERDUE = "it has been due for long and nobody took it up"
    CONTENT = "its content is missing"


@dataclass(frozen=True, slots=True)
class Facts:
    """What an audit looks at of a pending recipient."""

    id: int
    due_ms: int
    lease: int | None
    expires_ms: int
    has_content: bool


def fault_of(facts: Facts, now_ms: int, living: Collection[int]) -> Fault | None:
    """Return what is wrong with a recipient, None where nothing is; `living` are the owners whose process lives.

    A held recipient is due at the end of time, and lives until it is released, as in Postfix's hold queue
    (postsuper(1)): its lease alone can be wrong.
    """
    if facts.lease is not None and not any(_owns(owner, facts.lease) for owner in living):
        return Fault.LEASE
    if facts.due_ms == NEVER:
        return None
    if facts.lease is None and not facts.has_content:
        return Fault.CONTENT
    leased = facts.lease is not None
    latest_ms = now_ms + LEASE_MS if leased else max(facts.expires_ms, now_ms)
    if facts.due_ms > latest_ms + _SLACK_MS:
        return Fault.FAR
    if facts.due_ms < now_ms - (_SLACK_MS if leased else _OVERDUE_MS):
        return Fault.OVERDUE_LEASE if leased else Fault.OVERDUE
    return None


def _owns(owner: int, lease: int) -> bool:
    # A lease ends in its owner's slot, and is younger than the owner: the slot may have been another's before.
    return slot_of(owner) == slot_of(lease) and lease >= owner


@dataclass(frozen=True, slots=True)
class Walk:
    """Where an audit stands: behind this recipient of this message."""

    message_id: int = 0
    recipient_id: int = 0


@dataclass(frozen=True, slots=True)
class Suspect:
    """A recipient that seems wrong."""

    recipient_id: int
    domain: str
    fault: Fault
    expires_ms: int


@dataclass(frozen=True, slots=True)
class Step:
    """What one step of an audit saw."""

    suspects: Sequence[Suspect]
    walk: Walk | None
    """Where to go on; None: the walk has come to its end."""


_LOOK: Final = (
    "SELECT r.id, r.due_ms, r.lease, r.expires_ms, EXISTS (SELECT 1 FROM content c WHERE c.message_id = r.message_id),"
    " r.message_id, r.domain FROM recipient r INDEXED BY recipient_pending"
    " WHERE r.due_ms IS NOT NULL AND (r.message_id, r.id) > (?, ?) ORDER BY r.message_id, r.id LIMIT ?"
)


def look_over(lookups: Lookups, steps: Sequence[tuple[Walk, int, int]]) -> list[Step]:
    """Return what steps of (where to begin, how many recipients, now) saw."""
    return [_look_over(lookups, *step) for step in steps]


def _look_over(lookups: Lookups, walk: Walk, limit: int, now_ms: int) -> Step:
    rows = lookups.connection.execute(_LOOK, (walk.message_id, walk.recipient_id, limit)).fetchall()
    # Owners that are listed and dead are found by `recover`: whether one lives is asked under the write lock only.
    listed = owners.listed(lookups.state_dir / "owners")
    suspects = [
        Suspect(row[0], row[6], fault, row[3])
        for row in rows
        if (fault := fault_of(_facts(row), now_ms, listed)) is not None
    ]
    return Step(suspects, Walk(rows[-1][5], rows[-1][0]) if len(rows) == limit else None)


def _facts(row: Sequence[Any]) -> Facts:
    return Facts(row[0], row[1], row[2], row[3], bool(row[4]))


@dataclass(frozen=True, slots=True)
class Mending:
    """The arguments of the writing half of an audit."""

    recipient_ids: Sequence[int]
    now_ms: int
    wait: Wait
    most: int
    """How many recipients may be leased to this process."""


@dataclass(frozen=True, slots=True)
class Mended:
    """What was wrong, and what is to be done here and now."""

    faults: dict[int, Fault]
    """By recipient id."""
    leases: dict[int, int]
    """Of those that are leased to this process now, since only a try of them mends anything."""


_CONTENTS: Final = Keys("SELECT json_group_array(message_id) FROM content WHERE message_id IN ({})")


def mend_all(transaction: Transaction, wanted: Sequence[Mending]) -> list[Mended]:
    """Judge suspects again and mend them."""
    return [_mend(transaction, mending) for mending in wanted]


def _mend(transaction: Transaction, mending: Mending) -> Mended:
    rows = transaction.load(mending.recipient_ids)
    living = owners.living(transaction.place.state_dir)
    there = set(_CONTENTS.read(transaction.connection, list({row.message_id for row in rows.values()})))
    faults: dict[int, Fault] = {}
    for row in rows.values():
        if row.due_ms is not None:
            facts = Facts(row.id, row.due_ms, row.lease, row.expires_ms, row.message_id in there)
            if (fault := fault_of(facts, mending.now_ms, living)) is not None:
                faults[row.id] = fault
    lose_all(transaction, [rows[id_] for id_, fault in faults.items() if fault in _LOST], mending.now_ms, mending.wait)
    for id_ in [id_ for id_, fault in faults.items() if fault is Fault.FAR]:
        # Who holds a lease may be trying it: the lease lasts as long as a new one would.
        rows[id_].due_ms = mending.now_ms + (0 if rows[id_].lease is None else LEASE_MS)
    leases = _take_up(transaction, [rows[id_] for id_, fault in faults.items() if fault in _TAKEN_UP], mending)
    transaction.save(rows, [rows[id_] for id_, fault in faults.items() if fault not in _TAKEN_UP or id_ in leases])
    return Mended(faults, leases)


_LOST: Final = frozenset({Fault.LEASE, Fault.OVERDUE_LEASE})
_TAKEN_UP: Final = frozenset({Fault.OVERDUE, Fault.CONTENT})


def _take_up(transaction: Transaction, rows: Sequence[Recipient], mending: Mending) -> dict[int, int]:
    lease = transaction.ids.next()
    for row in rows[: mending.most]:
        row.due_ms = mending.now_ms
        claim(row, mending.now_ms, lease, LEASE_MS)
    return {row.id: lease for row in rows[: mending.most]}
