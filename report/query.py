"""What is asked of the Email Log, as it stands in the address of a page: filters, and where the page begins.

Rules: pure; the time zone and the present are arguments. An address stays good: it names rows, not page numbers.
What cannot be read is told, and never quietly left out.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, tzinfo
from types import MappingProxyType
from typing import Final

from storage.model import LogFilter, message_id_of, queue_id
from storage.status import Status

RANGES: Final = MappingProxyType({"1h": 3600, "24h": 86_400, "7d": 7 * 86_400, "30d": 30 * 86_400})
"""Names of ranges of time, in seconds before now."""
TEXTS: Final = ("q", "recipient", "sender", "subject", "broadcast", "queue_id", "category")
"""Filters that are a text each."""
CURSORS: Final = ("before", "after", "below", "above")
_TIMES: Final = ("since", "until")
_MOST_CHARS: Final = 500

Pairs = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Question:
    """What one page was asked for."""

    filter: LogFilter
    pairs: Pairs
    """The filters as they stood in the address, without the cursor."""
    cursor: Mapping[str, int]
    """Which of CURSORS are given: ids."""
    wrong: tuple[str, ...]
    """Sentences about what could not be read."""

    def __getitem__(self, name: str) -> str:
        """Return a filter as it stood in the address; "" where it did not."""
        return next((value for key, value in self.pairs if key == name), "")

    @property
    def is_narrow(self) -> bool:
        """Whether anything is asked for but all of the log."""
        return bool(self.pairs)

    def with_status(self, status: Status) -> Pairs:
        """Return the filters with a status added, or taken away where it is there."""
        pair = ("status", slug(status))
        return tuple(one for one in self.pairs if one != pair) if pair in self.pairs else (*self.pairs, pair)

    def at(self, cursor: str, id_: int) -> Pairs:
        """Return the filters with a place to begin at."""
        return (*self.pairs, (cursor, queue_id(id_)))


def slug(status: Status) -> str:
    """Return the word for a status in addresses and style sheets: "soft-bounced"."""
    return status.name.lower().replace("_", "-")


_STATUSES: Final = MappingProxyType({slug(status): status for status in Status})


class _Reader:
    """Reads one address, and remembers what was wrong."""

    def __init__(self, given: Sequence[tuple[str, str]], zone: tzinfo | None) -> None:
        clean = [(name, value.strip()[:_MOST_CHARS].strip()) for name, value in given if value.strip()]
        self.given = list(dict.fromkeys(clean))
        self.zone = zone
        self.wrong: list[str] = []

    def one(self, name: str) -> str | None:
        return next((value for key, value in self.given if key == name), None)

    def statuses(self) -> tuple[Status, ...]:
        named = [value for key, value in self.given if key == "status"]
        self.wrong += [f'"{value}" is not a status.' for value in named if value not in _STATUSES]
        return tuple(dict.fromkeys(_STATUSES[value] for value in named if value in _STATUSES))

    def time(self, name: str) -> int | None:
        text = self.one(name)
        if text is None:
            return None
        try:
            at = datetime.fromisoformat(text)
            return int((at if at.tzinfo else at.replace(tzinfo=self.zone)).timestamp() * 1000)
        except (ValueError, OverflowError, OSError):
            self.wrong.append(f'"{text}" is no point in time such as 2026-11-23T14:05.')
            return None

    def range_ms(self, now_ms: int) -> int | None:
        text = self.one("range")
        if text is not None and text not in RANGES:
            self.wrong.append(f'"{text}" is no range of time; there are {", ".join(RANGES)}.')
            return None
        return None if text is None else now_ms - RANGES[text] * 1000

    def cursor(self) -> dict[str, int]:
        found = {name: message_id_of(self.one(name) or "") for name in CURSORS if self.one(name) is not None}
        if None in found.values() or len(found) > 1:
            self.wrong.append("The place where the page begins cannot be read: this is the first page.")
            return {}
        return {name: id_ for name, id_ in found.items() if id_ is not None}


def read(given: Sequence[tuple[str, str]], now_ms: int, zone: tzinfo | None) -> Question:
    """Read the query of an address, as (name, value) pairs; other names are passed over."""
    reader = _Reader(given, zone)
    wanted = LogFilter(
        statuses=reader.statuses(),
        recipient=reader.one("recipient"),
        sender=reader.one("sender"),
        since_ms=_latest(reader.time("since"), reader.range_ms(now_ms)),
        until_ms=reader.time("until"),
        queue_id=reader.one("queue_id"),
        subject=reader.one("subject"),
        broadcast=reader.one("broadcast"),
        category=reader.one("category"),
        words=reader.one("q"),
    )
    known = {*TEXTS, *_TIMES, "status", "range"}
    pairs = tuple(pair for pair in reader.given if pair[0] in known)
    return Question(wanted, pairs, reader.cursor(), tuple(reader.wrong))


def _latest(*times: int | None) -> int | None:
    return max((at for at in times if at is not None), default=None)
