"""relay/deliver/bucket.py: a rate is kept, whatever the clock does."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.deliver.bucket import Bucket, Rate

RATES = st.floats(0.0001, 8)
STEPS = st.lists(st.floats(0, 100), min_size=1, max_size=20)


@given(RATES, STEPS)
def test_no_stretch_of_time_lets_more_through_than_the_rate_and_one_seconds_worth(
    rate: float, steps: list[float]
) -> None:
    bucket, now, taken = Bucket(rate), 1000.0, []
    for step in steps:
        now += step
        taken += [now] * sum(bucket.take(now) for _ in range(12))
    for first, began in enumerate(taken):
        for last in range(first, len(taken)):
            assert last - first + 1 <= rate * (taken[last] - began) + max(1.0, rate) + 0.001


@given(RATES, STEPS)
def test_who_waits_as_long_as_it_says_may_send(rate: float, steps: list[float]) -> None:
    bucket, now = Bucket(rate), 1000.0
    for step in steps:
        now += step
        while bucket.take(now):
            continue
        assert bucket.wait(now) > 0
        now += bucket.wait(now)
        assert bucket.ready(now) >= 1
        assert bucket.take(now)


def test_a_slower_bucket_lets_less_through_and_a_clock_that_goes_back_nothing() -> None:
    bucket = Bucket(10.0)
    assert bucket.ready(100.0) == 10
    bucket.slow(4, 100.0)
    assert [bucket.take(100.0) for _ in range(3)] == [True, True, False]
    assert bucket.wait(100.0) == pytest.approx(0.2)
    assert bucket.ready(50.0) == 0
    bucket.slow(1, 100.2)
    assert bucket.ready(100.2) == 1
    assert bucket.wait(100.2) == 0.0


@pytest.mark.parametrize(
    ("text", "per_second"), [("10/s", 10.0), ("120/m", 2.0), (" 3600 / h ", 1.0), ("86400/d", 1.0), ("1/m", 1 / 60)]
)
def test_a_rate_is_messages_in_a_unit(text: str, per_second: float) -> None:
    rate = Rate.parse(text)
    assert rate.per_second == pytest.approx(per_second)
    assert Rate.parse(str(rate)) == rate


@pytest.mark.parametrize("text", ["", "10", "0/s", "-1/s", "10/w", "1.5/s", "10/s/s", "9" * 12 + "/s"])
def test_what_is_no_rate_is_told(text: str) -> None:
    with pytest.raises(ValueError, match="expected messages in a time"):
        Rate.parse(text)
