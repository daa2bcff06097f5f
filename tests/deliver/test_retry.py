from hypothesis import given
from hypothesis import strategies as st

from relay.deliver.reply import ours
from relay.deliver.retry import RetryPolicy, expired, next_attempt
from storage.model import Reply

POLICY = RetryPolicy((60_000, 300_000, 14_400_000))


def test_waits_follow_the_schedule_and_the_last_repeats() -> None:
    waits = [next_attempt(n, 0, 10**12, POLICY, 0.0) for n in (1, 2, 3, 4, 100)]
    assert waits == [60_000, 300_000, 14_400_000, 14_400_000, 14_400_000]
    assert POLICY.wait_ms(0, 0.0) == 60_000


@given(st.integers(1, 50), st.floats(-1, 1), st.integers(0, 10**9), st.integers(0, 10**9))
def test_a_next_attempt_lies_ahead_and_within_the_lifetime(
    failures: int, spread: float, now: int, expires: int
) -> None:
    due = next_attempt(failures, now, expires, POLICY, spread)
    if now >= expires:
        assert due is None
    else:
        assert due is not None
        assert now < due <= expires


@given(st.floats(-1, 1))
def test_chance_moves_a_wait_by_a_tenth_at_most(spread: float) -> None:
    assert 54_000 <= POLICY.wait_ms(1, spread) <= 66_000


def test_the_last_try_falls_on_the_end_of_the_lifetime() -> None:
    assert next_attempt(3, 1000, 5000, POLICY, 0.0) == 5000
    assert next_attempt(4, 5000, 5000, POLICY, 0.0) is None


def test_an_expired_recipient_says_why_it_was_not_delivered() -> None:
    assert expired(Reply(450, "4.2.0", "greylisted")) == Reply(
        450, "4.4.7", "delivery time expired; last reply: 450 4.2.0 greylisted"
    )
    assert expired(ours("4.4.1", "connection refused")).code == 0
