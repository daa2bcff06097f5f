"""The verbs that keep facts: hits of images, and bounce messages."""

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from storage import block_verb, dsn_room, duty_rows, recipient
from storage.duty import DutyKind, Owed, of_report
from storage.model import Hit, Report, Settled, TimelineKind
from storage.owners import ms_of
from storage.recipient import Recipient
from storage.statements import Keys, Rows, clean
from storage.status import Event
from storage.transaction import Transaction, event_values

# Hits of one recipient that its timeline tells one by one; more are counted only, since whoever has the
# URL may fetch it as often as they like.
_MOST_HITS: Final = 1000
# Reports of one recipient that count: whoever has met its return path may write them as often as they like.
_MOST_REPORTS: Final = 100
_REPORTS: Final = "SELECT count(*) FROM (SELECT 1 FROM event WHERE recipient_id=? AND kind=? LIMIT ?)"
# Of a bounce message that says nothing new; what it reports stands before the message that it returns.
_KEPT_BYTES: Final = 64 * 1024


def record_hits(transaction: Transaction, wanted: Sequence[Sequence[Hit]]) -> list[None]:
    """Count hits and keep them as events; those of unknown recipients are dropped."""
    hits = [hit for some in wanted for hit in some]
    rows = transaction.load(hit.recipient_id for hit in hits)
    changed: dict[int, Recipient] = {}
    events = []
    for hit in hits:
        row = rows.get(hit.recipient_id)
        if row is not None and recipient.hit(row, hit):
            changed[row.id] = row
            if row.opens + row.machine_hits <= _MOST_HITS:
                id_ = transaction.ids.next()
                events.append(event_values(row, id_, hit.at_ms, TimelineKind.HIT, hit.why, hit=hit))
    transaction.write_events(events)
    transaction.save(rows, changed.values())
    return [None] * len(wanted)


@dataclass(frozen=True, slots=True)
class Dsn:
    """The arguments of `Store.accept_dsn`."""

    raw: bytes
    recipient_id: int | None
    sender: str
    received_ms: int


_DSN: Final = Rows.insert("dsn", "id,received_ms,recipient_id,sender,raw")


def accept_dsns(transaction: Transaction, wanted: Sequence[Dsn]) -> list[int | None]:
    """Store bounce messages as they came; the answers are their ids, None where no more is kept of such."""
    return [_accept_dsn(transaction, dsn) for dsn in wanted]


def _accept_dsn(transaction: Transaction, dsn: Dsn) -> int | None:
    if not dsn_room.has_room(transaction.connection, dsn.recipient_id, len(dsn.raw)):
        return None
    id_ = transaction.ids.next()
    _DSN.run(transaction.connection, [(id_, dsn.received_ms, dsn.recipient_id, dsn.sender, dsn.raw)])
    return id_


@dataclass(frozen=True, slots=True)
class Reading:
    """The arguments of `Store.settle_dsn`."""

    dsn_id: int
    reports: Sequence[Report]
    kind: str
    forward: bool


def settle_dsns(transaction: Transaction, wanted: Sequence[Reading]) -> list[list[Settled]]:
    """Apply the reports of stored bounce messages, each message once."""
    return [_settle_dsn(transaction, one) for one in wanted]


def _settle_dsn(transaction: Transaction, reading: Reading) -> list[Settled]:
    connection, dsn_id, reports = transaction.connection, reading.dsn_id, reading.reports
    sql = "SELECT received_ms, recipient_id FROM dsn WHERE id=? AND kind IS NULL"
    found = connection.execute(sql, (dsn_id,)).fetchone()
    if found is None:
        return []  # settled before: its reports are counted already
    rows = transaction.load(report.recipient_id for report in reports)
    known = [(rows[report.recipient_id], report) for report in reports if report.recipient_id in rows]
    changed: dict[int, Recipient] = {}
    answers = []
    applied, learnt = [], []
    for row, report in known:
        accepted = not _met_before(connection, report) and _apply(transaction, row, report, dsn_id, found[0])
        if accepted:
            changed[row.id] = row
            applied.append(report)
            learnt.append(block_verb.fact_of_report(row, report, found[0]))
        answers.append(Settled(row.status, accepted))
    if duties := _owed(transaction, applied) + _forward(transaction, reading, found[1]):
        transaction.owe(duties)
    transaction.save(rows, changed.values())
    block_verb.learn(transaction, [fact for fact in learnt if fact])
    _note_invalid(transaction, applied, rows)
    connection.execute("UPDATE dsn SET kind=?, reports=? WHERE id=?", (clean(reading.kind), len(known), dsn_id))
    if known and not applied:
        sql = "UPDATE dsn SET raw=substr(raw, 1, ?1) WHERE id=?2 AND length(raw) > ?1"
        connection.execute(sql, (_KEPT_BYTES, dsn_id))
    return answers


_ADDRESSES: Final = Keys(
    "SELECT json_group_array(json_array(r.id, r.address, m.user))"
    " FROM recipient r CROSS JOIN message m ON m.id = r.message_id WHERE r.id IN ({})"
)


def _note_invalid(transaction: Transaction, reports: Sequence[Report], rows: dict[int, Recipient]) -> None:
    """Note addresses that turned out to be invalid after their copies were taken; others are noted as they fail."""
    late = {one.recipient_id: one for one in reports if one.event is Event.FAIL and rows[one.recipient_id].late}
    for id_, address, user in _ADDRESSES.read(transaction.connection, list(late)):
        reply, at_ms = late[id_].reply, rows[id_].last_attempt_ms or ms_of(id_)
        said = (reply.code, reply.enhanced, reply.text, late[id_].category)
        transaction.tally.invalid([(user or "", address, at_ms, *said, id_)])


def _owed(transaction: Transaction, reports: Sequence[Report]) -> list[Owed]:
    """Return what delays and successes are to be told of; failures are owed by `save`, whatever made them."""
    told = [report for report in reports if report.event not in {None, Event.BOUNCE, Event.FAIL}]
    asked = duty_rows.asked(transaction.connection, [report.recipient_id for report in told]) if told else {}
    duties = []
    for report in told:
        message_id, notify = asked.get(report.recipient_id, (0, "NEVER"))
        if kind := of_report(report, notify):
            duties.append(Owed(message_id, report.recipient_id, kind, reported=True))
    return duties


def _forward(transaction: Transaction, reading: Reading, recipient_id: int | None) -> list[Owed]:
    if not reading.forward or recipient_id is None:
        return []
    asked = duty_rows.asked(transaction.connection, [recipient_id])
    return [Owed(message_id, id_, DutyKind.FORWARD, dsn_id=reading.dsn_id) for id_, (message_id, _) in asked.items()]


def _met_before(connection: sqlite3.Connection, report: Report) -> bool:
    """Return whether the same was reported of the recipient, or as much as is kept."""
    sql = "SELECT 1 FROM event WHERE recipient_id=? AND kind=? AND event IS ? AND enhanced IS ?"
    enhanced = None if report.reply.enhanced is None else clean(report.reply.enhanced)
    values: tuple[Any, ...] = (report.recipient_id, _kind(report), report.event, enhanced)
    if report.event is None:
        sql, values = f"{sql} AND category IS ?", (*values, report.category)
    if connection.execute(sql, values).fetchone() is not None:
        return True
    (reports,) = connection.execute(_REPORTS, (report.recipient_id, _kind(report), _MOST_REPORTS)).fetchone()
    return bool(reports == _MOST_REPORTS)


def _kind(report: Report) -> TimelineKind:
    return TimelineKind.COMPLAINT if report.event is None else TimelineKind.REPORT


def _apply(transaction: Transaction, row: Recipient, report: Report, dsn_id: int, at_ms: int) -> bool:
    applied = recipient.report(row, report, at_ms)
    words = f"reported: {report.event}" if report.event else f"feedback report: {report.category}"
    if report.reported_address:
        words += f" for {report.reported_address}"
    if not report.proven:
        words += " (not by the signed return path)"
    values = event_values(row, transaction.ids.next(), at_ms, _kind(report), words, report=report, dsn_id=dsn_id)
    transaction.write_events([values])
    transaction.touch([row.id])
    return applied
