"""When a soft bounce is tried again, and when its time is up. Pure: time and chance are arguments."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from relay.deliver.reply import spell
from storage.model import Reply

_JITTER: Final = 0.1
# A recipient in doubt may have its copy: so many waits of the schedule are passed over (half an hour instead of a
# minute, as it is by default), so that an open or a DSN can tell before the mail is sent twice.
DOUBT_WAITS: Final = 3


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How long to wait between attempts."""

    schedule_ms: tuple[int, ...]
    """Wait after the first failed attempt, after the second …; the last one repeats. Not empty."""
    jitter: float = _JITTER
    """Part of a wait that chance may add or take, so that what failed together does not return together."""

    def wait_ms(self, failures: int, spread: float) -> int:
        """Return the wait after this many failures (1 …); `spread` is chance in -1 … 1."""
        wait = self.schedule_ms[min(max(failures, 1), len(self.schedule_ms)) - 1]
        return round(wait * (1 + self.jitter * spread))


def next_attempt(failures: int, now_ms: int, expires_ms: int, policy: RetryPolicy, spread: float) -> int | None:
    """Return when to try again after `failures` failed attempts; None where the time is up.

    The last attempt falls on the end of the lifetime, so that no recipient is given up early and an
    outage of ours that outlasts a lifetime still ends with a try (RFC 5321, 4.5.4.1).
    """
    if now_ms >= expires_ms:
        return None
    return min(now_ms + policy.wait_ms(failures, spread), expires_ms)


def losing(policy: RetryPolicy, chance: Callable[[], float]) -> Callable[[int], int]:
    """Return how long a recipient waits that has lost so many leases: not at all the first time, then by the schedule.

    A process may die of anything; one that dies of the same message again would die of it for ever.
    """

    def wait_ms(losses: int) -> int:
        return policy.wait_ms(losses - 1, 2 * chance() - 1) if losses > 1 else 0

    return wait_ms


def expired(last: Reply) -> Reply:
    """Return the reply that ends a recipient whose time is up: 4.4.7 beside the last reason (RFC 3463, 3.5)."""
    return Reply(last.code, "4.4.7", f"delivery time expired; last reply: {spell(last)}")
