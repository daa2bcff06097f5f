"""Laws of `relay.bounce.apply`."""

import pytest

from relay.bounce.apply import reports_for
from relay.bounce.category import Category, Verdict
from relay.bounce.classify import VERSION
from relay.bounce.finding import Action, Finding, Kind, Parsed
from storage.status import Event


def found(recipient: str, action: Action | None, verdict: Verdict) -> Finding:
    return Finding(recipient, action, "5.1.1", 550, "gone", "mx.example.org", Category.OTHER, verdict)


def dsn(*findings: Finding, kind: Kind = Kind.DSN) -> Parsed:
    return Parsed(kind, findings)


@pytest.mark.parametrize(
    ("action", "verdict", "event"),
    [
        (Action.FAILED, Verdict.FAILED, Event.FAIL),
        (Action.FAILED, Verdict.BOUNCED, Event.BOUNCE),
        (Action.DELAYED, Verdict.SOFT_BOUNCED, Event.DEFER),
        (Action.DELIVERED, Verdict.DELIVERED, Event.DELIVER),
        (Action.RELAYED, Verdict.DELIVERED, Event.HAND_OVER),
        (Action.EXPANDED, Verdict.DELIVERED, Event.HAND_OVER),
    ],
)
def test_each_action_has_its_event(action: Action, verdict: Verdict, event: Event) -> None:
    [report] = reports_for(dsn(found("a@example.org", action, verdict)), 7, "a@example.org")
    assert (report.recipient_id, report.event) == (7, event)
    assert (report.reply.code, report.reply.enhanced, report.remote_mta) == (550, "5.1.1", "mx.example.org")


def test_a_report_carries_why_and_by_which_table_and_a_success_needs_neither() -> None:
    [failed] = reports_for(dsn(found("a@example.org", Action.FAILED, Verdict.FAILED)), 7, "a@example.org")
    assert (failed.category, failed.rules) == ("other", VERSION)
    [told] = reports_for(dsn(found("a@example.org", Action.DELIVERED, Verdict.DELIVERED)), 7, "a@example.org")
    assert (told.category, told.rules) == (None, None)


def test_the_return_path_decides_and_the_named_address_is_kept() -> None:
    parsed = dsn(found("alias@example.net", Action.FAILED, Verdict.FAILED))
    [report] = reports_for(parsed, 7, "a@example.org")
    assert report.reported_address == "alias@example.net"


def test_the_address_that_is_ours_beats_a_more_final_one() -> None:
    ours = found("A@Example.org", Action.DELAYED, Verdict.SOFT_BOUNCED)
    other = found("b@example.org", Action.FAILED, Verdict.FAILED)
    [report] = reports_for(dsn(other, ours), 7, "a@example.org")
    assert (report.event, report.reported_address) == (Event.DEFER, None)


def test_where_none_is_named_the_most_final_counts() -> None:
    soft = found("x@example.org", Action.DELAYED, Verdict.SOFT_BOUNCED)
    hard = found("y@example.org", Action.FAILED, Verdict.BOUNCED)
    [report] = reports_for(dsn(soft, hard), 7, None)
    assert (report.event, report.reported_address) == (Event.BOUNCE, "y@example.org")


def test_what_says_nothing_of_the_delivery_moves_nothing() -> None:
    complaint = found("a@example.org", None, Verdict.COMPLAINT)
    assert reports_for(dsn(complaint, kind=Kind.COMPLAINT), 7, "a@example.org") == []
    assert reports_for(dsn(complaint), 7, "a@example.org") == []
    assert reports_for(dsn(kind=Kind.AUTO_REPLY), 7, "a@example.org") == []
    assert reports_for(dsn(), 7, "a@example.org") == []
