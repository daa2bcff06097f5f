"""The Blocked Email list: searched, added to, taken from; what was done to it by whom; and an incident undone.

Rule: before an incident is undone, the very entries that would go are shown.
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
from storage.blocked_query import BlockedFilter
from storage.contact_forms import BLOCKED_COLUMNS, blocked_line
from storage.model import message_id_of, queue_id
from storage.people import AUTOMATIC, Blocked, Source
from storage.table import line
from storage.typed import NotMeant, blockable, wrong_reason

ROWS: Final = 50
_AT_ONCE: Final = 1000
_MOST_ADDED: Final = 1000
_DONE: Final = {"removed": "It is off the list."}
_INCIDENT: Final = ("since", "until", "category", "domain", "source")


async def search(asked: Asked) -> web.Response:
    """Show a page of the list."""
    return await _listed(asked)


async def _listed(
    asked: Asked, *, given: dict[str, str] | None = None, wrong: list[str] | None = None, said: str | None = None
) -> web.Response:
    query = asked.request.query
    wanted, before = _wanted(asked), message_id_of(query.get("before", ""))
    # What has no index of its own takes its time: others need not wait for it.
    reader = asked.desk.words if any((wanted.text, wanted.sources, wanted.category)) else asked.desk.reader
    found = await reader.blocked.page(wanted, limit=ROWS + 1, before_id=before)
    more = found[ROWS - 1].id if len(found) > ROWS else None
    narrowed = {name: query.get(name, "").strip() for name in ("q", "source", "category")}
    facts = {
        **narrowed,
        "sources": list(Source),
        "rows": found[:ROWS],
        "next": None if more is None else {**narrowed, "before": queue_id(more)},
        "first": before is None,
        "may_write": asked.who.may(Scope.BLOCKED_WRITE),
        "given": given or {},
        "wrong": wrong or [],
        "said": said or _said(query.get("done", "")),
    }
    return page(asked, "blocked.html", facts, status=HTTPStatus.UNPROCESSABLE_ENTITY if wrong else HTTPStatus.OK)


def _wanted(asked: Asked) -> BlockedFilter:
    text, source, category = (asked.request.query.get(name, "").strip() for name in ("q", "source", "category"))
    return BlockedFilter(text or None, (Source(source),) if source in set(Source) else (), category or None)


async def export(asked: Asked) -> web.StreamResponse:
    """Send the entries that a search finds as a file that `telltale block import` reads."""
    return await sent(asked, "blocked.csv", _lines(asked, _wanted(asked)))


async def _lines(asked: Asked, wanted: BlockedFilter) -> AsyncGenerator[str]:
    async with asked.desk.own_reader() as reader:
        yield line(BLOCKED_COLUMNS)
        async for part in in_parts(blocked_line(one) async for one in reader.blocked.stream(wanted)):
            yield part


def _said(done: str) -> str | None:
    what, _, number = done.partition("-")
    if number.isdecimal() and len(number) < 10:  # noqa: PLR2004 - what a count may have of digits
        return {"added": f"{int(number):,} blocked.", "undone": f"{int(number):,} taken off."}.get(what)
    return _DONE.get(done)


async def add(asked: Asked) -> web.Response:
    """Block the addresses and @domains of a form."""
    fields = await posted(asked)
    form = Form(fields)
    found = [(text, blockable(text)) for text in fields.get("addresses", "").split()]
    form.wrong += [f'"{text[:80]}": {meant.why}.' for text, meant in found if isinstance(meant, NotMeant)][:5]
    if not found or len(found) > _MOST_ADDED:
        form.wrong.append(f"Addresses: expected 1 to {_MOST_ADDED} of them.")
    reason, lasts = fields.get("reason", "").strip(), form.span_ms("lasts", "For")
    if wrong := wrong_reason(reason):
        form.wrong.append(wrong)
    if form.wrong:
        return await _listed(asked, given=dict(fields), wrong=form.wrong)
    now_ms = asked.desk.clock_ms()
    ends = None if lasts is None else now_ms + lasts
    addresses = [meant for _, meant in found if isinstance(meant, str)]
    entries = [Blocked(one, Source.MANUAL, now_ms, reason, expires_ms=ends) for one in addresses]
    added = await asked.desk.store.blocked.add(entries, asked.who.user)
    return see_other(asked, f"/blocked?done=added-{added}")


async def remove(asked: Asked) -> web.Response:
    """Take an address or @domain off the list."""
    fields = await posted(asked)
    await asked.desk.store.blocked.remove([fields.get("address", "")], asked.who.user, asked.desk.clock_ms())
    return see_other(asked, "/blocked?done=removed")


async def show(asked: Asked) -> web.Response:
    """Tell what blocks an address, and what was done about it by whom."""
    at = blockable(asked.request.match_info["address"])
    if isinstance(at, NotMeant):
        raise ProblemError(HTTPStatus.NOT_FOUND, f"This is neither an address nor @domain: {at.why}.")
    reader = asked.desk.reader.blocked
    facts = {
        "address": at,
        "entries": await reader.find(at, asked.desk.clock_ms()),
        "history": await reader.history(at, limit=200),
        "may_write": asked.who.may(Scope.BLOCKED_WRITE),
    }
    return page(asked, "blocked_one.html", facts)


def _incident(form: Form) -> BlockedFilter:
    since, until = form.point_ms("since", "From"), form.point_ms("until", "Until")
    category, domain = form.text("category", "Category"), form.text("domain", "Domain").lstrip("@")
    source = form.fields.get("source", "")
    sources = (Source(source),) if source in set(AUTOMATIC) else tuple(sorted(AUTOMATIC))
    return BlockedFilter(f"@{domain}" if domain else None, sources, category or None, since, until)


async def preview(asked: Asked) -> web.Response:
    """Show what undoing an incident would take off."""
    given = {name: asked.request.query.get(name, "") for name in _INCIDENT}
    form = Form(given)
    incident = _incident(form)
    asks = any(given.values())
    if asks and incident.since_ms is None and not form.wrong:
        form.wrong.append("From: say when it began.")
    shown = asks and not form.wrong
    reader = asked.desk.words.blocked  # it counts all of them
    facts = {
        "given": given,
        "wrong": form.wrong,
        "shown": shown,
        "count": await reader.count(incident) if shown else 0,
        "rows": await reader.page(incident, limit=ROWS) if shown else [],
        "sources": sorted(AUTOMATIC),
    }
    return page(asked, "blocked_undo.html", facts)


async def undo(asked: Asked) -> web.Response:
    """Take off what an incident put on the list."""
    form = Form(await posted(asked))
    incident = _incident(form)
    if form.wrong or incident.since_ms is None:
        raise ProblemError(HTTPStatus.UNPROCESSABLE_ENTITY, " ".join(form.wrong) or "From: say when it began.")
    undone = 0
    while some := await asked.desk.store.blocked.undo(incident, asked.who.user, asked.desk.clock_ms(), _AT_ONCE):
        undone += some
    return see_other(asked, f"/blocked?done=undone-{undone}")


NAV: Final = (NavItem("/blocked", "Blocked", Scope.BLOCKED_READ),)
ROUTES: Final = (
    Route("GET", "/blocked", search, Scope.BLOCKED_READ),
    Route("GET", "/blocked.csv", export, Scope.BLOCKED_READ, tokens=True),
    Route("POST", "/blocked/add", add, Scope.BLOCKED_WRITE),
    Route("POST", "/blocked/remove", remove, Scope.BLOCKED_WRITE),
    Route("GET", "/blocked/undo", preview, Scope.BLOCKED_WRITE),
    Route("POST", "/blocked/undo", undo, Scope.BLOCKED_WRITE),
    Route("GET", "/blocked/of/{address}", show, Scope.BLOCKED_READ),
)
