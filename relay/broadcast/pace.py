"""How fast a run may go.

Rule: pure; time is an argument, in seconds of a clock that does not go back.
"""


class Pace:
    """So many copies an hour, evenly; a pause is not made up for."""

    def __init__(self, per_hour: int | None) -> None:
        """Take the copies an hour; None: no bound."""
        self._seconds_each = 0.0 if per_hour is None else 3600 / per_hour
        self._free_at = 0.0

    def wait(self, now: float) -> float:
        """Return in how many seconds the next copies may go; 0: now."""
        return max(0.0, self._free_at - now)

    def sent(self, copies: int, now: float) -> None:
        """Count copies that went now."""
        self._free_at = max(self._free_at, now) + copies * self._seconds_each
