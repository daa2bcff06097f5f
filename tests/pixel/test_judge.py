import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pixel.fetch import Fetch
from pixel.judge import MX_NETWORK_MS, Rules, is_shared, judge
from storage.model import OPENING, HitFacts, HitKind
from storage.status import Status

TAKEN = 1_000_000
RULES = Rules(scanner_ms=2000)
LATER = TAKEN + 10 * 60_000
PUBLIC = ipaddress.ip_address("203.0.113.7")
FIREFOX = "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0"
GMAIL_AHEAD = (
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) "
    "Chrome/42.0.2311.135 Safari/537.36 Edge/12.246 Mozilla/5.0"
)
GMAIL = "Mozilla/5.0 (Windows NT 5.1; rv:11.0) Gecko Firefox/11.0 (via ggpht.com GoogleImageProxy)"


def facts(
    delivered_ms: int | None = TAKEN, in_doubt_ms: int | None = None, mx_address: str | None = "198.51.100.25"
) -> HitFacts:
    return HitFacts(1, Status.DELIVERED, delivered_ms, in_doubt_ms, mx_address)


def fetch(at_ms: int = LATER, agent: str = FIREFOX, *, referer: bool = False, purpose: str = "") -> Fetch:
    return Fetch(1, at_ms, "203.0.113.7", agent=agent, has_referer=referer, purpose=purpose)


def kind(
    asked: Fetch, known: HitFacts | None = None, address: str | None = "203.0.113.7", *, crowded: bool = False
) -> HitKind:
    host = None if address is None else ipaddress.ip_address(address)
    return judge(asked, host, known or facts(), RULES, crowded=crowded).kind


def test_who_shows_no_sign_of_a_machine_is_a_person() -> None:
    assert kind(fetch()) is HitKind.PERSON


@pytest.mark.parametrize(
    ("at_ms", "expected"),
    [
        (TAKEN - 1, HitKind.SCANNER),
        (TAKEN, HitKind.SCANNER),
        (TAKEN + 1999, HitKind.SCANNER),
        (TAKEN + 2000, HitKind.PERSON),
    ],
)
def test_nobody_reads_before_the_250_nor_within_scanner_seconds_of_it(at_ms: int, expected: HitKind) -> None:
    assert kind(fetch(at_ms)) is expected


def test_scanner_seconds_count_for_mail_proxies_too() -> None:
    assert kind(fetch(TAKEN + 100, GMAIL)) is HitKind.SCANNER


def test_scanner_seconds_of_nought_leave_only_the_time_before_the_250() -> None:
    rules = Rules(scanner_ms=0)
    assert judge(fetch(TAKEN), PUBLIC, facts(), rules, crowded=False).kind is HitKind.PERSON
    assert judge(fetch(TAKEN - 1), PUBLIC, facts(), rules, crowded=False).kind is HitKind.SCANNER


def test_a_copy_that_no_server_took_was_read_by_nobody() -> None:
    assert kind(fetch(), facts(delivered_ms=None)) is HitKind.SCANNER


@pytest.mark.parametrize(
    ("at_ms", "expected"),
    [(TAKEN - 1, HitKind.SCANNER), (TAKEN + 1999, HitKind.SCANNER), (TAKEN + 2000, HitKind.PERSON)],
)
def test_in_doubt_the_time_counts_from_the_doubt(at_ms: int, expected: HitKind) -> None:
    assert kind(fetch(at_ms), facts(delivered_ms=None, in_doubt_ms=TAKEN)) is expected


def test_a_250_after_a_doubt_counts() -> None:
    assert kind(fetch(TAKEN + 5000), facts(delivered_ms=TAKEN + 4000, in_doubt_ms=TAKEN)) is HitKind.SCANNER


@pytest.mark.parametrize(
    ("server", "client", "same"),
    [
        ("198.51.100.25", "198.51.100.200", True),
        ("198.51.100.25", "198.51.101.25", False),
        ("2001:db8:1:2::25", "2001:db8:1:ffff::1", True),
        ("2001:db8:1::25", "2001:db8:2::25", False),
        ("2001:db8:1::25", "198.51.100.25", False),
        # Loopback and private networks hold everything at once.
        ("127.0.0.1", "127.0.0.1", False),
        ("10.0.0.1", "10.0.0.2", False),
        ("fd00::1", "fd00::2", False),
        ("not an address", "198.51.100.25", False),
    ],
)
def test_the_mail_servers_own_network_scans_within_a_minute(server: str, client: str, *, same: bool) -> None:
    expected = HitKind.SCANNER if same else HitKind.PERSON
    assert kind(fetch(TAKEN + MX_NETWORK_MS), facts(mx_address=server), client) is expected
    assert kind(fetch(TAKEN + MX_NETWORK_MS + 1), facts(mx_address=server), client) is HitKind.PERSON


def test_an_unknown_address_is_from_no_network() -> None:
    assert kind(fetch(TAKEN + 3000), address=None) is HitKind.PERSON
    assert kind(fetch(TAKEN + 3000), facts(mx_address=None)) is HitKind.PERSON


@pytest.mark.parametrize(
    ("agent", "referer", "expected"),
    [
        ("Mozilla/5.0", False, HitKind.PREFETCH),
        ("Mozilla/5.0", True, HitKind.PERSON),
        ("Mozilla/5.0 (Macintosh)", False, HitKind.PERSON),
        (GMAIL_AHEAD, False, HitKind.PREFETCH),
        (GMAIL_AHEAD, True, HitKind.PREFETCH),
        (GMAIL_AHEAD.removesuffix(" Mozilla/5.0"), False, HitKind.PERSON),
        (GMAIL, False, HitKind.PROXY),
        ("YahooMailProxy; https://help.yahoo.com/kb/yahoo-mail-proxy-SLN28749.html", False, HitKind.PROXY),
        ("Barracuda Sentinel (EE)", False, HitKind.SCANNER),
        ("", False, HitKind.PERSON),
        ("curl/7.88.1", False, HitKind.PERSON),
    ],
)
def test_agents_say_who_they_are(agent: str, expected: HitKind, *, referer: bool) -> None:
    assert kind(fetch(agent=agent, referer=referer)) is expected


@pytest.mark.parametrize("purpose", ["prefetch", "prefetch;prerender", ",Prefetch", "preview"])
def test_a_request_that_says_it_is_ahead_of_the_reader_is_believed(purpose: str) -> None:
    assert kind(fetch(purpose=purpose)) is HitKind.PREFETCH
    assert kind(fetch(agent=GMAIL, purpose=purpose)) is HitKind.PREFETCH


def test_other_purposes_say_nothing() -> None:
    assert kind(fetch(purpose="navigate")) is HitKind.PERSON


def test_a_crowd_behind_one_address_is_a_gateway() -> None:
    assert kind(fetch(), crowded=True) is HitKind.SCANNER


@pytest.mark.parametrize("address", ["127.0.0.1", "192.168.1.1", "100.64.0.1", "::1", "fd00::1", None])
def test_a_crowd_behind_a_shared_address_is_many_people(address: str | None) -> None:
    assert kind(fetch(), address=address, crowded=True) is HitKind.PERSON


def test_a_mail_proxy_may_fetch_for_many() -> None:
    assert kind(fetch(agent=GMAIL), crowded=True) is HitKind.PROXY


@pytest.mark.parametrize(
    ("address", "shared"),
    [("127.8.8.8", True), ("172.31.0.1", True), ("169.254.1.1", True), ("fe80::1", True), ("203.0.113.7", False)],
)
def test_shared_addresses(address: str, *, shared: bool) -> None:
    assert is_shared(ipaddress.ip_address(address)) is shared


@given(
    st.integers(0, 2 * TAKEN),
    st.text(max_size=80),
    st.text(max_size=40),
    st.none() | st.integers(0, 2 * TAKEN),
    st.none() | st.integers(0, 2 * TAKEN),
    st.none() | st.ip_addresses(),
    st.booleans(),
)
def test_every_hit_is_judged_and_none_before_a_250_is_an_open(
    at_ms: int,
    agent: str,
    purpose: str,
    delivered_ms: int | None,
    in_doubt_ms: int | None,
    address: ipaddress.IPv4Address | ipaddress.IPv6Address | None,
    crowded: bool,
) -> None:
    known = facts(delivered_ms, in_doubt_ms)
    judgement = judge(fetch(at_ms, agent, purpose=purpose), address, known, RULES, crowded=crowded)
    assert judgement.why
    taken_ms = in_doubt_ms if delivered_ms is None else delivered_ms
    if taken_ms is None or at_ms < taken_ms + RULES.scanner_ms:
        assert judgement.kind not in OPENING
