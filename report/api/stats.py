"""Counts of the whole log."""

from http import HTTPStatus
from typing import Final

from report.api.model import Given
from report.api.operation import Operation
from report.asked import Asked
from report.problem import ProblemError
from storage.access import Scope


class Stats(Given):
    """How many recipients of the log are in each status."""

    statuses: dict[str, int]


async def stats(asked: Asked, _query: None, _body: None) -> Stats:
    """Return the counts."""
    if asked.who.own is not None:
        raise ProblemError(HTTPStatus.FORBIDDEN, "These are counts of everybody's mail; senders see their own only.")
    counts = await asked.desk.reader.status_counts()
    return Stats(statuses={status.value: number for status, number in counts.items()})


OPERATIONS: Final = (
    Operation("GET", "/stats", "getStats", "Count recipients by status.", Scope.LOG_READ, stats, answer=Stats),
)
