"""What a reply in a phase means for the recipient, and whom else it concerns.

Rule: pure, and every phase times every kind of answer has an answer here. FAIL is said only where the
words say that the address is invalid; what the words mean is `relay.bounce`'s table, the same that reads
bounce messages.

| phase | 2xx | 3xx | 4xx | 5xx | no reply (EOF, timeout, garbage) |
|---|---|---|---|---|---|
| dns | – | – | defer | fail or bounce | defer |
| connect … auth | (3xx, 2xx out of place: as no reply) | | defer, site | defer, site | defer, site |
| mail | as no reply | as no reply | defer, message | bounce, message | defer, site |
| rcpt | as no reply | as no reply | defer, recipient | fail or bounce, recipient | defer, site |
| data, content | as no reply | as no reply | defer, message | fail or bounce, message | defer, site |
| after-dot | deliver, hand over | defer, message | defer, message | fail or bounce, message | defer, message (doubt) |

421 and 4.3.x before the final dot speak of the server, not of the mail: site.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from relay.bounce.category import INVALID_ADDRESS, Category, verdict_of
from relay.bounce.category import Verdict as Outcome
from relay.bounce.classify import classify
from storage.model import Phase, Reply
from storage.status import Event


class Scope(StrEnum):
    """What an answer speaks of."""

    SITE = "site"
    """The server or the way to it: another MX host may do better, and others' mail meets the same."""
    MESSAGE = "message"
    """The sender or the content."""
    RECIPIENT = "recipient"
    """The address."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What an answer means."""

    event: Event
    """DELIVER, HAND_OVER, DEFER, BOUNCE or FAIL."""
    scope: Scope

    @property
    def other_host(self) -> bool:
        """Whether the next MX host is to be asked within the same attempt (RFC 5321, 5.1)."""
        return self.scope is Scope.SITE and self.event is Event.DEFER


# A 5xx before MAIL is no word on any recipient: it concerns our network address or our TLS, often one host
# only, and often passes. Postfix skips such a greeting too (smtp_skip_5xx_greeting); its lifetime ends it.
_SETUP: Final = frozenset({Phase.CONNECT, Phase.BANNER, Phase.EHLO, Phase.TLS, Phase.AUTH})
_SCOPES: Final = {
    Phase.DNS: Scope.RECIPIENT,
    Phase.MAIL: Scope.MESSAGE,
    Phase.RCPT: Scope.RECIPIENT,
    Phase.DATA: Scope.MESSAGE,
    Phase.CONTENT: Scope.MESSAGE,
    Phase.AFTER_DOT: Scope.MESSAGE,
}
_CLOSING: Final = 421
_NO_MAIL_HERE: Final = 556  # RFC 7504: the domain takes no mail
# Before RCPT the server has not heard the recipient: "unknown user" or "host not found" there are we.
_BEFORE_RCPT: Final = frozenset({*_SETUP, Phase.MAIL})

_DELIVERED: Final = Verdict(Event.DELIVER, Scope.MESSAGE)
_HANDED_OVER: Final = Verdict(Event.HAND_OVER, Scope.MESSAGE)
_SITE_TROUBLE: Final = Verdict(Event.DEFER, Scope.SITE)


def judge(reply: Reply, phase: Phase, *, final_hop: bool, host: str | None = None) -> Verdict:
    """Return what `reply` means where it ended an attempt in `phase`.

    A reply with code 0 is our own: final where its enhanced code begins with 5, else the lack of a reply.
    `final_hop`: the server's 250 is Delivered: it is an MX host of the recipient's domain, not a smarthost or a
    route, and we do not wait for a DSN. `host` is
    the server's name, where one was reached by name.
    """
    if phase is Phase.AFTER_DOT and reply.code // 100 == 2:  # noqa: PLR2004 - positive completion
        return _DELIVERED if final_hop else _HANDED_OVER
    if phase in _SETUP:
        return _SITE_TROUBLE
    if _class_of(reply) == "5":
        return Verdict(_final(reply, phase, host), _SCOPES[phase])
    return Verdict(Event.DEFER, _scope_of_trouble(reply, phase))


def refused_by_policy(reply: Reply, phase: Phase) -> bool:
    """Return whether a server's own words are a policy that often goes by our address: 5.7.x to a transaction.

    Over IPv6 that may be a missing reverse name or a listed network, where IPv4 would do: Gmail's "550-5.7.1
    [2001:db8::25] Our system has detected that this message does not meet IPv6 sending guidelines".
    """
    return phase not in _SETUP and reply.code // 100 == 5 and (reply.enhanced or "").startswith("5.7.")  # noqa: PLR2004 - permanent negative completion


def _class_of(reply: Reply) -> str:
    return str(reply.code)[0] if reply.code else (reply.enhanced or "4")[0]


def category_of(reply: Reply, phase: Phase, host: str | None = None) -> Category | None:
    """Return why a reply that ended an attempt in `phase` refused, by the one table; None where the copy was taken."""
    if phase is Phase.AFTER_DOT and reply.code // 100 == 2:  # noqa: PLR2004 - positive completion
        return None
    # Our own words (code 0) mean what our code says: "timed out during EHLO" is no refusal of our EHLO.
    category = classify(reply.code, reply.enhanced, reply.text if reply.code else "", host or "")
    of_us = phase in _BEFORE_RCPT and reply.code != _NO_MAIL_HERE
    return Category.POLICY if of_us and category in INVALID_ADDRESS else category


def _final(reply: Reply, phase: Phase, host: str | None) -> Event:
    category = category_of(reply, phase, host)
    return Event.FAIL if category and verdict_of(category) is Outcome.FAILED else Event.BOUNCE


def _scope_of_trouble(reply: Reply, phase: Phase) -> Scope:
    if phase is Phase.AFTER_DOT:
        return Scope.MESSAGE
    spoken = reply.code // 100 == 4  # noqa: PLR2004 - transient negative completion
    of_server = reply.code == _CLOSING or (reply.enhanced or "").startswith("4.3.")
    return _SCOPES[phase] if spoken and not of_server else Scope.SITE
