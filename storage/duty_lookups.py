"""What is asked of duties, in the store's own reading thread."""

import json
from collections.abc import Sequence
from typing import Any, Final

from storage.duty import Collected, Digest, Duty, DutyKind, Group
from storage.lookups import MESSAGE_COLUMNS, Lookups, message_of
from storage.model import Reply
from storage.owners import ms_of
from storage.status import Event, Status

# Recipients that one mail tells of.
MOST_TOLD: Final = 200
# Mails to the return path of one copy that are forwarded: people and their programs answer a few times, and whoever
# has met the return path may write to it as often as they like.
MOST_FORWARDS: Final = 20
# What is due, as far as one look sees; the rest is due still.
_SEEN: Final = 1000

_GROUPS: Final = (
    "SELECT DISTINCT message_id, kind FROM"
    " (SELECT message_id, kind FROM duty WHERE due_ms <= ? ORDER BY due_ms LIMIT ?) LIMIT ?"
)
_MESSAGE: Final = f"SELECT {MESSAGE_COLUMNS} FROM message m WHERE m.id = ?"  # noqa: S608 - our own words
_DUTIES: Final = (
    "SELECT d.id, d.reported, d.dsn_id, r.id, r.address, r.orcpt, r.status, r.attempts, r.last_attempt_ms,"
    " r.expires_ms, r.code, r.enhanced, r.diagnostic, r.category, r.mx"
    " FROM duty d JOIN recipient r ON r.id = d.recipient_id"
    " WHERE d.message_id = ? AND d.kind = ? AND d.due_ms <= ? ORDER BY d.id LIMIT ?"
)
_OFTEN: Final = "SELECT count(*) FROM (SELECT 1 FROM event WHERE recipient_id = ? AND kind = 'answer' LIMIT ?)"
_EVENTS: Final = {
    DutyKind.FAILED: (Event.BOUNCE, Event.FAIL),
    DutyKind.DELAYED: (Event.DEFER,),
    DutyKind.DELIVERED: (Event.DELIVER,),
    DutyKind.RELAYED: (Event.HAND_OVER,),
    DutyKind.EXPANDED: (Event.HAND_OVER,),
}
_REPORT: Final = (
    "SELECT code, enhanced, reply, category, mx FROM event WHERE recipient_id = ? AND kind = 'report'"
    " AND event IN (SELECT value FROM json_each(?)) ORDER BY id DESC LIMIT 1"
)


def read_groups(lookups: Lookups, wanted: Sequence[tuple[int, int, int]]) -> list[list[Group]]:
    """Return what is due to be told: (now, until when due duties of the same message join, how many groups)."""
    return [_read_groups(lookups, *one) for one in wanted]


def _read_groups(lookups: Lookups, now_ms: int, joining_ms: int, limit: int) -> list[Group]:
    run = lookups.connection.execute
    groups = []
    for message_id, kind in run(_GROUPS, (now_ms, _SEEN, limit)).fetchall():
        message = run(_MESSAGE, (message_id,)).fetchone()
        rows = run(_DUTIES, (message_id, kind, joining_ms, MOST_TOLD)).fetchall()
        if message and rows:
            duties = tuple(_duty(lookups, DutyKind(kind), row) for row in rows)
            groups.append(Group(message_of(message), DutyKind(kind), duties))
    return groups


def _duty(lookups: Lookups, kind: DutyKind, row: Sequence[Any]) -> Duty:
    id_, reported, dsn_id, recipient_id, address, orcpt, status, attempts, last_ms, expires_ms, *said = row
    if reported and kind in _EVENTS:
        values = (recipient_id, json.dumps(_EVENTS[kind]))
        said = lookups.connection.execute(_REPORT, values).fetchone() or said
    reply, category, mx = _reply(said[:3]), said[3], said[4]
    often = False
    if kind is DutyKind.FORWARD:
        (answers,) = lookups.connection.execute(_OFTEN, (recipient_id, MOST_FORWARDS)).fetchone()
        often = answers == MOST_FORWARDS
    return Duty(
        id_,
        kind,
        recipient_id,
        address,
        orcpt,
        Status(status),
        attempts,
        last_ms,
        expires_ms,
        reply,
        category,
        mx,
        dsn_id,
        often,
    )


def _reply(said: Sequence[Any]) -> Reply | None:
    code, enhanced, text = said
    return Reply(code or 0, enhanced, text or "") if code is not None or text else None


_DIGESTS: Final = (
    "SELECT sender, broadcast, first_ms, last_ms, complete FROM digest WHERE due_ms <= ? ORDER BY due_ms LIMIT ?"
)
_COLLECTED: Final = (
    "SELECT d.id, d.kind, r.address, m.subject, m.user, r.code, r.enhanced, r.diagnostic, r.category, d.reported, r.id"
    " FROM duty d JOIN digest g ON g.sender = d.sender AND g.broadcast = d.broadcast"
    " JOIN recipient r ON r.id = d.recipient_id JOIN message m ON m.id = d.message_id"
    " WHERE d.due_ms IS NULL AND d.sender = ? AND d.broadcast = ? AND d.id > g.told_to ORDER BY d.id LIMIT ?"
)
_WAITS: Final = (
    "SELECT EXISTS (SELECT 1 FROM (SELECT message_id FROM recipient INDEXED BY recipient_pending"
    " WHERE due_ms IS NOT NULL ORDER BY message_id DESC LIMIT ?) r JOIN message m ON m.id = r.message_id"
    " WHERE m.broadcast = ? AND m.sender = ?)"
    " OR EXISTS (SELECT 1 FROM broadcast b JOIN broadcast_run run ON run.broadcast_id = b.id"
    " WHERE b.name = ? AND run.state IN ('draft', 'scheduled', 'sending', 'paused'))"
)
_PENDING: Final = (
    "SELECT count(*) FROM (SELECT 1 FROM recipient INDEXED BY recipient_pending WHERE due_ms IS NOT NULL LIMIT ?)"
)
# Pending recipients that one look goes through for those of a broadcast.
_MOST_SCANNED: Final = 50_000


def read_digests(lookups: Lookups, wanted: Sequence[tuple[int, int]]) -> list[list[Digest]]:
    """Return digests that are to be looked at: (now, how many)."""
    return [[_digest(row) for row in lookups.connection.execute(_DIGESTS, one).fetchall()] for one in wanted]


def _digest(row: Sequence[Any]) -> Digest:
    sender, broadcast, first_ms, last_ms, complete = row
    return Digest(sender, broadcast, first_ms, last_ms, bool(complete))


def read_collected(lookups: Lookups, wanted: Sequence[tuple[Digest, int]]) -> list[list[Collected]]:
    """Return what waits in digests, the oldest first: (digest, how many)."""
    return [
        [
            _collected(lookups, row)
            for row in lookups.connection.execute(_COLLECTED, (digest.sender, digest.broadcast, limit)).fetchall()
        ]
        for digest, limit in wanted
    ]


def _collected(lookups: Lookups, row: Sequence[Any]) -> Collected:
    id_, kind, address, subject, user, code, enhanced, text, category, reported, recipient_id = row
    said = code, enhanced, text, category, None
    if reported:
        values = (recipient_id, json.dumps(_EVENTS[DutyKind(kind)]))
        said = lookups.connection.execute(_REPORT, values).fetchone() or said
    return Collected(id_, DutyKind(kind), address, subject, user, ms_of(id_), _reply(said[:3]), said[3])


def read_waits(lookups: Lookups, wanted: Sequence[Digest]) -> list[bool]:
    """Return whether recipients of digests' broadcasts are pending, or to come; True where that takes long to tell."""
    answers = []
    for digest in wanted:
        run = lookups.connection.execute
        (waits,) = run(_WAITS, (_MOST_SCANNED, digest.broadcast, digest.sender, digest.broadcast)).fetchone()
        if not waits:
            (pending,) = run(_PENDING, (_MOST_SCANNED,)).fetchone()
            waits = pending == _MOST_SCANNED
        answers.append(bool(waits))
    return answers


def read_dsn(lookups: Lookups, wanted: Sequence[int]) -> list[tuple[str, bytes] | None]:
    """Return (MAIL FROM, content) of mails that came to return paths; None where one is not kept any more."""
    sql = "SELECT sender, raw FROM dsn WHERE id = ?"
    return [lookups.connection.execute(sql, (dsn_id,)).fetchone() for dsn_id in wanted]


def read_answers(lookups: Lookups, wanted: Sequence[str]) -> list[str | None]:
    """Return what users want to be told, as JSON; None where that is as configured."""
    found = [
        lookups.connection.execute("SELECT answers FROM user WHERE name = ?", (name,)).fetchone() for name in wanted
    ]
    return [row[0] if row else None for row in found]
