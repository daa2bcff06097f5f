"""relay/deliver/pace.py: limits are kept, and what slows a site down ends by itself."""

from hypothesis import given
from hypothesis import strategies as st

from relay.deliver.bucket import Bucket
from relay.deliver.pace import Pace


def pace(connections: int = 20, per_second: float | None = None, first: int = 20, most: int = 100) -> Pace:
    return Pace(min(connections, most), first, Bucket(per_second) if per_second else None)


def test_the_lower_of_both_limits_holds() -> None:
    assert pace(connections=20, most=3).connections(0) == 3
    assert pace(connections=2, most=30).most == 2


def test_a_worker_without_a_share_has_no_connection() -> None:
    none = pace(connections=0)
    assert none.elsewhere
    assert none.connections(0) == 0
    none.slow_down(0, 60)
    assert none.connections(0) == 0


def test_without_a_rate_nothing_waits() -> None:
    free = pace()
    assert free.ready(0) > 10**6
    assert free.take(0)
    assert free.wait(0) == 0


def test_a_rate_is_asked_for_each_message() -> None:
    slow = pace(per_second=0.5)
    assert slow.ready(10) == 1
    assert slow.take(10)
    assert not slow.take(10)
    assert slow.wait(10) == 2


def test_slowing_down_halves_both_and_ends_when_its_time_is_over() -> None:
    both = pace(per_second=8.0)
    assert both.slow_down(100, 60)
    assert both.connections(100) == 10
    assert both.ready(100) == 4
    assert both.connections(160) == 20
    both.ready(161)
    assert both.ready(162) == 8
    assert both.slowness(162) == 1


def test_a_burst_of_replies_halves_once_and_prolongs() -> None:
    site = pace()
    assert site.slow_down(0, 60)
    assert not site.slow_down(20, 60)
    assert site.connections(79) == 10
    assert site.slow_down(79, 60)
    assert site.connections(79) == 5


@given(st.lists(st.floats(0, 200), max_size=40))
def test_however_often_it_is_slowed_one_connection_is_left(pauses: list[float]) -> None:
    site, now = pace(), 0.0
    for pause in pauses:
        now += pause
        site.slow_down(now, 900)
        assert 1 <= site.connections(now) <= 10
        assert site.slowness(now) <= 16
    assert site.connections(now + 900) == 20


def test_an_operator_may_let_it_be_forgotten() -> None:
    site = pace()
    site.slow_down(0, 900)
    site.window.fail()
    site.forget()
    assert site.connections(0) == 20
