"""report/left.py: the word of a page names where it goes on, whatever the address is."""

from base64 import urlsafe_b64encode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from report.left import mark_of, marked
from storage.people import Unsubscription

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=50)


@given(TEXT, TEXT, st.integers(0, 1 << 50))
def test_a_word_is_read_as_it_was_made(address: str, type_: str, at_ms: int) -> None:
    assert marked(mark_of(Unsubscription(address, type_, at_ms, "x"))) == Unsubscription(address, type_, at_ms, "")


@pytest.mark.parametrize(
    "text", ["", "[]", "[1,2,3]", '["a","b","c"]', "{}", '[9223372036854775808,"a","b"]', "[" * 2000, "nothing"]
)
def test_a_word_that_is_none_of_ours_is_none(text: str) -> None:
    assert marked(urlsafe_b64encode(text.encode()).decode()) is None
    assert marked("ü") is None
    assert marked("a") is None
