"""Who a broadcast is to go to, put together and judged before anything goes: the pre-flight.

Rules: nothing is written to the store; memory stays the same for any number, since all of it is in a private database
on disk, gone with its connection. What it counts is what admission (storage/admit_verb.py) would decide now.
"""
# ruff: noqa: S608 - SQL is put together from words of this program only; values are parameters

import json
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Final, Self

from storage import database
from storage.address import address_key, type_key
from storage.broadcast_model import Chunk, Hold
from storage.people import ALL_TYPES
from storage.statements import clean
from storage.status import Status

_ROWS_AT_ONCE: Final = 2000
_SHOWN: Final = 5


class NoSuchListError(Exception):
    """There is no list of this name; the message is a sentence."""


@dataclass(frozen=True, slots=True)
class Entry:
    """Somebody who is to get it."""

    address: str
    name: str
    fields: Mapping[str, str]
    """Without those that are empty."""
    declines: bool = False
    """Whether none of its addresses takes the type."""


@dataclass(frozen=True, slots=True)
class Missing:
    """Recipients that lack a field."""

    field: str
    count: int
    first: tuple[str, ...]
    """Some of their addresses."""


_TABLE: Final = (
    "CREATE TABLE audience (position INTEGER PRIMARY KEY, address TEXT NOT NULL, key TEXT NOT NULL, domain TEXT NOT"
    " NULL, name TEXT NOT NULL, fields TEXT NOT NULL, declines INTEGER NOT NULL"
    " DEFAULT 0, verdict TEXT)"
)
_TAKES: Final = "(a.types IS NULL OR :type IN (SELECT value FROM json_each(a.types)))"
_LEFT: Final = (
    f"EXISTS (SELECT 1 FROM store.unsubscribed u WHERE u.address = a.address AND u.type IN ('{ALL_TYPES}', :type))"
)
_OF_CONTACT: Final = "store.contact_address a WHERE a.contact_id = c.id"
# The first address that takes the type; where none does, the first, which is then No Email Selected.
_CHOSEN: Final = (
    f"ifnull((SELECT a.position FROM {_OF_CONTACT} AND {_TAKES} AND NOT {_LEFT} ORDER BY a.position LIMIT 1), 0)"
)
_FROM_LIST: Final = (
    "INSERT INTO audience (address, key, domain, name, fields) SELECT a.address,"
    " CASE WHEN :fold THEN lower(a.address) ELSE a.address END, a.domain, c.name,"
    " CASE WHEN :personal THEN c.fields ELSE '{}' END"
    " FROM store.list_member m CROSS JOIN store.contact c ON c.id = m.contact_id"
    f" CROSS JOIN store.contact_address a ON a.contact_id = c.id AND a.position = {_CHOSEN}"
    " WHERE m.list_id = :list ORDER BY m.contact_id LIMIT :most"
)
_CHOICE: Final = (
    "EXISTS (SELECT 1 FROM store.contact_address a WHERE a.address = audience.key AND a.types IS NOT NULL"
    " AND (:fold OR a.address = audience.key COLLATE BINARY)"
    " AND :type NOT IN (SELECT value FROM json_each(a.types)))"
    " OR EXISTS (SELECT 1 FROM store.unsubscribed u WHERE u.address = audience.key"
    f" AND u.type IN ('{ALL_TYPES}', :type))"
)
_NOT_EXPIRED: Final = "(b.expires_ms IS NULL OR b.expires_ms > :now)"
_BLOCKED: Final = (
    f"EXISTS (SELECT 1 FROM store.blocked b WHERE b.address = audience.key AND {_NOT_EXPIRED})"
    f" OR EXISTS (SELECT 1 FROM store.blocked b WHERE b.address = '@' || audience.domain AND {_NOT_EXPIRED})"
)
_MET: Final = (
    "EXISTS (SELECT 1 FROM store.broadcast_ledger l WHERE l.broadcast_id = :broadcast AND l.key = audience.key)"
)
_HELD: Final = (
    "SELECT EXISTS (SELECT 1 FROM store.contact_address WHERE types IS NOT NULL)"
    " OR EXISTS (SELECT 1 FROM store.unsubscribed), EXISTS (SELECT 1 FROM store.blocked)"
)
_TWICE: Final = (
    f"UPDATE audience SET verdict = '{Status.DUPLICATE}' WHERE position IN (SELECT position FROM (SELECT position,"
    " row_number() OVER (PARTITION BY key ORDER BY position) AS time FROM audience WHERE verdict IS NULL)"
    " WHERE time > 1)"
)
_LISTED: Final = (
    f"CASE WHEN declines THEN json_array(address, name, json(fields), {Hold.CHOICE:d})"
    " WHEN verdict IS NULL THEN json_array(address, name, json(fields))"
    f" ELSE json_array(address, name, json(fields), {Hold.JUDGED:d}) END"
)
_CHUNK: Final = (
    f"SELECT count(*), json_group_array(json({_LISTED})) FROM"
    " (SELECT * FROM audience WHERE position > ? AND position <= ? ORDER BY position)"
)


class Audience:
    """The recipients of one broadcast that is not sent yet; for one thread."""

    def __init__(self, connection: sqlite3.Connection, type_: str, *, fold: bool) -> None:
        """Use `open`."""
        self._connection = connection
        self._type = type_key(type_)
        self._fold = fold
        self._unique = True
        """Whether no address can be here twice."""
        self._some_decline = False

    @classmethod
    def open(cls, state_dir: Path, type_: str, *, fold: bool) -> Self:
        """Begin with nobody; `fold`: whether letter case before the "@" does not count. Raises StoreMissingError."""
        uri = database.reading_uri(state_dir)
        connection = sqlite3.connect("", uri=True, isolation_level=None)
        connection.execute("PRAGMA journal_mode = OFF")
        connection.execute("PRAGMA synchronous = OFF")
        connection.execute("ATTACH ? AS store", (uri,))
        version: int = connection.execute("PRAGMA store.user_version").fetchone()[0]
        database.check_readable(version, state_dir)
        connection.execute(_TABLE)
        return cls(connection, type_, fold=fold)

    def close(self) -> None:
        """Forget everybody."""
        self._connection.close()

    def __len__(self) -> int:
        """Return how many there are."""
        number: int = self._connection.execute("SELECT ifnull(max(position), 0) FROM audience").fetchone()[0]
        return number

    def add_list(self, name: str, *, personal: bool, most: int = -1) -> int:
        """Add the contacts of a list, each by the first of its addresses that takes the type.

        `personal`: with their fields; `most`: so many at most, -1: all. Returns how many were left out since they have
        no address at all. Raises NoSuchListError.
        """
        found = self._connection.execute("SELECT id FROM store.list WHERE name = ?", (clean(name),)).fetchone()
        if found is None:
            raise NoSuchListError(f'there is no list "{name}"')
        self._unique = self._unique and not len(self)
        values = {"type": self._type, "fold": self._fold, "personal": personal, "list": found[0], "most": most}
        added = self._connection.execute(_FROM_LIST, values).rowcount
        members = self._connection.execute("SELECT count(*) FROM store.list_member WHERE list_id = ?", found).fetchone()
        return int(members[0]) - added

    def add(self, entries: Iterable[Entry], *, personal: bool) -> None:
        """Add people who need not be contacts, some thousand at a time."""
        self._unique = False
        entries = iter(entries)
        sql = "INSERT INTO audience (address, key, domain, name, fields, declines) VALUES (?, ?, ?, ?, ?, ?)"
        while some := list(islice(entries, _ROWS_AT_ONCE)):
            self._connection.execute("BEGIN")
            self._connection.executemany(sql, [self._values(entry, personal=personal) for entry in some])
            self._connection.execute("COMMIT")

    def _values(self, entry: Entry, *, personal: bool) -> tuple[str | bool, ...]:
        self._some_decline = self._some_decline or entry.declines
        key = address_key(entry.address, fold=self._fold)
        fields = json.dumps(dict(entry.fields), ensure_ascii=False) if personal else "{}"
        domain = entry.address.rpartition("@")[2]
        return clean(entry.address), clean(key), domain, clean(entry.name), clean(fields), entry.declines

    def person(self, place: int) -> Entry | None:
        """Return who is at a place, from 0 on; None past the end."""
        sql = "SELECT address, name, fields FROM audience WHERE position = ?"
        found = self._connection.execute(sql, (place + 1,)).fetchone()
        return None if found is None else Entry(found[0], found[1], json.loads(found[2]))

    def missing(self, needed: Iterable[str]) -> list[Missing]:
        """Return which of the fields some of those lack who are to be sent it, as judged.

        A field that is empty is missing.
        """
        lacks = {field: self._lack(field) for field in sorted(needed) if field != "address"}
        if not lacks:
            return []
        sums = ", ".join(f"sum({condition})" for condition, _ in lacks.values())
        values = [value for _, some in lacks.values() for value in some]
        counts = self._connection.execute(f"SELECT {sums} FROM audience WHERE verdict IS NULL", values).fetchone()
        return [
            Missing(field, count, self._first(*lacks[field]))
            for field, count in zip(lacks, counts, strict=True)
            if count
        ]

    @staticmethod
    def _lack(field: str) -> tuple[str, list[str]]:
        condition = "ifnull(fields ->> ?, '') = ''"
        return (f"(name = '' AND {condition})" if field == "name" else condition), [field]

    def _first(self, condition: str, values: Sequence[str]) -> tuple[str, ...]:
        sql = f"SELECT address FROM audience WHERE verdict IS NULL AND {condition} ORDER BY position LIMIT {_SHOWN}"
        return tuple([address for (address,) in self._connection.execute(sql, values)])

    def judge(self, name: str, now_ms: int, owner: str = "") -> dict[Status, int]:
        """Decide on everybody, as if the broadcast of this name went now; return how many would be what."""
        values: dict[str, Any] = {"type": self._type, "fold": self._fold, "now": now_ms}
        sql = "SELECT id FROM store.broadcast WHERE owner = ? AND name = ?"
        found = self._connection.execute(sql, (clean(owner), clean(name))).fetchone()
        choosy, blocked = self._connection.execute(_HELD).fetchone()
        cases = [
            *([f"WHEN declines THEN '{Status.NO_EMAIL_SELECTED}'"] if self._some_decline else []),
            *([f"WHEN {_CHOICE} THEN '{Status.NO_EMAIL_SELECTED}'"] if choosy else []),
            *([f"WHEN {_BLOCKED} THEN '{Status.BLOCKED}'"] if blocked else []),
            *([f"WHEN {_MET} THEN '{Status.DUPLICATE}'"] if found else []),
        ]
        if found:
            values["broadcast"] = found[0]
        if cases:
            self._connection.execute(f"UPDATE audience SET verdict = CASE {' '.join(cases)} END", values)
        if not self._unique:
            sql = "SELECT count(*) > count(DISTINCT key) FROM audience WHERE verdict IS NULL"
            if self._connection.execute(sql).fetchone()[0]:
                self._connection.execute(_TWICE)
        counts = dict.fromkeys((Status.UNSENT, Status.BLOCKED, Status.DUPLICATE, Status.NO_EMAIL_SELECTED), 0)
        for verdict, count in self._connection.execute("SELECT verdict, count(*) FROM audience GROUP BY verdict"):
            counts[Status(verdict or Status.UNSENT)] += count
        return counts

    def chunks(self, size: int) -> Iterator[Chunk]:
        """Yield everybody, `size` at a time, as a run takes them."""
        for number, start in enumerate(range(0, len(self), size)):
            count, recipients = self._connection.execute(_CHUNK, (start, start + size)).fetchone()
            yield Chunk(number, count, recipients.encode())
