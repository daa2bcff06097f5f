import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.inject.splice import Edit, Form, Plan, PlanError, Slot
from storage.untracked import UntrackedReason

_numbers = st.integers(0, 1 << 40)
_slots = st.builds(
    Slot, st.sampled_from(Form), st.sampled_from(["ascii", "utf_16_le"]), st.just(b"\r\n"),
    _numbers, _numbers, _numbers,
    st.binary(max_size=2), st.binary(max_size=2),
)  # fmt: skip
_edits = st.builds(Edit, _numbers, _numbers, st.binary(max_size=300), st.none() | _slots)
_plans = (
    st.builds(Plan, st.none(), st.lists(_edits, max_size=4).map(tuple), _numbers, _numbers)
    | st.builds(Plan, st.sampled_from(UntrackedReason))
    | st.builds(
        Plan, st.sampled_from(UntrackedReason), st.lists(_edits, min_size=1, max_size=2).map(tuple), _numbers, _numbers
    )
)


@given(_plans)
def test_a_plan_is_read_as_it_was_written(plan: Plan) -> None:
    assert Plan.from_bytes(plan.to_bytes()) == plan


@given(_plans, st.integers(1, 5))
def test_a_plan_that_breaks_off_or_goes_on_is_refused(plan: Plan, count: int) -> None:
    stored = plan.to_bytes()
    if stored[:-count]:
        with pytest.raises(PlanError):
            Plan.from_bytes(stored[:-count])
    with pytest.raises(PlanError):
        Plan.from_bytes(stored + b"\0" * count)


@given(st.binary(max_size=60))
def test_any_bytes_are_a_plan_or_refused(stored: bytes) -> None:
    try:
        Plan.from_bytes(stored)
    except PlanError:
        assert stored


def test_plans_of_later_versions_are_refused_and_none_is_no_plan() -> None:
    with pytest.raises(PlanError, match="version 9"):
        Plan.from_bytes(b"\x09")
    assert Plan.from_bytes(b"").untracked_reason is UntrackedReason.NOT_PLANNED
