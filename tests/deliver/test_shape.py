"""relay/deliver/shape.py: limits are the host's, shared out among its workers; rules are tried in order."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.deliver.bucket import Rate
from relay.deliver.shape import DEFAULT, Action, Rule, Shape, Share, suffixes
from storage.model import Reply


@given(st.integers(1, 64), st.integers(1, 200), st.integers(0, 200), st.text(min_size=1))
def test_the_workers_shares_are_the_hosts_limits(workers: int, connections: int, provider: int, site: str) -> None:
    shape = Shape("x", connections, provider, rate=Rate(600, "m"))
    shares = [Share(index, workers).of(shape, site) for index in range(workers)]
    assert sum(share.provider_connections for share in shares) == provider
    assert sum(share.connections for share in shares) == connections
    assert sum(share.per_second or 0 for share in shares) == pytest.approx(10)
    for share in shares:
        assert (share.connections == 0) == (share.per_second is None)
        assert not provider or (share.connections == 0) == (share.provider_connections == 0)


@given(st.integers(1, 64), st.integers(1, 200))
def test_a_site_that_asked_for_nothing_is_served_by_every_worker(workers: int, connections: int) -> None:
    shape = Shape(DEFAULT, connections)
    shares = [Share(index, workers).of(shape, "mx.example.test").connections for index in range(workers)]
    assert min(shares) >= 1
    assert sum(shares) == max(workers, connections)
    assert Share(0, workers).of(shape, "mx.example.test").per_second is None


def test_it_is_not_always_the_same_worker_that_is_left_out() -> None:
    shape = Shape("x", 1)
    holders = {
        index
        for site in "abcdefghijkl"
        for index in range(4)
        if Share(index, 4).of(shape, f"mx.{site}.test").connections
    }
    assert holders == {0, 1, 2, 3}


SLOW = Rule("slow", re.compile("rate", re.IGNORECASE), frozenset({Action.SLOW_DOWN}), 60)
OTHER = Rule("other", re.compile(r"^421 4\.7\.0 "), frozenset({Action.SUSPEND}), 60)


@pytest.mark.parametrize(
    ("reply", "name"),
    [
        (Reply(421, "4.7.0", "your RATE is too high"), "slow"),
        (Reply(421, "4.7.0", "go away"), "other"),
        (Reply(421, None, "4.7.0 go away"), "other"),
        (Reply(450, "4.7.0", "go away"), None),
        (Reply(0, "4.4.2", "our own words about a rate"), None),
    ],
)
def test_the_first_rule_that_matches_a_servers_words_is_obeyed(reply: Reply, name: str | None) -> None:
    rule = Shape("x", rules=(SLOW, OTHER)).rule_for(reply)
    assert (rule.name if rule else None) == name


def test_suffixes_are_a_name_and_all_above_it() -> None:
    assert list(suffixes("a.b.test")) == ["a.b.test", "b.test", "test"]
    assert list(suffixes("")) == []
