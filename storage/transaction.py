"""One transaction of the store: what its verbs share.

Rules: rows are read, judged and written inside it; what it changed is told to followers (`change`) and
counted (`tally`) before the commit; what must wait for the commit is kept in `after`.
"""
# ruff: noqa: S608 - SQL is put together from words of this program only; values are parameters

import sqlite3
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, fields, replace
from functools import partial
from operator import attrgetter
from pathlib import Path
from typing import Any, Final

from storage import duty_rows, held, large, stretch
from storage.duty import Owed
from storage.held import NOT_ASKED, Held, Stamp
from storage.model import Hit, Report, TimelineKind
from storage.owners import Ids, ms_of
from storage.people import Policy
from storage.recipient import Recipient
from storage.statements import Keys, Rows, clean
from storage.status import Status
from storage.stretch import Hours
from storage.tally import ENDED, Standing, Tally, Whose, invalid_of, standing

_COLUMNS: Final = [field.name for field in fields(Recipient)]
_LOAD: Final = Keys(f"SELECT json_group_array(json_array({','.join(_COLUMNS)})) FROM recipient WHERE id IN ({{}})")
_STATUS_AT: Final = _COLUMNS.index("status")
_WRITTEN: Final = [name for name in _COLUMNS if name not in {"id", "message_id", "expires_ms"}]
_SET: Final = ",".join(f"{name}=v.column{at}" for at, name in enumerate(_WRITTEN, 2))
_SAVE: Final = Rows(f"UPDATE recipient SET {_SET} FROM ({{}}) AS v WHERE recipient.id=v.column1")
_values = attrgetter("id", *_WRITTEN)

_NOBODY_WAITS: Final = (
    "message_id IN ({}) AND NOT EXISTS"
    " (SELECT 1 FROM recipient r WHERE r.message_id=content.message_id AND r.due_ms IS NOT NULL)"
    # What the sender is still to be told may return the content; what is forwarded is another mail.
    " AND NOT EXISTS (SELECT 1 FROM duty d WHERE d.message_id=content.message_id AND d.due_ms IS NOT NULL"
    " AND d.kind<>'forward')"
)
_FILES: Final = Keys(f"SELECT json_group_array(file) FROM content WHERE file IS NOT NULL AND {_NOBODY_WAITS}")
_DROP: Final = Keys(f"DELETE FROM content WHERE {_NOBODY_WAITS}")
# Whose a recipient is, for the counters; the name of its broadcast is not NULL where it has one.
_WHOSE: Final = Keys(
    "SELECT json_group_array(json_array(r.id, r.address, r.domain, m.user, m.broadcast, m.untracked_reason IS NULL))"
    " FROM recipient r CROSS JOIN message m ON m.id = r.message_id WHERE r.id IN ({})"
)
_FIND_BROADCAST: Final = "SELECT id FROM broadcast WHERE owner=? AND name=?"
_EVENT: Final = Rows.insert(
    "event",
    "recipient_id,id,at_ms,kind,text,status,event,code,enhanced,reply,category,rules,mx,dsn_id,hit,address,agent",
)


def event_values(
    row: Recipient,
    id_: int,
    at_ms: int,
    kind: TimelineKind,
    text: str,
    *,
    report: Report | None = None,
    dsn_id: int | None = None,
    hit: Hit | None = None,
) -> tuple[Any, ...]:
    """Return a row of `event`: a fact about `row`, which has the status after it."""
    reply = report.reply if report else None
    return (
        row.id,
        id_,
        at_ms,
        kind,
        text,
        row.status,
        report.event if report else None,
        reply.code if reply else None,
        reply.enhanced if reply else None,
        reply.text if reply else None,
        report.category if report else None,
        report.rules if report else None,
        report.remote_mta if report else None,
        dsn_id,
        hit.kind if hit else None,
        hit.address if hit else None,
        hit.agent if hit else None,
    )


@dataclass(slots=True)
class Kept:
    """What a writer keeps from one transaction to the next; what a transaction that fails made of it is forgotten."""

    hours: Hours
    fresh: int
    """How many recipients of this process wait to be entered into a stretch."""
    held: Held = NOT_ASKED


@dataclass(frozen=True, slots=True)
class Place:
    """Where a store is and who writes there."""

    state_dir: Path
    owner: int
    ids: Ids
    stamp: Stamp


class MisjudgedError(Exception):
    """A row was not as a verb expected it: the group is to be run again, each row read before it is judged."""


class Transaction:
    """Everything one group of verbs does, between BEGIN IMMEDIATE and COMMIT."""

    def __init__(
        self, connection: sqlite3.Connection, place: Place, policy: Policy, kept: Kept, *, trusting: bool
    ) -> None:
        self.connection = connection
        self.place = place
        self.policy = policy
        self.ids = place.ids
        self.kept = kept
        self.trusting = trusting
        """Whether verbs may write what they expect to find, and raise MisjudgedError where it was not so."""
        self.after: list[Callable[[], None]] = []
        """What to do once the commit is durable: delete files that nothing refers to any more."""
        self._accepted: list[int] = []
        self._touched: dict[int, None] = {}
        self._before: dict[int, tuple[Standing, str]] = {}
        """What loaded rows were: how they stood, and what came late."""
        self._moved: Counter[Status] = Counter()
        self._facts: list[int] = []
        """Entries of storage/feed.py, two numbers each."""
        self.tally = Tally()
        self.broadcast_ids: dict[tuple[str, str], int | None] = {}
        """By owner and name, those that were asked for."""

    @property
    def held(self) -> Held:
        """What may hold recipients back, as it is in this transaction."""
        stamp = self.place.stamp.read()
        if self.kept.held.stamp != stamp:
            self.kept = replace(self.kept, held=held.ask(self.connection, stamp))
        return self.kept.held

    def load(self, recipient_ids: Iterable[int]) -> dict[int, Recipient]:
        """Read rows to judge, by id; unknown ids are left out."""
        rows = {}
        for values in _LOAD.read(self.connection, list(dict.fromkeys(recipient_ids))):
            values[_STATUS_AT] = status = Status(values[_STATUS_AT])
            rows[values[0]] = row = Recipient(*values)
            self._before[row.id] = standing(row), row.late
            self._moved[status] -= 1
        return rows

    def save(
        self, rows: dict[int, Recipient], changed: Iterable[Recipient], *, files: bool = True, tell: bool = True
    ) -> None:
        """Write what was judged; `rows` is all that was loaded, `changed` what of it differs now.

        Whatever made a recipient fail, its sender is to be told, unless `tell` is False. Drops the content of
        messages that have nobody left to serve; `files`: some of it may be large.
        """
        written = list(changed)
        for row in rows.values():
            self._moved[row.status] += 1
        self._tally([row for row in written if standing(row) != self._before[row.id][0]])
        if not written:
            return
        _SAVE.run(self.connection, [_values(row) for row in written])
        self.touch(row.id for row in written)
        failed = [(row.id, row.status not in ENDED) for row in written if self._has_failed(row)]
        if failed and tell:
            duty_rows.owe_failures(self.connection, self.ids, failed)
        self.drop_content(list({row.message_id for row in written if row.due_ms is None}), files=files)

    def _has_failed(self, row: Recipient) -> bool:
        """Whether it failed since it was loaded, or a failure was reported of it after its delivery."""
        (status, *_), late = self._before[row.id]
        return row.status in ENDED if status not in ENDED and row.status is not status else row.late != late

    def _tally(self, moved: Sequence[Recipient]) -> None:
        """Count what stands otherwise than it did."""
        found = {id_: rest for id_, *rest in _WHOSE.read(self.connection, [row.id for row in moved])}
        for row in moved:
            address, domain, user, broadcast, tracked = found[row.id]
            whose = Whose(user, self.broadcast_id(user, broadcast), bool(tracked), domain)
            self.tally.moved(row.id, whose, self._before[row.id][0], standing(row))
            if row.status is Status.FAILED:
                self.tally.invalid([invalid_of(row, user, address)])

    def broadcast_id(self, user: str | None, name: str | None) -> int | None:
        """Return the id of a broadcast that is known already; None where there is none."""
        if not name:
            return None
        key = (clean(user or ""), clean(name))
        if key not in self.broadcast_ids:
            found = self.connection.execute(_FIND_BROADCAST, key).fetchone()
            self.broadcast_ids[key] = found[0] if found else None
        return self.broadcast_ids[key]

    def owe(self, duties: Sequence[Owed]) -> None:
        """Write what senders are to be told, before content is dropped."""
        duty_rows.owe(self.connection, self.ids, duties)

    def drop_content(self, message_ids: Sequence[int], *, files: bool) -> None:
        """Delete the content of those of the messages that have nobody left to serve, and nothing to be told."""
        if files:
            for file in _FILES.read(self.connection, message_ids):
                self.after.append(partial(large.remove, self.place.state_dir, file))
        _DROP.run(self.connection, message_ids)

    def write_events(self, rows: Sequence[tuple[Any, ...]]) -> None:
        """Insert rows of `event`."""
        _EVENT.run(self.connection, rows)
        self.wrote(rows)

    def wrote(self, rows: Iterable[Sequence[Any]]) -> None:
        """Tell followers of rows of `attempt` or `event`, which begin with the recipient's id and their own."""
        for row in rows:
            self._facts += row[:2]

    def touch(self, recipient_ids: Iterable[int]) -> None:
        """Tell followers that these recipients changed."""
        self._touched.update(dict.fromkeys(recipient_ids))

    def accepted(self, recipient_ids: Sequence[int]) -> None:
        """Tell followers and finders of new recipients."""
        self._accepted += recipient_ids
        self.touch(recipient_ids)

    def received(self, bounds: Iterable[tuple[int, int, int]]) -> None:
        """Make new ids findable by time: (time received, lowest id, highest id)."""
        self.kept = Kept(self.kept.hours.widened(self.connection, bounds), self.kept.fresh, self.kept.held)

    def count(self, status: Status, recipients: int) -> None:
        """Add to (or take from) the number of recipients in a status."""
        self._moved[status] += recipients

    def finish(self) -> None:
        """Write what the whole group shares; the caller commits."""
        self.tally.write(self.connection)
        if self._touched or self._facts or any(self._moved.values()):
            noted = stretch.Noted(list(self._touched), self._accepted, self._facts)
            stretch.note(self.connection, noted, self._moved, ms_of(self.ids.next()))
        fresh = self.kept.fresh + len(self._accepted)
        if fresh >= stretch.STRETCH_RECIPIENTS:
            stretch.enter(self.connection, ms_of(self.ids.next()))
            fresh = 0
        self.kept = Kept(self.kept.hours, fresh, self.kept.held)
