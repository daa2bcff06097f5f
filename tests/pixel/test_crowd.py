import ipaddress

from hypothesis import given
from hypothesis import strategies as st

from pixel.crowd import CROWD_MS, CROWD_RECIPIENTS, Crowd

GATEWAY = ipaddress.ip_address("203.0.113.7")
NOW = 1_000_000


def crowd() -> Crowd:
    return Crowd(b"k" * 32)


def test_many_recipients_within_seconds_are_a_crowd_and_one_less_is_none() -> None:
    seen = crowd()
    for recipient in range(CROWD_RECIPIENTS - 1):
        seen.note(GATEWAY, recipient, NOW + recipient)
    assert not seen.gathered(GATEWAY, NOW)
    seen.note(GATEWAY, 99, NOW)
    assert seen.gathered(GATEWAY, NOW)
    assert not seen.gathered(ipaddress.ip_address("203.0.113.8"), NOW)


def test_one_recipient_who_looks_often_is_no_crowd() -> None:
    seen = crowd()
    for step in range(100):
        seen.note(GATEWAY, 1, NOW + step)
    assert not seen.gathered(GATEWAY, NOW)


def test_a_crowd_disperses() -> None:
    seen = crowd()
    for recipient in range(CROWD_RECIPIENTS):
        seen.note(GATEWAY, recipient, NOW)
    assert seen.gathered(GATEWAY, NOW + CROWD_MS)
    assert not seen.gathered(GATEWAY, NOW + CROWD_MS + 1)


def test_one_ipv6_host_is_one_address_whatever_it_calls_itself() -> None:
    seen = crowd()
    for recipient in range(CROWD_RECIPIENTS):
        seen.note(ipaddress.ip_address(f"2001:db8:1:2::{recipient + 1:x}"), recipient, NOW)
    assert seen.gathered(ipaddress.ip_address("2001:db8:1:2::ffff"), NOW)
    assert not seen.gathered(ipaddress.ip_address("2001:db8:1:3::1"), NOW)


def test_no_address_is_kept() -> None:
    seen = crowd()
    seen.note(GATEWAY, 1, NOW)
    assert all(GATEWAY.packed not in key for key in seen._seen)


def test_a_sweep_is_a_crowd_from_its_first_fetch_to_its_last() -> None:
    seen = crowd()
    for recipient in range(3 * CROWD_RECIPIENTS):
        seen.note(GATEWAY, recipient, NOW + recipient)
    assert seen.gathered(GATEWAY, NOW)
    assert seen.gathered(GATEWAY, NOW + 3 * CROWD_RECIPIENTS)


@given(st.lists(st.tuples(st.integers(0, 30), st.integers(0, 30), st.integers(0, 100_000))))
def test_memory_is_bounded_whoever_comes(fetches: list[tuple[int, int, int]]) -> None:
    seen = Crowd(b"k" * 32, addresses=5)
    for host, recipient, at_ms in fetches:
        seen.note(ipaddress.ip_address(f"203.0.113.{host}"), recipient, at_ms)
    assert len(seen) <= 5
    assert all(len(recipients) <= CROWD_RECIPIENTS for recipients in seen._seen.values())
