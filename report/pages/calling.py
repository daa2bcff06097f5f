"""Whom to call about a broadcast: who did not get it, and who has not been seen to read it, with telephone numbers.

Rules: what a sender sees is own mail; whose contact an address is stands only where the visitor may see contacts;
the file holds what the page shows, all of it.
"""

from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from aiohttp import web

from report import query
from report.asked import Asked, Route
from report.html import page
from report.pages.broadcasts import MISSED, found
from report.pages.export import batches, sent
from report.pages.log import Shown, shown
from report.words import phones
from storage import table
from storage.access import Scope
from storage.logpage import Wanted
from storage.model import LogFilter, LogRow, queue_id
from storage.people import AddressOwner
from storage.reader import Reader
from storage.stats_model import BroadcastStats
from storage.status import Status

ROWS: Final = 200
"""On a page, which people print."""
WHO: Final = MappingProxyType({"missed": MISSED, "unread": (Status.SENT, Status.DELIVERED)})
"""Who may be asked for."""
COLUMNS: Final = ("name", "phone", "address", "status", "why", "contact_key", "fields")


@dataclass(frozen=True, slots=True)
class Person:
    """A row of the page."""

    mail: Shown
    owner: AddressOwner | None
    phones: tuple[str, ...]


async def show(asked: Asked) -> web.Response:
    """Show a page of them, those first whose copies were made last."""
    one, who = await found(asked), _who(asked)
    asks = query.read([*asked.request.query.items()], asked.desk.clock_ms(), None)
    names = {"before": "before_id", "below": "below"}
    cursor = {names[name]: id_ for name, id_ in asks.cursor.items() if name in names}
    rows = await asked.desk.reader.page(Wanted(_wanted(asked, one, who), ROWS, **cursor))
    facts = {
        "one": one,
        "code": queue_id(one.id),
        "who": who,
        "counts": {name: one.counts.of(*statuses) for name, statuses in WHO.items()},
        "people": await _people(asked, asked.desk.reader, rows.rows),
        "sees_contacts": asked.who.may(Scope.CONTACTS_READ),
        "older": (("who", who), ("before", queue_id(rows.rows[-1].recipient_id))) if rows.more else None,
        "on": (("who", who), ("below", queue_id(rows.reached))) if rows.reached is not None and not rows.more else None,
        "first": not cursor,
        "code_of": queue_id,
    }
    return page(asked, "calling.html", facts)


def _who(asked: Asked) -> str:
    given = asked.request.query.get("who", "")
    return given if given in WHO else "missed"


def _wanted(asked: Asked, one: BroadcastStats, who: str) -> LogFilter:
    """Return the rows of this broadcast; where it has an owner, not those of others who call one of theirs the same."""
    return asked.seen(LogFilter(broadcast=one.name, user=one.owner or None, statuses=WHO[who]))


async def _people(asked: Asked, reader: Reader, rows: list[LogRow]) -> list[Person]:
    owners: Mapping[str, AddressOwner] = {}
    if asked.who.may(Scope.CONTACTS_READ):
        owners = await reader.contacts.owners([row.recipient for row in rows])
    return [_person(row, owners.get(row.recipient)) for row in rows]


def _person(row: LogRow, owner: AddressOwner | None) -> Person:
    return Person(shown(row), owner, phones(owner.fields) if owner else ())


async def export(asked: Asked) -> web.StreamResponse:
    """Send all of them as CSV."""
    one, who = await found(asked), _who(asked)
    return await sent(asked, "to-call.csv", _exported(asked, _wanted(asked, one, who)))


async def _exported(asked: Asked, wanted: LogFilter) -> AsyncGenerator[str]:
    yield table.line(COLUMNS, "\r\n")
    async with asked.desk.own_reader() as reader:
        async for rows in batches(reader, wanted):
            people = await _people(asked, reader, rows)
            yield "".join(table.line(_cells(person), "\r\n") for person in people)


def _cells(one: Person) -> tuple[str, ...]:
    row, owner = one.mail.row, one.owner
    name, key, fields = (owner.name, owner.key or "", owner.fields) if owner else ("", "", {})
    told = "; ".join(f"{field}: {value}" for field, value in fields.items())
    return (name, ", ".join(one.phones), row.recipient, row.status.value, one.mail.why, key, told)


ROUTES: Final = (
    Route("GET", "/broadcasts/{code}/call", show, Scope.LOG_READ),
    Route("GET", "/broadcasts/{code}/call.csv", export, Scope.LOG_READ, tokens=True),
)
