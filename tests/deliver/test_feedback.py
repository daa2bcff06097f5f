"""relay/deliver/feedback.py: Postfix's concurrency feedback, as a machine without a clock."""

from hypothesis import given
from hypothesis import strategies as st

from relay.deliver.feedback import Concurrency

NOTES = st.lists(st.sampled_from(["succeed", "refuse", "fail", "restart"]), max_size=200)


@given(st.integers(1, 50), st.integers(1, 50), NOTES)
def test_the_window_is_never_closed_and_never_beyond_the_limit(first: int, most: int, notes: list[str]) -> None:
    window = Concurrency(first, most)
    for note in notes:
        if note == "succeed":
            window.succeed(window.window)
        else:
            getattr(window, note)()
        assert 1 <= window.window <= most


@given(st.integers(1, 50), st.integers(1, 50))
def test_a_site_that_bears_it_gets_all_connections_and_one_that_needs_few_keeps_few(first: int, most: int) -> None:
    used, idle = Concurrency(first, most), Concurrency(first, most)
    for _ in range(most):
        used.succeed(used.window)
        idle.succeed(0)
    assert used.window == most
    assert idle.window == min(first, most)


@given(st.integers(1, 50), st.integers(0, 100))
def test_a_window_of_failures_in_a_row_ends_the_site_and_one_success_forgives_them(most: int, successes: int) -> None:
    window = Concurrency(5, most)
    for _ in range(successes):
        window.succeed(window.window)
    at_most = window.window
    failures = 1
    while not window.fail():
        failures += 1
    assert failures <= at_most
    window.restart()
    for _ in range(200):
        dead = window.fail()
        assert not dead or window.window == 1 or most == 1
        window.succeed(window.window)


@given(st.integers(1, 20), st.integers(1, 500))
def test_refusals_by_policy_close_the_window_one_window_at_a_time(most: int, refusals: int) -> None:
    window = Concurrency(most, most)
    for _ in range(refusals):
        window.refuse()
    expected, left = most, refusals
    while left >= expected > 1:
        left -= expected
        expected -= 1
    assert window.window == expected
