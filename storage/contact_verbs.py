"""The verbs of contacts and their lists.

Rules: what is read, judged and written for many contacts is a few statements in all; storing the same again
changes nothing; an address belongs to one contact.
"""
# ruff: noqa: S608 - SQL is put together from words of this program only; values are parameters

import json
import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from storage.address import address_key, type_key
from storage.people import ALL_TYPES, NewAddress, NewContact, Stored
from storage.statements import Rows, clean
from storage.transaction import Transaction

_JSON: Final = json.JSONEncoder(ensure_ascii=False).encode
_AMONG: Final = "IN (SELECT value FROM json_each(?))"
_BY_KEY: Final = f"SELECT json_group_array(json_array(key, id)) FROM contact WHERE key {_AMONG}"
# The list goes first: each address is looked up in the index, whatever SQLite thinks of the sizes.
_BY_ADDRESS: Final = (
    "SELECT json_group_array(json_array(a.address, a.contact_id)) FROM json_each(?) v"
    " CROSS JOIN contact_address a ON a.address = v.value"
)
_CONTACTS: Final = f"SELECT json_group_array(json_array(id, key, name, json(fields))) FROM contact WHERE id {_AMONG}"
_ADDRESSES: Final = (
    "SELECT json_group_array(json_array(contact_id, position, address, json(types))) FROM contact_address"
    f" WHERE contact_id {_AMONG}"
)
_WRITE: Final = Rows.insert(
    "contact",
    "id,key,name,fields,created_ms,updated_ms",
    "ON CONFLICT (id) DO UPDATE SET key=excluded.key, name=excluded.name, fields=excluded.fields,"
    " updated_ms=excluded.updated_ms",
)
_WRITE_ADDRESS: Final = Rows.insert(
    "contact_address",
    "contact_id,position,address,domain,types",
    "ON CONFLICT (contact_id, position) DO UPDATE SET address=excluded.address, domain=excluded.domain,"
    " types=excluded.types",
)
_JOIN: Final = Rows.insert("list_member", "list_id,contact_id", "ON CONFLICT DO NOTHING RETURNING contact_id")


@dataclass(slots=True)
class _Known:
    """A contact as it is stored, and what of it is to be written."""

    id: int
    key: str | None
    name: str
    fields: dict[str, str]
    places: dict[int, tuple[str, tuple[str, ...] | None]] = field(default_factory=dict)
    """(address, types) by position."""
    changes: int = 0
    """How often it was changed; 0: there is nothing to be written."""
    moved: set[int] = field(default_factory=set)
    """Positions to be written."""


class _Many:
    """Contacts that one verb stores: those that are there, as they become."""

    def __init__(self, transaction: Transaction, contacts: Sequence[NewContact]) -> None:
        self._transaction = transaction
        self._fold = transaction.policy.contacts.fold_local_part
        self._by_key: dict[str, int] = {}
        self._by_address: dict[str, int] = {}
        self.known: dict[int, _Known] = {}
        self._read(contacts)

    def _read(self, contacts: Sequence[NewContact]) -> None:
        connection = self._transaction.connection
        keys = [clean(new.key) for new in contacts if new.key is not None]
        addresses = [clean(address_key(one.address)) for new in contacts for one in new.addresses]
        self._by_key.update(_asked(connection, _BY_KEY, keys))
        ids = {*self._by_key.values(), *(id_ for _, id_ in _asked(connection, _BY_ADDRESS, addresses))}
        if not ids:
            return
        for id_, key, name, fields in _asked(connection, _CONTACTS, ids):
            self.known[id_] = _Known(id_, key, name, fields)
        for id_, position, address, types in _asked(connection, _ADDRESSES, ids):
            self.known[id_].places[position] = (address, None if types is None else tuple(types))
            self._by_address[self._key(address)] = id_

    def _key(self, address: str) -> str:
        return clean(address_key(address, fold=self._fold))

    def store(self, new: NewContact) -> tuple[Stored, int] | str:
        """Bring a contact to what is wanted; returns what that is and its id, or why it cannot be."""
        wanted = {self._key(one.address): one for one in new.addresses}
        found = self._found(new, wanted)
        if isinstance(found, str):
            return found
        known = found or self._made()
        before = known.changes
        if new.key is not None and known.key is None:
            known.key = clean(new.key)
            known.changes += 1
            self._by_key[known.key] = known.id
        if new.name is not None and clean(new.name) != known.name:
            known.name = clean(new.name)
            known.changes += 1
        for name, value in new.fields.items():
            self._set_field(known, clean(name), clean(value))
        self._set_addresses(known, wanted)
        if found is None:
            return Stored.ADDED, known.id
        return (Stored.UPDATED if known.changes > before else Stored.UNCHANGED), known.id

    def _found(self, new: NewContact, wanted: Mapping[str, NewAddress]) -> _Known | str | None:
        """Return the contact that is meant, None where it is a new one, or why it cannot be told."""
        id_ = None if new.key is None else self._by_key.get(clean(new.key))
        for at, (key, one) in enumerate(wanted.items()):
            owner = self._by_address.get(key)
            if at == 0 and id_ is None:
                id_ = owner
            elif owner is not None and owner != id_:
                return f"{one.address} is an address of {self._name(owner)}"
        if id_ is None:
            return None if wanted else "there is no address"
        known = self.known[id_]
        if new.key is not None and known.key not in {None, clean(new.key)}:
            return f"{new.addresses[0].address} is an address of {self._name(id_)}"
        return known

    def _name(self, id_: int) -> str:
        known = self.known[id_]
        if known.key is not None:
            return f'the contact with the key "{known.key}"'
        return f"another contact ({known.places[min(known.places)][0]})"

    def _made(self) -> _Known:
        known = _Known(self._transaction.ids.next(), None, "", {}, changes=1)
        self.known[known.id] = known
        return known

    @staticmethod
    def _set_field(known: _Known, name: str, value: str) -> None:
        if known.fields.get(name, "") != value:
            known.changes += 1
            if value:
                known.fields[name] = value
            else:
                del known.fields[name]

    def _set_addresses(self, known: _Known, wanted: Mapping[str, NewAddress]) -> None:
        places = {self._key(address): place for place, (address, _) in known.places.items()}
        taken = {places[key] for key in wanted if key in places}
        for position, (key, one) in enumerate(wanted.items()):
            if key in places:
                address, types = known.places[places[key]]
                self._set_place(known, key, places[key], (address, _types(one, types)))
                continue
            place = min(position, max(known.places, default=-1) + 1)
            if place in taken:
                place = max(known.places) + 1
            taken.add(place)
            self._set_place(known, key, place, (clean(address_key(one.address)), _types(one, None)))

    def _set_place(self, known: _Known, key: str, place: int, one: tuple[str, tuple[str, ...] | None]) -> None:
        before = known.places.get(place)
        if before == one:
            return
        if before is not None:
            self._by_address.pop(self._key(before[0]), None)
        self._by_address[key] = known.id
        known.places[place] = one
        known.moved.add(place)
        known.changes += 1


def _types(new: NewAddress, stored: tuple[str, ...] | None) -> tuple[str, ...] | None:
    if new.types is None:
        return stored
    return None if ALL_TYPES in new.types else tuple(sorted({clean(type_key(one)) for one in new.types}))


def put(transaction: Transaction, wanted: Sequence[tuple[Sequence[NewContact], int]]) -> list[list[Stored | str]]:
    """Add or update contacts at the times given; a text says why one was left out."""
    return [_put(transaction, contacts, now_ms) for contacts, now_ms in wanted]


def _put(transaction: Transaction, contacts: Sequence[NewContact], now_ms: int) -> list[Stored | str]:
    many = _Many(transaction, contacts)
    answers: list[Stored | str] = []
    members: dict[str, dict[int, list[int]]] = {}
    for at, new in enumerate(contacts):
        stored = many.store(new)
        if isinstance(stored, str):
            answers.append(stored)
            continue
        answers.append(stored[0])
        for name in new.lists:
            members.setdefault(clean(name), {}).setdefault(stored[1], []).append(at)
    _write(transaction, many.known.values(), now_ms)
    for name, ids in members.items():
        list_id = list_of(transaction, name, now_ms)
        for (contact_id,) in _JOIN.returned(transaction.connection, [(list_id, id_) for id_ in ids]):
            for at in ids[contact_id]:
                answers[at] = Stored.UPDATED if answers[at] is Stored.UNCHANGED else answers[at]
    return answers


def _write(transaction: Transaction, contacts: Iterable[_Known], now_ms: int) -> None:
    connection = transaction.connection
    changed = [known for known in contacts if known.changes]
    _WRITE.run(
        connection,
        [(known.id, known.key, known.name, _JSON(known.fields), now_ms, now_ms) for known in changed],
    )
    places = [
        (known.id, at, address, address.rpartition("@")[2], None if types is None else json.dumps(types))
        for known in changed
        for at in known.moved
        for address, types in (known.places[at],)
    ]
    _WRITE_ADDRESS.run(connection, places)
    if any(place[-1] is not None for place in places):
        transaction.place.stamp.renew()


def list_of(transaction: Transaction, name: str, now_ms: int) -> int:
    """Return the id of the list of this name, made where there is none."""
    connection = transaction.connection
    found = connection.execute("SELECT id FROM list WHERE name = ?", (name,)).fetchone()
    if found:
        id_: int = found[0]
        return id_
    id_ = transaction.ids.next()
    connection.execute("INSERT INTO list (id, name, created_ms) VALUES (?, ?, ?)", (id_, name, now_ms))
    return id_


def remove(transaction: Transaction, wanted: Sequence[Sequence[int]]) -> list[int]:
    """Delete contacts by id."""
    answers = []
    for contact_ids in wanted:
        ids = (json.dumps(list(contact_ids)),)
        for table in ("list_member", "contact_address"):
            transaction.connection.execute(f"DELETE FROM {table} WHERE contact_id {_AMONG}", ids)
        answers.append(transaction.connection.execute(f"DELETE FROM contact WHERE id {_AMONG}", ids).rowcount)
        transaction.place.stamp.renew()
    return answers


def leave_list(transaction: Transaction, wanted: Sequence[tuple[str, Sequence[int]]]) -> list[int]:
    """Take contacts from a list: (its name, their ids); the answers are how many were on it."""
    sql = f"DELETE FROM list_member WHERE list_id = (SELECT id FROM list WHERE name = ?) AND contact_id {_AMONG}"
    return [transaction.connection.execute(sql, (clean(name), json.dumps(list(ids)))).rowcount for name, ids in wanted]


def remove_list(transaction: Transaction, wanted: Sequence[str]) -> list[bool]:
    """Delete lists by name; their contacts stay. False where there is none."""
    members = "DELETE FROM list_member WHERE list_id = (SELECT id FROM list WHERE name = ?)"
    answers = []
    for name in wanted:
        transaction.connection.execute(members, (clean(name),))
        answers.append(transaction.connection.execute("DELETE FROM list WHERE name = ?", (clean(name),)).rowcount == 1)
    return answers


def _asked(connection: sqlite3.Connection, sql: str, values: Iterable[object]) -> list[Any]:
    listed = list(values)
    if not listed:
        return []
    found: list[Any] = json.loads(connection.execute(sql, (json.dumps(listed),)).fetchone()[0])
    return found
