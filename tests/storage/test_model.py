"""Laws of the words as types."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage.model import message_id_of, queue_id


@given(st.integers(0, 2**63 - 1))
def test_a_queue_id_leads_back_to_its_message(message_id: int) -> None:
    assert message_id_of(queue_id(message_id)) == message_id


@given(st.integers(0, 2**63 - 1), st.integers(0, 2**63 - 1))
def test_different_messages_have_different_queue_ids(one: int, other: int) -> None:
    assert (queue_id(one) == queue_id(other)) == (one == other)


@given(st.text())
def test_any_text_is_a_queue_id_or_none(text: str) -> None:
    found = message_id_of(text)
    assert found is None or queue_id(found) == text


@pytest.mark.parametrize("text", ["", "0", "0" * 12, "0" * 14, "b" * 13, "A" * 13, "00000000000é0"])
def test_what_cannot_be_a_queue_id_is_none(text: str) -> None:
    assert message_id_of(text) is None
