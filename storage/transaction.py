"""One transaction of the store: what its verbs share.

Rules: rows are read, judged and written inside it; what it changed is told to followers (`change`) and
counted (`tally`) before the commit; what must wait for the commit is kept in `after`.
"""

import sqlite3
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import fields
from functools import partial
from operator import attrgetter
from pathlib import Path
from struct import pack
from typing import Any, Final

from storage import large
from storage.model import Hit, Reply, TimelineKind
from storage.owners import Ids
from storage.recipient import Recipient
from storage.statements import MultiRow, clean, clean_or_none
from storage.status import Status

_COLUMNS: Final = [field.name for field in fields(Recipient)]
_LOAD: Final = MultiRow(
    f"SELECT json_group_array(json_array({','.join(_COLUMNS)})) FROM recipient WHERE id IN ({{}})",  # noqa: S608 - our own names
    1,
)
_STATUS_AT: Final = _COLUMNS.index("status")
_WRITTEN: Final = [name for name in _COLUMNS if name not in {"id", "message_id"}]
_SAVE: Final = MultiRow(
    f"UPDATE recipient SET {','.join(f'{name}=v.column{at}' for at, name in enumerate(_WRITTEN, 2))}"  # noqa: S608 - as above
    " FROM (VALUES {}) AS v WHERE recipient.id=v.column1",
    len(_WRITTEN) + 1,
)
_all_values = attrgetter("id", *_WRITTEN)


def _values(row: Recipient) -> tuple[Any, ...]:
    """Return a row's values in the order of `_SAVE`, its texts cleaned."""
    row.enhanced = clean_or_none(row.enhanced)
    row.diagnostic = clean(row.diagnostic)
    row.mx = clean_or_none(row.mx)
    row.mx_address = clean_or_none(row.mx_address)
    row.late = clean(row.late)
    values: tuple[Any, ...] = _all_values(row)
    return values


_FILES_DONE: Final = MultiRow(
    "SELECT json_group_array(json_array(file)) FROM content WHERE message_id IN ({}) AND file IS NOT NULL"
    " AND NOT EXISTS (SELECT 1 FROM recipient r WHERE r.message_id=content.message_id AND r.due_ms IS NOT NULL)",
    1,
)
_DROP_DONE: Final = MultiRow(
    "DELETE FROM content WHERE message_id IN ({}) AND NOT EXISTS"
    " (SELECT 1 FROM recipient r WHERE r.message_id=content.message_id AND r.due_ms IS NOT NULL)",
    1,
)
_EVENT: Final = MultiRow(
    "INSERT INTO event"
    " (recipient_id,id,at_ms,kind,text,status,event,code,enhanced,reply,mx,hit,address,agent) VALUES {}",
    14,
)


_TALLY: Final = MultiRow(
    "INSERT INTO tally (status,recipients) VALUES {}"
    " ON CONFLICT (status) DO UPDATE SET recipients=recipients+excluded.recipients",
    2,
)


def event_values(
    row: Recipient,
    id_: int,
    at_ms: int,
    kind: TimelineKind,
    text: str,
    *,
    event: str | None = None,
    reply: Reply | None = None,
    mx: str | None = None,
    hit: Hit | None = None,
) -> tuple[Any, ...]:
    """Return a row of `event`: a fact about `row`, which has the status after it."""
    return (
        row.id,
        id_,
        at_ms,
        kind,
        clean(text),
        row.status,
        event,
        reply.code if reply else None,
        clean_or_none(reply.enhanced) if reply else None,
        clean(reply.text) if reply else None,
        clean_or_none(mx),
        hit.kind if hit else None,
        clean_or_none(hit.address) if hit else None,
        clean_or_none(hit.agent) if hit else None,
    )


class Transaction:
    """Everything one group of verbs does, between BEGIN IMMEDIATE and COMMIT."""

    def __init__(self, connection: sqlite3.Connection, ids: Ids, state_dir: Path, owner: int) -> None:
        self.connection = connection
        self.ids = ids
        self.state_dir = state_dir
        self.owner = owner
        self.after: list[Callable[[], None]] = []
        """What to do once the commit is durable: delete files that nothing refers to any more."""
        self._changed: dict[int, None] = {}
        self._tally: Counter[str] = Counter()

    def load(self, recipient_ids: Iterable[int]) -> dict[int, Recipient]:
        """Read rows to judge, by id; unknown ids are left out."""
        rows = {}
        for values in _LOAD.read(self.connection, [(id_,) for id_ in dict.fromkeys(recipient_ids)]):
            values[_STATUS_AT] = status = Status(values[_STATUS_AT])
            rows[values[0]] = Recipient(*values)
            self._tally[status] -= 1
        return rows

    def save(self, rows: dict[int, Recipient], changed: Iterable[Recipient]) -> None:
        """Write what was judged; `rows` is all that was loaded, `changed` what of it differs now.

        Drops the content of messages that have nobody left to serve.
        """
        written = list(changed)
        for row in rows.values():
            self._tally[row.status] += 1
        if not written:
            return
        _SAVE.run(self.connection, [_values(row) for row in written])
        self.touch(row.id for row in written)
        self.drop_content({row.message_id for row in written if not row.pending})

    def drop_content(self, message_ids: Iterable[int]) -> None:
        """Delete the content of those of the messages that have no pending recipient."""
        ids = [(id_,) for id_ in message_ids]
        for (file,) in _FILES_DONE.read(self.connection, ids):
            self.after.append(partial(large.remove, self.state_dir, file))
        _DROP_DONE.run(self.connection, ids)

    def write_events(self, rows: Sequence[tuple[Any, ...]]) -> None:
        """Insert rows of `event`."""
        _EVENT.run(self.connection, rows)

    def touch(self, recipient_ids: Iterable[int]) -> None:
        """Tell followers that these recipients changed."""
        self._changed.update(dict.fromkeys(recipient_ids))

    def count(self, status: str, recipients: int) -> None:
        """Add to (or take from) the number of recipients in a status."""
        self._tally[status] += recipients

    def finish(self) -> None:
        """Write what the whole group shares; the caller commits."""
        if self._changed:
            at_ms = (self.ids.next() >> 10) // 1000
            packed = pack(f"<{len(self._changed)}q", *self._changed)
            self.connection.execute("INSERT INTO change (at_ms,recipients) VALUES (?,?)", (at_ms, packed))
        moved = [(status, count) for status, count in self._tally.items() if count]
        if moved:
            _TALLY.run(self.connection, moved)
