"""storage/csv_rows.py: rows of a bounded length."""

import csv
import io

import pytest

from storage import csv_rows
from storage.contact_rows import Bad, Good, read_csv
from storage.csv_rows import CsvRows, lines_of


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(csv_rows, "MAX_ROW_CHARS", 20)


def all_of(text: str) -> list[list[str] | None]:
    """All rows; None where one could not be read."""
    rows, found = CsvRows(lines_of(io.StringIO(text, newline="")), ","), list[list[str] | None]()
    while True:
        try:
            found.append(next(rows))
        except csv.Error:
            found.append(None)
        except StopIteration:
            return found


@pytest.mark.parametrize("long", ["," * 21, "x" * 500, "\u00e9," * 30], ids=["cells", "cell", "letters"])
def test_a_row_that_is_too_long_is_an_error_and_the_next_ones_are_read(long: str) -> None:
    """A file of a hundred megabytes of commas took 1.7 GB."""
    assert all_of(f"a,b\n{long}\nc,d\n1,2\n") == [["a", "b"], None, ["c", "d"], ["1", "2"]]


@pytest.mark.parametrize("long", ['"' + "\n" * 30 + '"', '"\n","\n",' * 9], ids=["a cell", "cells"])
def test_a_row_of_many_lines_is_bounded_too(long: str) -> None:
    found = all_of(f"a,b\n{long}\n")
    assert found[:2] == [["a", "b"], None]
    assert sum(len("".join(row)) for row in found if row) < 30


def test_a_last_row_that_is_too_long_ends_the_file() -> None:
    rows = CsvRows(lines_of(io.StringIO("a,b\n" + "," * 50)), ",")
    assert next(rows) == ["a", "b"]
    with pytest.raises(csv.Error, match="at most 20 characters"):
        next(rows)
    assert next(rows, None) is None


def test_a_contact_that_is_too_long_is_left_out_with_its_line() -> None:
    text = "email,name\na@x.example,b\n" + "," * 99 + "\nc@x.example,d\n"
    records = list(read_csv(lines_of(io.StringIO(text)), ",", {}))
    assert [type(one) for one in records] == [Good, Bad, Good]
    assert [one for one in records if isinstance(one, Bad)] == [
        Bad(3, "", "cannot be read: a row has at most 20 characters")
    ]
