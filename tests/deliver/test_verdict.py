import itertools

import pytest

from relay.bounce.category import Category
from relay.deliver.reply import ours
from relay.deliver.retry import expired
from relay.deliver.verdict import Scope, Verdict, category_of, judge
from storage.model import Phase, Reply
from storage.status import Event

SETUP = [Phase.CONNECT, Phase.BANNER, Phase.EHLO, Phase.TLS, Phase.AUTH]
TALK = [Phase.MAIL, Phase.RCPT, Phase.DATA, Phase.CONTENT]
SCOPE = {
    Phase.MAIL: Scope.MESSAGE,
    Phase.RCPT: Scope.RECIPIENT,
    Phase.DATA: Scope.MESSAGE,
    Phase.CONTENT: Scope.MESSAGE,
}

POSITIVE = Reply(250, "2.0.0", "ok")
GO_AHEAD = Reply(354, None, "go ahead")
LATER = Reply(450, "4.2.0", "greylisted")
NEVER = Reply(554, "5.7.1", "message refused")
EOF = ours("4.4.2", "lost connection")
TIMEOUT = ours("4.4.2", "timed out")
GARBAGE = ours("4.5.0", "not SMTP")

SITE = Verdict(Event.DEFER, Scope.SITE)


def verdict(reply: Reply, phase: Phase) -> Verdict:
    return judge(reply, phase, final_hop=True)


@pytest.mark.parametrize(
    ("phase", "reply"), list(itertools.product(SETUP, [POSITIVE, GO_AHEAD, LATER, NEVER, EOF, TIMEOUT, GARBAGE]))
)
def test_before_mail_everything_speaks_of_the_server_and_passes(phase: Phase, reply: Reply) -> None:
    assert verdict(reply, phase) == SITE
    assert verdict(reply, phase).other_host


@pytest.mark.parametrize("phase", TALK)
def test_each_phase_of_the_transaction_times_each_kind_of_answer(phase: Phase) -> None:
    assert verdict(LATER, phase) == Verdict(Event.DEFER, SCOPE[phase])
    assert verdict(NEVER, phase) == Verdict(Event.BOUNCE, SCOPE[phase])
    for nothing in (POSITIVE, GO_AHEAD, EOF, TIMEOUT, GARBAGE):
        assert verdict(nothing, phase) == SITE


def test_after_the_dot() -> None:
    phase = Phase.AFTER_DOT
    assert verdict(POSITIVE, phase) == Verdict(Event.DELIVER, Scope.MESSAGE)
    assert verdict(Reply(252, None, ""), phase).event is Event.DELIVER
    assert judge(POSITIVE, phase, final_hop=False) == Verdict(Event.HAND_OVER, Scope.MESSAGE)
    assert verdict(NEVER, phase) == Verdict(Event.BOUNCE, Scope.MESSAGE)
    # The server may have the message: another host must not get it at once.
    for answer in (GO_AHEAD, LATER, EOF, TIMEOUT, GARBAGE, Reply(421, None, "closing")):
        assert verdict(answer, phase) == Verdict(Event.DEFER, Scope.MESSAGE)
        assert not verdict(answer, phase).other_host


@pytest.mark.parametrize("phase", TALK)
@pytest.mark.parametrize("reply", [Reply(421, "4.7.0", "try later"), Reply(452, "4.3.1", "disk full")])
def test_a_server_that_speaks_of_itself_sends_us_to_the_next(phase: Phase, reply: Reply) -> None:
    assert verdict(reply, phase) == SITE


@pytest.mark.parametrize(
    ("reply", "event"),
    [
        (Reply(550, "5.1.1", "x"), Event.FAIL),
        (Reply(550, "5.1.2", "bad destination system"), Event.FAIL),
        (Reply(553, "5.1.3", "bad destination mailbox address syntax"), Event.FAIL),
        (Reply(550, "5.1.6", "mailbox has moved"), Event.FAIL),
        (Reply(551, None, "user not local; please try <other@example>"), Event.FAIL),
        (Reply(556, "5.1.10", "domain takes no mail"), Event.FAIL),
        (Reply(550, "5.2.1", "mailbox disabled"), Event.FAIL),
        (Reply(550, None, "unknown user"), Event.FAIL),
        (Reply(550, None, "No such user here"), Event.FAIL),
        (Reply(550, "5.7.1", "No such user!"), Event.FAIL),
        (Reply(553, None, "sorry, that domain isn't in my list of allowed rcpthosts"), Event.BOUNCE),
        (Reply(554, "5.7.1", "Relay access denied"), Event.BOUNCE),
        (Reply(552, "5.2.2", "mailbox full"), Event.BOUNCE),
        (Reply(552, "5.3.4", "message too big"), Event.BOUNCE),
        (Reply(550, "5.7.1", "listed at a block list"), Event.BOUNCE),
        (Reply(554, None, "no"), Event.BOUNCE),
    ],
)
def test_only_an_invalid_address_fails(reply: Reply, event: Event) -> None:
    assert verdict(reply, Phase.RCPT) == Verdict(event, Scope.RECIPIENT)
    assert verdict(reply, Phase.AFTER_DOT) == Verdict(event, Scope.MESSAGE)


@pytest.mark.parametrize(
    ("reply", "category"),
    [
        (Reply(550, None, "blocked using zen.spamhaus.org"), Category.REPUTATION),
        (Reply(550, "5.1.1", "Service unavailable; Client host [192.0.2.1] blocked using zen"), Category.REPUTATION),
        (Reply(550, "5.1.1", "<rbl.fan@there.example>: User unknown"), Category.USER_UNKNOWN),
        (Reply(552, None, "over quota"), Category.MAILBOX_FULL),
        (Reply(552, "5.1.1", "user is over quota"), Category.MAILBOX_FULL),
        (Reply(552, "5.3.4", "message size exceeds fixed limit"), Category.MESSAGE_TOO_LARGE),
        (Reply(550, "5.7.26", "unauthenticated mail is not accepted"), Category.AUTHENTICATION),
        (Reply(450, "4.2.0", "Greylisted"), Category.RATE_LIMITED),
        (ours("4.4.2", "timed out during EHLO"), Category.NETWORK),
        (ours("4.7.4", "TLS is required, but the server does not offer it"), Category.TLS),
        (expired(ours("4.4.1", "connect to mx.there.example:25: Connection refused")), Category.EXPIRED),
        (expired(Reply(450, "4.2.2", "over quota")), Category.MAILBOX_FULL),
        (ours("5.1.2", "domain there.example does not exist"), Category.DOMAIN_UNKNOWN),
        (ours("5.1.10", "domain there.example takes no mail (null MX)"), Category.DOMAIN_UNKNOWN),
    ],
)
def test_a_refusal_has_its_category_by_the_one_table(reply: Reply, category: Category) -> None:
    assert category_of(reply, Phase.RCPT) is category


def test_a_copy_that_was_taken_has_no_category() -> None:
    assert category_of(POSITIVE, Phase.AFTER_DOT) is None


@pytest.mark.parametrize("phase", [*SETUP, Phase.MAIL])
def test_before_rcpt_who_is_unknown_is_not_the_recipient(phase: Phase) -> None:
    assert category_of(Reply(550, "5.1.1", "user unknown"), phase) is Category.POLICY
    assert category_of(Reply(550, "5.7.1", "listed by spamhaus.org"), phase) is Category.REPUTATION


def test_a_providers_own_meaning_counts_by_its_hosts_name() -> None:
    unknown = Reply(550, None, "Unknown user")
    assert judge(unknown, Phase.RCPT, final_hop=True, host="mfsmax.docomo.ne.jp").event is Event.BOUNCE
    assert judge(unknown, Phase.RCPT, final_hop=True, host="mx.there.example").event is Event.FAIL


def test_at_mail_the_address_spoken_of_is_the_senders() -> None:
    assert verdict(Reply(550, "5.1.1", "user unknown"), Phase.MAIL) == Verdict(Event.BOUNCE, Scope.MESSAGE)
    assert verdict(Reply(556, "5.1.10", "domain takes no mail"), Phase.MAIL).event is Event.FAIL


@pytest.mark.parametrize(
    ("enhanced", "event"),
    [
        ("5.1.2", Event.FAIL),
        ("5.1.10", Event.FAIL),
        ("5.4.4", Event.FAIL),
        ("5.7.1", Event.BOUNCE),
        ("5.4.6", Event.BOUNCE),
        ("5.6.7", Event.BOUNCE),
        ("5.3.4", Event.BOUNCE),
        ("4.4.3", Event.DEFER),
    ],
)
def test_our_own_words_are_judged_by_their_enhanced_code(enhanced: str, event: Event) -> None:
    assert verdict(ours(enhanced, "as we found it"), Phase.DNS).event is event


def test_a_reply_without_any_code_is_no_reply() -> None:
    assert judge(Reply(0, None, ""), Phase.MAIL, final_hop=True) == SITE


@pytest.mark.parametrize(("phase", "code"), list(itertools.product(Phase, range(0, 600, 10))))
def test_every_phase_and_code_has_a_verdict(phase: Phase, code: int) -> None:
    assert judge(Reply(code, None, ""), phase, final_hop=True).event in {
        Event.DEFER,
        Event.FAIL,
        Event.BOUNCE,
        Event.DELIVER,
    }
