"""The Email Log: a page of rows by filters, one recipient's story, and exports.

Rule: every question goes through `Asked.seen`, so that nobody sees more than their own.
"""

from dataclasses import dataclass
from http import HTTPStatus
from types import MappingProxyType
from typing import Any, Final

from aiohttp import web

from report import advice, query
from report.asked import Asked, NavItem, Route
from report.html import page
from report.problem import ProblemError
from report.query import Question
from report.why import why
from report.words import phones
from storage.access import Scope
from storage.logpage import Wanted
from storage.model import (
    HitKind,
    LogFilter,
    LogPage,
    LogRow,
    Phase,
    TimelineEntry,
    TimelineKind,
    message_id_of,
    queue_id,
)
from storage.people import AddressOwner
from storage.reason import plain
from storage.untracked import in_words

ROWS: Final = 50
_MOST_DSN_CHARS: Final = 64 * 1024
_PHASES: Final = MappingProxyType(
    {
        Phase.DNS: "the look-up of the mail server",
        Phase.CONNECT: "the connection",
        Phase.BANNER: "the server's greeting",
        Phase.EHLO: "our greeting (EHLO)",
        Phase.TLS: "encryption (STARTTLS)",
        Phase.AUTH: "our log-in (AUTH)",
        Phase.MAIL: "the sender (MAIL FROM)",
        Phase.RCPT: "the recipient (RCPT TO)",
        Phase.DATA: "the request to send (DATA)",
        Phase.CONTENT: "the message itself",
        Phase.AFTER_DOT: "the end of the message",
    }
)
_KINDS: Final = MappingProxyType(
    {
        TimelineKind.ACCEPTED: "accepted",
        TimelineKind.ATTEMPT: "delivery attempt",
        TimelineKind.HIT: "fetched",
        TimelineKind.REPORT: "bounce message",
        TimelineKind.COMPLAINT: "complaint",
        TimelineKind.QUEUE: "in the queue",
        TimelineKind.EXPIRED: "time ran out",
        TimelineKind.ANSWER: "answer to the sender",
        TimelineKind.BLOCKED: "blocked",
    }
)
_HITS: Final = MappingProxyType(
    {
        HitKind.PERSON: "opened",
        HitKind.PROXY: "opened, by a mail provider's proxy",
        HitKind.PREFETCH: "fetched ahead, read or not",
        HitKind.SCANNER: "fetched by a scanner",
    }
)


@dataclass(frozen=True, slots=True)
class Shown:
    """A row as pages show it."""

    code: str
    """Names the recipient in addresses of pages."""
    row: LogRow
    why: str


def shown(row: LogRow) -> Shown:
    """Return a row with what pages say of it."""
    return Shown(queue_id(row.recipient_id), row, why(row))


def question(asked: Asked) -> Question:
    """Return what the address of a page asks of the log."""
    return query.read([*asked.request.query.items()], asked.desk.clock_ms(), None)


async def show(asked: Asked) -> web.Response:
    """Show a page of rows."""
    asks = question(asked)
    serial = await asked.desk.reader.serial()
    found, first = await _found(asked, asks)
    facts = {
        "asks": asks,
        "rows": [shown(row) for row in found.rows],
        "counts": None if asked.who.own else await asked.desk.reader.status_counts(),
        "serial": serial,
        "ranges": query.RANGES,
        "slug": query.slug,
        "reasons": advice.KNOWN,
        **_ways(asks, found, first=first),
    }
    return page(asked, "log.html", facts)


async def _found(asked: Asked, asks: Question) -> tuple[LogPage, bool]:
    """Return the page, and whether it is the first one."""
    names = {"before": "before_id", "after": "after_id"}
    cursor = {names.get(name, name): id_ for name, id_ in asks.cursor.items()}
    wanted = Wanted(asked.seen(asks.filter), ROWS, **cursor)
    reader = asked.desk.reader if asks.filter.words is None else asked.desk.words
    found = await reader.page(wanted)
    if not found.newest_first and not found.more and found.reached is None:
        return await asked.desk.reader.page(Wanted(wanted.filter, ROWS)), True  # as full as it can be
    return found, not cursor


def _ways(asks: Question, found: LogPage, *, first: bool) -> dict[str, Any]:
    """Return where the pager leads: to newer and older rows, and on, where the time was up."""
    rows = found.rows
    newer = asks.at("after", rows[0].recipient_id) if rows and not first else None
    older = asks.at("before", rows[-1].recipient_id) if rows else None
    if found.newest_first:
        older = older if found.more else None
    elif not found.more:
        newer = None
    on = None
    if found.reached is not None and not found.more:
        on = asks.at("below" if found.newest_first else "above", found.reached)
    return {"newer": newer, "older": older, "on": on, "first": first, "start": asks.pairs}


async def story(asked: Asked) -> web.Response:
    """Tell all that is known of a recipient."""
    serial = await asked.desk.reader.serial()  # asked first: what changes meanwhile is then told, twice at worst
    row, timeline = await _story(asked)
    broadcast = await asked.desk.reader.broadcast_of(row.recipient_id)
    served = [entry for entry in timeline if entry.kind is TimelineKind.ATTEMPT]
    facts = {
        "shown": shown(row),
        "row": row,
        "timeline": timeline,
        "last": served[-1] if served else None,
        "serial": serial,
        "broadcast": broadcast and queue_id(broadcast),
        "owner": (owner := await _owner(asked, row)),
        "phones": phones(owner.fields) if owner else (),
        "code_of": queue_id,
        "phases": _PHASES,
        "hits": _HITS,
        "kinds": _KINDS,
        "untracked": plain(in_words(row.untracked_reason)),
    }
    return page(asked, "story.html", facts)


async def _story(asked: Asked) -> tuple[LogRow, list[TimelineEntry]]:
    id_ = message_id_of(asked.request.match_info["code"])
    row = None if id_ is None else await asked.desk.reader.row(id_, asked.seen(LogFilter()))
    if row is None:
        raise ProblemError(HTTPStatus.NOT_FOUND, "The log knows no such recipient; its time in the log may be over.")
    return row, await asked.desk.reader.timeline(row.recipient_id)


async def _owner(asked: Asked, row: LogRow) -> AddressOwner | None:
    """Return the contact whose address it is, where the visitor may see contacts."""
    if not asked.who.may(Scope.CONTACTS_READ):
        return None
    return (await asked.desk.reader.contacts.owners([row.recipient])).get(row.recipient)


async def bounce(asked: Asked) -> web.Response:
    """Show a bounce message as it came, of a recipient whose story names it."""
    row, timeline = await _story(asked)
    dsn_id = message_id_of(asked.request.match_info["dsn"])
    told = any(entry.dsn_id is not None and entry.dsn_id == dsn_id for entry in timeline)
    dsn = await asked.desk.reader.dsn(dsn_id) if told and dsn_id is not None else None
    if dsn is None:
        raise ProblemError(HTTPStatus.NOT_FOUND, "This bounce message is not kept any more.")
    text = dsn.raw[:_MOST_DSN_CHARS].decode("utf-8", "replace").replace("\r\n", "\n")
    facts = {"shown": shown(row), "dsn": dsn, "text": text, "cut": len(dsn.raw) > _MOST_DSN_CHARS}
    return page(asked, "bounce.html", facts)


NAV: Final = (NavItem("/log", "Email Log", Scope.LOG_READ),)
ROUTES: Final = (
    Route("GET", "/log", show, Scope.LOG_READ),
    Route("GET", "/recipient/{code}", story, Scope.LOG_READ),
    Route("GET", "/recipient/{code}/bounce/{dsn}", bounce, Scope.LOG_READ),
)
