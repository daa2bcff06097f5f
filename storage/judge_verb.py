"""The verb that gives stored facts the category of a newer table.

Rule: compare and set, and nothing but the category: what a fact did to a status is done.
"""

from collections.abc import Sequence
from typing import Final

from storage.model import Judged, TimelineKind
from storage.statements import clean
from storage.transaction import Transaction

_ATTEMPT: Final = "UPDATE attempt SET category=?, rules=? WHERE recipient_id=? AND id=? AND category IS ?"
_EVENT: Final = "UPDATE event SET category=?, rules=? WHERE recipient_id=? AND id=? AND category IS ?"
_INVALID: Final = (
    "UPDATE invalid_address SET category=? WHERE recipient_id=? AND category IS ? AND code IS ? AND enhanced IS ?"
    " AND diagnostic=? AND (user, address) = (SELECT ifnull(m.user, ''), r.address FROM recipient r"
    " JOIN message m ON m.id = r.message_id WHERE r.id=?)"
)
_Said = tuple[str | None, int | None, str | None, str]
"""Category, code, enhanced code and text."""


def recategorise(transaction: Transaction, wanted: Sequence[Sequence[tuple[Judged, str, int]]]) -> list[int]:
    """Write (fact, category, version of the rules); the answers are how many facts changed."""
    return [sum(_recategorise(transaction, *one) for one in some) for some in wanted]


def _recategorise(transaction: Transaction, fact: Judged, category: str, rules: int) -> bool:
    run = transaction.connection.execute
    sql = _ATTEMPT if fact.kind is TimelineKind.ATTEMPT else _EVENT
    if not run(sql, (category, rules, fact.recipient_id, fact.id, fact.category)).rowcount:
        return False
    if fact.kind is not TimelineKind.COMPLAINT:
        said = (fact.category, fact.reply.code, fact.reply.enhanced, clean(fact.reply.text))
        _correct(transaction, fact.recipient_id, said, category)
    transaction.touch([fact.recipient_id])
    return True


def _correct(transaction: Transaction, recipient_id: int, said: _Said, category: str) -> None:
    """Give a recipient whose last reply is this fact's, since it says the same, the category too."""
    rows = transaction.load([recipient_id])
    same = [row for row in rows.values() if (row.category, row.code, row.enhanced, row.diagnostic) == said]
    for row in same:
        row.category = category
    transaction.save(rows, same)
    transaction.connection.execute(_INVALID, (category, recipient_id, *said, recipient_id))
