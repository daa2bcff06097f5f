"""When a site is left alone, and which of its hosts are asked last. Pure: the clock is an argument.

Rule: the wait grows with failures in a row, as recipients' own waits do, and one answer about mail ends it.
"""

from typing import Final

from relay.deliver.retry import RetryPolicy

# A host that broke a transaction is asked after the others for so long.
_AVOIDED_SECONDS: Final = 300.0
# A site that refuses further connections while others live is not asked for more for so long.
_ENOUGH_SECONDS: Final = 30.0
# Retries are hours apart in the end; a site that is back should not wait for them.
_MOST_REST_MS: Final = 600_000
# Beyond a site's rest, its failures are remembered for so long: its next one lets it rest longer.
_TROUBLE_KEPT_SECONDS: Final = 3600.0
# A missing reverse name or a listed IPv6 network is mended within hours, not minutes.
_FOUR_SECONDS: Final = 3600.0


class Backoff:
    """One site's trouble; times are seconds of a clock that only rises."""

    __slots__ = ("_avoided", "_enough_until", "_four_until", "_policy", "_six_until", "failures", "rests_until")

    def __init__(self, policy: RetryPolicy) -> None:
        """Take how recipients wait: the site waits as they do, ten minutes at most."""
        self._policy = policy
        self.failures = 0
        """Failed connections in a row."""
        self.rests_until = 0.0
        self._enough_until = 0.0
        self._avoided: dict[str, float] = {}
        self._four_until = 0.0
        self._six_until = 0.0

    def fail(self, now: float) -> None:
        """Leave the site alone for a time that grows with its failures."""
        self.failures += 1
        self.rests_until = now + min(self._policy.wait_ms(self.failures, -1.0), _MOST_REST_MS) / 1000

    def suspend(self, now: float, seconds: float) -> bool:
        """Leave the site alone for so long, as a rule says; False where it rested already."""
        was_resting = self.resting(now)
        self.rests_until = max(self.rests_until, now + seconds)
        return not was_resting

    def succeed(self) -> None:
        """Note an answer that spoke of mail."""
        self.failures = 0

    def forget(self) -> None:
        """Try again at once what rests."""
        self.failures, self.rests_until, self._enough_until = 0, 0.0, 0.0
        self._avoided.clear()
        self._four_until = self._six_until = 0.0

    def resting(self, now: float) -> bool:
        """Return whether the last connection failed not long ago, or a rule has suspended the site."""
        return now < self.rests_until

    def troubled(self, now: float) -> bool:
        """Return whether it rests, or there were failures that the next one should be added to."""
        return self.resting(now) or (self.failures > 0 and now < self.rests_until + _TROUBLE_KEPT_SECONDS)

    def refuse_more(self, now: float) -> None:
        """Note that the site serves our connections and refused a further one."""
        self._enough_until = now + _ENOUGH_SECONDS

    def refuses_more(self, now: float) -> bool:
        """Return whether a further connection would be refused, as far as we know."""
        return now < self._enough_until

    def avoid(self, host: str, now: float) -> None:
        """Ask a host after the others for a while."""
        self._avoided[host] = now + _AVOIDED_SECONDS

    def avoided(self, now: float) -> frozenset[str]:
        """Return the hosts to ask last."""
        if self._avoided:
            self._avoided = {host: until for host, until in self._avoided.items() if until > now}
        return frozenset(self._avoided)

    def leave_six(self, now: float) -> bool:
        """Go over IPv4 for a while: policy refuses what comes over IPv6; False where IPv4 did no better of late."""
        if now < self._six_until:
            return False
        self._four_until = now + _FOUR_SECONDS
        return True

    def return_to_six(self, now: float) -> None:
        """Go over IPv6 again, and stay there for a while: IPv4 does no better."""
        self._four_until = 0.0
        self._six_until = now + _FOUR_SECONDS

    def leaves_six(self, now: float) -> bool:
        """Return whether IPv6 is left for now."""
        return now < self._four_until
