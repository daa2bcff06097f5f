"""report/plot.py: what is drawn adds up to what is counted."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from report.plot import WHOLE, Column, Part, Plot, plot, round_top

PARTS = (Part("opened", "fill-opened"), Part("failed", "fill-failed"))


def made(*values: tuple[int, int]) -> Plot:
    columns = [Column(f"{at:02}", f"{at:02}:00", one) for at, one in enumerate(values)]
    return plot("x", "Mail", "All of it.", "Hour", PARTS, columns)


@given(st.integers(0, 10**12))
def test_the_axis_ends_near_above_the_highest_column(most: int) -> None:
    """At a number of one digit and noughts, whose half is whole, and not much more than is needed."""
    top = round_top(most)
    assert top >= max(most, 1)
    assert top % 2 == 0
    assert len(str(top).rstrip("0")) <= 1
    assert most < 10 or top <= 2 * most


@given(st.lists(st.tuples(st.integers(0, 10**9), st.integers(0, 10**9)), min_size=1, max_size=40))
def test_columns_are_as_high_as_their_numbers(values: list[tuple[int, int]]) -> None:
    """Parts lie on each other without a gap, from the axis up, and none leaves the plot."""
    it = made(*values)
    for at, one in enumerate(values):
        floor = WHOLE
        rects = it.rects(at)
        for rect in rects:
            assert rect.y + rect.height == pytest.approx(floor, abs=0.01)
            assert at * it.step < rect.x < rect.x + rect.width < (at + 1) * it.step
            floor = rect.y
        assert len(rects) == sum(value > 0 for value in one)
        assert WHOLE - floor == pytest.approx(sum(one) / it.top * WHOLE, abs=0.01)
        assert floor >= -0.01
    assert it.totals == tuple(map(sum, zip(*values, strict=True)))
    assert it.present == tuple(at for at, total in enumerate(it.totals) if total)


def test_a_column_is_told_in_words() -> None:
    it = made((1200, 3), (0, 0))
    assert it.told(0) == "00:00: 1,200 opened, 3 failed"
    assert it.told(1) == "01:00: none"
    assert it.gist == "1,203 in all, most: 00:00 (1,203)"


def test_a_plot_of_nothing_is_none() -> None:
    it = made()
    assert (it.top, it.totals, it.present, it.labels()) == (2, (0, 0), (), [])


def test_some_labels_stand_for_all_where_there_are_many() -> None:
    """Each stands below the middle of its column."""
    assert [label for _, label in made(*[(1, 1)] * 12).labels()] == [f"{at:02}" for at in range(12)]
    assert made(*[(1, 1)] * 24).labels() == [
        (2.083, "00"), (18.75, "04"), (35.417, "08"), (52.083, "12"), (68.75, "16"), (85.417, "20"),
    ]  # fmt: skip
