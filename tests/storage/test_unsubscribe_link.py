"""Laws of the links to unsubscribe."""

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from storage.token import Purpose, TokenBox
from storage.unsubscribe_link import Link, UnsubscribeBox

_KEY = bytes(range(32))
_BOX = UnsubscribeBox(_KEY)
_TEXT = st.text(st.characters(exclude_characters="\n", exclude_categories=("Cs",)), max_size=60)


@given(st.integers(0, 2**63 - 1), _TEXT, _TEXT)
def test_a_link_opens_to_what_was_sealed_and_is_plain_in_a_header(recipient_id: int, type_: str, address: str) -> None:
    token = _BOX.seal(recipient_id, type_, address)
    assert token.isascii()
    assert token.replace("-", "").replace("_", "").isalnum()
    assert _BOX.open(token) == Link(recipient_id, type_, address)


@given(st.data())
def test_any_altered_character_makes_it_foreign(data: st.DataObject) -> None:
    token = _BOX.seal(7, "general", "ann@x.test")
    # The last character holds bits that no byte needs.
    at = data.draw(st.integers(0, len(token) - 2))
    char = data.draw(st.sampled_from("0123456789abcdefABCXYZ-_"))
    assume(char.lower() != token[at].lower())
    assert _BOX.open(token[:at] + char + token[at + 1 :]) is None


def test_a_link_stays_within_a_line_of_a_header() -> None:
    assert len(_BOX.seal(7, "t" * 145, "a" * 254)) < 620
    assert _BOX.open(_BOX.seal(7, "t" * 146, "a" * 254)) == Link(7)


def test_a_link_of_the_recipient_alone_is_ours_too() -> None:
    assert _BOX.open(TokenBox(_KEY, Purpose.UNSUBSCRIBE).seal(7)) == Link(7)


@pytest.mark.parametrize("token", ["", "-", "x" * 32, "é" * 40, "7" * 31 + "-"])
def test_what_is_foreign(token: str) -> None:
    assert _BOX.open(token) is None


@pytest.mark.parametrize("rest", ["x", "-", "-x", "-é", "-====", "-" + "A" * 90])
def test_what_follows_must_be_ours_too(rest: str) -> None:
    assert _BOX.open(_BOX.seal(7, "a", "b")[:32] + rest) is None


def test_parts_of_two_links_make_no_third() -> None:
    """Whoever holds two links cannot unsubscribe one recipient by the other's."""
    one, two = _BOX.seal(1, "a", "ann@x.test"), _BOX.seal(2, "a", "bob@x.test")
    assert _BOX.open(one[:32] + two[32:]) is None
    assert UnsubscribeBox(b"k" * 32).open(one) is None
