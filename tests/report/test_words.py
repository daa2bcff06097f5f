from datetime import timedelta, timezone

import pytest

from report.words import browser, count, full_time, rfc3339, short_time, size, span

# 2026-11-23T14:00:00.123Z
AT = 1_795_442_400_123
EAST = timezone(timedelta(hours=2))
DAY = 86_400_000


def test_times_for_programs_are_rfc_3339_in_utc_with_milliseconds() -> None:
    assert rfc3339(AT) == "2026-11-23T14:00:00.123Z"
    assert rfc3339(0) == "1970-01-01T00:00:00.000Z"
    assert rfc3339(None) is None


@pytest.mark.parametrize(
    ("now_ms", "text"),
    [
        (AT + 5000, "16:00:00"),
        (AT + 7 * 3_600_000, "16:00:00"),
        (AT + 8 * 3_600_000, "23 Nov 16:00"),
        (AT + 3 * DAY, "23 Nov 16:00"),
        (AT + 60 * DAY, "23 Nov 2026"),
    ],
)
def test_times_for_people_are_local_and_as_short_as_they_may_be(now_ms: int, text: str) -> None:
    assert short_time(AT, now_ms, EAST) == text


def test_no_time_is_no_text() -> None:
    assert short_time(None, AT, EAST) == ""


def test_a_full_time_keeps_its_milliseconds() -> None:
    assert full_time(AT, EAST) == "2026-11-23 16:00:00.123"


@pytest.mark.parametrize(
    ("milliseconds", "text"),
    [(-5, "0 s"), (999, "0 s"), (59_000, "59 s"), (60_000, "1 min"), (7_200_000, "2 h"), (3 * DAY, "3 d")],
)
def test_a_span_is_told_in_its_largest_unit(milliseconds: int, text: str) -> None:
    assert span(milliseconds) == text


@pytest.mark.parametrize(
    ("n_bytes", "text"),
    [
        (0, "0 B"),
        (1023, "1023 B"),
        (4200, "4.1 KB"),
        (25 << 20, "25.0 MB"),
        (5 << 30, "5.0 GB"),
        (5 << 40, "5120.0 GB"),
    ],
)
def test_a_size_is_told_in_its_unit(n_bytes: int, text: str) -> None:
    assert size(n_bytes) == text


def test_a_number_agrees_with_its_noun() -> None:
    assert [count(number, "open") for number in (0, 1, 2)] == ["0 opens", "1 open", "2 opens"]
    assert count(2, "entry", "entries") == "2 entries"


@pytest.mark.parametrize(
    ("agent", "words"),
    [
        ("Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0", "Firefox on Linux"),
        ("Mozilla/5.0 (Windows NT 10.0; Win64; x64) Chrome/142.0.0.0 Safari/537.36 Edg/142.0.0.0", "Edge on Windows"),
        ("Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) Version/18.0 Safari/604.1", "Safari on iPhone"),
        ("curl/8.9", "curl"),
        ("Something on Windows", "Windows"),
        ("<script>", ""),
    ],
)
def test_a_browser_is_called_as_people_know_it(agent: str, words: str) -> None:
    assert browser(agent) == words
