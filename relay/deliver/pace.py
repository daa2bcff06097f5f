"""How fast a site may be served now: its limits, what it has borne so far, and what its replies ask for. Pure.

Rule: a limit is never passed; what slows a site down ends by itself when its time is over.
"""

from typing import Final

from relay.deliver.bucket import Bucket
from relay.deliver.feedback import Concurrency

# One burst of replies asks for one halving: those that were under way when the first came say nothing new.
_ROUND_SECONDS: Final = 30.0
_MOST_SLOWNESS: Final = 16
_NO_LIMIT: Final = 1 << 30


class Pace:
    """What one site may take now; times are seconds of a clock that only rises."""

    __slots__ = ("_bucket", "_halved_at", "_most", "_slow_until", "_slowness", "window")

    def __init__(self, most: int, first: int, bucket: Bucket | None) -> None:
        """Take how many connections this worker may have (0: none), those to begin with, and what keeps the rate.

        Others may take from the bucket, too; None: there is no rate.
        """
        self._most = most
        self.window = Concurrency(first, max(1, self._most))
        self._bucket = bucket
        self._slowness = 1
        self._slow_until = 0.0
        self._halved_at = 0.0

    @property
    def elsewhere(self) -> bool:
        """Whether other workers serve this site, and this one does not."""
        return self._most == 0

    @property
    def most(self) -> int:
        """Connections that this worker may ever have."""
        return self._most

    def connections(self, now: float) -> int:
        """Return how many connections there may be now."""
        slowness = self.slowness(now)
        if slowness == 1:
            return min(self.window.window, self._most)
        return min(max(1, self.window.window // slowness), self._most)

    def ready(self, now: float) -> int:
        """Return how many messages may begin now, as far as the rate goes."""
        return _NO_LIMIT if self._bucket is None else self._paced(self._bucket, now).ready(now)

    def take(self, now: float) -> bool:
        """Begin a message; False where the rate does not allow that yet."""
        return self._bucket is None or self._paced(self._bucket, now).take(now)

    def wait(self, now: float) -> float:
        """Return in how many seconds a message may begin."""
        return 0.0 if self._bucket is None else self._paced(self._bucket, now).wait(now)

    def slow_down(self, now: float, seconds: float) -> bool:
        """Halve connections and rate for so long; False where that was done a moment ago and is only prolonged."""
        slowness = self.slowness(now)
        self._slow_until = max(self._slow_until, now + seconds)
        if slowness > 1 and (now < self._halved_at + _ROUND_SECONDS or slowness >= _MOST_SLOWNESS):
            return False
        self._halved_at = now
        self._slowness = slowness * 2
        return True

    def slowness(self, now: float) -> int:
        """Return by what connections and rate are divided now; 1: by nothing."""
        if self._slowness > 1 and now >= self._slow_until:
            self._slowness = 1
        return self._slowness

    def forget(self) -> None:
        """Go on as at the beginning."""
        self._slowness, self._slow_until = 1, 0.0
        self.window.restart()

    def _paced(self, bucket: Bucket, now: float) -> Bucket:
        bucket.slow(self.slowness(now), now)
        return bucket
