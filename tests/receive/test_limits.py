"""relay/receive/limits.py: what one client may ask of a worker."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.receive.limits import Budget, Connections
from storage.logins import Logins, client_of


@pytest.mark.parametrize(
    ("address", "client"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("::1", "::/64"),
        ("2001:db8:1:2:3::9", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("", ""),
        ("a:b", "a:b"),
    ],
)
def test_a_client_is_an_address_or_the_least_that_one_customer_gets(address: str, client: str) -> None:
    assert client_of(address) == client


@given(st.lists(st.integers(0, 500)))
def test_the_budget_is_never_passed(sizes: list[int]) -> None:
    budget = Budget(1000)
    taken = []
    for size in sizes:
        fits = budget.has_room(size)
        assert budget.take(size) is fits
        taken += [size] if fits else []
        assert budget.used == sum(taken) <= 1000
    for size in taken:
        budget.give(size)
    assert budget.used == 0


@given(st.lists(st.tuples(st.booleans(), st.sampled_from("abc"))))
def test_connections_are_counted_in_all_and_of_each_client(steps: list[tuple[bool, str]]) -> None:
    connections, here = Connections(4, 2), []
    for enters, client in steps:
        if enters:
            fits = len(here) < 4 and here.count(client) < 2
            assert connections.enter(client) is fits
            here += [client] if fits else []
        elif client in here:
            connections.leave(client)
            here.remove(client)
        assert connections.total == len(here)


def test_a_client_that_guesses_waits_twice_as_long_each_time() -> None:
    logins, now, waits = Logins(), 100.0, []
    for _ in range(Logins.FREE + 12):
        waited = 0
        while not logins.begin("a", now):
            now += 1
            waited += 1
        waits.append(waited)
    assert waits == [0] * Logins.FREE + [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 900, 900]


def test_many_tries_at_once_gain_nothing() -> None:
    logins = Logins()
    assert sum(logins.begin("a", 0) for _ in range(40)) == Logins.FREE
    assert logins.begin("b", 0)


def test_a_success_takes_back_its_own_try_only() -> None:
    """One known password must not pay for guessing another."""
    logins = Logins()
    for _ in range(Logins.FREE - 1):
        assert logins.begin("a", 0)
    assert logins.begin("a", 0)
    logins.succeeded("a")
    assert logins.begin("a", 0)
    assert not logins.begin("a", 0)


def test_a_client_that_only_succeeds_is_not_remembered() -> None:
    logins = Logins()
    for _ in range(100):
        assert logins.begin("a", 0)
        logins.succeeded("a")
    logins.succeeded("stranger")
    assert not logins._tries


def test_failures_are_forgotten_in_time() -> None:
    logins = Logins()
    while logins.begin("a", 0):
        pass
    assert logins.begin("a", Logins.FORGET_SECONDS)
    assert logins.begin("a", Logins.FORGET_SECONDS)


def test_the_table_is_bounded() -> None:
    logins = Logins()
    for number in range(Logins.MAX_CLIENTS + 10):
        logins.begin(str(number), 0)
    assert len(logins._tries) == Logins.MAX_CLIENTS
