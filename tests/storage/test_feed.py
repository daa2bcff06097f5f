"""storage/feed.py: types of events, places, and a transaction's entries."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage.feed import EventType, Place, decided, facts_of, type_of
from storage.model import HitKind, TimelineEntry, TimelineKind
from storage.status import Event, Status


@pytest.mark.parametrize(
    ("kind", "status", "more", "event", "type_"),
    [
        (TimelineKind.ACCEPTED, Status.UNSENT, {}, None, EventType.ACCEPTED),
        (TimelineKind.ACCEPTED, Status.BLOCKED, {}, None, EventType.BLOCKED),
        (TimelineKind.ACCEPTED, Status.DUPLICATE, {}, None, EventType.DUPLICATE),
        (TimelineKind.ATTEMPT, Status.SOFT_BOUNCED, {}, None, EventType.SOFT_BOUNCED),
        (TimelineKind.ATTEMPT, Status.DELIVERED, {}, None, EventType.DELIVERED),
        (TimelineKind.ATTEMPT, Status.OPENED, {}, None, EventType.DELIVERED),
        (TimelineKind.ATTEMPT, None, {}, None, EventType.SOFT_BOUNCED),
        (TimelineKind.HIT, Status.OPENED, {"hit": HitKind.PERSON}, None, EventType.OPENED),
        (TimelineKind.HIT, Status.DELIVERED, {"hit": HitKind.SCANNER}, None, EventType.MACHINE),
        (TimelineKind.REPORT, Status.DELIVERED, {}, Event.FAIL, EventType.FAILED),
        (TimelineKind.REPORT, Status.SENT, {}, Event.DEFER, EventType.DELAYED),
        (TimelineKind.REPORT, Status.SENT, {}, None, EventType.DELAYED),
        (TimelineKind.QUEUE, Status.UNSENT, {}, None, EventType.OPERATED),
        (TimelineKind.QUEUE, Status.BOUNCED, {}, None, EventType.BOUNCED),
        (TimelineKind.QUEUE, Status.NO_EMAIL_SELECTED, {}, None, EventType.NO_EMAIL_SELECTED),
        (TimelineKind.COMPLAINT, Status.DELIVERED, {}, None, EventType.COMPLAINT),
        (TimelineKind.BLOCKED, Status.BLOCKED, {}, None, EventType.BLOCKED),
        (TimelineKind.ANSWER, Status.FAILED, {}, None, EventType.ANSWERED),
    ],
)
def test_what_happened_has_its_type(
    kind: TimelineKind, status: Status | None, more: dict[str, HitKind], event: Event | None, type_: EventType
) -> None:
    assert type_of(TimelineEntry(0, kind, "", status, **more), event) is type_


@given(st.integers(0, 10**17), st.integers(0, 10**17))
def test_a_place_is_read_as_it_is_written(serial: int, index: int) -> None:
    assert Place.read(str(Place(serial, index))) == Place(serial, index)


@pytest.mark.parametrize("text", ["", "-", "1", "1-", "-1", "1--1", "²-1", "1-1-1", "1" * 19 + "-1", "1-" + "1" * 19])
def test_what_is_no_place(text: str) -> None:
    assert Place.read(text) is None


def test_new_recipients_come_before_what_was_written_of_any() -> None:
    pairs = [7, 70, *decided(8, Status.BLOCKED), 9, 90]
    facts = list(facts_of(3, 1000, [7, 8], pairs))
    assert [(fact.recipient_id, fact.id, fact.admitted) for fact in facts] == [
        (7, 0, Status.UNSENT),
        (8, 0, Status.BLOCKED),
        (7, 70, None),
        (9, 90, None),
    ]
    assert [fact.place for fact in facts] == [Place(3, index) for index in range(4)]
