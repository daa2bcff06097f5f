"""relay/deliver/backoff.py: a site's trouble, with the clock as argument."""

from hypothesis import given
from hypothesis import strategies as st

from relay.deliver.backoff import Backoff
from relay.deliver.retry import RetryPolicy

POLICY = RetryPolicy((60_000, 300_000, 3_600_000), jitter=0)


@given(st.lists(st.floats(0, 10_000), min_size=1))
def test_each_failure_lets_it_rest_as_long_or_longer_and_ten_minutes_at_most(pauses: list[float]) -> None:
    backoff, now, last = Backoff(POLICY), 0.0, 0.0
    for pause in pauses:
        now += pause
        backoff.fail(now)
        rest = round(backoff.rests_until - now, 3)
        assert max(last, 60) <= rest <= 600
        assert backoff.resting(now)
        assert not backoff.resting(now + 600)
        last = rest


def test_one_answer_about_mail_ends_the_growth() -> None:
    backoff = Backoff(POLICY)
    backoff.fail(0)
    backoff.fail(60)
    backoff.succeed()
    assert not backoff.troubled(360)
    backoff.fail(400)
    assert backoff.rests_until == 460


def test_failures_are_remembered_for_an_hour_beyond_the_rest() -> None:
    backoff = Backoff(POLICY)
    assert not backoff.troubled(0)
    backoff.fail(0)
    assert backoff.troubled(3659)
    assert not backoff.troubled(3660)


def test_an_operator_may_let_all_be_forgotten() -> None:
    backoff = Backoff(POLICY)
    backoff.fail(0)
    backoff.refuse_more(0)
    backoff.avoid("mx.example.test", 0)
    backoff.forget()
    assert (backoff.resting(0), backoff.refuses_more(0), backoff.avoided(0), backoff.failures) == (
        False,
        False,
        frozenset(),
        0,
    )


def test_a_refusal_of_more_holds_for_half_a_minute_and_an_avoided_host_comes_back_after_five() -> None:
    backoff = Backoff(POLICY)
    backoff.refuse_more(0)
    backoff.avoid("mx.example.test", 0)
    assert backoff.refuses_more(29)
    assert not backoff.refuses_more(30)
    assert backoff.avoided(299) == {"mx.example.test"}
    assert backoff.avoided(300) == frozenset()


def test_a_suspension_lasts_as_long_as_the_rule_says_and_shortens_no_other() -> None:
    backoff = Backoff(POLICY)
    assert backoff.suspend(0, 7200)
    assert not backoff.suspend(10, 60)
    assert backoff.resting(7199)
    assert backoff.troubled(7199)
    assert not backoff.troubled(7200)
    assert backoff.failures == 0
