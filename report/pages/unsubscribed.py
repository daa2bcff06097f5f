"""Who unsubscribed from what: searched, added to, taken back, exported.

Rule: what is noted here is noted of the address, whether a contact has it or not.
"""

from collections.abc import AsyncGenerator
from http import HTTPStatus
from typing import Final

from aiohttp import web

from report.asked import Asked, Route
from report.fields import Form
from report.forms import posted
from report.html import page, see_other
from report.left import mark_of, marked
from report.pages.export import in_parts, sent
from storage.access import Scope
from storage.address import Fault
from storage.contact_forms import UNSUBSCRIBED_COLUMNS, unsubscribed_line
from storage.contact_rows import parsed
from storage.people import ALL_TYPES, Unsubscription
from storage.table import line
from storage.unsubscribed_reader import UnsubscribedFilter

ROWS: Final = 50
_MOST_ADDED: Final = 1000
_MOST_SHOWN_WRONG: Final = 5


async def search(asked: Asked) -> web.Response:
    """Show a page of them."""
    return await _listed(asked)


async def _listed(asked: Asked, *, given: dict[str, str] | None = None, wrong: list[str] | None = None) -> web.Response:
    query, wanted = asked.request.query, _wanted(asked)
    before = marked(query.get("before", ""))
    # What has no index of its own takes its time: others need not wait for it.
    reader = asked.desk.words if wanted.text or wanted.type else asked.desk.reader
    found = await reader.unsubscribed.page(wanted, limit=ROWS + 1, before=before)
    narrowed = {"q": wanted.text or "", "type": wanted.type or ""}
    facts = {
        **narrowed,
        "rows": found[:ROWS],
        "next": {**narrowed, "before": mark_of(found[ROWS - 1].was)} if len(found) > ROWS else None,
        "first": before is None,
        "may_write": asked.who.may(Scope.CONTACTS_WRITE),
        "given": given or {},
        "wrong": wrong or [],
        "done": _said(query.get("done", "")),
    }
    return page(asked, "unsubscribed.html", facts, status=HTTPStatus.UNPROCESSABLE_ENTITY if wrong else HTTPStatus.OK)


def _wanted(asked: Asked) -> UnsubscribedFilter:
    text, type_ = (asked.request.query.get(name, "").strip() for name in ("q", "type"))
    return UnsubscribedFilter(text or None, type_ or None)


def _said(done: str) -> str | None:
    what, _, number = done.partition("-")
    if what == "added" and number.isdecimal() and len(number) <= len(str(_MOST_ADDED)):
        return f"{int(number):,} noted."
    return "Noted: it gets these again." if done == "undone" else None


async def export(asked: Asked) -> web.StreamResponse:
    """Send what a search finds as a file."""
    return await sent(asked, "unsubscribed.csv", _lines(asked, _wanted(asked)))


async def _lines(asked: Asked, wanted: UnsubscribedFilter) -> AsyncGenerator[str]:
    async with asked.desk.own_reader() as reader:
        yield line(UNSUBSCRIBED_COLUMNS)
        async for part in in_parts(unsubscribed_line(one) async for one in reader.unsubscribed.stream(wanted)):
            yield part


async def add(asked: Asked) -> web.Response:
    """Note that the addresses of a form want no more of a type, or nothing any more."""
    fields = await posted(asked)
    form = Form(fields)
    found = [(text, parsed(text)) for text in fields.get("addresses", "").split()]
    faults = [f'"{text[:80]}": {address}.' for text, address in found if isinstance(address, Fault)]
    form.wrong += faults[:_MOST_SHOWN_WRONG]
    if not found or len(found) > _MOST_ADDED:
        form.wrong.append(f"Addresses: expected 1 to {_MOST_ADDED} of them.")
    type_ = form.broadcast_type("type", "Type") or ALL_TYPES
    if form.wrong:
        return await _listed(asked, given=dict(fields), wrong=form.wrong)
    now_ms = asked.desk.clock_ms()
    addresses = [address for _, address in found if not isinstance(address, Fault)]
    added = await asked.desk.store.contacts.unsubscribe(
        [Unsubscription(address, type_, now_ms, "operator") for address in addresses]
    )
    return see_other(asked, f"/unsubscribed?done=added-{added}")


async def undo(asked: Asked) -> web.Response:
    """Take one of them back."""
    fields = await posted(asked)
    await asked.desk.store.broadcasts.undo_unsubscribe(fields.get("address", ""), fields.get("type", ""))
    return see_other(asked, "/unsubscribed?done=undone")


ROUTES: Final = (
    Route("GET", "/unsubscribed", search, Scope.CONTACTS_READ),
    Route("GET", "/unsubscribed.csv", export, Scope.CONTACTS_READ, tokens=True),
    Route("POST", "/unsubscribed/add", add, Scope.CONTACTS_WRITE),
    Route("POST", "/unsubscribed/undo", undo, Scope.CONTACTS_WRITE),
)
