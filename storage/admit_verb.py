"""Admission: what becomes of each recipient of messages, decided in the transaction that stores them.

Rules: one statement for a whole group of messages, and none where nobody can be held back. A choice of the
contact comes before the list, and both before Duplicate: the reason that would still hold if the address
came alone is the one to tell. A recipient that nothing will be sent to is still a row of the Email Log.
"""
# ruff: noqa: S608 - SQL is put together from words of this program only; values are parameters

import json
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from storage import broadcast_ledger
from storage.address import address_key, type_key
from storage.model import NewRecipient
from storage.people import ALL_TYPES, Blocked, Source, day_of
from storage.status import Event, Status, advance
from storage.transaction import Transaction

if TYPE_CHECKING:
    from storage.queue_verbs import Acceptance


@dataclass(frozen=True, slots=True)
class Admitted:
    """What was decided on a recipient: UNSENT (it will be sent), or why nothing will be."""

    status: Status
    diagnostic: str = ""


TO_BE_SENT: Final = Admitted(Status.UNSENT)
_DUPLICATE: Final = advance(Status.UNSENT, Event.DUPLICATE)
_TWICE: Final = Admitted(_DUPLICATE, "the same address came before in this message")


def admit(transaction: Transaction, wanted: Sequence["Acceptance"]) -> list[list[Admitted]]:
    """Decide on the recipients of new messages, in their order."""
    held = _held_back(transaction, wanted) | _declined(wanted)
    fold = transaction.policy.contacts.fold_local_part
    decisions = [decided(acceptance.recipients, held, fold=fold) for acceptance in wanted]
    return _once(transaction, wanted, decisions) if any(one.once for one in wanted) else decisions


def _declined(wanted: Sequence["Acceptance"]) -> dict[int, Admitted]:
    """Return whom the list that a message goes to holds back."""
    return {
        id_: _no_email(acceptance.message.broadcast_type or "such", None)
        for acceptance in wanted
        if acceptance.declined
        for id_ in acceptance.declined
    }


def decided(recipients: Sequence[NewRecipient], held: dict[int, Admitted], *, fold: bool) -> list[Admitted]:
    """Decide on a message's recipients, some of whom are held back; who comes twice is Duplicate."""
    if len(recipients) == 1 and not held:
        return [TO_BE_SENT]
    decisions, seen = [], set[str]()
    for recipient in recipients:
        key = address_key(recipient.address, fold=fold)
        decisions.append(held.get(recipient.id) or (_TWICE if key in seen else TO_BE_SENT))
        seen.add(key)
    return decisions


def _once(
    transaction: Transaction, wanted: Sequence["Acceptance"], decisions: list[list[Admitted]]
) -> list[list[Admitted]]:
    """Make those Duplicate whom a broadcast that counts was sent to before."""
    sent = [
        (
            acceptance.message,
            [new for new, one in zip(acceptance.recipients, admitted, strict=True) if one == TO_BE_SENT],
        )
        for acceptance, admitted in zip(wanted, decisions, strict=True)
        if acceptance.once
    ]
    again = {id_: met_before(name) for id_, name in broadcast_ledger.met_before(transaction, sent).items()}
    return [
        [again.get(new.id, one) for new, one in zip(acceptance.recipients, admitted, strict=True)]
        for acceptance, admitted in zip(wanted, decisions, strict=True)
    ]


def _held_back(transaction: Transaction, wanted: Sequence["Acceptance"]) -> dict[int, Admitted]:
    """Return whom a contact's choice or the Blocked Email list holds back, by recipient id."""
    known = transaction.held
    if not known.blocked and not known.choosy:
        return {}
    typed = [
        (acceptance.message.broadcast_type, recipient)
        for acceptance in wanted
        if known.choosy and acceptance.message.broadcast_type
        for recipient in acceptance.recipients
    ]
    everybody = [recipient for acceptance in wanted for recipient in acceptance.recipients] if known.blocked else []
    if not everybody and not typed:
        return {}
    now_ms = max(acceptance.message.received_ms for acceptance in wanted)
    fold = transaction.policy.contacts.fold_local_part
    return held_back(transaction.connection, everybody, typed, now_ms, fold=fold)


_ENTRY: Final = "b.address, b.source, b.created_ms, b.reason, b.category"
_NOT_EXPIRED: Final = "(b.expires_ms IS NULL OR b.expires_ms > :now)"
_TYPE: Final = "json_extract(:types, '$[' || v.key || ']')"
# Each line of the answer: what it is about, which of those asked for (its place, or the domain), and the rest.
HELD_BACK: Final = (
    "SELECT json_group_array(json(line)) FROM ("
    f"SELECT json_array('blocked', v.key, {_ENTRY}) AS line FROM json_each(:addresses) v"
    f" CROSS JOIN blocked b ON b.address = v.value WHERE {_NOT_EXPIRED}"
    f" UNION ALL SELECT json_array('domain', v.value, {_ENTRY}) FROM json_each(:domains) v"
    f" CROSS JOIN blocked b ON b.address = '@' || v.value WHERE {_NOT_EXPIRED}"
    " UNION ALL SELECT json_array('choice', v.key, NULL) FROM json_each(:typed) v"
    " CROSS JOIN contact_address a ON a.address = v.value"
    " WHERE (:fold OR a.address = v.value COLLATE BINARY) AND a.types IS NOT NULL"
    f" AND {_TYPE} NOT IN (SELECT value FROM json_each(a.types))"
    " UNION ALL SELECT json_array('choice', v.key, u.at_ms) FROM json_each(:typed) v"
    f" CROSS JOIN unsubscribed u ON u.address = v.value AND u.type IN ('{ALL_TYPES}', {_TYPE}))"
)


def held_back(
    connection: sqlite3.Connection,
    recipients: Sequence[NewRecipient],
    typed: Sequence[tuple[str, NewRecipient]],
    now_ms: int,
    *,
    fold: bool,
) -> dict[int, Admitted]:
    """Return which of `recipients` the list blocks, and of `typed` (broadcast type, recipient) a choice holds back."""
    values = held_values(recipients, typed, now_ms, fold=fold)
    return held_of(json.loads(connection.execute(HELD_BACK, values).fetchone()[0]), recipients, typed)


def held_values(
    recipients: Sequence[NewRecipient], typed: Sequence[tuple[str, NewRecipient]], now_ms: int, *, fold: bool
) -> dict[str, Any]:
    """Return the parameters of HELD_BACK."""
    return {
        "addresses": json.dumps([address_key(recipient.address) for recipient in recipients]),
        "domains": json.dumps(list({recipient.domain for recipient in recipients})),
        "typed": json.dumps([address_key(recipient.address) for _, recipient in typed]),
        "types": json.dumps([type_key(type_) for type_, _ in typed]),
        "now": now_ms,
        "fold": fold,
    }


def held_of(
    lines: Sequence[Sequence[Any]], recipients: Sequence[NewRecipient], typed: Sequence[tuple[str, NewRecipient]]
) -> dict[int, Admitted]:
    """Return who is held back, by recipient id, of the lines that HELD_BACK answers."""
    held: dict[int, Admitted] = {}
    domains: dict[str, Admitted] = {}
    for what, which, *rest in lines:
        if what == "choice":
            type_, recipient = typed[which]
            held[recipient.id] = _no_email(type_, rest[0])
        elif what == "blocked":
            held.setdefault(recipients[which].id, _blocked(*rest))
        else:
            domains[which] = _blocked(*rest)
    if domains:
        for recipient in recipients:
            if recipient.domain in domains:
                held.setdefault(recipient.id, domains[recipient.domain])
    return held


def met_before(broadcast: str) -> Admitted:
    """Return what is decided on an address that a broadcast was sent to before."""
    return Admitted(_DUPLICATE, f'the address was met before in the broadcast "{broadcast}"')


def _no_email(type_: str, unsubscribed_ms: int | None) -> Admitted:
    if unsubscribed_ms is None:
        why = f"the contact takes no {type_} mail at this address"
    else:
        why = f"unsubscribed from {type_} mail on {day_of(unsubscribed_ms)}"
    return Admitted(advance(Status.UNSENT, Event.NO_EMAIL), why)


def _blocked(address: str, source: str, created_ms: int, reason: str, category: str | None) -> Admitted:
    entry = Blocked(address, Source(source), created_ms, reason, category)
    return Admitted(advance(Status.UNSENT, Event.BLOCK), entry.why)
