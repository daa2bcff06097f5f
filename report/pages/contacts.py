"""Contacts and their lists: searched, shown, added, changed, removed.

Rule: what a form says is read as a whole first; where something of it cannot be meant, nothing is changed and it is
shown again with what is wrong.
"""

from collections.abc import AsyncGenerator
from http import HTTPStatus
from typing import Final

from aiohttp import web

from report.asked import Asked, NavItem, Route
from report.fields import Form
from report.forms import posted
from report.html import page, see_other
from report.pages.export import in_parts, sent
from report.problem import ProblemError
from storage.access import Scope
from storage.address import Fault
from storage.contact_forms import HEADER_BEGINS, contact_header, contact_line
from storage.contact_reader import ContactFilter
from storage.contact_rows import parsed
from storage.model import message_id_of, queue_id
from storage.people import ALL_TYPES, Contact, Stored, Unsubscription

ROWS: Final = 50
LETTERS: Final = 3
"""A beginning has so many at least."""
_DONE: Final = {
    "added": "The contact is added.",
    "saved": "The contact is saved.",
    "removed": "The contact is removed.",
    "unsubscribed": "Noted: it gets no more of these.",
    "resubscribed": "Noted: it gets these again.",
    "left": "It is off the list.",
    "list-removed": "The list is removed; its contacts stay.",
}


async def search(asked: Asked) -> web.Response:
    """Show a page of contacts."""
    query = asked.request.query
    text, of_list = query.get("q", "").strip(), query.get("list", "")
    after = message_id_of(query.get("after", "")) or 0
    if 0 < len(text) < LETTERS:
        found = await asked.desk.reader.contacts.find(text)  # a key
    else:
        # A beginning of very many takes its time: others need not wait for it.
        reader = (asked.desk.words if text else asked.desk.reader).contacts
        wanted = ContactFilter(_sought(text) or None, of_list or None)
        found = await reader.page(wanted, limit=ROWS + 1, after_id=after)
    more = found[ROWS - 1].id if len(found) > ROWS else None
    facts = {
        "q": text,
        "of_list": of_list,
        "lists": await asked.desk.reader.contacts.list_names(),
        "short": 0 < len(text) < LETTERS,
        "rows": found[:ROWS],
        "code_of": queue_id,
        "next": None if more is None else {"q": text, "list": of_list, "after": queue_id(more)},
        "first": not after,
        "done": _DONE.get(query.get("done", "")),
    }
    return page(asked, "contacts.html", facts)


def _sought(text: str) -> str:
    """Return an address as the store holds it, anything else as it is."""
    address = parsed(text)
    return text if isinstance(address, Fault) else address


async def lists(asked: Asked) -> web.Response:
    """Show all lists."""
    # Who is on a list of a million is counted: others need not wait for it.
    rows = await asked.desk.words.contacts.lists()
    return page(asked, "lists.html", {"rows": rows, "done": _DONE.get(asked.request.query.get("done", ""))})


async def remove_list(asked: Asked) -> web.Response:
    """Remove a list; its contacts stay."""
    fields = await posted(asked)
    if not await asked.desk.store.contacts.remove_list(fields.get("name", "")):
        raise ProblemError(HTTPStatus.NOT_FOUND, "There is no such list any more.")
    return see_other(asked, "/lists?done=list-removed")


async def export(asked: Asked) -> web.StreamResponse:
    """Send contacts as a file that an import reads."""
    query = asked.request.query
    wanted = ContactFilter(_sought(query.get("q", "").strip()) or None, query.get("list") or None)
    return await sent(asked, "contacts.csv", _lines(asked, wanted))


async def _lines(asked: Asked, wanted: ContactFilter) -> AsyncGenerator[str]:
    async with asked.desk.own_reader() as reader:
        # All contacts are looked at for the rest of the header: some half a second for a million.
        yield HEADER_BEGINS
        addresses, names = await reader.contacts.width()
        yield contact_header(addresses, names).removeprefix(HEADER_BEGINS)
        found = reader.contacts.stream(wanted)
        async for part in in_parts(contact_line(one, addresses, names) async for one in found):
            yield part


async def show(asked: Asked) -> web.Response:
    """Show a contact."""
    return await _shown(asked, await _contact(asked))


async def _contact(asked: Asked) -> Contact:
    id_ = message_id_of(asked.request.match_info["code"])
    found = [] if id_ is None else await asked.desk.reader.contacts.contacts([id_])
    if not found:
        raise ProblemError(HTTPStatus.NOT_FOUND, "There is no such contact (any more).")
    return found[0]


async def _shown(
    asked: Asked, one: Contact, *, wrong: list[str] | None = None, status: HTTPStatus = HTTPStatus.OK
) -> web.Response:
    reader, now_ms = asked.desk.reader, asked.desk.clock_ms()
    facts = {
        "one": one,
        "code": queue_id(one.id),
        "left": [left for each in one.addresses for left in await reader.unsubscribed.of(each.address)],
        "blocked": [
            (each.address, entry) for each in one.addresses for entry in await reader.blocked.find(each.address, now_ms)
        ],
        "wrong": wrong or [],
        "may_write": asked.who.may(Scope.CONTACTS_WRITE),
        "done": _DONE.get(asked.request.query.get("done", "")),
    }
    return page(asked, "contact.html", facts, status=status)


async def show_new(asked: Asked) -> web.Response:
    """Show the form that adds a contact."""
    given = {"address1": asked.request.query.get("address", ""), "lists": asked.request.query.get("list", "")}
    return page(asked, "contact_new.html", {"given": given, "wrong": []})


async def add(asked: Asked) -> web.Response:
    """Add a contact."""
    fields = await posted(asked)
    form = Form(fields)
    new = form.contact()
    reader = asked.desk.reader.contacts
    for who in (*[one.address for one in new.addresses], new.key):
        if who and await reader.find(who):
            form.wrong.append(f"There is a contact {who} already.")
    if not form.wrong:
        (answer,) = await asked.desk.store.contacts.put([new], asked.desk.clock_ms())
        if isinstance(answer, Stored):
            made = (await reader.find(new.addresses[0].address))[0]
            return see_other(asked, f"/contacts/{queue_id(made.id)}?done=added")
        form.wrong.append(f"{answer}.")
    facts = {"given": fields, "wrong": form.wrong}
    return page(asked, "contact_new.html", facts, status=HTTPStatus.UNPROCESSABLE_ENTITY)


async def save(asked: Asked) -> web.Response:
    """Change a contact as its form says."""
    one = await _contact(asked)
    form = Form(await posted(asked))
    # An import knows the contact by its key: a key stays.
    new = form.contact(one.key)
    if not form.wrong:
        answer = await asked.desk.store.contacts.edit(one.id, new, asked.desk.clock_ms())
        if isinstance(answer, Stored):
            return see_other(asked, f"/contacts/{queue_id(one.id)}?done=saved")
        form.wrong.append(f"{answer}.")
    return await _shown(asked, one, wrong=form.wrong, status=HTTPStatus.UNPROCESSABLE_ENTITY)


async def remove(asked: Asked) -> web.Response:
    """Remove a contact; what its addresses unsubscribed from stays known."""
    await posted(asked)
    await asked.desk.store.contacts.remove([(await _contact(asked)).id])
    return see_other(asked, "/contacts?done=removed")


async def change_types(asked: Asked) -> web.Response:
    """Unsubscribe one of a contact's addresses from a type, or take that back."""
    fields = await posted(asked)
    one = await _contact(asked)
    address, type_ = fields.get("address", ""), Form(fields).text("type", "Type") or ALL_TYPES
    if address not in [each.address for each in one.addresses]:
        raise ProblemError(HTTPStatus.NOT_FOUND, "The contact has no such address (any more).")
    store = asked.desk.store.contacts
    if fields.get("undo"):
        await asked.desk.store.broadcasts.undo_unsubscribe(address, type_)
        return see_other(asked, f"/contacts/{queue_id(one.id)}?done=resubscribed")
    await store.unsubscribe([Unsubscription(address, type_, asked.desk.clock_ms(), "operator")])
    return see_other(asked, f"/contacts/{queue_id(one.id)}?done=unsubscribed")


async def leave(asked: Asked) -> web.Response:
    """Take a contact off a list."""
    fields = await posted(asked)
    one = await _contact(asked)
    await asked.desk.store.contacts.leave_list(fields.get("list", ""), [one.id])
    return see_other(asked, f"/contacts/{queue_id(one.id)}?done=left")


NAV: Final = (NavItem("/contacts", "Contacts", Scope.CONTACTS_READ),)
ROUTES: Final = (
    Route("GET", "/contacts", search, Scope.CONTACTS_READ),
    Route("GET", "/contacts.csv", export, Scope.CONTACTS_READ, tokens=True),
    Route("GET", "/contacts/new", show_new, Scope.CONTACTS_WRITE),
    Route("POST", "/contacts/new", add, Scope.CONTACTS_WRITE),
    Route("GET", "/contacts/{code}", show, Scope.CONTACTS_READ),
    Route("POST", "/contacts/{code}", save, Scope.CONTACTS_WRITE),
    Route("POST", "/contacts/{code}/remove", remove, Scope.CONTACTS_WRITE),
    Route("POST", "/contacts/{code}/types", change_types, Scope.CONTACTS_WRITE),
    Route("POST", "/contacts/{code}/leave", leave, Scope.CONTACTS_WRITE),
    Route("GET", "/lists", lists, Scope.CONTACTS_READ),
    Route("POST", "/lists/remove", remove_list, Scope.CONTACTS_WRITE),
)
