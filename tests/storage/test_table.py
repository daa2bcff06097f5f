"""storage/table.py: cells that are no formulas, and come back as they were."""

import csv
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage.table import cell, line, text_of


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "\n=1", "'=1", "''@a", "\uff1d1"])
def test_a_formula_is_quoted(text: str) -> None:
    assert cell(text) == f"'{text}"


@pytest.mark.parametrize("text", ["", "a=1", "'", "'a", "1-1", "ann@example.org", "'tis"])
def test_what_is_no_formula_stays(text: str) -> None:
    assert cell(text) == text
    assert text_of(text) == text


@given(st.lists(st.text(alphabet="'=+-@\t\r\n\",a\uff0b"), min_size=2))
def test_what_is_written_is_read_back(texts: list[str]) -> None:
    (read,) = csv.reader(io.StringIO(line(texts), newline=""))
    assert [text_of(one) for one in read] == texts
    assert not any(one.startswith(("=", "+", "-", "@", "\t", "\r", "\n", "\uff0b")) for one in read)
