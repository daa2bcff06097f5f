"""What puts addresses on the Blocked Email list by itself: inside the transaction that tells of it.

Rules: only what speaks of the address blocks it. A server that calls it invalid does, and its owner's complaint;
several copies that were Bounced for a reason of its mailbox or domain do. What speaks of us (reputation, policy,
content, rate …) never does, and nor does a report that is not proven.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from storage.address import address_key
from storage.blocked_verbs import PROGRAM, put
from storage.model import Reply, Report, Result
from storage.people import Blocked, BlockingSettings, Source
from storage.recipient import Recipient
from storage.statements import Keys, Rows, clean
from storage.status import Event, Status
from storage.transaction import Transaction

ENDED: Final = frozenset({Event.FAIL, Event.BOUNCE})
"""What of an attempt may put its address on the list."""

OF_THE_MAILBOX: Final = frozenset({"mailbox full", "user unknown", "domain unknown", "moved", "disabled"})
"""Categories of bounces that count: a server said so of the address, each time until the copy's time was up. Left out
are "expired" and "network", which a port that our own provider closes, a server that drops the packets of a relay of
bad name, or an outage of ours would bring on everybody, and denied relays, which a smarthost may tell of all."""

_REASON_CHARS: Final = 300
_COUNT: Final = Rows.insert("bounce_count", "recipient_id,address,at_ms", "ON CONFLICT DO NOTHING")
_BOUNCES: Final = (
    "SELECT json_group_array(json_array(v.value, (SELECT count(*) FROM bounce_count b"
    " WHERE b.address = v.value AND b.at_ms > ?))) FROM json_each(?) v"
)
_ADDRESSES: Final = Keys("SELECT json_group_array(json_array(id, address)) FROM recipient WHERE id IN ({})")


@dataclass(frozen=True, slots=True)
class Fact:
    """What was learnt about an address by one of its copies."""

    recipient_id: int
    address: str | None
    """None: that of the recipient's row."""
    event: Event | None
    """FAIL or BOUNCE; None for a complaint."""
    category: str | None
    reply: Reply
    at_ms: int


def learn_of(transaction: Transaction, results: Sequence[Result]) -> None:
    """Put on the list what the policy says of settled results."""
    if ended := [result for result in results if result.event in ENDED]:
        learn(transaction, [_fact(result) for result in ended])


def _fact(result: Result) -> Fact:
    job, attempt = result.job, result.attempt
    return Fact(job.recipient_id, job.address, result.event, attempt.category, attempt.reply, attempt.at_ms)


def fact_of_report(row: Recipient, report: Report, at_ms: int) -> Fact | None:
    """Return what an applied report taught, None for nothing; `row` is as the report left it.

    That somebody opened the copy outweighs a bounce that came after.
    """
    if not report.proven or (report.event is not None and report.event not in ENDED):
        return None
    if report.event is not None and row.status is Status.OPENED:
        return None
    return Fact(row.id, None, report.event, report.category, report.reply, at_ms)


def learn(transaction: Transaction, facts: Sequence[Fact]) -> None:
    """Put on the list what the policy says of the facts."""
    policy = transaction.policy.blocking
    telling = [fact for fact in facts if _counts(policy, fact)]
    if not telling:
        return
    unnamed = [fact.recipient_id for fact in telling if fact.address is None]
    named = dict(_ADDRESSES.read(transaction.connection, unnamed))
    known = [(fact, clean(address_key(fact.address or named[fact.recipient_id]))) for fact in telling]
    bounced = [(fact, key) for fact, key in known if fact.event is Event.BOUNCE]
    entries = [_entry(policy, fact, key) for fact, key in known if fact.event is not Event.BOUNCE]
    if bounced:
        entries += _too_many(transaction, bounced)
    put(transaction, entries, PROGRAM)


def _counts(policy: BlockingSettings, fact: Fact) -> bool:
    if fact.event is Event.BOUNCE:
        return policy.bounces > 0 and fact.category in OF_THE_MAILBOX
    return policy.complaints if fact.event is None else policy.failed


def _too_many(transaction: Transaction, bounced: Sequence[tuple[Fact, str]]) -> list[Blocked]:
    """Count bounces, and return entries for addresses that have had enough of them."""
    policy = transaction.policy.blocking
    _COUNT.run(transaction.connection, [(fact.recipient_id, key, fact.at_ms) for fact, key in bounced])
    last = {key: fact for fact, key in bounced}
    since_ms = max(fact.at_ms for fact in last.values()) - policy.within * 1000
    found = transaction.connection.execute(_BOUNCES, (since_ms, json.dumps(list(last)))).fetchone()
    return [_entry(policy, last[key], key) for key, bounces in json.loads(found[0]) if bounces >= policy.bounces]


def _entry(policy: BlockingSettings, fact: Fact, key: str) -> Blocked:
    source, seconds = {
        None: (Source.COMPLAINT, policy.complaints_for),
        Event.FAIL: (Source.FAILED, policy.failed_for),
        Event.BOUNCE: (Source.BOUNCES, policy.bounces_for),
    }[fact.event]
    said = (str(fact.reply.code) if fact.reply.code else "", fact.reply.enhanced or "", fact.reply.text)
    reason = " ".join(word for word in said if word)[:_REASON_CHARS].rstrip()
    return Blocked(
        key,
        source,
        fact.at_ms,
        reason,
        fact.category,
        fact.at_ms + seconds * 1000 if seconds else None,
        fact.recipient_id,
    )
