"""What is done about duties: told now, collected for a digest, put off, or dropped.

Rule: pure; what a sender is told is bounded by the hour, and nothing is told that is no longer so.
"""

from collections import OrderedDict
from enum import Enum, auto
from typing import Final

from relay.answer.settings import AnswerSettings, Failures
from storage.duty import Duty, DutyKind, Group
from storage.status import Status

HOUR_MS: Final = 3_600_000
_STILL: Final = frozenset({Status.UNSENT, Status.SOFT_BOUNCED, Status.SENT})
_SENDERS_KNOWN: Final = 10_000


class Course(Enum):
    """What is done about a group of duties."""

    TELL = auto()
    COLLECT = auto()
    PUT_OFF = auto()
    DROP = auto()


class Bound:
    """How many mails each sender got in this hour; those told longest ago are forgotten first."""

    def __init__(self, most_per_hour: int) -> None:
        """Take the most mails to one sender in an hour."""
        self._most = most_per_hour
        self._told: OrderedDict[str, tuple[int, int]] = OrderedDict()

    def reached(self, sender: str, now_ms: int) -> bool:
        """Return whether the sender had as many as may be."""
        hour, number = self._told.get(sender, (0, 0))
        return hour == now_ms // HOUR_MS and number >= self._most

    def count(self, sender: str, now_ms: int) -> None:
        """Count a mail."""
        hour, number = self._told.pop(sender, (0, 0))
        now = now_ms // HOUR_MS
        self._told[sender] = now, number + 1 if hour == now else 1
        if len(self._told) > _SENDERS_KNOWN:
            self._told.popitem(last=False)


def course_of(group: Group, wanted: AnswerSettings, *, bounded: bool) -> Course:
    """Return what is done about a group; `wanted`: as its user has it; `bounded`: the sender had enough mail."""
    match group.kind:
        case DutyKind.FORWARD:
            course = Course.TELL if wanted.forward_replies else Course.DROP
            return Course.PUT_OFF if course is Course.TELL and bounded else course
        case DutyKind.DELAYED:
            unwanted = not wanted.delay_after or is_broadcast(group) or bounded or wanted.failures is Failures.NO
            return Course.DROP if unwanted else Course.TELL
        case DutyKind.FAILED:
            if wanted.failures is Failures.NO:
                return Course.DROP
            apart = wanted.failures is Failures.DIGEST or is_broadcast(group) or bounded
            return Course.COLLECT if apart else Course.TELL
        case _:
            if not wanted.success:
                return Course.DROP
            return Course.COLLECT if is_broadcast(group) or bounded else Course.TELL


def is_broadcast(group: Group) -> bool:
    """Return whether the message is one to many; a tag alone, which any mail may have, gives no type."""
    return group.message.broadcast is not None and group.message.broadcast_type is not None


def still_so(duty: Duty) -> bool:
    """Return whether it is still to be told: not of a delay that is over."""
    return duty.kind is not DutyKind.DELAYED or duty.status in _STILL
