"""Admission: what becomes of each recipient that a client names, decided before anything is sent.

Rule: pure; what must be known is an argument. A recipient that nothing will be sent to is still a row of
the Email Log, so the client gets 250 for it.
"""

from collections.abc import Set as AbstractSet
from dataclasses import dataclass

from relay.receive.address import Address
from storage.status import Event, Status, advance


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known of a recipient when it is admitted; nothing of it is known unless somebody says so."""

    blocked: str | None = None
    """Why the address is on the Blocked Email list, None where it is not."""
    no_email: str | None = None
    """Why the contact has no address for this broadcast's type, None where it has, or is no contact."""


@dataclass(frozen=True, slots=True)
class Admitted:
    """What was decided: UNSENT (it will be sent), or why nothing will be."""

    status: Status
    diagnostic: str = ""


NOTHING_KNOWN = Facts()
_TO_BE_SENT = Admitted(Status.UNSENT)
_DUPLICATE = Admitted(advance(Status.UNSENT, Event.DUPLICATE), "the same address came before in this transaction")


def admit(address: Address, seen: AbstractSet[str], facts: Facts = NOTHING_KNOWN) -> Admitted:
    """Decide on `address`; `seen` holds the keys of the addresses that came before it in the transaction.

    A choice of the contact comes before the list, and both before Duplicate: the reason that would still
    hold if the address came alone is the one to tell.
    """
    if facts.no_email is not None:
        return Admitted(advance(Status.UNSENT, Event.NO_EMAIL), facts.no_email)
    if facts.blocked is not None:
        return Admitted(advance(Status.UNSENT, Event.BLOCK), facts.blocked)
    return _DUPLICATE if address.key in seen else _TO_BE_SENT
