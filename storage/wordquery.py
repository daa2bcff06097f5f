"""The questions of a page of words: messages and addresses that hold them, by the full-text tables or without.

Rules: no database here; what people typed is only ever a parameter; every question meets a bounded number of rows,
but those that ask the tables for all words, which the reader gives up when its time is up (storage/timed.py).
"""
# ruff: noqa: S608 - SQL is put together from words of this program only; values are parameters

import json
from collections.abc import Sequence
from typing import Any, Final

from storage.logquery import COLUMNS, MESSAGE, MESSAGE_TEXT, RECIPIENTS_OF_M, Bounds, Query, Where, holding, where
from storage.model import LogFilter
from storage.stretch import FRESH_MESSAGES
from storage.wordtext import leading_of, match_of

_PAST_ALL: Final = (1 << 63) - 1
_UNENTERED: Final = (
    " FROM by_address f CROSS JOIN recipient r ON r.id = f.recipient_id CROSS JOIN message m ON m.id = r.message_id"
    " WHERE (f.stretch, f.domain, f.address, f.recipient_id)"
    " > (SELECT stretch, domain, address, recipient_id FROM words_entered)"
    " AND f.stretch > (SELECT ifnull(max(number), 0) FROM stretch) - ?"
)
# Messages that other processes take while one draws the ids of many recipients.
_DRAWN_TOGETHER: Final = 500
# Of what is not entered yet, so many stretches are looked through: some 100 ms of the writer's time behind.
_MOST_UNENTERED: Final = 8
_HELD: Final = "SELECT count(*), min(id), json_group_array(id) FILTER (WHERE holds(?, text)) FROM ({})"


class WordSearch:
    """A filter with words, and the queries of its page (storage/wordpage.py)."""

    def __init__(self, wanted: LogFilter, bounds: Bounds) -> None:
        """Ask for what `wanted` says, from new to old."""
        self._where = where(wanted)
        self._bounds = bounds
        self._words = wanted.words or ""
        self._match = match_of(self._words)
        self._leading = leading_of(self._words)

    def start(self, low: int) -> Query:
        """Return the query for where to begin and end: ids below which messages, and recipients, may have rows of it.

        And the id that no message has a lower one of whose recipients are from `low` on. A message's recipients have
        higher ids than it, drawn in one go: only those that were drawn at the same time lie between.
        """
        at = self._bounds
        first = "ifnull(?1, ifnull((SELECT message_id + 1 FROM recipient WHERE id = ?2), ifnull(?2, ?3)))"
        near = "SELECT last_recipient FROM message WHERE id < first ORDER BY id DESC LIMIT ?4"
        lowest = "SELECT id FROM message WHERE id < ?5 ORDER BY id DESC LIMIT ?4"
        sql = (
            f"SELECT first, ifnull((SELECT max(last_recipient) + 1 FROM ({near})), 0),"
            f" ifnull((SELECT min(id) FROM ({lowest})), 0) FROM (SELECT {first} AS first)"
        )
        return Query(sql, (at.high, at.before_id, _PAST_ALL, _DRAWN_TOGETHER, low))

    def messages(self, below: int, limit: int) -> Query:
        """Return the query for ids of messages that hold the words."""
        return self._listed("message_words", self._match, below, limit)

    def addresses(self, below: int, limit: int) -> Query:
        """Return the query for ids of recipients whose address holds them."""
        return self._listed("address_words", self._match, below, limit)

    def messages_met(self, below: int, limit: int) -> Query:
        """Return the query for (messages met, the lowest id, JSON of the ids that hold the words), of some messages.

        Those are met that hold the longest of the whole words; where all are beginnings, the nearest ones.
        """
        text = f"SELECT m.id, {MESSAGE_TEXT} AS text FROM "
        return self._met(
            "message_words", f"{text}({{}}) AS s CROSS JOIN message m ON m.id = s.id", "message", below, limit
        )

    def addresses_met(self, below: int, limit: int) -> Query:
        """Return the same of recipients, by their addresses."""
        text = "SELECT r.id, r.address AS text FROM ({}) AS s CROSS JOIN recipient r ON r.id = s.id"
        return self._met("address_words", text, "recipient", below, limit)

    def _met(self, table: str, texts: str, rows: str, below: int, limit: int) -> Query:
        if self._leading is None:
            some = Query(f"SELECT id FROM {rows} NOT INDEXED WHERE id < ? ORDER BY id DESC LIMIT ?", (below, limit))
        else:
            some = self._listed(table, self._leading, below, limit)
        return Query(_HELD.format(texts.format(some.sql)), (self._words, *some.values))

    def _listed(self, table: str, match: str | None, below: int, limit: int) -> Query:
        sql = f"SELECT rowid AS id FROM {table} WHERE {table} MATCH ? AND rowid < ? ORDER BY rowid DESC LIMIT ?"
        return Query(sql, (match, below, limit))

    def of_messages(self, message_ids: Sequence[int], limit: int) -> Query:
        """Return the query for the first `limit` rows of some messages, one message after another."""
        terms, values = self._terms()
        one = (
            f"SELECT * FROM (SELECT {COLUMNS} FROM message m CROSS JOIN recipient r ON {RECIPIENTS_OF_M}"
            f" WHERE m.id = ? AND {terms} ORDER BY r.id DESC LIMIT ?)"
        )
        bound = [value for id_ in message_ids for value in (id_, *values, limit)]
        return Query(f"{' UNION ALL '.join([one] * len(message_ids))} LIMIT ?", (*bound, limit))

    def of_recipients(self, recipient_ids: Sequence[int]) -> Query:
        """Return the query for the rows of some recipients."""
        terms, values = self._terms()
        sql = f"SELECT {COLUMNS} FROM json_each(?) AS s CROSS JOIN recipient r ON r.id = s.value{MESSAGE} WHERE {terms}"
        return Query(sql, (json.dumps(list(recipient_ids)), *values))

    def unentered(self, limit: int) -> list[Query]:
        """Return the queries for rows whose words are not entered yet."""
        terms, values = self._terms()
        held, words = holding(self._words)
        order = " ORDER BY r.message_id DESC, r.id DESC LIMIT ?"
        fresh = f"SELECT {COLUMNS}{FRESH_MESSAGES} AND {terms} AND {held}{order}"
        entering = f"SELECT {COLUMNS}{_UNENTERED} AND {terms} AND {held}{order}"
        return [Query(fresh, (*values, *words, limit)), Query(entering, (_MOST_UNENTERED, *values, *words, limit))]

    def _terms(self) -> tuple[str, list[Any]]:
        made, at = Where([*self._where.terms], [*self._where.values]), self._bounds
        if at.before_id is not None:
            own = "(ifnull((SELECT message_id FROM recipient WHERE id = ?), ?), ?)"
            made.add(f"(r.message_id, r.id) < {own}", *[at.before_id] * 3)
        if at.high is not None:
            made.add("r.message_id < ?", at.high)
        return made.joined(), made.values
