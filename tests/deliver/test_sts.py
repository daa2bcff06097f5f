import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.deliver.sts import MAX_AGE_SECONDS, Mode, Published, StsPolicy, parse_policy, record_id

GOOD = b"version: STSv1\r\nmode: enforce\r\nmx: mail.example.com\r\nmx: *.example.net\r\nmax_age: 604800\r\n"


@pytest.mark.parametrize(
    ("records", "found"),
    [
        (["v=STSv1; id=20160831085700Z;"], "20160831085700Z"),
        (["v=STSv1;id=a"], "a"),
        (["v=STSv1 ; x=y; id = a1 "], "a1"),
        (["other", "v=STSv1; id=1;", "v=spf1 -all"], "1"),
        (["v=STSv1; id=1;", "v=STSv1; id=2;"], None),
        (["v=STSv1; id=1;", "v=STSv1"], None),
        ([" v=STSv1; id=1;"], None),
        (["v=STSv12; id=1;"], None),
        (["v=STSv1;"], None),
        (["v=STSv1; id=;"], None),
        (["v=STSv1; id=a-b;"], None),
        (["v=STSv1; id=" + "a" * 33], None),
        ([], None),
    ],
)
def test_the_record_tells_the_id_of_the_policy(records: list[str], found: str | None) -> None:
    assert record_id(records) == found


def test_a_policy_is_read() -> None:
    policy = StsPolicy(Mode.ENFORCE, ("*.example.net", "mail.example.com"))
    assert parse_policy(GOOD) == Published(policy, 604800)
    assert parse_policy(GOOD.replace(b"\r\n", b"\n").rstrip()) == Published(policy, 604800)
    # What is not known is passed over; of fields met twice, the first counts (RFC 8461, 3.2).
    assert parse_policy(GOOD + b"mode: none\r\nsomething.new: x\r\n\r\n") == Published(policy, 604800)
    assert parse_policy(GOOD.replace(b"604800", b"9999999999")) == Published(policy, MAX_AGE_SECONDS)
    none = parse_policy(b"version: STSv1\nmode: none\nmax_age: 0")
    assert none == Published(StsPolicy(Mode.NONE, ()), 0)


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "its version is not STSv1"),
        (GOOD.replace(b"STSv1", b"STSv2"), "its version is not STSv1"),
        (GOOD.replace(b"enforce", b"maybe"), "its mode is none of enforce, testing and none"),
        (GOOD.replace(b"604800", b"-1"), "it has no max_age"),
        (GOOD.replace(b"604800", "٣".encode()), "it has no max_age"),
        (GOOD.replace(b"mail.example.com", b"a b"), "an mx is no host name, or there are too many"),
        (GOOD.replace(b"*.example.net", b"*.*.net"), "an mx is no host name, or there are too many"),
        (GOOD + b"mx: a.example\n" * 300, "an mx is no host name, or there are too many"),
        (b"version: STSv1\nmode: enforce\nmax_age: 1", "it names no mx"),
        (b"<html>404</html>", "a line is no field"),
        (b"version: STSv1\xff", "it is not UTF-8 text"),
    ],
)
def test_what_is_no_policy_is_told_in_a_few_words(content: bytes, why: str) -> None:
    assert parse_policy(content) == why


@given(st.binary())
def test_whatever_comes_is_a_policy_or_a_sentence(content: bytes) -> None:
    assert isinstance(parse_policy(content), Published | str)


def test_a_wildcard_stands_for_one_label() -> None:
    policy = StsPolicy(Mode.ENFORCE, ("*.example.net", "mail.example.com"))
    assert policy.names("mail.example.com")
    assert policy.names("mx1.example.net")
    assert not policy.names("example.net")
    assert not policy.names("a.b.example.net")
    assert not policy.names("mail.example.org")
    assert not policy.names("localhost")


def test_a_hostile_policy_costs_little() -> None:
    """Anybody may publish one: 64 KB of blanks kept a relay for 11 s."""
    begun = time.process_time()
    for text in ("mx: a" + " " * 64_000 + "x", "mx:" + "\t" * 64_000, "a:\n" * 20_000, "mx: a\n" * 10_000):
        parse_policy(f"version: STSv1\n{text}\n".encode())
    assert time.process_time() - begun < 2
