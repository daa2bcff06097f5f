"""relay/receive/encoded_words.py: header values for people, whatever was sent."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.receive.encoded_words import MAX_CHARS, decode_value


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        (b"", ""),
        (b" Hello  world ", "Hello world"),
        (b"=?utf-8?q?Gr=C3=BC=C3=9Fe?=", "Grüße"),
        (b"=?UTF-8?B?R3LDvMOfZQ==?=", "Grüße"),
        (b"=?UTF-8?B?R3LDvMOfZQ?=", "Grüße"),
        (b"=?iso-8859-1*de?Q?Gr=FC=DFe_an_alle?=", "Grüße an alle"),
        (b"=?iso-8859-1?q?=93quoted=94?=", "“quoted”"),
        (b"Re: =?utf-8?q?a?= =?utf-8?q?b?= c", "Re: ab c"),
        (b"=?utf-8?q?a?= x =?utf-8?q?b?=", "a x b"),
        (b"=?utf-8?q?a?=\r\n =?iso-8859-1?q?=E4?=", "aä"),
        (b"=?utf-8?q?=C3?= =?utf-8?q?=A4?=", "ä"),
        (b"=?utf-8?b?w6Q=?= =?utf-8?q?_!?=", "ä !"),
        (b"=?gb2312?B?xOO6ww==?=", "你好"),
        (b"=?iso-2022-jp?B?GyRCRnxLXDhsGyhC?=", "日本語"),
        (b"=?shift_jis?B?k/qWe4zq?=", "日本語"),
        (b"raw \xc3\xa4", "raw ä"),
        (b"raw \xe4", "raw ä"),
        (b"=?utf-8?q?not over", "=?utf-8?q?not over"),
        (b"=?x-unknown?q?a?= b", "=?x-unknown?q?a?= b"),
        (b"=?punycode?q?a?=", "=?punycode?q?a?="),
        (b"=?utf-8?b?Y?= x", "=?utf-8?b?Y?= x"),
        (b"=?utf-8?b?!?=", "=?utf-8?b?!?="),
        (b"=?utf-8?x?a?=", "=?utf-8?x?a?="),
        (b"=?utf-8?q?=FF?=", "\ufffd"),
        (b"a\x00b\x1b[31mc\x7f\r\n d", "a b [31mc d"),
        ("a\u202eb\u2028c\x85d".encode(), "a b c d"),
        (b"=?utf-8?q?a=0D=0Ab=00?=", "a b"),
        (b"=?utf-8?b?7aCA?=", "\ufffd\ufffd\ufffd"),
    ],
)
def test_a_value_for_people(raw: bytes, text: str) -> None:
    assert decode_value(raw) == text


@given(
    st.one_of(
        st.binary(),
        st.lists(st.sampled_from([b"=?", b"utf-8", b"?q?", b"?b?", b"?=", b" ", b"=C3", b"w6Q"])).map(b"".join),
    )
)
def test_whatever_was_sent_one_clean_short_line_comes_out(raw: bytes) -> None:
    text = decode_value(raw)
    assert text.isprintable()
    assert len(text) <= MAX_CHARS
    text.encode()


@given(st.text(alphabet=st.characters(categories=["L", "N", "P"]), max_size=60))
def test_what_is_encoded_comes_back(text: str) -> None:
    quoted = "".join(f"={byte:02X}" for byte in text.encode())
    assert decode_value(f"=?utf-8?q?{quoted}?=".encode()) == text[:MAX_CHARS]


@pytest.mark.parametrize(
    "piece", [b"=?", b"=?utf-8?q?", b"=?utf-8?b?YQ==?= ", b"=?utf-8?q?a?=", b"?", b"=", b" ", b"=?x?b?a?="]
)
def test_hostile_values_cost_nothing_much(piece: bytes) -> None:
    begun = time.perf_counter()
    decode_value(piece * (1_000_000 // len(piece)))
    assert time.perf_counter() - begun < 0.5
