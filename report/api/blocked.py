"""The Blocked Email list by the API."""

from http import HTTPStatus
from typing import Annotated, Any, Final

from aiohttp import web
from pydantic import AfterValidator, ConfigDict, FailFast, Field

from report.api.model import CODE, At, Format, Given, Limit, Taken, Time, ms_of, time_of
from report.api.operation import Operation
from report.api.reading import cursor_id
from report.asked import Asked
from report.problem import ProblemError
from storage.access import Scope
from storage.blocked_query import BlockedFilter
from storage.model import queue_id
from storage.people import Blocked, Source
from storage.typed import NotMeant, blockable, wrong_reason


def _blockable(text: str) -> str:
    found = blockable(text)
    if isinstance(found, NotMeant):
        raise ValueError(f'expected an address or "@domain": {found.why}')  # noqa: TRY004 - a fault of the value
    return found


def _reason(text: str) -> str:
    if wrong := wrong_reason(text):
        raise ValueError(wrong)
    return text


_EXAMPLE: Final[dict[str, Any]] = {"addresses": ["bob@example.net", "@example.com"], "reason": "asked"}


class NewBlocked(Taken):
    """Addresses to be blocked."""

    model_config = ConfigDict(json_schema_extra={"examples": [_EXAMPLE]})

    addresses: Annotated[
        tuple[Annotated[str, Field(max_length=320), AfterValidator(_blockable), Format("blockable")], ...],
        FailFast(),
        Field(min_length=1, max_length=1000, description='Addresses, or "@example.org" for all of a domain.'),
    ]
    reason: Annotated[str, Field(max_length=300, description="In your words."), AfterValidator(_reason)] = ""
    until: Annotated[Time | None, Field(description="Null: for ever.")] = None


class BlockedRecord(Given):
    """An entry of the list."""

    address: str
    source: Source
    reason: str
    category: str | None
    created: At
    expires: At | None
    recipient: Annotated[str | None, Field(description="By whose copy.")]


class BlockedRecords(Given):
    """Some entries, the newest first."""

    blocked: list[BlockedRecord]
    next: str | None


class BlockedQuery(Taken):
    """Which entries."""

    q: Annotated[str | None, Field(max_length=320, description="A beginning of an address, or @domain.")] = None
    source: Annotated[tuple[Source, ...], Field(max_length=10, description="How they came on the list.")] = ()
    category: Annotated[str | None, Field(max_length=100, description="Why, by the category of the refusal.")] = None
    cursor: Annotated[str | None, Field(pattern=CODE, description="`next` of the answer before.")] = None
    limit: Limit = 50


class Added(Given):
    """What came of it."""

    added: Annotated[int, Field(description="Entries that are new.")]


async def find(asked: Asked, given: BlockedQuery, _body: None) -> BlockedRecords:
    """Return entries."""
    before = cursor_id(given.cursor)
    wanted = BlockedFilter(given.q, given.source, given.category)
    # What has no index of its own takes its time: nobody else waits for it.
    reader = asked.desk.words if given.q or given.source or given.category else asked.desk.reader
    found = await reader.blocked.page(wanted, limit=given.limit + 1, before_id=before)
    more = queue_id(found[given.limit - 1].id) if len(found) > given.limit else None
    return BlockedRecords(blocked=[_record(one) for one in found[: given.limit]], next=more)


def _record(one: Blocked) -> BlockedRecord:
    return BlockedRecord(
        address=one.address,
        source=one.source,
        reason=one.reason,
        category=one.category,
        created=time_of(one.created_ms),
        expires=None if one.expires_ms is None else time_of(one.expires_ms),
        recipient=None if one.recipient_id is None else queue_id(one.recipient_id),
    )


async def add(asked: Asked, _query: None, body: NewBlocked) -> Added:
    """Block addresses."""
    now_ms = asked.desk.clock_ms()
    ends = None if body.until is None else ms_of(body.until)
    entries = [Blocked(one, Source.MANUAL, now_ms, body.reason, expires_ms=ends) for one in body.addresses]
    return Added(added=await asked.desk.store.blocked.add(entries, asked.who.user))


def _named(asked: Asked) -> str:
    found = blockable(asked.request.match_info["address"])
    if isinstance(found, NotMeant):
        raise ProblemError(HTTPStatus.NOT_FOUND, f"This is neither an address nor @domain: {found.why}.")
    return found


async def show(asked: Asked, _query: None, _body: None) -> BlockedRecords:
    """Return what blocks an address now, its domain's entries too."""
    found = await asked.desk.reader.blocked.find(_named(asked), asked.desk.clock_ms())
    if not found:
        raise ProblemError(HTTPStatus.NOT_FOUND, "Nothing blocks this address.")
    return BlockedRecords(blocked=[_record(one) for one in found], next=None)


async def remove(asked: Asked, _query: None, _body: None) -> web.Response:
    """Take an address or @domain off the list, whatever it was on it for."""
    removed = await asked.desk.store.blocked.remove([_named(asked)], asked.who.user, asked.desk.clock_ms())
    if not removed:
        raise ProblemError(HTTPStatus.NOT_FOUND, "It is not on the list.")
    return web.Response(status=HTTPStatus.NO_CONTENT)


_READ: Final = Scope.BLOCKED_READ
_WRITE: Final = Scope.BLOCKED_WRITE
_ONE: Final = "/blocked/{address}"
OPERATIONS: Final = (
    Operation("GET", "/blocked", "findBlocked", "List entries.", _READ, find, BlockedQuery, answer=BlockedRecords),
    Operation("POST", "/blocked", "addBlocked", "Block addresses.", _WRITE, add, body=NewBlocked, answer=Added),
    Operation("GET", _ONE, "getBlocked", "Tell what blocks an address.", _READ, show, answer=BlockedRecords),
    Operation("DELETE", _ONE, "removeBlocked", "Unblock.", _WRITE, remove, status=HTTPStatus.NO_CONTENT),
)
