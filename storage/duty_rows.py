"""How duties are written, inside the transaction that makes them: by settling, by a report, or by an operator.

Rule: nothing is read or written here for a recipient that did not fail, is not late and asked for nothing.
"""

import sqlite3
from collections.abc import Iterable, Sequence
from typing import Final

from storage.duty import DutyKind, Owed, wants
from storage.owners import Ids, ms_of
from storage.statements import Keys, Rows

# Recipients of a message that fail within this are told of together.
GATHER_MS: Final = 5000

_OWE: Final = Rows.insert("duty", "id,message_id,recipient_id,kind,reported,dsn_id,due_ms")
_WARN: Final = Rows(
    "UPDATE recipient SET warned_ms=v.column2 FROM ({}) AS v"
    " WHERE recipient.id=v.column1 AND recipient.warned_ms IS NULL RETURNING recipient.id"
)
_ASKED: Final = Keys(
    "SELECT json_group_array(json_array(r.id, r.message_id, r.notify))"
    " FROM recipient r JOIN message m ON m.id = r.message_id WHERE m.sender <> '' AND r.id IN ({})"
)


def owe(connection: sqlite3.Connection, ids: Ids, duties: Sequence[Owed]) -> None:
    """Write duties; of a delay, a recipient's first one only."""
    warned = [(duty.recipient_id, duty.due_ms or ms_of(ids.next())) for duty in duties if _is_delay(duty)]
    fresh = {row[0] for row in _WARN.returned(connection, warned)}
    values = []
    for duty in duties:
        if not _is_delay(duty) or duty.recipient_id in fresh:
            id_ = ids.next()
            due_ms = duty.due_ms if duty.due_ms is not None else ms_of(id_) + GATHER_MS
            values.append((id_, duty.message_id, duty.recipient_id, duty.kind, int(duty.reported), duty.dsn_id, due_ms))
    _OWE.run(connection, values)


def _is_delay(duty: Owed) -> bool:
    return duty.kind is DutyKind.DELAYED


def asked(connection: sqlite3.Connection, recipient_ids: Iterable[int]) -> dict[int, tuple[int, str | None]]:
    """Return (message id, NOTIFY) by recipient, of those whose messages have a sender."""
    found = _ASKED.read(connection, list(dict.fromkeys(recipient_ids)))
    return {id_: (message_id, notify) for id_, message_id, notify in found}


def owe_failures(connection: sqlite3.Connection, ids: Ids, failed: Sequence[tuple[int, bool]]) -> None:
    """Write the duties of recipients that failed: (id, whether a report after its delivery said so)."""
    known = asked(connection, [id_ for id_, _ in failed])
    duties = [
        Owed(known[id_][0], id_, DutyKind.FAILED, reported=late)
        for id_, late in failed
        if id_ in known and wants(known[id_][1], "FAILURE")
    ]
    if duties:
        owe(connection, ids, duties)
