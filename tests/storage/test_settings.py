"""Laws of the value types of the configuration file, and of the image's URL."""

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage.settings import Endpoint, parse_bytes, parse_domain, parse_endpoint, parse_network, parse_seconds
from storage.token import KEY_BYTES, TOKEN_CHARS, Purpose, TokenBox
from storage.tracking import image_url


@pytest.mark.parametrize(
    ("text", "endpoint"),
    [
        ("127.0.0.1:25", Endpoint("127.0.0.1", 25)),
        ("[::1]:25", Endpoint("::1", 25)),
        ("localhost:25", Endpoint("localhost", 25)),
        (":25", Endpoint("", 25)),
        ("a.example:65535", Endpoint("a.example", 65535)),
        (Endpoint("x", 1), Endpoint("x", 1)),
    ],
)
def test_an_endpoint_is_read(text: str, endpoint: Endpoint) -> None:
    assert parse_endpoint(text) == endpoint


@given(st.sampled_from(["", "127.0.0.1", "::1", "mail.example"]), st.integers(0, 65535))
def test_an_endpoint_is_read_back_from_its_text(host: str, port: int) -> None:
    assert parse_endpoint(str(Endpoint(host, port))) == Endpoint(host, port)


@pytest.mark.parametrize("text", ["", "25", "a", "a:", "a:b", "a:65536", "::1:25", "a b:25", 25, None])
def test_what_is_no_endpoint_is_refused_with_an_example(text: object) -> None:
    with pytest.raises(ValueError, match="for example"):
        parse_endpoint(text)


@pytest.mark.parametrize(
    ("value", "seconds"),
    [(0, 0), (90, 90), ("90", 90), (" 90s ", 90), ("5m", 300), ("4h", 14400), ("5d", 432000), ("1w", 604800)],
)
def test_a_duration_is_read(value: object, seconds: int) -> None:
    assert parse_seconds(value) == seconds


@pytest.mark.parametrize("value", [True, -1, 1.5, "", "m", "5 minutes", "-5m", None])
def test_what_is_no_duration_is_refused(value: object) -> None:
    with pytest.raises(ValueError, match="expected seconds or a duration"):
        parse_seconds(value)


@pytest.mark.parametrize(
    ("value", "size"),
    [(0, 0), (9, 9), ("9", 9), ("1k", 1024), ("25M", 26214400), ("25 MiB", 26214400), ("1g", 1 << 30)],
)
def test_a_size_is_read(value: object, size: int) -> None:
    assert parse_bytes(value) == size


@pytest.mark.parametrize("value", [False, -1, "", "M", "25T", "1.5M", None])
def test_what_is_no_size_is_refused(value: object) -> None:
    with pytest.raises(ValueError, match="expected bytes or a size"):
        parse_bytes(value)


@pytest.mark.parametrize(
    ("value", "network"),
    [
        ("127.0.0.1", ipaddress.ip_network("127.0.0.1/32")),
        ("10.1.2.3/8", ipaddress.ip_network("10.0.0.0/8")),
        ("::1", ipaddress.ip_network("::1/128")),
        (ipaddress.ip_network("::/0"), ipaddress.ip_network("::/0")),
    ],
)
def test_a_network_is_read(value: object, network: object) -> None:
    assert parse_network(value) == network


def test_what_is_no_network_is_refused() -> None:
    with pytest.raises(ValueError, match="expected an address or network"):
        parse_network("localhost")


@pytest.mark.parametrize(
    ("value", "domain"),
    [
        ("example.org", "example.org"),
        ("@Lists.Example.org.", "lists.example.org"),
        ("bücher.example", "xn--bcher-kva.example"),
        ("localhost", "localhost"),
    ],
)
def test_a_domain_is_read_as_envelopes_hold_it(value: object, domain: str) -> None:
    assert parse_domain(value) == domain


@pytest.mark.parametrize(
    "value", ["", "@", "a b", "a..b", "*.example", "ann@example.org", "ü" * 80, "a." * 127 + "a" * 9, 7]
)
def test_what_is_no_domain_is_refused(value: object) -> None:
    with pytest.raises(ValueError, match="expected a domain"):
        parse_domain(value)


@given(st.integers(0, 2**63 - 1))
def test_all_image_urls_of_an_installation_have_the_same_length(recipient_id: int) -> None:
    token = TokenBox(bytes(KEY_BYTES), Purpose.PIXEL).seal(recipient_id)
    url = image_url("https://t.example/", token)
    assert url == f"https://t.example/o/{token}.gif"
    assert len(url) == len("https://t.example/o/.gif") + TOKEN_CHARS
