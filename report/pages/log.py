"""The Email Log."""

from dataclasses import dataclass
from typing import Final

from aiohttp import web

from report.asked import Asked, NavItem, Route
from report.html import page, see_other
from report.why import why
from storage.access import Scope
from storage.model import LogFilter, LogRow, queue_id


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


async def home(asked: Asked) -> web.Response:
    """Lead to the log."""
    return see_other(asked, "/log")


async def show(asked: Asked) -> web.Response:
    """Show a page of rows."""
    wanted = asked.seen(LogFilter())
    rows = await asked.desk.reader.log(wanted, limit=50)
    counts = await asked.desk.reader.status_counts() if asked.who.own is None else None
    return page(asked, "log.html", {"rows": [shown(row) for row in rows], "counts": counts})


NAV: Final = (NavItem("/log", "Email Log", Scope.LOG_READ),)
ROUTES: Final = (
    Route("GET", "/", home, Scope.LOG_READ),
    Route("GET", "/log", show, Scope.LOG_READ),
)
