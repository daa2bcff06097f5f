import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pixel.fetch import Fetch, client_address
from storage.forwarded import parse_address
from storage.settings import parse_network

PROXIES = tuple(parse_network(text) for text in ("127.0.0.0/8", "::1/128", "10.1.0.0/16"))


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("203.0.113.7", "203.0.113.7"),
        (" 203.0.113.7 ", "203.0.113.7"),
        ("203.0.113.7:4711", "203.0.113.7"),
        ("2001:db8::7", "2001:db8::7"),
        ("[2001:db8::7]:4711", "2001:db8::7"),
        ('"[2001:db8::7]"', "2001:db8::7"),
        ("fe80::1%eth0", "fe80::1"),
        ("::ffff:203.0.113.7", "203.0.113.7"),
    ],
)
def test_an_address_is_read_in_the_forms_that_proxies_write(text: str, address: str) -> None:
    assert parse_address(text) == ipaddress.ip_address(address)


@pytest.mark.parametrize(
    "text", ["", "unknown", "_hidden", "203.0.113", "[", "[]", "1:2:3", "203.0.113.7, x", "\ud800"]
)
def test_what_is_no_address_is_none(text: str) -> None:
    assert parse_address(text) is None


@pytest.mark.parametrize(
    ("peer", "forwarded_for", "forwarded", "client"),
    [
        ("203.0.113.7", "", "", "203.0.113.7"),
        # Nobody but a trusted proxy is believed.
        ("203.0.113.7", "198.51.100.1", "for=198.51.100.1", "203.0.113.7"),
        ("127.0.0.1", "198.51.100.1", "", "198.51.100.1"),
        ("::1", "2001:db8::7", "", "2001:db8::7"),
        # The rightmost hop that is not ours; what stands left of it may be made up.
        ("127.0.0.1", "192.0.2.66, 198.51.100.1", "", "198.51.100.1"),
        ("127.0.0.1", "192.0.2.66, 198.51.100.1, 10.1.2.3", "", "198.51.100.1"),
        # Trusted all the way: the first of them asked.
        ("127.0.0.1", "10.1.9.9, 10.1.2.3", "", "10.1.9.9"),
        # A hop that cannot be read ends the chain.
        ("127.0.0.1", "198.51.100.1, unknown, 10.1.2.3", "", "10.1.2.3"),
        ("127.0.0.1", "nonsense", "", "127.0.0.1"),
        # RFC 7239, where there is no X-Forwarded-For.
        ("127.0.0.1", "", "for=198.51.100.1;proto=https;by=203.0.113.43", "198.51.100.1"),
        ("127.0.0.1", "", 'For="[2001:db8::7]:4711"', "2001:db8::7"),
        ("127.0.0.1", "", "for=192.0.2.66, for=198.51.100.1, for=10.1.2.3", "198.51.100.1"),
        ("127.0.0.1", "", "for=_secret", "127.0.0.1"),
        ("127.0.0.1", "198.51.100.1", "for=192.0.2.66", "198.51.100.1"),
    ],
)
def test_a_forwarded_address_is_believed_as_far_as_trusted_proxies_vouch(
    peer: str, forwarded_for: str, forwarded: str, client: str
) -> None:
    fetch = Fetch(1, 0, peer, forwarded_for=forwarded_for, forwarded=forwarded)
    assert client_address(fetch, PROXIES) == ipaddress.ip_address(client)


def test_a_peer_without_an_address_has_none() -> None:
    assert client_address(Fetch(1, 0, "", forwarded_for="198.51.100.1"), PROXIES) is None


@given(st.text(max_size=200), st.text(max_size=200))
def test_an_untrusted_peer_cannot_change_its_address(forwarded_for: str, forwarded: str) -> None:
    fetch = Fetch(1, 0, "203.0.113.7", forwarded_for=forwarded_for, forwarded=forwarded)
    assert client_address(fetch, PROXIES) == ipaddress.ip_address("203.0.113.7")


@given(st.text(max_size=200), st.text(max_size=200))
def test_any_header_of_a_trusted_proxy_gives_an_address(forwarded_for: str, forwarded: str) -> None:
    assert client_address(Fetch(1, 0, "127.0.0.1", forwarded_for=forwarded_for, forwarded=forwarded), PROXIES)
