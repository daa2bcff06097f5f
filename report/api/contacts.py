"""Contacts by the API: found, stored, changed, removed, and imported as a file.

Rule: the same verbs and the same readers of files as on the command line and in the browser.
"""

import asyncio
import time
from http import HTTPStatus
from pathlib import Path
from typing import Annotated, Any, Final, Literal

from aiohttp import web
from pydantic import AfterValidator, ConfigDict, Field, model_validator

from report.api.model import CODE, At, Format, Given, Limit, Line, Taken, time_of
from report.api.operation import BYTES, Operation
from report.api.reading import JSON, cursor_id, pieces
from report.asked import Asked
from report.handed import Importing, Refusal
from report.problem import ProblemError
from storage.access import Scope
from storage.address import Fault
from storage.broadcast_settings import TypeOf
from storage.contact_reader import ContactFilter
from storage.contact_rows import parsed as parsed_address
from storage.model import message_id_of, queue_id
from storage.people import ALL_TYPES, Contact, NewAddress, NewContact, Stored
from storage.typed import wrong_list

_MOST_ADDRESSES: Final = 50
_MOST_IMPORT_BYTES: Final = 4 << 30


def address_of(text: str) -> str:
    """Return an address as the store has it; raises ValueError."""
    found = parsed_address(text)
    if isinstance(found, Fault):
        raise ValueError(f"expected an address: {found}")  # noqa: TRY004 - a fault of the value
    return found


def _list(name: str) -> str:
    if wrong := wrong_list(name):
        raise ValueError(wrong)
    return name


class AddressIn(Taken):
    """An address of a contact."""

    address: Annotated[
        str, Field(max_length=320, description="ann@example.org."), AfterValidator(address_of), Format("email")
    ]
    types: Annotated[tuple[TypeOf, ...] | None, Field(description="Types of broadcasts that it takes; null: all.")] = (
        None
    )


_EXAMPLE: Final[dict[str, Any]] = {
    "key": "4711",
    "name": "Bob",
    "addresses": [{"address": "bob@example.net", "types": ["news"]}],
    "fields": {"plan": "pro"},
    "lists": ["customers"],
}


class NewContactIn(Taken):
    """A contact to be stored: an update of the one with its key, else of the one with its first address."""

    model_config = ConfigDict(json_schema_extra={"examples": [_EXAMPLE]})

    key: Annotated[Line | None, Field(max_length=300, description="What your system knows it by.")] = None
    name: Annotated[str | None, Field(max_length=300, description="null: as it is.")] = None
    addresses: Annotated[
        tuple[AddressIn, ...],
        Field(max_length=_MOST_ADDRESSES, description="The first one names the contact where there is no key."),
    ] = ()
    fields: Annotated[
        dict[Annotated[str, Field(min_length=1, max_length=100)], Annotated[str, Field(max_length=2000)]],
        Field(max_length=200, default_factory=dict, description='Added to those that are stored; "" removes one.'),
    ]
    lists: Annotated[
        tuple[Annotated[Line, AfterValidator(_list)], ...], Field(max_length=100, description="Lists to put it on.")
    ] = ()

    @model_validator(mode="after")
    def _known(self) -> "NewContactIn":
        if self.key is None and not self.addresses:
            raise ValueError("expected a key, or addresses")
        return self


class AddressOut(Given):
    """An address of a contact."""

    address: str
    types: list[str] | None


class ContactRecord(Given):
    """A contact."""

    id: str
    key: str | None
    name: str
    addresses: list[AddressOut]
    fields: dict[str, str]
    lists: list[str]
    created: At
    updated: At


class ContactRecords(Given):
    """Some contacts, in the order in which they came."""

    contacts: list[ContactRecord]
    next: str | None


class ContactsQuery(Taken):
    """Which contacts."""

    q: Annotated[str | None, Field(max_length=300, description="A key, a beginning of address or name, @domain.")] = (
        None
    )
    list: Annotated[str | None, Field(max_length=300, description="Only of this list.")] = None
    cursor: Annotated[str | None, Field(pattern=CODE, description="`next` of the answer before.")] = None
    limit: Limit = 50


async def find(asked: Asked, given: ContactsQuery, _body: None) -> ContactRecords:
    """Return contacts."""
    after = cursor_id(given.cursor) or 0
    text = parsed_address(given.q) if given.q else None
    wanted = ContactFilter(given.q if isinstance(text, Fault) else text, given.list or None)
    # A beginning of very many takes its time: nobody else waits for it.
    reader = asked.desk.words if given.q else asked.desk.reader
    found = await reader.contacts.page(wanted, limit=given.limit + 1, after_id=after)
    more = queue_id(found[given.limit - 1].id) if len(found) > given.limit else None
    return ContactRecords(contacts=[_record(one) for one in found[: given.limit]], next=more)


def _id(code: str) -> int:
    id_ = message_id_of(code)
    if id_ is None:
        raise ProblemError(HTTPStatus.NOT_FOUND, "There is no such contact.")
    return id_


def _record(one: Contact) -> ContactRecord:
    return ContactRecord(
        id=queue_id(one.id),
        key=one.key,
        name=one.name,
        addresses=[
            AddressOut(address=each.address, types=None if each.types is None else list(each.types))
            for each in one.addresses
        ],
        fields=dict(one.fields),
        lists=list(one.lists),
        created=time_of(one.created_ms),
        updated=time_of(one.updated_ms),
    )


async def _contact(asked: Asked) -> Contact:
    found = await asked.desk.reader.contacts.contacts([_id(asked.request.match_info["id"])])
    if not found:
        raise ProblemError(HTTPStatus.NOT_FOUND, "There is no such contact.")
    return found[0]


async def show(asked: Asked, _query: None, _body: None) -> ContactRecord:
    """Return a contact."""
    return _record(await _contact(asked))


async def put(asked: Asked, _query: None, body: NewContactIn) -> ContactRecord:
    """Add a contact, or update the one that it is."""
    (answer,) = await asked.desk.store.contacts.put([_new(body)], asked.desk.clock_ms())
    if not isinstance(answer, Stored):
        raise ProblemError(HTTPStatus.CONFLICT, f"{answer}.")
    found = await asked.desk.reader.contacts.find(body.key or body.addresses[0].address)
    if not found:
        raise ProblemError(HTTPStatus.CONFLICT, "It was removed meanwhile.")
    return _record(found[0])


async def change(asked: Asked, _query: None, body: NewContactIn) -> ContactRecord:
    """Make a contact's addresses and lists what is given."""
    one = await _contact(asked)
    answer = await asked.desk.store.contacts.edit(one.id, _new(body), asked.desk.clock_ms())
    if not isinstance(answer, Stored):
        raise ProblemError(HTTPStatus.CONFLICT, f"{answer}.")
    return _record(await _contact(asked))


def _new(body: NewContactIn) -> NewContact:
    addresses = [NewAddress(one.address, (ALL_TYPES,) if one.types is None else one.types) for one in body.addresses]
    return NewContact(tuple(addresses), body.key, body.name, body.fields, body.lists)


async def remove(asked: Asked, _query: None, _body: None) -> web.Response:
    """Remove a contact; what its addresses unsubscribed from stays known."""
    await asked.desk.store.contacts.remove([(await _contact(asked)).id])
    return web.Response(status=HTTPStatus.NO_CONTENT)


class ImportQuery(Taken):
    """How a file is meant."""

    list: Annotated[
        tuple[Annotated[Line, Field(max_length=100), AfterValidator(_list)], ...],
        Field(max_length=20, description="Lists to put all on."),
    ] = ()
    encoding: Annotated[Literal["utf-8", "cp1252", "latin-1"], Field(description="Of the file.")] = "utf-8"


class BadRow(Given):
    """A record that was left out."""

    line: int
    column: str
    why: str


class ImportRecord(Given):
    """What came of an import."""

    added: int
    updated: int
    unchanged: int
    bad: int
    first_bad: list[BadRow]


_FORMS: Final = {"text/csv": "csv", "application/json": "json", "application/jsonl": "jsonl"}


async def take(asked: Asked, given: ImportQuery, _body: None) -> ImportRecord:
    """Import a file, whatever its size."""
    importing = asked.desk.handed.importing
    if importing is None:
        raise ProblemError(HTTPStatus.SERVICE_UNAVAILABLE, "Nothing is imported from here.")
    with asked.desk.uploading(asked.who.user):
        folder = await asyncio.to_thread(asked.desk.drafts.new_folder, time.time())
        try:
            return await _imported(asked, given, importing, folder)
        finally:
            await asyncio.to_thread(asked.desk.drafts.remove, folder)


async def _imported(asked: Asked, given: ImportQuery, importing: Importing, folder: Path) -> ImportRecord:
    file = folder / f"contacts.{_FORMS[asked.request.content_type]}"
    with file.open("wb") as out:
        async for part in pieces(asked, _MOST_IMPORT_BYTES):
            await asyncio.to_thread(out.write, part)
    encoding = None if given.encoding == "utf-8" else given.encoding
    came = await importing(file, given.list, encoding)
    if isinstance(came, Refusal):
        raise ProblemError(HTTPStatus.UNPROCESSABLE_ENTITY, came.why)
    counted = {name: came.counted.get(name, 0) for name in ("added", "updated", "unchanged", "bad")}
    first = [BadRow(line=one.line, column=one.column, why=one.why) for one in came.first_bad]
    return ImportRecord(**counted, first_bad=first)


_READ: Final = Scope.CONTACTS_READ
_WRITE: Final = Scope.CONTACTS_WRITE
_ONE: Final = "/contacts/{id}"
OPERATIONS: Final = (
    Operation("GET", "/contacts", "findContacts", "Find contacts.", _READ, find, ContactsQuery, answer=ContactRecords),
    Operation(
        "POST",
        "/contacts",
        "putContact",
        "Add or update a contact.",
        _WRITE,
        put,
        body=NewContactIn,
        answer=ContactRecord,
        problems=(HTTPStatus.CONFLICT,),
    ),
    Operation(
        "POST",
        "/contacts/import",
        "importContacts",
        "Import contacts.",
        _WRITE,
        take,
        ImportQuery,
        answer=ImportRecord,
        problems=(HTTPStatus.TOO_MANY_REQUESTS,),
        media={"text/csv": BYTES},
        also=(JSON, "application/jsonl"),
        reads=True,
        streams=True,
        about="Also objects, as application/json (a list) or application/jsonl.",
    ),
    Operation("GET", _ONE, "getContact", "Show a contact.", _READ, show, answer=ContactRecord),
    Operation(
        "PUT",
        _ONE,
        "changeContact",
        "Change a contact.",
        _WRITE,
        change,
        body=NewContactIn,
        answer=ContactRecord,
        problems=(HTTPStatus.CONFLICT,),
    ),
    Operation("DELETE", _ONE, "removeContact", "Remove a contact.", _WRITE, remove, status=HTTPStatus.NO_CONTENT),
)
