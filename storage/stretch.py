"""How the log's addresses, users, broadcasts, Message-IDs and times become findable.

All but times are entered in stretches, sorted, long after the 250. Rule: entering a stretch
costs what its recipients cost, not what the log costs (DESIGN.md, law 6): its rows go to the right ends
of their trees. An index by address would write a page of its own for each recipient, and read one too
as soon as the log outgrows the memory.
"""
# ruff: noqa: S608 - SQL is put together from words of this program only; values are parameters

import json
import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from struct import pack
from typing import Final

from storage.statements import Rows
from storage.status import Status

STRETCH_RECIPIENTS: Final = 2048
"""How many recipients make a stretch: some 10 ms of the writer's time; ten million recipients are
five thousand stretches, which a question probes in some 10 ms."""

HOUR_MS: Final = 3_600_000
# How long followers may be away: webhooks are tried again for some three days.
_KEPT_MS: Final = 4 * 24 * HOUR_MS
# Ids are microseconds << 10 (storage/owners.py): a minute on both sides of what an hour is known to hold.
_MARGIN: Final = 60_000_000 << 10
_MOST_FORGOTTEN: Final = 20_000

FRESH: Final = (
    " FROM change CROSS JOIN json_each(change.accepted) AS new CROSS JOIN recipient r ON r.id = new.value"
    " WHERE change.serial > (SELECT ifnull(max(serial), 0) FROM stretch) AND change.accepted IS NOT NULL"
)
"""The recipients that are in no stretch yet, as `r`."""

_COUNT: Final = f"SELECT count(*){FRESH}"
_SEE: Final = f"SELECT ifnull(max(change.serial), 0), min(r.id), max(r.id){FRESH}"
FRESH_MESSAGES: Final = FRESH.replace(" WHERE ", " CROSS JOIN message m ON m.id = r.message_id WHERE ", 1)
"""The same with their messages, as `m`."""
_ENTER: Final = (
    f"INSERT INTO by_address SELECT ?, r.domain, r.address, r.id{FRESH} ORDER BY 2, 3 COLLATE NOCASE, 4",
    f"INSERT INTO by_sender SELECT ?, m.sender_domain, m.sender, r.id{FRESH_MESSAGES} ORDER BY 2, 3 COLLATE NOCASE, 4",
    f"INSERT INTO by_user SELECT ?, m.user, r.id{FRESH_MESSAGES} AND m.user IS NOT NULL ORDER BY 2, 3",
    f"INSERT INTO by_broadcast SELECT ?, m.broadcast, r.id{FRESH_MESSAGES} AND m.broadcast IS NOT NULL ORDER BY 2, 3",
    f"INSERT INTO by_header SELECT DISTINCT ?, m.message_id, m.id{FRESH_MESSAGES} AND m.message_id <> '' ORDER BY 2, 3",
)
_NAMED: Final = (
    "INSERT INTO stretch_of SELECT DISTINCT 'broadcast', broadcast, stretch FROM by_broadcast WHERE stretch = ?1"
    " UNION ALL SELECT DISTINCT 'user', user, stretch FROM by_user WHERE stretch = ?1"
    " UNION ALL SELECT DISTINCT 'sender', sender_domain, stretch FROM by_sender WHERE stretch = ?1"
)
_MADE: Final = "INSERT INTO stretch (number, made_ms, serial, first_id, last_id) VALUES (?, ?, ?, ?, ?)"
_FORGET: Final = (
    "DELETE FROM change WHERE serial <= (SELECT max(serial) FROM stretch WHERE made_ms < ?)"
    " AND serial < (SELECT min(serial) FROM change) + ?"
)


COUNTS: Final = tuple(status.name.lower() for status in Status)
"""The columns of `change` that count recipients, in the order of the statuses."""

_NOTE: Final = (
    f"INSERT INTO change (touched, accepted, facts, at_ms, {', '.join(COUNTS)})"
    f" SELECT ?, ?, ?, ?, {', '.join(f'{name} + ?' for name in COUNTS)} FROM change ORDER BY serial DESC LIMIT 1"
)


@dataclass(frozen=True, slots=True)
class Noted:
    """What followers are told of a transaction."""

    touched: Sequence[int]
    """Recipients that it changed or added."""
    accepted: Sequence[int]
    """Those of them that are new."""
    facts: Sequence[int]
    """Entries of storage/feed.py, two numbers each."""


def note(connection: sqlite3.Connection, noted: Noted, moved: Mapping[Status, int], at_ms: int) -> None:
    """Remember what a transaction did, and what it did to the counts."""
    values = (
        pack(f"<{len(noted.touched)}q", *noted.touched),
        json.dumps(noted.accepted) if noted.accepted else None,
        pack(f"<{len(noted.facts)}q", *noted.facts) if noted.facts else None,
        at_ms,
        *(moved.get(status, 0) for status in Status),
    )
    connection.execute(_NOTE, values)


def count(connection: sqlite3.Connection) -> int:
    """Return how many recipients are in no stretch yet."""
    found: int = connection.execute(_COUNT).fetchone()[0]
    return found


def enter(connection: sqlite3.Connection, now_ms: int) -> None:
    """Make a stretch of all that is in none, and forget changes that no follower will ask for."""
    serial, first_id, last_id = connection.execute(_SEE).fetchone()
    if first_id is None:
        return
    (number,) = connection.execute("SELECT ifnull(max(number), 0) + 1 FROM stretch").fetchone()
    for sql in _ENTER:
        connection.execute(sql, (number,))
    connection.execute(_NAMED, (number,))
    connection.execute(_MADE, (number, now_ms, serial, first_id, last_id))
    connection.execute(_FORGET, (now_ms - _KEPT_MS, _MOST_FORGOTTEN))


class Hours:
    """Which bounds of hours are known to be written; a transaction widens a copy, kept if it commits."""

    _WIDEN: Final = Rows.insert(
        "hour",
        "hour,first_id,last_id",
        "ON CONFLICT (hour) DO UPDATE SET"
        " first_id=min(first_id,excluded.first_id), last_id=max(last_id,excluded.last_id)",
    )
    _MOST_KNOWN: Final = 24

    def __init__(self, known: dict[int, tuple[int, int]] | None = None) -> None:
        self._known = known or {}

    def widened(self, connection: sqlite3.Connection, received: Iterable[tuple[int, int, int]]) -> "Hours":
        """Write what is not known yet of (time received, lowest id, highest id); return what is known then."""
        wider: dict[int, tuple[int, int]] = {}
        for received_ms, lowest, highest in received:
            hour = received_ms // HOUR_MS
            first, last = wider.get(hour) or self._known.get(hour) or (lowest + 1, lowest)
            if lowest < first or highest > last:
                wider[hour] = (min(first, lowest - _MARGIN), max(last, highest + _MARGIN))
        if not wider:
            return self
        self._WIDEN.run(connection, [(hour, first, last) for hour, (first, last) in wider.items()])
        known = self._known | wider
        return Hours(known if len(known) <= self._MOST_KNOWN else wider)
