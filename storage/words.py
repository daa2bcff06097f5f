"""How the words of the log become findable.

Rule: they are entered behind those who deliver, some rows at a time, from the stretches that are there: the cost of a
message stays what it was. What is not entered yet is looked through row by row (storage/wordpage.py).
"""

import json
import sqlite3
from collections.abc import Sequence
from typing import Final

from storage.logquery import RECIPIENTS_OF_M
from storage.transaction import Transaction

_NEXT: Final = (
    "SELECT f.stretch, f.domain, f.address, f.recipient_id FROM by_address f"
    " WHERE (f.stretch, f.domain, f.address, f.recipient_id)"
    " > (SELECT stretch, domain, address, recipient_id FROM words_entered)"
    " ORDER BY f.stretch, f.domain, f.address, f.recipient_id LIMIT ?"
)
_ENTER_ADDRESSES: Final = (
    "INSERT INTO address_words (rowid, address) SELECT r.id, r.address"
    " FROM json_each(?) AS s CROSS JOIN recipient r ON r.id = s.value"
)
# With its first recipient comes the message.
_ENTER_MESSAGES: Final = (
    "INSERT INTO message_words (rowid, subject, sender, broadcast)"
    " SELECT m.id, m.subject, m.sender || ' ' || m.from_header, ifnull(m.broadcast, '') FROM json_each(?) AS s"
    " CROSS JOIN recipient r ON r.id = s.value CROSS JOIN message m ON m.id = r.message_id"
    " WHERE m.first_recipient = r.id ORDER BY m.id"
)
_REACHED: Final = "UPDATE words_entered SET stretch = ?, domain = ?, address = ?, recipient_id = ?"


def enter_words(transaction: Transaction, wanted: Sequence[int]) -> list[int]:
    """Enter the words of some recipients more; the answers are how many there were, of those asked for."""
    connection, answers = transaction.connection, []
    for limit in wanted:
        found = connection.execute(_NEXT, (limit,)).fetchall()
        if found:
            # Ascending, or the tables would write a segment of their own for each.
            ids = json.dumps(sorted(row[3] for row in found))
            for sql in (_ENTER_ADDRESSES, _ENTER_MESSAGES):
                connection.execute(sql, (ids,))
            connection.execute(_REACHED, found[-1])
        answers.append(len(found))
    return answers


_ENTERED: Final = (
    "EXISTS (SELECT 1 FROM words_entered c CROSS JOIN stretch s ON s.first_id <= r.id AND s.last_id >= r.id"
    " CROSS JOIN by_address f ON f.stretch = s.number AND f.domain = r.domain AND f.address = r.address"
    " AND f.recipient_id = r.id WHERE (f.stretch, f.domain, f.address, f.recipient_id)"
    " <= (c.stretch, c.domain, c.address, c.recipient_id))"
)
_FORGET_ADDRESSES: Final = (
    "INSERT INTO address_words (address_words, rowid, address) SELECT 'delete', r.id, r.address"  # noqa: S608
    f" FROM json_each(?) AS k CROSS JOIN message m ON m.id = k.value CROSS JOIN recipient r ON {RECIPIENTS_OF_M}"
    f" WHERE {_ENTERED}"
)
_FORGET_MESSAGES: Final = (
    "INSERT INTO message_words (message_words, rowid, subject, sender, broadcast)"  # noqa: S608
    " SELECT 'delete', m.id, m.subject, m.sender || ' ' || m.from_header, ifnull(m.broadcast, '')"
    " FROM json_each(?) AS k CROSS JOIN message m ON m.id = k.value CROSS JOIN recipient r ON r.id = m.first_recipient"
    f" WHERE {_ENTERED}"
)


def forget_words(connection: sqlite3.Connection, message_ids: Sequence[int]) -> None:
    """Take the words of messages and their recipients out, before these are deleted; what was never in, stays out."""
    for sql in (_FORGET_ADDRESSES, _FORGET_MESSAGES):
        connection.execute(sql, (json.dumps(list(message_ids)),))
