"""Laws of values: equal and hashed by their fields, and no room for others."""

from dataclasses import replace

import pytest

from storage.frozen import frozen


@frozen
class Pair:
    left: int
    right: str = "x"


def test_values_with_equal_fields_are_one() -> None:
    assert Pair(1) == Pair(1, "x")
    assert len({Pair(1), Pair(1, "x"), Pair(2)}) == 2
    assert replace(Pair(1), left=2) == Pair(2)


def test_nothing_can_be_added_to_a_value() -> None:
    with pytest.raises(AttributeError):
        setattr(Pair(1), "more", 1)  # noqa: B010 - mypy would not have it
