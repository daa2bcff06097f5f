import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.deliver.mx import (
    MAX_ADDRESSES_OF_HOST,
    MAX_HOSTS,
    Found,
    Hosts,
    MxAnswer,
    hosts_of,
    in_turn,
    literal,
)
from storage.model import Reply
from storage.reach import is_public

OWN = frozenset({"relay.test"})


def records(*pairs: tuple[int, str]) -> MxAnswer:
    return MxAnswer(Found.RECORDS, pairs)


def hosts(*pairs: tuple[int, str]) -> Hosts | Reply:
    return hosts_of("example.test", records(*pairs), OWN)


def enhanced(answer: Hosts | Reply) -> str | None:
    assert isinstance(answer, Reply)
    assert answer.code == 0
    return answer.enhanced


def test_hosts_are_grouped_by_preference() -> None:
    assert hosts((20, "c.test"), (10, "b.test"), (10, "a.test")) == Hosts((("a.test", "b.test"), ("c.test",)))


def test_without_mx_the_domain_is_the_host() -> None:
    assert hosts_of("example.test", MxAnswer(Found.NO_RECORDS), OWN) == Hosts((("example.test",),))


def test_null_mx_takes_no_mail() -> None:
    assert enhanced(hosts((0, ""))) == "5.1.10"


def test_a_null_mx_among_others_is_a_mistake() -> None:
    assert hosts((0, ""), (10, "a.test")) == Hosts((("a.test",),))


def test_no_such_domain_and_trouble() -> None:
    assert enhanced(hosts_of("example.test", MxAnswer(Found.NO_NAME), OWN)) == "5.1.2"
    reply = hosts_of("example.test", MxAnswer(Found.TROUBLE, why="SERVFAIL"), OWN)
    assert enhanced(reply) == "4.4.3"
    assert isinstance(reply, Reply)
    assert "SERVFAIL" in reply.text


def test_ourselves_and_all_behind_us_are_cut() -> None:
    assert hosts((5, "a.test"), (10, "b.test"), (10, "relay.test"), (20, "c.test")) == Hosts((("a.test",),))
    assert enhanced(hosts((10, "relay.test"), (20, "c.test"))) == "5.4.6"


def test_names_that_no_host_can_have_are_passed_over() -> None:
    assert hosts((10, "a b.test"), (10, "ok.test")) == Hosts((("ok.test",),))
    assert enhanced(hosts((10, r"\000.test"), (20, ".."))) == "5.4.4"


def test_many_hosts_are_cut_to_the_best() -> None:
    found = hosts(*((n % 500, f"h{n}.test") for n in range(5000)))
    assert isinstance(found, Hosts)
    assert sum(map(len, found.groups)) == MAX_HOSTS


@given(st.lists(st.floats(0, 1, exclude_max=True), min_size=10, max_size=10))
def test_chance_shuffles_within_a_preference_only(numbers: list[float]) -> None:
    chance = iter(numbers)
    order = Hosts((("a", "b", "c"), ("d",), ("e", "f"))).in_order(lambda: next(chance))
    assert set(order[:3]) == {"a", "b", "c"}
    assert order[3] == "d"
    assert set(order[4:]) == {"e", "f"}


def test_every_order_can_come() -> None:
    group = Hosts((("a", "b"),))
    first, second = iter([0.1, 0.9]), iter([0.9, 0.1])
    assert group.in_order(lambda: next(first)) == ["a", "b"]
    assert group.in_order(lambda: next(second)) == ["b", "a"]


@pytest.mark.parametrize(
    ("domain", "address"),
    [
        ("[192.0.2.1]", "192.0.2.1"),
        ("[IPv6:2001:db8::1]", "2001:db8::1"),
        ("[ipv6:::1]", "::1"),
        ("[999.0.2.1]", None),
        ("[IPv6:zz]", None),
        ("[x:y]", None),
        ("192.0.2.1", None),
        ("[192.0.2.1", None),
        ("example.org", None),
    ],
)
def test_address_literals(domain: str, address: str | None) -> None:
    assert literal(domain) == address


@pytest.mark.parametrize(
    "address",
    [
        *("127.0.0.1", "127.9.9.9", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.0.1", "100.64.0.1"),
        *("0.0.0.0", "224.0.0.1", "255.255.255.255", "240.0.0.1"),
        *("::1", "::", "fe80::1", "fc00::1", "fd12::1", "ff02::1", "fec0::1", "::127.0.0.1"),
        *("::ffff:127.0.0.1", "::ffff:10.0.0.1", "2002:7f00:1::", "64:ff9b::127.0.0.1", "64:ff9b::a00:1"),
        *("2001:0:53aa:64c:0:0:80ff:fffe", "not an address"),
    ],
)
def test_no_stranger_sends_us_to_a_private_address(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize(
    "address", ["8.8.8.8", "2a00:1450:4001::1a", "64:ff9b::808:808", "::ffff:8.8.8.8", "2002:808:808::"]
)
def test_public_addresses_are_public(address: str) -> None:
    assert is_public(address)


def test_families_take_turns() -> None:
    assert in_turn(["1.1.1.1", "2.2.2.2", "::a"]) == ["::a", "1.1.1.1", "2.2.2.2"]
    assert in_turn(["::a", "::b", "1.1.1.1"]) == ["::a", "1.1.1.1", "::b"]
    assert in_turn([]) == []
    assert len(in_turn([f"1.1.1.{n}" for n in range(100)])) == MAX_ADDRESSES_OF_HOST
