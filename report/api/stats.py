"""What was counted, by status: in all of a time, and hour by hour.

Rule: made of counters only, so that it costs the same however long the log is; senders are told of their own mail.
"""

from typing import Annotated, Final, Literal

from pydantic import Field

from report.api.model import At, Given, Taken, time_of
from report.api.operation import Operation
from report.asked import Asked
from report.query import RANGES
from storage.access import Scope
from storage.stats_model import Counts
from storage.status import Status

_HOUR_MS: Final = 3_600_000


class StatsQuery(Taken):
    """Of what time."""

    range: Annotated[Literal["24h", "7d", "30d"], Field(description="Recipients accepted in so long a time.")] = "24h"


class Hour(Given):
    """What became of the recipients that were accepted in an hour."""

    hour: Annotated[At, Field(description="Its beginning.")]
    statuses: dict[Status, int]


class Stats(Given):
    """How many recipients stand how."""

    recipients: int
    statuses: Annotated[dict[Status, int], Field(description="How many of them are in each status now.")]
    hours: Annotated[list[Hour], Field(description="The same hour by hour; hours without any are left out.")]


async def stats(asked: Asked, given: StatsQuery, _body: None) -> Stats:
    """Return the counts."""
    since_hour = (asked.desk.clock_ms() - RANGES[given.range] * 1000) // _HOUR_MS
    hours = await asked.desk.reader.stats.hours(since_hour, asked.who.own)
    total = Counts({})
    for counts in hours.values():
        total = total.plus(counts)
    return Stats(
        recipients=total.recipients,
        statuses={status: total[status] for status in Status},
        hours=[Hour(hour=time_of(hour * _HOUR_MS), statuses=_some(counts)) for hour, counts in hours.items()],
    )


def _some(counts: Counts) -> dict[Status, int]:
    return {status: number for status, number in counts.by_status.items() if number}


OPERATIONS: Final = (
    Operation(
        "GET", "/stats", "getStats", "Count recipients by status.", Scope.LOG_READ, stats, StatsQuery, answer=Stats
    ),
)
