"""Laws of what a recipient's row becomes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage.model import OPENING, HitKind
from storage.recipient import (
    NEVER,
    Recipient,
    check,
    claim,
    decline,
    flush,
    give_back,
    hit,
    hold,
    release,
    remove,
    renew_lease,
    report,
    settle,
)
from storage.status import PENDING, Event, Status
from tests.storage import makers
from tests.storage.makers import BUSY, MINUTE, NOW, OK, UNKNOWN, job_of, row

_LEASE_MS = 15 * MINUTE
_RESULTS = (Event.DEFER, Event.HAND_OVER, Event.DELIVER, Event.BOUNCE, Event.FAIL)


def settled(recipient: Recipient, event: Event, **changes: object) -> bool:
    reply = OK if event in {Event.DELIVER, Event.HAND_OVER} else BUSY
    return settle(recipient, makers.result(job_of(recipient), event, reply, **changes))


def test_a_delivery_ends_the_lease_and_tells_who_took_it() -> None:
    recipient = row(lease=7, due_ms=NOW + _LEASE_MS)
    assert settled(recipient, Event.DELIVER)
    assert recipient == row(
        Status.DELIVERED,
        attempts=1,
        last_attempt_ms=NOW,
        code=250,
        enhanced="2.0.0",
        diagnostic="queued",
        mx="mx.there.example",
        mx_address="192.0.2.1",
        delivered_ms=NOW + 40,
    )


@pytest.mark.parametrize(
    ("before", "after"), [(Status.UNSENT, Status.NO_EMAIL_SELECTED), (Status.SOFT_BOUNCED, Status.BOUNCED)]
)
def test_who_takes_no_such_mail_any_more_is_ended_when_he_is_due(before: Status, after: Status) -> None:
    recipient = row(before, due_ms=NOW)
    assert not decline(recipient, NOW - 1, "left")
    assert decline(recipient, NOW, "left")
    assert (recipient.status, recipient.diagnostic, recipient.due_ms) == (after, "left", None)
    assert not decline(recipient, NOW, "left")


def test_a_deferral_is_due_again_when_the_result_says() -> None:
    recipient = row(lease=7, due_ms=NOW + _LEASE_MS)
    assert settled(recipient, Event.DEFER)
    assert (recipient.status, recipient.due_ms, recipient.lease) == (Status.SOFT_BOUNCED, NOW + MINUTE, None)
    assert (recipient.delivered_ms, recipient.in_doubt_ms) == (None, None)


@pytest.mark.parametrize("lease", [None, 8])
@pytest.mark.parametrize("event", _RESULTS)
def test_an_answer_without_the_present_lease_moves_nothing(lease: int | None, event: Event) -> None:
    recipient = row(lease=lease)
    before = row(lease=lease)
    assert not settle(recipient, makers.result(job_of(row(lease=7)), event))
    assert recipient == before


def test_a_held_recipient_that_is_deferred_stays_held() -> None:
    recipient = row(lease=7, due_ms=NEVER)
    assert settled(recipient, Event.DEFER)
    assert (recipient.due_ms, recipient.lease, recipient.held) == (NEVER, None, True)


@pytest.mark.parametrize("event", [Event.DELIVER, Event.HAND_OVER])
def test_an_open_that_came_first_counts_once_the_copy_is_out(event: Event) -> None:
    recipient = row(Status.SOFT_BOUNCED, lease=7)
    assert hit(recipient, makers.hit(2))
    assert recipient.status is Status.SOFT_BOUNCED
    assert settled(recipient, event)
    assert recipient.status is Status.OPENED


def test_an_open_settles_the_doubt_of_the_last_attempt() -> None:
    recipient = row(lease=7)
    assert settled(recipient, Event.DEFER, in_doubt=True)
    assert recipient.in_doubt_ms == NOW + 40
    assert hit(recipient, makers.hit(2, at_ms=NOW + 500))
    assert (recipient.status, recipient.due_ms, recipient.lease) == (Status.OPENED, None, None)
    assert (recipient.delivered_ms, recipient.first_open_ms) == (NOW + 40, NOW + 500)


def test_an_open_that_overtook_the_doubt_settles_it_too() -> None:
    """The connection broke after the dot, and the hit was committed before the attempt."""
    recipient = row(lease=7)
    assert hit(recipient, makers.hit(2))
    assert settled(recipient, Event.DEFER, in_doubt=True)
    assert (recipient.status, recipient.due_ms) == (Status.OPENED, None)


def test_an_open_after_a_clear_refusal_settles_nothing() -> None:
    recipient = row(lease=7, in_doubt_ms=NOW - 5, status=Status.SOFT_BOUNCED)
    assert settled(recipient, Event.DEFER)
    assert hit(recipient, makers.hit(2))
    assert (recipient.status, recipient.due_ms) == (Status.SOFT_BOUNCED, NOW + MINUTE)


@pytest.mark.parametrize("kind", [kind for kind in HitKind if kind not in OPENING])
def test_a_machine_opens_nothing(kind: HitKind) -> None:
    recipient = row(Status.DELIVERED)
    assert hit(recipient, makers.hit(2, kind))
    assert (recipient.status, recipient.opens, recipient.machine_hits) == (Status.DELIVERED, 0, 1)


@pytest.mark.parametrize("kind", sorted(OPENING))
def test_the_first_open_is_the_earliest(kind: HitKind) -> None:
    recipient = row(Status.DELIVERED)
    for at_ms in (NOW + 9, NOW + 3, NOW + 6):
        assert hit(recipient, makers.hit(2, kind, at_ms))
    assert (recipient.status, recipient.opens, recipient.first_open_ms) == (Status.OPENED, 3, NOW + 3)


@pytest.mark.parametrize("status", [Status.DUPLICATE, Status.NO_EMAIL_SELECTED])
def test_where_nothing_was_sent_hits_and_reports_change_nothing(status: Status) -> None:
    recipient = row(status)
    assert not hit(recipient, makers.hit(2))
    assert not report(recipient, makers.report(2, Event.FAIL), NOW)
    assert recipient == row(status)


@pytest.mark.parametrize("event", [Event.BOUNCE, Event.FAIL])
@pytest.mark.parametrize("status", [Status.DELIVERED, Status.OPENED])
def test_a_final_report_after_delivery_is_told_beside_the_status(status: Status, event: Event) -> None:
    recipient = row(status, code=250, diagnostic="queued")
    assert report(recipient, makers.report(2, event), NOW)
    assert (recipient.status, recipient.late) == (status, "bounced later: 5.1.1 no such user")
    assert (recipient.code, recipient.diagnostic) == (250, "queued")
    assert report(recipient, makers.report(2, event, BUSY), NOW)
    assert recipient.late == "bounced later: 5.1.1 no such user"


@pytest.mark.parametrize(
    ("code", "enhanced", "text", "late"),
    [
        (550, None, "gone", "bounced later: 550 gone"),
        (0, None, "gone", "bounced later: gone"),
        (550, "5.2.2", "", "bounced later: 5.2.2"),
        (550, "5.2.2", "x" * 600, "bounced later: 5.2.2 " + "x" * 479),
    ],
)
def test_a_late_report_is_one_short_line(code: int, enhanced: str | None, text: str, late: str) -> None:
    recipient = row(Status.DELIVERED)
    report(recipient, makers.report(2, Event.FAIL, makers.Reply(code, enhanced, text)), NOW)
    assert recipient.late == late


def test_a_report_that_moves_the_status_gives_the_reason() -> None:
    recipient = row(Status.SENT, code=250, diagnostic="queued", mx="route.example", delivered_ms=NOW - 9)
    assert report(recipient, makers.report(2, Event.FAIL), NOW)
    assert (recipient.status, recipient.code, recipient.enhanced) == (Status.FAILED, 550, "5.1.1")
    assert (recipient.diagnostic, recipient.mx, recipient.late) == ("no such user", "far.example", "")


@pytest.mark.parametrize(("known", "after"), [(None, NOW), (NOW - 9, NOW - 9)])
def test_a_success_report_tells_when_unless_that_is_known(known: int | None, after: int) -> None:
    recipient = row(Status.SENT, delivered_ms=known)
    assert report(recipient, makers.report(2, Event.DELIVER, OK), NOW)
    assert (recipient.status, recipient.delivered_ms) == (Status.DELIVERED, after)


def test_a_report_of_failure_ends_the_queue_s_work_even_under_a_lease() -> None:
    """The attempt in doubt had reached the server, which then bounced: nobody tries again."""
    recipient = row(Status.SOFT_BOUNCED, lease=7, in_doubt_ms=NOW)
    assert report(recipient, makers.report(2, Event.FAIL), NOW)
    assert (recipient.status, recipient.due_ms, recipient.lease) == (Status.FAILED, None, None)
    assert not settled(recipient, Event.DELIVER)


def test_a_delay_report_while_sent_is_an_event_only() -> None:
    recipient = row(Status.SENT)
    assert report(recipient, makers.report(2, Event.DEFER, BUSY), NOW)
    assert recipient == row(Status.SENT)


def test_a_claim_takes_what_is_due_and_nothing_else() -> None:
    assert not claim(row(due_ms=NOW + 1), NOW, 9, _LEASE_MS)
    assert not claim(row(Status.SENT), NOW, 9, _LEASE_MS)
    assert not claim(row(lease=7, due_ms=NOW), NOW, 9, _LEASE_MS)
    recipient = row(due_ms=NOW)
    assert claim(recipient, NOW, 9, _LEASE_MS)
    assert (recipient.lease, recipient.due_ms) == (9, NOW + _LEASE_MS)


def test_a_lease_is_given_back_once_and_a_held_recipient_stays_held() -> None:
    recipient = row(lease=7, due_ms=NOW + _LEASE_MS)
    assert give_back(recipient, NOW + 5)
    assert (recipient.lease, recipient.due_ms) == (None, NOW + 5)
    assert not give_back(recipient, NOW)
    assert not give_back(row(Status.SENT), NOW)
    held = row(lease=7, due_ms=NEVER)
    assert give_back(held, NOW)
    assert (held.lease, held.held) == (None, True)


def test_a_lease_is_renewed_while_it_is_held_and_a_held_recipient_needs_no_more_time() -> None:
    recipient = row(lease=7, due_ms=NOW + 5)
    assert renew_lease(recipient, NOW + _LEASE_MS)
    assert (recipient.lease, recipient.due_ms) == (7, NOW + _LEASE_MS)
    for other in (row(), row(Status.SENT), row(lease=7, due_ms=NEVER)):
        assert not renew_lease(other, NOW + _LEASE_MS)


def test_hold_and_release() -> None:
    recipient = row()
    assert hold(recipient)
    assert recipient.held
    assert not hold(recipient)
    assert not hold(row(Status.BOUNCED))
    assert release(recipient, NOW + 5, _LEASE_MS)
    assert recipient.due_ms == NOW + 5
    assert not release(recipient, NOW, _LEASE_MS)


def test_a_release_does_not_cut_short_a_try_that_runs() -> None:
    recipient = row(lease=7, due_ms=NEVER)
    assert release(recipient, NOW, _LEASE_MS)
    assert (recipient.lease, recipient.due_ms) == (7, NOW + _LEASE_MS)


@pytest.mark.parametrize(
    "recipient", [row(Status.SENT), row(due_ms=NEVER), row(due_ms=NOW + 5, lease=7), row(due_ms=NOW)]
)
def test_a_flush_leaves_what_is_done_held_leased_or_due(recipient: Recipient) -> None:
    assert not flush(recipient, NOW)


def test_a_flush_makes_the_rest_due() -> None:
    recipient = row(Status.SOFT_BOUNCED, due_ms=NOW + 5)
    assert flush(recipient, NOW)
    assert recipient.due_ms == NOW


def test_a_removed_recipient_is_bounced_with_the_reason() -> None:
    recipient = row(Status.SOFT_BOUNCED, due_ms=NOW + 5)
    assert remove(recipient, NOW, "removed")
    assert (recipient.status, recipient.due_ms, recipient.diagnostic) == (Status.BOUNCED, None, "removed")


def test_a_try_that_runs_keeps_its_recipient_in_the_queue() -> None:
    assert not remove(row(lease=7, due_ms=NOW + 5), NOW, "removed")
    assert not remove(row(Status.SENT), NOW, "removed")
    assert remove(row(lease=7, due_ms=NOW), NOW, "removed")


def test_the_next_attempt_is_told_exactly_with_a_deferral() -> None:
    job = job_of(row(lease=7))
    deferred, delivered = makers.result(job, Event.DEFER), makers.result(job, Event.DELIVER)
    check(deferred)
    check(delivered)
    for wrong in (
        makers.Result(job, deferred.attempt, Event.DEFER),
        makers.Result(job, deferred.attempt, Event.BOUNCE, NOW),
    ):
        with pytest.raises(ValueError, match="next_attempt_ms is set exactly with a deferral"):
            check(wrong)


_STEPS = st.one_of(
    st.tuples(st.just(claim), st.just(())),
    st.tuples(st.just(settled), st.sampled_from(_RESULTS)),
    st.tuples(st.just(hit), st.sampled_from(HitKind)),
    st.tuples(st.just(report), st.sampled_from(_RESULTS)),
    st.tuples(st.sampled_from([hold, release, flush, remove, give_back]), st.just(())),
)


@given(st.lists(_STEPS, max_size=12), st.booleans())
def test_pending_is_what_has_a_due_time_and_only_that_can_be_leased(steps: list[tuple], in_doubt: bool) -> None:
    recipient = row()
    for verb, argument in steps:
        if verb is claim:
            claim(recipient, NOW + MINUTE, 9, _LEASE_MS)
        elif verb is settled:
            settled(recipient, argument, in_doubt=in_doubt and argument is Event.DEFER)
        elif verb is hit:
            hit(recipient, makers.hit(2, argument))
        elif verb is report:
            report(recipient, makers.report(2, argument, UNKNOWN), NOW)
        elif verb is release:
            release(recipient, NOW, _LEASE_MS)
        elif verb is remove:
            remove(recipient, NOW, "removed")
        elif verb is hold:
            hold(recipient)
        else:
            verb(recipient, NOW)
        assert recipient.pending == (recipient.status in PENDING)
        assert recipient.pending or recipient.lease is None
        assert recipient.status is not Status.OPENED or recipient.opens
        assert not (recipient.opens and recipient.status in {Status.SENT, Status.DELIVERED})
