"""Laws of `relay.bounce.apply`."""

from dataclasses import replace

import pytest

from relay.bounce.apply import named_among, reports_for
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


def test_a_complaint_is_a_report_without_an_event() -> None:
    other = replace(found("b@example.org", None, Verdict.COMPLAINT), category=Category.POLICY)
    spam = replace(found("A@example.org", None, Verdict.COMPLAINT), category=Category.SPAM)
    [report] = reports_for(dsn(other, spam, kind=Kind.COMPLAINT), 7, "a@example.org")
    assert (report.recipient_id, report.event, report.category) == (7, None, "spam")
    [report] = reports_for(dsn(other, kind=Kind.COMPLAINT), 7, None, proven=False)
    assert (report.category, report.reported_address, report.proven) == ("policy", "b@example.org", False)


OURS = [(1, "A@example.org"), (2, "b@example.org"), (3, "c@example.org")]


@pytest.mark.parametrize(
    ("reported", "returned_to", "recipients", "named"),
    [
        (["a@example.org", "c@EXAMPLE.org", "x@example.org"], "", OURS, [1, 3]),
        (["x@example.org"], "", OURS, []),
        (["x@example.org"], "B@example.org", OURS, [2]),
        (["a@example.org"], "b@example.org", OURS, [1]),
        (["forwarded@example.net"], "", OURS[:1], [1]),
        ([""], "", [], []),
    ],
)
def test_without_a_return_path_the_recipients_that_are_named_count(
    reported: list[str], returned_to: str, recipients: list[tuple[int, str]], named: list[int]
) -> None:
    findings = tuple(found(address, Action.FAILED, Verdict.FAILED) for address in reported)
    parsed = Parsed(Kind.DSN, findings, returned_to=returned_to)
    assert [id_ for id_, _ in named_among(parsed, recipients)] == named


def test_what_says_nothing_of_the_delivery_moves_nothing() -> None:
    complaint = found("a@example.org", None, Verdict.COMPLAINT)
    assert reports_for(dsn(complaint), 7, "a@example.org") == []
    assert reports_for(dsn(kind=Kind.AUTO_REPLY), 7, "a@example.org") == []
    assert reports_for(dsn(), 7, "a@example.org") == []
