"""How we stand with a site: what its replies have told us, by its rules and by what it has borne. Pure.

Rule: what a reply says of the site is heard here; what it says of a recipient is `verdict.py`'s.
"""

from dataclasses import dataclass
from typing import Final

from relay.deliver.backoff import Backoff
from relay.deliver.pace import Pace
from relay.deliver.reply import ours
from relay.deliver.retry import RetryPolicy
from relay.deliver.shape import Action, Rule, Shape
from storage.model import Reply

_POSITIVE, _TRANSIENT = 2, 4


@dataclass(frozen=True, slots=True)
class Heard:
    """What the rules of a site made of a reply."""

    rule: Rule | None = None
    news: bool = False
    """Whether the site is slower, or suspended, from now on."""

    @property
    def suspends(self) -> bool:
        """Whether the site is to be left alone."""
        return self.rule is not None and Action.SUSPEND in self.rule.actions

    @property
    def soft(self) -> bool:
        """Whether a 5xx is to be taken for a deferral."""
        return self.rule is not None and Action.SOFT in self.rule.actions


_NOTHING: Final = Heard()


class Standing:
    """One worker's standing with one site."""

    __slots__ = ("backoff", "last", "pace", "said", "said_ms", "shape")

    def __init__(self, shape: Shape, pace: Pace, policy: RetryPolicy) -> None:
        """Take the rules, what of the limits is this worker's, and how to back off."""
        self.shape = shape
        self.backoff = Backoff(policy)
        self.pace = pace
        self.last = ours("4.4.1", "no connection yet")
        """What its trouble was."""
        self.said: Reply | None = None
        """Its last reply, good or bad."""
        self.said_ms = 0

    def hear(self, reply: Reply, now: float, now_ms: int) -> Heard:
        """Obey the rules of the site; `now` is the clock, `now_ms` the time of day."""
        self.said, self.said_ms = reply, now_ms
        if reply.code // 100 == _POSITIVE:
            return _NOTHING
        rule = self.shape.rule_for(reply)
        if rule is None:
            return _NOTHING
        news = False
        if Action.SLOW_DOWN in rule.actions:
            news = self.pace.slow_down(now, rule.seconds)
        if Action.SUSPEND in rule.actions:
            news = self.backoff.suspend(now, rule.seconds) or news
        return Heard(rule, news)

    def learn(self, reply: Reply, busy: int) -> None:
        """Take an answer that was about mail, got while `busy` connections were in use.

        It opens the window, or closes it where it is the site's policy (4.7.x).
        """
        self.backoff.succeed()
        if reply.code // 100 == _TRANSIENT and (reply.enhanced or "").startswith("4.7."):
            self.pace.window.refuse()
        elif reply.code:
            self.pace.window.succeed(busy)

    def rest(self, now: float) -> None:
        """Leave the site alone for a while, and begin small after it."""
        self.backoff.fail(now)
        self.pace.window.restart()

    def forget(self) -> None:
        """Try again at once, as at the beginning."""
        self.backoff.forget()
        self.pace.forget()
