"""relay/deliver/standing.py: what a reply says of its site."""

import re

import pytest

from relay.deliver.pace import Pace
from relay.deliver.retry import RetryPolicy
from relay.deliver.shape import Action, Rule, Shape
from relay.deliver.standing import Standing
from storage.model import Reply


def standing(*actions: Action) -> Standing:
    rule = Rule("it", re.compile("match"), frozenset(actions), 600)
    return Standing(Shape("x", rules=(rule,)), Pace(20, 5, None), RetryPolicy((60_000,)))


@pytest.mark.parametrize(
    ("actions", "slowness", "resting", "suspends", "soft", "news"),
    [
        ((), 1, False, False, False, False),
        ((Action.SOFT,), 1, False, False, True, False),
        ((Action.SLOW_DOWN,), 2, False, False, False, True),
        ((Action.SUSPEND,), 1, True, True, False, True),
        ((Action.SUSPEND, Action.SLOW_DOWN, Action.SOFT), 2, True, True, True, True),
    ],
)
def test_each_action_does_its_own(
    actions: tuple[Action, ...], slowness: int, resting: bool, suspends: bool, soft: bool, news: bool
) -> None:
    site = standing(*actions)
    heard = site.hear(Reply(550, None, "a match"), 100.0, 7)
    assert (heard.suspends, heard.soft, heard.news) == (suspends, soft, news)
    assert (site.pace.slowness(100.0), site.backoff.resting(100.0)) == (slowness, resting)
    assert not site.hear(Reply(550, None, "a match"), 101.0, 8).news


@pytest.mark.parametrize("reply", [Reply(250, None, "match"), Reply(550, None, "other"), Reply(0, None, "match")])
def test_what_no_rule_speaks_of_changes_nothing_and_is_kept_as_the_last_reply(reply: Reply) -> None:
    site = standing(Action.SUSPEND)
    heard = site.hear(reply, 100.0, 7)
    assert (heard.rule, heard.suspends, heard.soft, heard.news) == (None, False, False, False)
    assert (site.said, site.said_ms, site.backoff.resting(100.0)) == (reply, 7, False)


@pytest.mark.parametrize(
    ("reply", "window"),
    [
        (Reply(250, "2.0.0", "ok"), 6),
        (Reply(550, "5.1.1", "no such user"), 6),
        (Reply(450, "4.2.2", "full"), 6),
        (Reply(450, None, "later"), 6),
        (Reply(0, "4.4.2", "lost connection"), 5),
    ],
)
def test_answers_about_mail_open_the_window(reply: Reply, window: int) -> None:
    site = standing()
    site.learn(reply, 5)
    assert site.pace.connections(0) == window


def test_refusals_by_policy_close_it_by_one_a_window() -> None:
    site = standing()
    for _ in range(5):
        site.learn(Reply(450, "4.7.1", "greylisted"), 5)
    assert site.pace.connections(0) == 4


def test_a_rest_begins_small_and_what_is_forgotten_is_as_at_the_beginning() -> None:
    site = standing(Action.SLOW_DOWN)
    for _ in range(10):
        site.learn(Reply(250, None, "ok"), 20)
    site.rest(0.0)
    assert site.pace.connections(0.0) == 5
    assert site.backoff.resting(0.0)
    site.hear(Reply(450, None, "match"), 0.0, 0)
    site.forget()
    assert (site.backoff.resting(0.0), site.pace.slowness(0.0)) == (False, 1)
