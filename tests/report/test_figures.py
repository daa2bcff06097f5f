"""report/figures.py: each recipient and each open stands in exactly one column."""

from datetime import UTC, timedelta, timezone, tzinfo
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from report.advice import from_address, reason, unsteady
from report.figures import (
    HOUR_MS,
    WAITS,
    by_weekday,
    grouped,
    mail_over_time,
    of_last,
    opens_by_hour,
    opens_by_weekday,
    opens_over_time,
    time_to_open,
    total,
)
from storage.stats_model import NOTHING_READ, BroadcastStats, Counts, Reading
from storage.status import Status
from storage.tally import WAITS_MS
from tests.report.mailing import START

ZONES = st.sampled_from([UTC, ZoneInfo("America/New_York"), ZoneInfo("Asia/Kolkata"), timezone(timedelta(hours=-11))])
NOW_HOUR = START // HOUR_MS


@given(
    st.dictionaries(st.integers(NOW_HOUR - 24 * 33, NOW_HOUR), st.integers(1, 99)), st.sampled_from([1, 7, 30]), ZONES
)
def test_what_was_accepted_stands_in_one_column(hours: dict[int, int], days: int, zone: tzinfo) -> None:
    """The plot and the numbers above it tell the same of the same time."""
    counted = {hour: Counts({Status.DELIVERED: number}) for hour, number in hours.items()}
    it = mail_over_time(counted, days, START, zone)
    last = of_last(counted, days, START, zone)
    assert len(it.columns) == (24 if days == 1 else days)
    assert sum(it.totals) == last.recipients == last.delivered
    inside = [number for hour, number in hours.items() if hour > NOW_HOUR - 24 * days + 24]
    assert last.recipients >= sum(inside) if days > 1 else last.recipients >= hours.get(NOW_HOUR, 0)


def test_columns_tell_what_became_of_the_mail() -> None:
    counts = Counts(dict.fromkeys(Status, 1))
    it = mail_over_time({NOW_HOUR: counts}, 1, START, UTC)
    assert it.columns[-1].title == "14:00"
    assert dict(zip([part.name for part in it.parts], it.columns[-1].values, strict=True)) == {
        "opened": 1, "delivered": 1, "sent": 1, "not tried yet": 1, "tried again": 1, "bounced": 1,
        "failed": 1, "not sent": 3,
    }  # fmt: skip
    assert it.columns[-1].values == it.totals
    assert mail_over_time({}, 7, START, UTC).columns[-1].title == "Monday, 23 November"
    assert (counts.not_sent, counts.delivered) == (3, 2)
    assert total([counts, counts]).recipients == 20


@given(st.dictionaries(st.integers(NOW_HOUR, NOW_HOUR + 200), st.integers(1, 99)), ZONES)
def test_each_open_stands_in_one_column(opens: dict[int, int], zone: tzinfo) -> None:
    for it in (opens_over_time(opens, zone), opens_by_hour(opens, zone), opens_by_weekday(opens, zone)):
        assert sum(it.totals) == sum(opens.values())


def test_opens_are_told_by_hour_while_they_are_fresh() -> None:
    it = opens_over_time({NOW_HOUR: 3, NOW_HOUR + 2: 1}, UTC)
    assert [(column.title, column.values) for column in it.columns] == [
        ("23 Nov, 14:00", (3,)), ("23 Nov, 15:00", (0,)), ("23 Nov, 16:00", (1,)),
    ]  # fmt: skip
    assert opens_over_time({NOW_HOUR: 3, NOW_HOUR + 72: 1}, UTC).first == "Day"
    assert opens_over_time({}, UTC).columns == ()


def test_each_length_of_time_has_its_words() -> None:
    assert len(WAITS) == len(WAITS_MS) + 1
    it = time_to_open(tuple(range(10)))
    assert it.columns[-1].title == "after more than 7 days"


def a_broadcast(**more: object) -> BroadcastStats:
    facts: dict[str, object] = {
        "id": 1, "owner": "ann", "name": "n", "type": "general", "from_header": "News <news@x.test>", "subject": "s",
        "created_ms": START, "used_ms": START, "counts": Counts({}), "reading": NOTHING_READ,
    }  # fmt: skip
    return BroadcastStats(**(facts | more))  # type: ignore[arg-type]


def test_groups_stand_in_the_order_of_their_rates_and_small_ones_last() -> None:
    rates = {"good": (40, 50), "bad": (10, 100), "tiny": (3, 3), "none": (0, 0)}
    found = [a_broadcast(type=name, reading=Reading(9, *rate, 1, 2, 3, 4)) for name, rate in rates.items()]
    groups = grouped([*found, found[0]], lambda one: one.type)
    assert [group.name for group in groups] == ["good", "bad", "tiny", "none"]
    assert groups[0].broadcasts == 2
    assert groups[0].reading == Reading(18, 80, 100, 2, 4, 6, 8)
    assert groups[0].reading.rate == 0.8
    assert groups[0].reading.prefetch_rate == 0.08
    assert groups[-1].reading.rate is None
    assert groups[-1].reading.prefetch_rate is None
    days = by_weekday({6: found[0].reading, 0: found[1].reading})
    assert [day.name for day in days] == ["Monday", "Sunday"]


@pytest.mark.parametrize(
    ("header", "address"),
    [
        ("News <News@X.test>", "news@x.test"),
        ('"a <b>" <c@d.test> ', "c@d.test"),
        ("plain@x.test", "plain@x.test"),
        ("", ""),
        ("<" * 500, "<" * 500),
    ],
)
def test_a_from_field_has_an_address(header: str, address: str) -> None:
    assert from_address(header) == address


def test_who_changes_the_address_twice_is_told() -> None:
    """Of one type: different types may well come from different addresses, and one change is no habit."""
    ann = [a_broadcast(from_header=f"{name}@x.test") for name in ("a", "b", "a", "a")]
    once = [a_broadcast(owner="bob", from_header=f"{name}@x.test") for name in ("a", "b")]
    types = [a_broadcast(owner="cyd", type=str(at), from_header=f"{at}@x.test") for at in range(5)]
    (found,) = unsteady([*ann, *once, *types, a_broadcast(owner="dan", from_header="")])
    assert (found.owner, found.broadcasts, found.changes, found.addresses) == ("ann", 4, 2, ("a@x.test", "b@x.test"))


def test_each_category_has_advice() -> None:
    assert reason("mailbox full").words == "The mailbox is full"
    assert reason("").words == reason("of a newer version").words == "Other reasons"
