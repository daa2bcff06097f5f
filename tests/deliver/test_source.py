from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.deliver.patterns import PatternError
from relay.deliver.source import Pools, Source

MAIN = Source("main", "192.0.2.25", "2001:db8::25", "mail.example.org")
SECOND = Source("second", "192.0.2.26", None)
THIRD = Source("third", None, "2001:db8::27")
SOURCES = {source.name: source for source in (MAIN, SECOND, THIRD)}
IDS = st.integers(0, (1 << 63) - 1)


def test_an_address_is_spoken_to_from_one_of_its_family() -> None:
    assert MAIN.towards("198.51.100.1") == "192.0.2.25"
    assert MAIN.towards("2001:db8:1::1") == "2001:db8::25"
    assert SECOND.towards("2001:db8:1::1") is None
    assert THIRD.towards("198.51.100.1") is None


def test_without_sources_the_system_chooses() -> None:
    pools = Pools({}, {})
    assert pools.pick("example.org", 1) is None
    assert not pools.names


@pytest.mark.parametrize(
    ("domain", "name"),
    [
        ("example.org", "main"),
        ("lists.example.org", "second"),
        ("deep.lists.example.org", "second"),
        ("other.test", None),
        ("", None),
    ],
)
def test_the_sender_s_domain_chooses_the_pool(domain: str, name: str | None) -> None:
    picked = Pools(SOURCES, {"example.org": {"main": 1}, "*.example.org": {"second": 1}}).pick(domain, 7)
    assert (picked.name if picked else None) == name


def test_pools_leave_out_what_nothing_goes_out_from() -> None:
    assert Pools(SOURCES, {"*": {"main": 1}}).names == {"main"}
    assert Pools(SOURCES, {}).names == {"main", "second", "third"}


@given(IDS)
def test_a_message_keeps_its_source(message_id: int) -> None:
    """All recipients and retries of a message go out from one address, in every process."""
    pools = Pools(SOURCES, {"*": {"main": 1, "second": 1, "third": 1}})
    again = Pools(SOURCES, {"*": {"third": 1, "second": 1, "main": 1}})
    assert pools.pick("example.org", message_id) == again.pick("example.org", message_id)


@given(IDS)
def test_a_source_that_is_added_takes_messages_only_to_itself(message_id: int) -> None:
    before = Pools(SOURCES, {"*": {"main": 1, "second": 2}}).pick("", message_id)
    after = Pools(SOURCES, {"*": {"main": 1, "second": 2, "third": 3}}).pick("", message_id)
    assert after in {before, THIRD}


def test_weights_are_shares() -> None:
    pools = Pools(SOURCES, {"*": {"main": 3, "second": 1}})
    counts = Counter(source.name for n in range(4000) if (source := pools.pick("example.org", n << 10)))
    assert 2850 < counts["main"] < 3150
    assert counts.total() == 4000


def test_what_cannot_be_a_pool_is_refused() -> None:
    with pytest.raises(KeyError):
        Pools(SOURCES, {"*": {"nobody": 1}})
    with pytest.raises(PatternError, match="is no domain"):
        Pools(SOURCES, {"a b": {"main": 1}})
