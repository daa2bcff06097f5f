"""Addresses to fix: which addresses servers call invalid, why, since when, and whom to call.

Rules: whose contact an address is stands only where the visitor may see contacts; an export holds what the page's
filters show.
"""

from collections.abc import AsyncGenerator
from dataclasses import dataclass
from typing import Final

from aiohttp import web

from report.asked import Asked, NavItem, Route
from report.html import page
from report.pages.export import sent
from report.words import phones, rfc3339
from storage import table
from storage.access import Scope
from storage.model import message_id_of, queue_id
from storage.reason import reason
from storage.stats_model import InvalidAddress, InvalidCursor, InvalidPage
from storage.stats_reader import StatsReader

ROWS: Final = 50
_EXPORTED_AT_ONCE: Final = 500
_MOST_CHARS: Final = 320
COLUMNS: Final = ("address", "reason", "last_tried", "user", "contact_key", "contact_name", "phone", "fields")


@dataclass(frozen=True, slots=True)
class Shown:
    """A row as the page shows it."""

    row: InvalidAddress
    code: str
    """Names its recipient in addresses of pages."""
    why: str
    phones: tuple[str, ...]


def shown(row: InvalidAddress) -> Shown:
    """Return a row with what the page says of it."""
    why = reason(row.code, row.enhanced, row.diagnostic, row.category) or "the address is not valid"
    return Shown(row, queue_id(row.recipient_id), why, phones(row.contact_fields or {}))


async def show(asked: Asked) -> web.Response:
    """Show a page of them."""
    text, contacts_only = _wanted(asked)
    found = await _page(asked, asked.desk.reader.stats, ROWS, _cursor(asked))
    pairs = [("q", text)] if text else []
    pairs += [("contacts", "yes")] if contacts_only else []
    facts = {
        "rows": [shown(row) for row in found.rows],
        "next": None if found.next is None else (*pairs, *_pairs(found.next)),
        "pairs": tuple(pairs),
        "code_of": queue_id,
        "text": text,
        "contacts_only": contacts_only,
        "sees_contacts": asked.who.may(Scope.CONTACTS_READ),
        "first": _cursor(asked) is None,
    }
    return page(asked, "addresses.html", facts)


def _wanted(asked: Asked) -> tuple[str, bool]:
    text = asked.request.query.get("q", "").strip()[:_MOST_CHARS]
    return text, asked.request.query.get("contacts") == "yes" and asked.who.may(Scope.CONTACTS_READ)


async def _page(asked: Asked, stats: StatsReader, limit: int, after: InvalidCursor | None) -> InvalidPage:
    text, contacts_only = _wanted(asked)
    return await stats.invalid(asked.who.own, limit=limit, after=after, text=text, contacts_only=contacts_only)


def _cursor(asked: Asked) -> InvalidCursor | None:
    given = asked.request.query
    at_ms = message_id_of(given.get("at", ""))
    return None if at_ms is None else InvalidCursor(at_ms, given.get("of", ""), given.get("after", ""))


def _pairs(cursor: InvalidCursor) -> tuple[tuple[str, str], ...]:
    return ("at", queue_id(cursor.at_ms)), ("of", cursor.user), ("after", cursor.address)


async def export(asked: Asked) -> web.StreamResponse:
    """Send all of them as CSV."""
    return await sent(asked, "addresses-to-fix.csv", _exported(asked))


async def _exported(asked: Asked) -> AsyncGenerator[str]:
    yield table.line(COLUMNS, "\r\n")
    sees = asked.who.may(Scope.CONTACTS_READ)
    async with asked.desk.own_reader() as reader:
        after: InvalidCursor | None = None
        while True:
            found = await _page(asked, reader.stats, _EXPORTED_AT_ONCE, after)
            yield "".join(table.line(_cells(shown(row), sees_contact=sees), "\r\n") for row in found.rows)
            after = found.next
            if after is None:
                return


def _cells(one: Shown, *, sees_contact: bool) -> tuple[str, ...]:
    row = one.row
    about = (row.address, one.why, rfc3339(row.at_ms) or "", row.user)
    if not sees_contact or row.contact_id is None:
        return (*about, "", "", "", "")
    fields = "; ".join(f"{name}: {value}" for name, value in (row.contact_fields or {}).items())
    return (*about, row.contact_key or "", row.contact_name, ", ".join(one.phones), fields)


NAV: Final = (NavItem("/addresses", "Addresses to fix", Scope.LOG_READ),)
ROUTES: Final = (
    Route("GET", "/addresses", show, Scope.LOG_READ),
    Route("GET", "/addresses.csv", export, Scope.LOG_READ, tokens=True),
)
