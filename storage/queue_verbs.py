"""The verbs of the queue: accept, claim, renew, postpone, recover."""

import json
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

from storage import broadcast_ledger, feed, large, owners
from storage.admit_verb import Admitted, admit, held_back
from storage.duty import of_wait
from storage.frozen import frozen
from storage.held import Held
from storage.model import Job, Message, NewRecipient, TimelineKind
from storage.owners import SLOT_MASK
from storage.recipient import Recipient, block, claim, decline, give_back, lose, renew_lease
from storage.statements import Keys, Rows
from storage.status import Status
from storage.tally import Whose, hour_of
from storage.transaction import Transaction, event_values

# A lease outlives the 10 minutes that RFC 5321, 4.5.3.2.6 grants a server after the final dot, or we
# would send again while it is still thinking.
LEASE_MS: Final = 15 * 60 * 1000

Wait = Callable[[int], int]
"""From how many leases of a recipient were lost, this one counted, to how long it waits now, in milliseconds."""


def at_once(losses: int) -> int:  # noqa: ARG001 - a Wait
    """Return no wait, however many leases were lost."""
    return 0


@frozen
class Acceptance:
    """The arguments of `Store.accept`."""

    message: Message
    content: bytes
    file: str | None
    """Where large content was written already."""
    recipients: Sequence[NewRecipient]
    lifetime_ms: int
    leased: bool
    once: bool = False
    """Whether an address gets the message's broadcast once."""
    declined: Collection[int] = ()
    """Recipients whose owners chose not to get such mail, as the list says that it goes to."""


_MESSAGE: Final = Rows.insert(
    "message",
    "id,received_ms,sender,sender_domain,body,smtputf8,size,plan,envid,ret,user,client,message_id,from_header,"
    "subject,untracked_reason,broadcast,broadcast_type,first_recipient,last_recipient",
)
_CONTENT: Final = Rows.insert("content", "message_id,body,file")
_RECIPIENT: Final = Rows.insert(
    "recipient", "id,message_id,address,domain,notify,orcpt,expires_ms,status,due_ms,lease,diagnostic"
)


def accept(transaction: Transaction, wanted: Sequence[Acceptance]) -> list[list[Job]]:
    """Insert messages with all that belongs to them; the answers are the leased jobs."""
    leases = [transaction.ids.next() if acceptance.leased else None for acceptance in wanted]
    decisions = admit(transaction, wanted)
    rows, contents = [], []
    for acceptance, lease, admitted in zip(wanted, leases, decisions, strict=True):
        for recipient, decision in zip(acceptance.recipients, admitted, strict=True):
            rows.append(_recipient_values(acceptance, recipient, decision, lease))
            transaction.count(decision.status, 1)
            if decision.status is not Status.UNSENT:
                transaction.wrote([feed.decided(recipient.id, decision.status)])
        _tally(transaction, acceptance, admitted)
        if any(decision.status is Status.UNSENT for decision in admitted):
            contents.append(_content_values(acceptance))
        elif acceptance.file:
            transaction.after.append(partial(large.remove, transaction.place.state_dir, acceptance.file))
    connection = transaction.connection
    _MESSAGE.run(connection, [_message_values(acceptance) for acceptance in wanted])
    _CONTENT.run(connection, contents)
    _RECIPIENT.run(connection, rows)
    transaction.received(map(_bounds, wanted))
    transaction.accepted([row[0] for row in rows])
    return list(map(_jobs, wanted, decisions, leases))


def _tally(transaction: Transaction, acceptance: Acceptance, admitted: Sequence[Admitted]) -> None:
    message, hours = acceptance.message, transaction.tally.hours
    for recipient, decision in zip(acceptance.recipients, admitted, strict=True):
        hours[hour_of(recipient.id), message.user, decision.status] += 1
    if message.broadcast:
        broadcast_id, tracked = broadcast_ledger.found(transaction, message), message.untracked_reason is None
        for recipient, decision in zip(acceptance.recipients, admitted, strict=True):
            whose = Whose(message.user, broadcast_id, tracked, recipient.domain)
            transaction.tally.accepted(recipient.id, whose, decision.status)


def _content_values(acceptance: Acceptance) -> tuple[Any, ...]:
    return acceptance.message.id, None if acceptance.file else acceptance.content, acceptance.file


def _bounds(acceptance: Acceptance) -> tuple[int, int, int]:
    """Return when a message came, and the lowest and highest of its ids."""
    message = acceptance.message
    ids = [message.id, *(recipient.id for recipient in acceptance.recipients)]
    return message.received_ms, min(ids), max(ids)


def _message_values(acceptance: Acceptance) -> tuple[Any, ...]:
    message = acceptance.message
    sender = message.sender
    recipient_ids = [recipient.id for recipient in acceptance.recipients]
    return (
        message.id,
        message.received_ms,
        sender,
        sender.rpartition("@")[2],
        message.body,
        int(message.smtputf8),
        message.size,
        message.plan,
        message.envid,
        message.ret,
        message.user,
        message.client,
        message.message_id,
        message.from_header,
        message.subject,
        message.untracked_reason,
        message.broadcast,
        message.broadcast_type,
        min(recipient_ids, default=None),
        max(recipient_ids, default=None),
    )


def _recipient_values(
    acceptance: Acceptance, recipient: NewRecipient, admitted: Admitted, lease: int | None
) -> tuple[Any, ...]:
    message = acceptance.message
    unsent = admitted.status is Status.UNSENT
    due_ms = message.received_ms + (LEASE_MS if lease is not None else 0)
    return (
        recipient.id,
        message.id,
        recipient.address,
        recipient.domain,
        recipient.notify,
        recipient.orcpt,
        message.received_ms + acceptance.lifetime_ms,
        admitted.status,
        due_ms if unsent else None,
        lease if unsent else None,
        admitted.diagnostic,
    )


def _jobs(acceptance: Acceptance, decisions: Sequence[Admitted], lease: int | None) -> list[Job]:
    if lease is None:
        return []
    message = acceptance.message
    expires_ms = message.received_ms + acceptance.lifetime_ms
    return [
        Job(
            message,
            recipient.id,
            recipient.address,
            recipient.domain,
            admitted.status,
            0,
            expires_ms,
            lease,
            recipient.notify,
            recipient.orcpt,
            acceptance.content,
        )
        for recipient, admitted in zip(acceptance.recipients, decisions, strict=True)
        if admitted.status is Status.UNSENT
    ]


@dataclass(frozen=True, slots=True)
class Claim:
    """The arguments of the writing half of `Store.claim`: who seems due."""

    recipient_ids: Sequence[int]
    limit: int
    now_ms: int
    wait: Wait


def claim_all(transaction: Transaction, claims: Sequence[Claim]) -> list[dict[int, int]]:
    """Lease those that are still due; the answers are leases by recipient id."""
    return [_claim_one(transaction, wanted) for wanted in claims]


def _claim_one(transaction: Transaction, wanted: Claim) -> dict[int, int]:
    lease = transaction.ids.next()
    rows = transaction.load(wanted.recipient_ids)
    known = transaction.held
    ended = _end_held_back(transaction, rows, wanted.now_ms) if rows and (known.blocked or known.choosy) else []
    present = (rows[id_] for id_ in wanted.recipient_ids if id_ in rows)
    claimed: dict[int, Recipient] = {}
    lost = []
    for row in present:
        if len(claimed) == wanted.limit:
            break
        if row.lease is not None and row.due_ms is not None and row.due_ms <= wanted.now_ms:
            # It ran out under a process that lives, or nobody could tell that it died.
            lost += lose_all(transaction, [row], wanted.now_ms, wanted.wait)
        if claim(row, wanted.now_ms, lease, LEASE_MS):
            claimed[row.id] = row
    transaction.save(rows, [*ended, *claimed.values(), *(row for row in lost if row.id not in claimed)])
    return dict.fromkeys(claimed, lease)


def lose_all(transaction: Transaction, rows: Sequence[Recipient], now_ms: int, wait: Wait) -> list[Recipient]:
    """End leases whose holders will not answer, and tell so; return those that had one. The caller saves them."""
    lost = [row for row in rows if lose(row, now_ms, wait(row.losses + 1))]
    transaction.write_events(
        [event_values(row, transaction.ids.next(), now_ms, TimelineKind.QUEUE, _loss(row, now_ms)) for row in lost]
    )
    return lost


def _loss(row: Recipient, now_ms: int) -> str:
    seconds = 0 if row.held else max((row.due_ms or 0) - now_ms, 0) // 1000
    when = f"to be tried again in {seconds} s" if seconds else "to be tried again at once"
    times = f", {row.losses} times now" if row.losses > 1 else ""
    return f"the relay process that held it ended without a word of what came of it{times}; {when}"


_NAMED: Final = Keys(
    "SELECT json_group_array(json_array(r.id, r.address, r.domain, m.broadcast_type))"
    " FROM recipient r JOIN message m ON m.id = r.message_id WHERE r.id IN ({})"
)


def _end_held_back(transaction: Transaction, rows: dict[int, Recipient], now_ms: int) -> list[Recipient]:
    """End those that are due and have come to be blocked, or to take no such mail; return them."""
    known, fold = transaction.held, transaction.policy.contacts.fold_local_part
    named = [(NewRecipient(*one), type_) for *one, type_ in _NAMED.read(transaction.connection, list(rows))]
    everybody = [new for new, _ in named] if known.blocked else []
    typed = [(type_, new) for new, type_ in named if type_ is not None] if known.choosy else []
    ended, events = [], []
    # Whose lease ran out may have been sent to.
    unleased = {row.id for row in rows.values() if row.lease is None}
    for id_, admitted in held_back(transaction.connection, everybody, typed, now_ms, fold=fold).items():
        blocked = admitted.status is Status.BLOCKED
        if (block if blocked else decline)(rows[id_], now_ms, admitted.diagnostic):
            ended.append(rows[id_])
            kind = TimelineKind.BLOCKED if blocked else TimelineKind.QUEUE
            events.append(event_values(rows[id_], transaction.ids.next(), now_ms, kind, admitted.diagnostic))
    transaction.write_events(events)
    broadcast_ledger.forget_unsent(transaction, [row for row in ended if row.id in unleased])
    return ended


def read_held(transaction: Transaction, wanted: Sequence[None]) -> list[Held]:
    """Return what may hold recipients back, behind all that made it so."""
    return [transaction.held] * len(wanted)


def postpone(transaction: Transaction, wanted: Sequence[tuple[Sequence[Job], int, int]]) -> list[None]:
    """Give leases back: (jobs, when they are due again, after what time their senders are told of a delay)."""
    for jobs, due_ms, warn_after_ms in wanted:
        rows = transaction.load(job.recipient_id for job in jobs)
        present = [job for job in jobs if job.recipient_id in rows and _holds(rows, job)]
        given = [job for job in present if give_back(rows[job.recipient_id], due_ms)]
        transaction.save(rows, [rows[job.recipient_id] for job in given])
        if late := [owed for job in given if (owed := of_wait(job, due_ms, warn_after_ms))]:
            transaction.owe(late)
    return [None] * len(wanted)


def renew(transaction: Transaction, wanted: Sequence[tuple[Sequence[Job], int]]) -> list[None]:
    """Let leases last from the time given."""
    for jobs, now_ms in wanted:
        rows = transaction.load(job.recipient_id for job in jobs)
        present = [rows[job.recipient_id] for job in jobs if job.recipient_id in rows and _holds(rows, job)]
        transaction.save(rows, [row for row in present if renew_lease(row, now_ms + LEASE_MS)])
    return [None] * len(wanted)


def _holds(rows: dict[int, Recipient], job: Job) -> bool:
    return rows[job.recipient_id].lease == job.lease


_LEASES: Final = "SELECT json_group_array(id) FROM recipient WHERE due_ms IS NOT NULL AND lease >= ? AND lease & ? = ?"


def _leased_by(transaction: Transaction, owner: int) -> dict[int, Recipient]:
    values = (owner, SLOT_MASK, owners.slot_of(owner))
    found = transaction.connection.execute(_LEASES, values).fetchone()
    return transaction.load(json.loads(found[0]))


def recover(transaction: Transaction, wanted: Sequence[tuple[int, Wait]]) -> list[int]:
    """End the leases of dead owners at the times given, and forget these owners after the commit."""
    answers = []
    for now_ms, wait in wanted:
        given = 0
        for owner in owners.dead(transaction.place.state_dir):
            rows = _leased_by(transaction, owner)
            lost = lose_all(transaction, list(rows.values()), now_ms, wait)
            transaction.save(rows, lost)
            given += len(lost)
            transaction.after.append(partial(owners.forget, transaction.place.state_dir, owner))
        answers.append(given)
    return answers


def give_back_all(transaction: Transaction, wanted: Sequence[None]) -> list[None]:
    """Give back what this process holds: due since it was leased."""
    rows = _leased_by(transaction, transaction.place.owner)
    transaction.save(rows, [row for row in rows.values() if give_back(row, (row.due_ms or 0) - LEASE_MS)])
    return [None] * len(wanted)
