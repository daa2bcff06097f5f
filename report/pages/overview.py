"""The overview: what was sent in the last day, week or month, what became of it, and what waits.

Rule: it is made of counters, and asks the log for nothing. Who sees own mail only sees own counters, and no sites.
"""

from types import MappingProxyType
from typing import Final

from aiohttp import web

from report import figures
from report.asked import Asked, NavItem, Route
from report.figures import HOUR_MS
from report.html import page
from report.sites import SitesNow, sites_now
from storage.access import Scope
from storage.model import queue_id

RANGES: Final = MappingProxyType({"24h": 1, "7d": 7, "30d": 30})
"""Names of ranges of time, in days."""
# A page that is open is made anew all the time: it counts less than the command line does.
_COUNTED_AT_MOST: Final = 20_000
_MOST_SITES: Final = 10
_MOST_BROADCASTS: Final = 5


async def show(asked: Asked) -> web.Response:
    """Show it."""
    stats, own, now_ms = asked.desk.reader.stats, asked.who.own, asked.desk.clock_ms()
    chosen = asked.request.query.get("range", "")
    chosen = chosen if chosen in RANGES else "24h"
    days = RANGES[chosen]
    # One day more than is shown, since a day begins where the clock on the wall says so.
    hours = await stats.hours(now_ms // HOUR_MS - 24 * (days + 1), own)
    mail = figures.mail_over_time(hours, days, now_ms, None)
    sites = None if own else await sites_now(asked.desk.state_dir, asked.desk.reader, _COUNTED_AT_MOST)
    broadcasts = await stats.broadcasts(own, limit=_MOST_BROADCASTS)
    facts = {
        "range": chosen,
        "choices": RANGES,
        "mail": mail,
        "counts": figures.of_last(hours, days, now_ms, None),
        "waiting": await stats.waiting(own),
        "sites": sites,
        "busiest": _busiest(sites),
        "untouched": own is None and not any((await asked.desk.reader.status_counts()).values()),
        "broadcasts": broadcasts,
        "newest": figures.total(one.counts for one in broadcasts),
        "code_of": queue_id,
        "serial": await asked.desk.reader.serial(),
    }
    return page(asked, "overview.html", facts)


def _busiest(sites: SitesNow | None) -> tuple[object, ...]:
    return () if sites is None else tuple(row for row in sites.rows if row.load)[:_MOST_SITES]


NAV: Final = (NavItem("/", "Overview", Scope.LOG_READ),)
ROUTES: Final = (Route("GET", "/", show, Scope.LOG_READ),)
