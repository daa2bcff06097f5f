"""How many messages a time: a rate, and the token bucket that keeps it. Pure: the clock is an argument.

Rule: in any stretch of `t` seconds no more than `rate * t` messages are let through, and one second's worth besides:
what was not used does not add up to a burst.
"""

import re
from dataclasses import dataclass
from typing import Final

_RATE: Final = re.compile(r"\s*(\d{1,9})\s*/\s*(s|m|h|d)\s*")
_SECONDS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86400}
# Sums of floats fall short by their last digits; a message that is due by the clock must not wait for those.
_ALMOST: Final = 1e-6


@dataclass(frozen=True, slots=True)
class Rate:
    """So many messages in so many seconds."""

    messages: int
    unit: str
    """"s", "m", "h" or "d"."""

    @classmethod
    def parse(cls, text: str) -> "Rate":
        """Read "10/s", "100/m", "500/h" or "2000/d"; raises ValueError in words for people."""
        found = _RATE.fullmatch(text)
        if not found or not int(found[1]):
            raise ValueError('expected messages in a time, such as "10/s", "100/m", "500/h" or "2000/d"')
        return cls(int(found[1]), found[2])

    @property
    def per_second(self) -> float:
        """Messages a second."""
        return self.messages / _SECONDS[self.unit]

    def __str__(self) -> str:
        """Return it as the configuration writes it."""
        return f"{self.messages}/{self.unit}"


class Bucket:
    """Tokens that drip in at a rate; each message takes one."""

    __slots__ = ("__weakref__", "_at", "_rate", "_slowness", "_tokens")

    def __init__(self, per_second: float) -> None:
        """Begin with a second's worth, one token at least; `per_second` is above 0."""
        self._rate = per_second
        self._slowness = 1
        self._tokens = max(1.0, per_second)
        self._at = 0.0

    def ready(self, now: float) -> int:
        """Return how many messages may begin at once."""
        self._drip(now)
        return int(self._tokens + _ALMOST)

    def take(self, now: float) -> bool:
        """Take a token for a message; False where there is none yet."""
        if not self.ready(now):
            return False
        self._tokens = max(0.0, self._tokens - 1.0)
        return True

    def wait(self, now: float) -> float:
        """Return in how many seconds there is a token; 0.0: there is one."""
        self._drip(now)
        return max(0.0, (1.0 - self._tokens) * self._slowness / self._rate)

    def slow(self, slowness: int, now: float) -> None:
        """Go on at the rate divided by `slowness`."""
        self._drip(now)
        self._slowness = slowness
        self._tokens = min(self._tokens, self._most)

    @property
    def _most(self) -> float:
        return max(1.0, self._rate / self._slowness)

    def _drip(self, now: float) -> None:
        if now > self._at:
            self._tokens = min(self._most, self._tokens + (now - self._at) * self._rate / self._slowness)
            self._at = now
