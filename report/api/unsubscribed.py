"""Who unsubscribed, by the API: listed, noted, taken back.

Rule: an unsubscription is an address's, whether a contact has it or not.
"""

from http import HTTPStatus
from typing import Annotated, Final

from aiohttp import web
from pydantic import AfterValidator, FailFast, Field

from report.api.contacts import address_of
from report.api.model import At, Given, Limit, Taken, time_of
from report.api.operation import Operation
from report.asked import Asked
from report.left import mark_of, marked
from report.problem import ProblemError
from storage.access import Scope
from storage.address import Fault
from storage.broadcast_settings import TypeOf
from storage.contact_rows import parsed
from storage.model import queue_id
from storage.people import ALL_TYPES, Left, Unsubscription
from storage.unsubscribed_reader import UnsubscribedFilter

Type = Annotated[TypeOf | None, Field(description="A type of broadcasts; null: all of them.")]


class NewUnsubscriptions(Taken):
    """Addresses that want no more."""

    addresses: Annotated[
        tuple[Annotated[str, Field(max_length=320), AfterValidator(address_of)], ...],
        FailFast(),
        Field(min_length=1, max_length=1000, description="Whose they are."),
    ]
    type: Type = None


class UnsubscriptionRecord(Given):
    """What an address does not want."""

    address: str
    type: Type
    at: At
    source: Annotated[str, Field(description="How it came: one-click, operator, import …")]
    recipient: Annotated[str | None, Field(description="By whose copy.")]
    broadcast: Annotated[str | None, Field(description="Of which broadcast, as long as the log knows it.")]


class UnsubscriptionRecords(Given):
    """Some of them, the newest first."""

    unsubscribed: list[UnsubscriptionRecord]
    next: str | None


class UnsubscriptionsQuery(Taken):
    """Which ones."""

    q: Annotated[str | None, Field(max_length=320, description="A beginning of an address, or @domain.")] = None
    type: Annotated[str | None, Field(max_length=100, description="From exactly this type; *: from all.")] = None
    cursor: Annotated[str | None, Field(max_length=1000, description="`next` of the answer before.")] = None
    limit: Limit = 50


class UnsubscriptionQuery(Taken):
    """Which one of an address's."""

    type: Type = None


class Noted(Given):
    """What came of it."""

    added: Annotated[int, Field(description="Those that were not noted before.")]


async def find(asked: Asked, given: UnsubscriptionsQuery, _body: None) -> UnsubscriptionRecords:
    """Return some."""
    before = None if given.cursor is None else marked(given.cursor)
    if given.cursor is not None and before is None:
        raise ProblemError(HTTPStatus.BAD_REQUEST, "The cursor is none of ours: expected `next` of an answer.")
    # What has no index of its own takes its time: nobody else waits for it.
    reader = asked.desk.words if given.q or given.type else asked.desk.reader
    wanted = UnsubscribedFilter(given.q, given.type)
    found = await reader.unsubscribed.page(wanted, limit=given.limit + 1, before=before)
    more = mark_of(found[given.limit - 1].was) if len(found) > given.limit else None
    return UnsubscriptionRecords(unsubscribed=[_record(one) for one in found[: given.limit]], next=more)


def _record(left: Left) -> UnsubscriptionRecord:
    was = left.was
    return UnsubscriptionRecord(
        address=was.address,
        type=None if was.type == ALL_TYPES else was.type,
        at=time_of(was.at_ms),
        source=was.source,
        recipient=None if was.recipient_id is None else queue_id(was.recipient_id),
        broadcast=left.broadcast,
    )


async def add(asked: Asked, _query: None, body: NewUnsubscriptions) -> Noted:
    """Note them."""
    now_ms = asked.desk.clock_ms()
    wanted = [Unsubscription(one, body.type or ALL_TYPES, now_ms, "operator") for one in body.addresses]
    return Noted(added=await asked.desk.store.contacts.unsubscribe(wanted))


async def remove(asked: Asked, query: UnsubscriptionQuery, _body: None) -> web.Response:
    """Take back exactly one: of a type, or from all."""
    address = parsed(asked.request.match_info["address"])
    if isinstance(address, Fault):
        raise ProblemError(HTTPStatus.NOT_FOUND, f"This is no address: {address}.")
    if not await asked.desk.store.broadcasts.undo_unsubscribe(address, query.type or ALL_TYPES):
        raise ProblemError(HTTPStatus.NOT_FOUND, "It is not unsubscribed from that.")
    return web.Response(status=HTTPStatus.NO_CONTENT)


_READ: Final = Scope.CONTACTS_READ
_WRITE: Final = Scope.CONTACTS_WRITE
OPERATIONS: Final = (
    Operation(
        "GET",
        "/unsubscribed",
        "findUnsubscribed",
        "List who unsubscribed.",
        _READ,
        find,
        UnsubscriptionsQuery,
        answer=UnsubscriptionRecords,
    ),
    Operation(
        "POST",
        "/unsubscribed",
        "unsubscribe",
        "Note who wants no more.",
        _WRITE,
        add,
        body=NewUnsubscriptions,
        answer=Noted,
    ),
    Operation(
        "DELETE",
        "/unsubscribed/{address}",
        "resubscribe",
        "Take it back.",
        _WRITE,
        remove,
        UnsubscriptionQuery,
        status=HTTPStatus.NO_CONTENT,
    ),
)
