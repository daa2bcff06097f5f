"""Laws of the tokens."""

import string

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from storage.token import KEY_BYTES, TOKEN_CHARS, Purpose, TokenBox

_KEY = bytes(range(KEY_BYTES))
_BOX = TokenBox(_KEY, Purpose.PIXEL)
_IDS = st.integers(0, 2**63 - 1)
_ALPHABET = string.digits + "abcdef"


@given(_IDS)
def test_a_token_opens_to_the_id_that_was_sealed(recipient_id: int) -> None:
    token = _BOX.seal(recipient_id)
    assert len(token) == TOKEN_CHARS
    assert set(token) <= set(_ALPHABET)
    assert _BOX.open(token) == recipient_id


@given(_IDS)
def test_letter_case_does_not_matter(recipient_id: int) -> None:
    """Return paths are folded by some servers."""
    assert _BOX.open(_BOX.seal(recipient_id).upper()) == recipient_id


@given(_IDS, st.integers(0, TOKEN_CHARS - 1), st.sampled_from(_ALPHABET))
def test_any_altered_character_makes_it_foreign(recipient_id: int, at: int, char: str) -> None:
    token = _BOX.seal(recipient_id)
    assume(token[at] != char)
    assert _BOX.open(token[:at] + char + token[at + 1 :]) is None


@given(_IDS, st.integers(0, TOKEN_CHARS - 2))
def test_white_space_is_no_second_spelling(recipient_id: int, at: int) -> None:
    token = _BOX.seal(recipient_id)
    assert _BOX.open(f"{token[:at]}  {token[at + 2 :]}") is None


@given(_IDS)
def test_a_token_of_one_purpose_is_foreign_to_the_other(recipient_id: int) -> None:
    other = TokenBox(_KEY, Purpose.RETURN_PATH)
    assert other.open(_BOX.seal(recipient_id)) is None
    assert _BOX.open(other.seal(recipient_id)) is None


@given(_IDS, st.binary(min_size=KEY_BYTES, max_size=KEY_BYTES))
def test_a_token_of_another_installation_is_foreign(recipient_id: int, key: bytes) -> None:
    assume(key != _KEY)
    assert TokenBox(key, Purpose.PIXEL).open(_BOX.seal(recipient_id)) is None


@given(st.text(max_size=40) | st.text(_ALPHABET + "01=\u0130", min_size=TOKEN_CHARS, max_size=TOKEN_CHARS))
def test_any_text_is_foreign_and_none_raises(text: str) -> None:
    assert _BOX.open(text) is None


@given(_IDS)
def test_neighbours_share_no_beginning(recipient_id: int) -> None:
    """What the outside world holds does not tell how many messages were sent, nor when."""
    assume(recipient_id < 2**63 - 1)
    assert _BOX.seal(recipient_id)[:8] != _BOX.seal(recipient_id + 1)[:8]


def test_an_id_with_the_sign_bit_is_foreign() -> None:
    """Ids are below 2^63: a block that deciphers to another number was not sealed by us."""
    block = _BOX._seal((1 << 63).to_bytes(8, "big") + _BOX._check)
    assert _BOX.open(block.hex()) is None


@pytest.mark.parametrize("size", [0, 16, 31, 33])
def test_a_key_of_another_length_is_refused(size: int) -> None:
    with pytest.raises(ValueError, match="must have 32 bytes"):
        TokenBox(bytes(size), Purpose.PIXEL)
