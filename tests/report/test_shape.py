"""report/api/shape: what is more than anybody needs is refused by counting, in no time."""

import json
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from report.api.shape import MOST_DEEP, MOST_MEMBERS, wrong_shape

SIMPLE = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=8) | st.dictionaries(st.text(), inner, max_size=8),
    max_leaves=60,
)


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ({str(n): 1 for n in range(MOST_MEMBERS + 1)}, "more than 400 members"),
        ([{}, {"a": {str(n): 1 for n in range(MOST_MEMBERS + 1)}}], "more than 400 members"),
        ([1] * 1000, "more than 500 values"),
        ([[1] * 300] * 300, "more than 500 values"),
    ],
)
def test_what_is_too_much_is_said(value: object, words: str) -> None:
    assert words in (wrong_shape(json.dumps(value).encode(), 500) or "")


def test_what_is_nested_deep_is_refused() -> None:
    raw = b"[" * 500 + b"]" * 500
    assert wrong_shape(raw) == f"The body is nested more than {MOST_DEEP} deep."


def test_what_there_may_be_is_taken() -> None:
    assert wrong_shape(json.dumps({str(n): [1, 2] for n in range(MOST_MEMBERS)}).encode(), 5000) is None
    assert wrong_shape(json.dumps([{"a": 1, "b": {}}] * 200).encode(), 1000) is None
    assert wrong_shape(b"]" * 1000) is None  # no JSON: whoever reads it says so


@given(SIMPLE)
@settings(max_examples=30)
def test_what_stands_in_strings_counts_nothing(value: object) -> None:
    """Commas, brackets, quotes and backslashes of texts are no shape."""
    hostile = ['\\",{[' * 200, "\\" * 999, '"' * 999, value]
    assert wrong_shape(json.dumps(hostile).encode(), 1000) is None


@pytest.mark.parametrize("piece", [b'"', b"\\", b'\\"', b"{", b",", b"[1],", b'"",', b"\\\\\\"])
def test_whatever_comes_is_looked_at_in_no_time(piece: bytes) -> None:
    began = time.perf_counter()
    wrong_shape(b"[" + piece * (16_000_000 // len(piece)), 1_000_000)
    assert time.perf_counter() - began < 5
