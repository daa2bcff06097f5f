"""Laws of the status table."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage.status import PENDING, TABLE, Event, ImpossibleEventError, Status, advance, reachable

# How far a status lies from where all begin; what is final lies furthest, and no event leads back.
_HOW_FAR = {
    Status.UNSENT: 0,
    Status.SOFT_BOUNCED: 1,
    Status.SENT: 2,
    Status.DELIVERED: 3,
} | dict.fromkeys(
    (
        Status.OPENED,
        Status.BOUNCED,
        Status.FAILED,
        Status.BLOCKED,
        Status.DUPLICATE,
        Status.NO_EMAIL_SELECTED,
    ),
    4,
)

# The table of DESIGN.md, as people read it.
_MAY_BECOME = {
    Status.UNSENT: "Blocked, Duplicate, No Email Selected, Soft Bounced, Sent, Delivered, Bounced, Failed",
    Status.SOFT_BOUNCED: "Sent, Delivered, Bounced, Failed, Blocked",
    Status.SENT: "Delivered, Opened, Bounced, Failed",
    Status.DELIVERED: "Opened",
}


@given(st.lists(st.sampled_from(Event)))
def test_no_sequence_of_events_moves_back(events: list[Event]) -> None:
    status = Status.UNSENT
    for event in events:
        try:
            after = advance(status, event)
        except ImpossibleEventError:
            continue
        assert after is status or _HOW_FAR[after] > _HOW_FAR[status]
        status = after


@pytest.mark.parametrize("status", Status)
@pytest.mark.parametrize("event", Event)
def test_a_pair_is_in_the_table_or_refused_with_a_sentence(status: Status, event: Event) -> None:
    if event in TABLE[status]:
        assert advance(status, event) is TABLE[status][event]
    else:
        with pytest.raises(ImpossibleEventError, match=f"a recipient that is {status} cannot meet"):
            advance(status, event)


@pytest.mark.parametrize("status", Status)
def test_a_status_may_become_what_the_design_says(status: Status) -> None:
    words = _MAY_BECOME.get(status)
    assert reachable(status) == frozenset(map(Status, words.split(", ") if words else ()))


def test_only_what_is_pending_can_be_deferred_back_into_the_queue() -> None:
    assert {status for status in Status if TABLE[status].get(Event.DEFER) in PENDING} == PENDING


def test_where_nothing_was_sent_no_event_can_come() -> None:
    assert not TABLE[Status.DUPLICATE]
    assert not TABLE[Status.NO_EMAIL_SELECTED]
