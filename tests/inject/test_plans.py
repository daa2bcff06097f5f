"""Laws of the plans at hand: one is read from its bytes once, and they hold little memory."""

from relay.inject.plans import MOST, MOST_BYTES, Plans
from relay.inject.splice import Edit, Plan


def plan(text: bytes) -> Plan:
    return Plan(None, (Edit(0, 0, text),), 10, 1)


def test_what_was_just_made_is_not_read_from_its_bytes() -> None:
    plans, made = Plans(), plan(b"x")
    plans.keep(1, made, 20)
    assert plans.of(1, made.to_bytes()) is made


def test_what_is_not_at_hand_is_read_once() -> None:
    plans, stored = Plans(), plan(b"x").to_bytes()
    read = plans.of(1, stored)
    assert read == plan(b"x")
    assert plans.of(1, stored) is read


def test_the_oldest_goes_where_there_are_many() -> None:
    plans, stored = Plans(), plan(b"x").to_bytes()
    first = plans.of(0, stored)
    for message_id in range(1, MOST + 1):
        plans.of(message_id, stored)
    assert plans.of(0, stored) is not first


def test_a_large_one_is_not_kept() -> None:
    """A text of megabytes has a plan as large as its HTML: hundreds of them would fill the memory."""
    plans, stored = Plans(), plan(b"x" * MOST_BYTES).to_bytes()
    first = plans.of(1, stored)
    assert plans.of(1, stored) == first
    assert plans.of(1, stored) is not first
