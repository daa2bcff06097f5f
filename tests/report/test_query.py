"""report/query.py: what an address asks, and what cannot be read of it."""

from datetime import timedelta, timezone
from urllib.parse import parse_qsl, urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from report import query
from report.query import Question
from storage.model import LogFilter, queue_id
from storage.status import Status

NOW = 1_795_442_400_000  # 2026-11-23T14:00Z
BERLIN = timezone(timedelta(hours=1))


def read(text: str) -> Question:
    return query.read(parse_qsl(text, keep_blank_values=True), NOW, BERLIN)


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("", LogFilter()),
        ("recipient=+ann@x+&sender=@y&subject=s&broadcast=b&queue_id=q", LogFilter(
            recipient="ann@x", sender="@y", subject="s", broadcast="b", queue_id="q")),
        ("status=blocked&status=sent&status=sent", LogFilter(statuses=(Status.BLOCKED, Status.SENT))),
        ("range=1h", LogFilter(since_ms=NOW - 3_600_000)),
        ("since=2026-11-23T15:00&until=2026-11-23T14:30Z", LogFilter(since_ms=NOW, until_ms=NOW + 1_800_000)),
        ("since=2026-11-01&range=24h", LogFilter(since_ms=NOW - 86_400_000)),
        ("user=bob&pending_only=1&recipient=", LogFilter()),
    ],
)  # fmt: skip
def test_an_address_is_a_filter(text: str, wanted: LogFilter) -> None:
    asked = read(text)
    assert asked.filter == wanted
    assert asked.wrong == ()
    assert asked.is_narrow == (wanted != LogFilter())


@pytest.mark.parametrize("text", ["status=gone", "since=soon", "until=9999999999-01-01", "range=1y"])
def test_what_cannot_be_read_is_told_and_asks_for_nothing(text: str) -> None:
    asked = read(text)
    assert len(asked.wrong) == 1
    assert asked.filter == LogFilter()


def test_a_cursor_is_one_id() -> None:
    assert read(f"before={queue_id(77)}").cursor == {"before": 77}
    for text in ("before=x", f"before={queue_id(1)}&after={queue_id(2)}"):
        asked = read(text)
        assert (asked.cursor, len(asked.wrong)) == ({}, 1)
    pairs = read(f"status=sent&before={queue_id(7)}").at("after", 9)
    assert pairs == (("status", "sent"), ("after", queue_id(9)))


def test_a_status_is_added_and_taken_away() -> None:
    asked = read("status=sent&subject=x")
    assert asked.with_status(Status.FAILED) == (("status", "sent"), ("subject", "x"), ("status", "failed"))
    assert asked.with_status(Status.SENT) == (("subject", "x"),)
    assert (asked["subject"], asked["sender"]) == ("x", "")


@given(st.lists(st.tuples(st.sampled_from([*query.TEXTS, "status", "range", "since", "x"]), st.text(max_size=20))))
def test_the_filters_of_an_address_are_an_address_of_the_same_filters(given_pairs: list[tuple[str, str]]) -> None:
    asked = query.read(given_pairs, NOW, BERLIN)
    again = query.read(parse_qsl(urlencode(asked.pairs), keep_blank_values=True), NOW, BERLIN)
    assert again == asked
