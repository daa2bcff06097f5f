"""Numbers put together for pages: hours into columns, broadcasts into groups.

Rule: pure; the present and the time zone are arguments.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta, tzinfo
from types import MappingProxyType
from typing import Final

from report.plot import Column, Part, Plot, plot
from report.words import local
from storage.stats_model import NOTHING_READ, BroadcastStats, Counts, Reading
from storage.status import Status

HOUR_MS: Final = 3_600_000
WEEKDAYS: Final = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
TRUSTED_FROM: Final = 20
"""Fewer trackable recipients than these make no rate that tells anything."""
WAITS: Final = (
    ("1 min", "within a minute"),
    ("5 min", "1 to 5 minutes"),
    ("15 min", "5 to 15 minutes"),
    ("1 h", "15 to 60 minutes"),
    ("4 h", "1 to 4 hours"),
    ("12 h", "4 to 12 hours"),
    ("1 day", "12 to 24 hours"),
    ("3 days", "1 to 3 days"),
    ("7 days", "3 to 7 days"),
    ("later", "after more than 7 days"),
)
"""What `Shares.waits` counts, in words."""

_GROUPS: Final = MappingProxyType(
    {
        Part("opened", "fill-opened"): (Status.OPENED,),
        Part("delivered", "fill-delivered"): (Status.DELIVERED,),
        Part("sent", "fill-sent"): (Status.SENT,),
        Part("not tried yet", "fill-unsent"): (Status.UNSENT,),
        Part("tried again", "fill-soft-bounced"): (Status.SOFT_BOUNCED,),
        Part("bounced", "fill-bounced"): (Status.BOUNCED,),
        Part("failed", "fill-failed"): (Status.FAILED,),
        Part("not sent", "fill-blocked"): (Status.BLOCKED, Status.DUPLICATE, Status.NO_EMAIL_SELECTED),
    }
)
_OPENS: Final = (Part("first opens", "fill-opened"),)
_FIRST: Final = "Recipients by when they first opened it; each counts once."


def total(counts: Iterable[Counts]) -> Counts:
    """Return all of them together."""
    made = Counts({})
    for one in counts:
        made = made.plus(one)
    return made


def mail_over_time(hours: Mapping[int, Counts], days: int, now_ms: int, zone: tzinfo | None) -> Plot:
    """Return what was accepted in the last `days`, and what became of it: by hour for one day, else by day."""
    hourly, start = days == 1, _start(days, now_ms, zone)
    steps = [start + (timedelta(hours=at) if hourly else timedelta(days=at)) for at in range(24 if hourly else days)]
    found: dict[datetime, Counts] = {}
    for hour, counts in hours.items():
        key = _begin(local(hour * HOUR_MS, zone), hourly=hourly)
        found[key] = found[key].plus(counts) if key in found else counts
    columns = [_mail_column(step, found.get(_begin(step, hourly=hourly), Counts({})), hourly=hourly) for step in steps]
    unit = "hour" if hourly else "day"
    note = (
        f"A column is all mail accepted in that {unit}, and its colours are what has become of it by now:"
        " earlier columns still change while people read."
    )
    return plot("mail", f"Mail by the {unit} it was accepted", note, unit.capitalize(), tuple(_GROUPS), columns)


def of_last(hours: Mapping[int, Counts], days: int, now_ms: int, zone: tzinfo | None) -> Counts:
    """Return all of what `mail_over_time` shows."""
    start = _start(days, now_ms, zone)
    return total(counts for hour, counts in hours.items() if local(hour * HOUR_MS, zone) >= start)


def _start(days: int, now_ms: int, zone: tzinfo | None) -> datetime:
    """Return where the last `days` begin: 23 hours before this hour, or on the morning of the first day."""
    now = local(now_ms, zone).replace(minute=0, second=0, microsecond=0)
    return now - timedelta(hours=23) if days == 1 else now.replace(hour=0) - timedelta(days=days - 1)


def _begin(at: datetime, *, hourly: bool) -> datetime:
    """Return where the column of a time begins, as the clock on the wall shows it."""
    begin = at.replace(minute=0, second=0, microsecond=0, tzinfo=None)
    return begin if hourly else begin.replace(hour=0)


def _mail_column(at: datetime, counts: Counts, *, hourly: bool) -> Column:
    values = tuple(counts.of(*statuses) for statuses in _GROUPS.values())
    if hourly:
        return Column(f"{at:%H}:00", f"{at:%H}:00", values)
    return Column(f"{at.day} {at:%b}", f"{at:%A}, {at.day} {at:%B}", values)


def opens_over_time(opens: Mapping[int, int], zone: tzinfo | None) -> Plot:
    """Return first opens by hour for three days, by day where they took longer."""
    first, last = min(opens, default=0), max(opens, default=-1)
    if last - first < 3 * 24:
        columns = [_open_hour(hour, opens.get(hour, 0), zone) for hour in range(first, last + 1)]
        return plot("opens", "When it was opened", _FIRST, "Hour", _OPENS, columns)
    days = dict.fromkeys(_days(_day(first, zone), _day(last, zone)), 0)
    for hour, number in opens.items():
        days[_day(hour, zone)] += number
    columns = [_open_day(day, number) for day, number in days.items()]
    return plot("opens", "When it was opened", _FIRST, "Day", _OPENS, columns)


def _day(hour: int, zone: tzinfo | None) -> datetime:
    return _begin(local(hour * HOUR_MS, zone), hourly=False)


def _days(first: datetime, last: datetime) -> list[datetime]:
    return [first + timedelta(days=at) for at in range((last - first).days + 1)]


def _open_day(day: datetime, number: int) -> Column:
    return Column(f"{day.day} {day:%b}", f"{day:%A}, {day.day} {day:%B}", (number,))


def _open_hour(hour: int, number: int, zone: tzinfo | None) -> Column:
    at = local(hour * HOUR_MS, zone)
    return Column(f"{at:%H}:00", f"{at.day} {at:%b}, {at:%H}:00", (number,))


def time_to_open(waits: tuple[int, ...]) -> Plot:
    """Return how long recipients took from delivery to the first open."""
    named = zip(WAITS, waits, strict=True)
    columns = [Column(label, title, (number,)) for (label, title), number in named]
    note = 'From delivery to the first open; "15 min" counts those who took 5 to 15 minutes.'
    return plot("waits", "How soon it was opened", note, "Time", _OPENS, columns)


def opens_by_hour(opens: Mapping[int, int], zone: tzinfo | None) -> Plot:
    """Return first opens by the hour of the day."""
    found = [0] * 24
    for hour, number in opens.items():
        found[local(hour * HOUR_MS, zone).hour] += number
    columns = [Column(f"{hour:02}", f"{hour:02}:00 to {hour:02}:59", (number,)) for hour, number in enumerate(found)]
    return plot("day", "At which hour of the day", _FIRST, "Hour", _OPENS, columns)


def opens_by_weekday(opens: Mapping[int, int], zone: tzinfo | None) -> Plot:
    """Return first opens by weekday."""
    found = [0] * 7
    for hour, number in opens.items():
        found[local(hour * HOUR_MS, zone).weekday()] += number
    columns = [Column(name[:3], name, (number,)) for name, number in zip(WEEKDAYS, found, strict=True)]
    return plot("week", "On which weekday", _FIRST, "Weekday", _OPENS, columns)


@dataclass(frozen=True, slots=True)
class Group:
    """Broadcasts that have something in common, and how they were read."""

    name: str
    broadcasts: int
    reading: Reading

    @property
    def tells(self) -> bool:
        """Whether there are enough recipients for the rate to mean something."""
        return self.reading.trackable >= TRUSTED_FROM


def grouped(broadcasts: Iterable[BroadcastStats], key: Callable[[BroadcastStats], str]) -> list[Group]:
    """Return groups by `key`, the most read first; those that are too small to tell come last."""
    found: dict[str, Group] = {}
    for one in broadcasts:
        name = key(one)
        group = found.get(name) or Group(name, 0, NOTHING_READ)
        found[name] = Group(name, group.broadcasts + 1, group.reading.plus(one.reading))
    return sorted(found.values(), key=_most_read_first)


def by_weekday(found: Mapping[int, Reading]) -> list[Group]:
    """Return weekdays in their order, those without mail left out."""
    return [Group(WEEKDAYS[day], 0, found[day]) for day in sorted(found)]


def _most_read_first(group: Group) -> tuple[bool, float, int, str]:
    return not group.tells, -(group.reading.rate or 0.0), -group.reading.recipients, group.name
