"""The verbs of contacts and their lists."""

from collections.abc import Sequence

from storage.people import NewContact, Stored
from storage.transaction import Transaction


def put(transaction: Transaction, wanted: Sequence[tuple[Sequence[NewContact], int]]) -> list[list[Stored | str]]:
    """Add or update contacts at the times given."""
    raise NotImplementedError


def remove(transaction: Transaction, wanted: Sequence[Sequence[int]]) -> list[int]:
    """Delete contacts by id."""
    raise NotImplementedError
