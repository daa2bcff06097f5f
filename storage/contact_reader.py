"""Questions about contacts and their lists, as `Reader.contacts`.

Rule: a page is found by an index and begins where the one before ended (keyset), so that a million contacts
cost a page what a hundred do.
"""
# ruff: noqa: S608 - SQL is put together from words of this program only; values are parameters

import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from storage.address import Fault, address_key, parse_domain
from storage.logquery import Query
from storage.people import AddressOwner, Contact, ContactAddress
from storage.statements import clean

_PAGE: Final = 1000
_LAST_CHARACTER: Final = "\U0010ffff"
_AMONG: Final = "IN (SELECT value FROM json_each(?))"


@dataclass(frozen=True, slots=True)
class ContactFilter:
    """Which contacts are wanted; None means all."""

    text: str | None = None
    """A key, the beginning of an address or a name, or "@example.org": all of a domain."""
    list: str | None = None
    """Only of this list."""


@dataclass(frozen=True, slots=True)
class ListRow:
    """A list of contacts."""

    name: str
    contacts: int
    created_ms: int


class ContactReader:
    """Reads contacts by somebody's connection."""

    def __init__(self, ask: Callable[[Query], Awaitable[list[Any]]]) -> None:
        """Take what answers a query."""
        self._ask = ask

    async def page(self, wanted: ContactFilter, *, limit: int, after_id: int = 0) -> list[Contact]:
        """Return contacts with ids above `after_id`, in the order of their ids."""
        common = _is_beginning(wanted) and len(await self._ask(_some(wanted))) == _MOST_SORTED
        query = _met(wanted, after_id, limit) if common else _ids(wanted, after_id, limit)
        return await self.contacts([row[0] for row in await self._ask(query)])

    async def stream(self, wanted: ContactFilter) -> AsyncIterator[Contact]:
        """Yield all contacts that match, in the order of their ids, in constant memory."""
        page = await self.page(wanted, limit=_PAGE)
        while page:
            for contact in page:
                yield contact
            page = await self.page(wanted, limit=_PAGE, after_id=page[-1].id)

    async def contacts(self, ids: Sequence[int]) -> list[Contact]:
        """Return contacts by id, in the order of their ids; unknown ids are left out."""
        among = (json.dumps(list(ids)),)
        addresses: dict[int, list[ContactAddress]] = {}
        for id_, address, types in await self._ask(Query(_ADDRESSES, among)):
            taken = None if types is None else tuple(json.loads(types))
            addresses.setdefault(id_, []).append(ContactAddress(address, taken))
        lists: dict[int, list[str]] = {}
        for id_, name in await self._ask(Query(_LISTS_OF, among)):
            lists.setdefault(id_, []).append(name)
        return [
            Contact(
                id_,
                key,
                name,
                json.loads(fields),
                tuple(addresses.get(id_, ())),
                tuple(lists.get(id_, ())),
                created_ms,
                updated_ms,
            )
            for id_, key, name, fields, created_ms, updated_ms in await self._ask(Query(_CONTACTS, among))
        ]

    async def find(self, who: str) -> list[Contact]:
        """Return the contacts that have a key or an address: one at most, unless letter case tells two apart."""
        address = clean(address_key(who))
        found = await self._ask(Query(f"{_BY_KEY} UNION {_BY_ADDRESS}", (clean(who), address)))
        return await self.contacts([row[0] for row in found])

    async def owners(self, addresses: Sequence[str]) -> Mapping[str, AddressOwner]:
        """Return whose contacts' addresses these are, by address as it was given; others are left out."""
        keys = {address: clean(address_key(address)) for address in addresses}
        rows = await self._ask(Query(_OWNERS, (json.dumps(list(set(keys.values()))),)))
        known = {of: AddressOwner(id_, key, name, json.loads(fields)) for of, id_, key, name, fields in rows}
        return {address: known[of] for address, of in keys.items() if of in known}

    async def count(self, wanted: ContactFilter) -> int:
        """Return how many contacts match."""
        query = _ids(wanted, 0, -1)
        ((found,),) = await self._ask(Query(f"SELECT count(*) FROM ({query.sql})", query.values))
        return int(found)

    async def width(self) -> tuple[int, list[str]]:
        """Return how many addresses a contact has at most, and the names of all fields that contacts have."""
        ((most,),) = await self._ask(Query(_MOST_ADDRESSES))
        return most, [name for (name,) in await self._ask(Query(_FIELD_NAMES))]

    async def lists(self) -> list[ListRow]:
        """Return all lists by name."""
        return [ListRow(*row) for row in await self._ask(Query(_LISTS))]

    async def list_names(self) -> list[str]:
        """Return the names of all lists, without counting anybody."""
        return [name for (name,) in await self._ask(Query("SELECT name FROM list ORDER BY name"))]

    async def list_known(self, name: str) -> bool:
        """Return whether there is a list of this name; letter case does not count."""
        return bool(await self._ask(Query("SELECT 1 FROM list WHERE name = ?", (clean(name),))))


_CONTACTS: Final = f"SELECT id, key, name, fields, created_ms, updated_ms FROM contact WHERE id {_AMONG} ORDER BY id"
_ADDRESSES: Final = (
    f"SELECT contact_id, address, types FROM contact_address WHERE contact_id {_AMONG} ORDER BY contact_id, position"
)
_LISTS_OF: Final = (
    "SELECT m.contact_id, l.name FROM list_member m JOIN list l ON l.id = m.list_id"
    f" WHERE m.contact_id {_AMONG} ORDER BY l.name"
)
_LISTS: Final = (
    "SELECT name, (SELECT count(*) FROM list_member WHERE list_id = list.id), created_ms FROM list ORDER BY name"
)
_MOST_ADDRESSES: Final = (
    "SELECT ifnull(max(addresses), 0) FROM (SELECT count(*) AS addresses FROM contact_address GROUP BY contact_id)"
)
_FIELD_NAMES: Final = (
    "SELECT DISTINCT f.key FROM contact CROSS JOIN json_each(contact.fields) f"
    " WHERE contact.fields <> '{}' ORDER BY f.key"
)
_BY_KEY: Final = "SELECT id FROM contact WHERE key = ?"
_OWNERS: Final = (
    "SELECT v.value, c.id, c.key, c.name, c.fields FROM json_each(?) v"
    " CROSS JOIN contact_address a ON a.address = v.value JOIN contact c ON c.id = a.contact_id"
)
_BY_ADDRESS: Final = "SELECT contact_id FROM contact_address WHERE address = ?"
_BEGINS: Final = (
    f"{_BY_KEY} UNION SELECT id FROM contact WHERE name <> '' AND name COLLATE NOCASE >= ? AND name COLLATE NOCASE < ?"
    " UNION SELECT contact_id FROM contact_address WHERE address >= ? AND address < ?"
)


# What begins so is known by texts, and wanted by ids: where so many do, a page is met sooner in the order of ids than
# all are sorted.
_MOST_SORTED: Final = 10_000
_SOME: Final = (
    "SELECT 1 FROM contact WHERE name <> '' AND name COLLATE NOCASE >= ?1 AND name COLLATE NOCASE < ?2"
    " UNION ALL SELECT 1 FROM contact_address WHERE address >= ?1 AND address < ?2 LIMIT ?3"
)
_MET: Final = (
    "SELECT id FROM contact NOT INDEXED WHERE id > ?3 AND (key = ?1 OR name <> '' AND name COLLATE NOCASE >= ?1"
    " AND name COLLATE NOCASE < ?2 OR EXISTS (SELECT 1 FROM contact_address a WHERE a.contact_id = contact.id"
    " AND +a.address >= ?1 AND +a.address < ?2)) AND (?4 IS NULL OR EXISTS (SELECT 1 FROM list_member"
    " WHERE list_id = (SELECT id FROM list WHERE name = ?4) AND list_member.contact_id = contact.id))"
    " ORDER BY id LIMIT ?5"
)


def _is_beginning(wanted: ContactFilter) -> bool:
    return bool(wanted.text) and not str(wanted.text).startswith("@")


def _some(wanted: ContactFilter) -> Query:
    """Return the question for a row for each name and address with the beginning, up to _MOST_SORTED."""
    text = clean(wanted.text or "")
    return Query(_SOME, (text, text + _LAST_CHARACTER, _MOST_SORTED))


def _met(wanted: ContactFilter, after_id: int, limit: int) -> Query:
    """Return the question for the ids of a page, one contact met after another."""
    text = clean(wanted.text or "")
    of_list = None if wanted.list is None else clean(wanted.list)
    return Query(_MET, (text, text + _LAST_CHARACTER, after_id, of_list, limit))


def _ids(wanted: ContactFilter, after_id: int, limit: int) -> Query:
    """Return the question for the ids of a page."""
    sql, column, values = _found(wanted)
    if wanted.list is not None and wanted.text:
        member = "SELECT 1 FROM list_member WHERE list_id = (SELECT id FROM list WHERE name = ?)"
        sql += f" AND EXISTS ({member} AND list_member.contact_id = found.{column})"
        values = (*values, clean(wanted.list))
    return Query(f"{sql} AND {column} > ? ORDER BY {column} LIMIT ?", (*values, after_id, limit))


def _found(wanted: ContactFilter) -> tuple[str, str, tuple[str, ...]]:
    """Return a question for ids, the column that they are in, and its parameters."""
    text = clean(wanted.text or "")
    if text.startswith("@"):
        domain = parse_domain(text[1:])
        known = text[1:].lower() if isinstance(domain, Fault) else domain
        return "SELECT DISTINCT contact_id FROM contact_address found WHERE domain = ?", "contact_id", (known,)
    if text:
        return f"SELECT id FROM ({_BEGINS}) found WHERE 1", "id", (text, *(text, text + _LAST_CHARACTER) * 2)
    if wanted.list is not None:
        sql = "SELECT contact_id FROM list_member WHERE list_id = (SELECT id FROM list WHERE name = ?)"
        return sql, "contact_id", (clean(wanted.list),)
    return "SELECT id FROM contact WHERE 1", "id", ()
