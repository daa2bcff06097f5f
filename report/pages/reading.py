"""Reading behaviour: which broadcasts are read most and least, and what keeps them from being read.

Rule: a rate is opened / trackable, and what cannot be known stands beside it: copies without an image, and those whose
image only machines fetched.
"""

from types import MappingProxyType
from typing import Final

from aiohttp import web

from report import advice, figures
from report.asked import Asked, NavItem, Route
from report.figures import HOUR_MS
from report.html import page
from report.words import local
from storage.access import Scope
from storage.stats_model import NOTHING_READ
from storage.stats_reader import MOST_READ

RANGES: Final = MappingProxyType({"30d": 30, "90d": 90, "1y": 365})
"""Names of ranges of time, in days."""
_MOST_GROUPS: Final = 50


async def show(asked: Asked) -> web.Response:
    """Show it."""
    stats, own, now_ms = asked.desk.reader.stats, asked.who.own, asked.desk.clock_ms()
    chosen = asked.request.query.get("range", "")
    chosen = chosen if chosen in RANGES else "90d"
    since = now_ms // HOUR_MS - 24 * RANGES[chosen]
    found = await stats.reading(since, own)
    weekdays = await stats.weekdays(since, _zone_seconds(now_ms), own)
    all_together = NOTHING_READ
    for one in found:
        all_together = all_together.plus(one.reading)
    facts = {
        "range": chosen,
        "choices": RANGES,
        "whole": all_together,
        "found": len(found),
        "most": MOST_READ,
        "tables": {
            "Type": figures.grouped(found, lambda one: one.type)[:_MOST_GROUPS],
            "Sender": figures.grouped(found, lambda one: advice.from_address(one.from_header))[:_MOST_GROUPS],
            "Weekday": figures.by_weekday(weekdays),
            "Subject": figures.grouped(found, lambda one: one.subject)[:_MOST_GROUPS],
        },
        "unsteady": advice.unsteady(found),
        "trusted_from": figures.TRUSTED_FROM,
    }
    return page(asked, "reading.html", facts)


def _zone_seconds(now_ms: int) -> int:
    """Return how far the machine's clock is ahead of UTC at present."""
    offset = local(now_ms, None).utcoffset()
    return int(offset.total_seconds()) if offset else 0


NAV: Final = (NavItem("/reading", "Reading", Scope.LOG_READ),)
ROUTES: Final = (Route("GET", "/reading", show, Scope.LOG_READ),)
