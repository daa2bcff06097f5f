"""Laws of the timeline's words."""

import pytest

from storage.model import HitKind, Phase, Reply, TimelineKind
from storage.status import Status
from storage.timeline import accepted_entry, attempt_entries, event_entry
from tests.storage.makers import NOW


def attempt(code: int, enhanced: str | None, text: str, status: Status, *, in_doubt: bool = False) -> tuple:
    said = (NOW, 1, "rcpt", code, enhanced, text, "mx.example", "192.0.2.1", "TLSv1.3", 40)
    return *said, int(in_doubt), status, "user unknown", "198.51.100.1"


@pytest.mark.parametrize(
    ("client", "user", "text"),
    [
        ("", None, "accepted"),
        ("192.0.2.9", None, "accepted from 192.0.2.9"),
        ("192.0.2.9", "ann", "accepted from 192.0.2.9 (user ann)"),
    ],
)
def test_the_first_entry_tells_where_the_message_came_from(client: str, user: str | None, text: str) -> None:
    entry = accepted_entry((NOW, client, user, Status.OPENED, ""), tried=True)
    assert (entry.at_ms, entry.kind, entry.text, entry.status) == (NOW, TimelineKind.ACCEPTED, text, Status.UNSENT)


@pytest.mark.parametrize("status", [Status.BLOCKED, Status.DUPLICATE, Status.NO_EMAIL_SELECTED])
def test_where_nothing_was_sent_the_first_entry_says_why(status: Status) -> None:
    assert accepted_entry((NOW, "", None, status, "twice"), tried=False).text == "accepted; twice"
    entry = accepted_entry((NOW, "", None, status, ""), tried=False)
    assert (entry.text, entry.status) == (f"accepted; {status}", status)


def test_blocked_after_tries_was_accepted_unsent() -> None:
    assert accepted_entry((NOW, "", None, Status.BLOCKED, "why"), tried=True).status is Status.UNSENT


def test_an_attempt_shows_the_whole_reply() -> None:
    (entry,) = attempt_entries(attempt(550, "5.1.1", "no such user", Status.FAILED))
    assert entry.text == "550 5.1.1 no such user"
    assert entry.reply == Reply(550, "5.1.1", "no such user")
    assert (entry.phase, entry.mx, entry.address, entry.tls) == (Phase.RCPT, "mx.example", "192.0.2.1", "TLSv1.3")
    assert (entry.duration_ms, entry.status, entry.category) == (40, Status.FAILED, "user unknown")
    assert entry.source == "198.51.100.1"


def test_an_attempt_in_doubt_says_so() -> None:
    (entry,) = attempt_entries(attempt(0, None, "connection lost", Status.SOFT_BOUNCED, in_doubt=True))
    assert entry.text == "connection lost (in doubt: the connection broke after the final dot)"


@pytest.mark.parametrize(
    ("code", "enhanced", "gave_up"),
    [(451, "4.7.1", True), (0, "4.4.1", True), (554, "5.7.1", False), (0, "5.4.4", False), (0, None, False)],
)
def test_a_bounce_for_a_trouble_that_may_pass_is_the_end_of_patience(
    code: int, enhanced: str | None, gave_up: bool
) -> None:
    entries = attempt_entries(attempt(code, enhanced, "text", Status.BOUNCED))
    kinds = [entry.kind for entry in entries]
    assert kinds == [TimelineKind.ATTEMPT] + [TimelineKind.EXPIRED] * gave_up


def test_a_hit_shows_rule_and_kind_and_what_was_kept_of_its_sender() -> None:
    row = (NOW, 1, "hit", "a rule", "Opened", None, None, None, None, "person", "192.0.2.7", "Mozilla/5.0", None, None)
    entry = event_entry(row)
    assert (entry.text, entry.hit, entry.address) == ("a rule; Mozilla/5.0", HitKind.PERSON, "192.0.2.7")


def test_a_report_shows_the_reply_it_quotes() -> None:
    said = ("Failed", 550, "5.1.1", "gone", "far.example", None, None, None, "user unknown", 77)
    entry = event_entry((NOW, 1, "report", "reported: fail", *said))
    assert (entry.text, entry.reply) == ("reported: fail; 550 5.1.1 gone", Reply(550, "5.1.1", "gone"))
    assert (entry.mx, entry.status) == ("far.example", Status.FAILED)
    assert (entry.category, entry.dsn_id) == ("user unknown", 77)
