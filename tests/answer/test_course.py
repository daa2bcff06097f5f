"""relay/answer/course.py: what is told, what is collected, what waits, and what nobody needs to hear."""

from typing import Any

import pytest

from relay.answer.course import HOUR_MS, Bound, Course, course_of, still_so
from relay.answer.settings import AnswerSettings, Failures
from storage.duty import DutyKind
from storage.status import Status
from tests.answer.makers import duty, group

_CAST = {"broadcast": "Spring", "broadcast_type": "general"}
_TAG = {"broadcast": "receipt", "broadcast_type": None}
F, D, S, W = DutyKind.FAILED, DutyKind.DELAYED, DutyKind.RELAYED, DutyKind.FORWARD
_DIGEST, _NO = {"failures": Failures.DIGEST}, {"failures": Failures.NO}


@pytest.mark.parametrize(
    ("kind", "settings", "of_message", "bounded", "course"),
    [
        (F, {}, {}, False, Course.TELL),
        (F, {}, {}, True, Course.COLLECT),
        (F, {}, _CAST, False, Course.COLLECT),
        (F, {}, _TAG, False, Course.TELL),
        (F, _DIGEST, {}, False, Course.COLLECT),
        (F, _NO, {}, False, Course.DROP),
        (F, _NO, _CAST, True, Course.DROP),
        (D, {}, {}, False, Course.TELL),
        (D, {}, {}, True, Course.DROP),
        (D, {}, _CAST, False, Course.DROP),
        (D, {"delay_after": 0}, {}, False, Course.DROP),
        (D, _NO, {}, False, Course.DROP),
        (S, {}, {}, False, Course.TELL),
        (S, {}, {}, True, Course.COLLECT),
        (S, {}, _CAST, False, Course.COLLECT),
        (S, {"success": False}, {}, False, Course.DROP),
        (W, {}, {}, False, Course.TELL),
        (W, {}, _CAST, False, Course.TELL),
        (W, {}, {}, True, Course.PUT_OFF),
        (W, {"forward_replies": False}, {}, True, Course.DROP),
    ],
)
def test_what_is_done(
    kind: DutyKind, settings: dict[str, Any], of_message: dict[str, Any], bounded: bool, course: Course
) -> None:
    assert course_of(group(kind=kind, **of_message), AnswerSettings(**settings), bounded=bounded) is course


def test_mails_to_a_sender_are_bounded_by_the_hour() -> None:
    bound = Bound(2)
    assert not bound.reached("a@x.example", HOUR_MS)
    bound.count("a@x.example", HOUR_MS)
    assert not bound.reached("a@x.example", HOUR_MS + 1)
    bound.count("a@x.example", HOUR_MS + 1)
    assert bound.reached("a@x.example", HOUR_MS + 2)
    assert not bound.reached("b@x.example", HOUR_MS + 2)
    assert not bound.reached("a@x.example", 2 * HOUR_MS)
    bound.count("a@x.example", 2 * HOUR_MS)
    assert not bound.reached("a@x.example", 2 * HOUR_MS)


def test_the_senders_that_are_known_are_bounded_too() -> None:
    bound = Bound(1)
    for number in range(10_001):
        bound.count(f"{number}@x.example", 0)
    assert not bound.reached("0@x.example", 0)
    assert bound.reached("1@x.example", 0)


@pytest.mark.parametrize("status", list(Status))
def test_a_delay_that_is_over_is_not_told(status: Status) -> None:
    still = status in {Status.UNSENT, Status.SOFT_BOUNCED, Status.SENT}
    assert still_so(duty(D, status=status)) is still
    assert still_so(duty(F, status=status))
