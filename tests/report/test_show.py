import io
from datetime import UTC

from report.show import entry_lines, print_story
from report.table import console
from storage.model import HitKind, Phase, TimelineEntry, TimelineKind
from storage.status import Status
from tests.report.mailing import START, a_row


def story(**more: object) -> str:
    out = io.StringIO()
    print_story(console(out), a_row(**more), [], START, UTC)
    return out.getvalue()


def test_a_story_begins_with_what_is_known_of_the_recipient() -> None:
    assert story(
        sender="", broadcast="Storm warning", size=4200, opens=1, first_open_ms=START, machine_hits=2, mx="mx.test"
    ).splitlines() == [
        "Recipient    ann@example.test",
        "Status       Delivered: taken by mx.test",
        "Queue id     1M0Z9QM5bRK00",
        "Sender       <> (the null sender)",
        "Subject      Hello",
        "Broadcast    Storm warning",
        "Size         4.1 KB",
        "Attempts     1",
        "Tracking     1 open, the first 2026-11-23 14:00:00.000; 2 hits of machines",
        "",
    ]


def test_a_next_attempt_is_told_with_the_time_until_it() -> None:
    assert "Next attempt 2026-11-23 14:05:00.000 (in 5 min)\n" in story(next_attempt_ms=START + 300_000)
    assert "Next attempt 2026-11-23 14:00:00.000 (now)\n" in story(next_attempt_ms=START)


def test_without_an_image_the_reason_is_told() -> None:
    assert "Tracking     none: the message is encrypted\n" in story(tracked=False, untracked_reason="encrypted")
    assert "Tracking     none: no reason known\n" in story(tracked=False)


def lines(*entries: TimelineEntry) -> list[str]:
    return [line.plain for line in entry_lines(entries, UTC)]


def test_a_change_of_status_is_shown_where_it_happened() -> None:
    assert lines(
        TimelineEntry(START, TimelineKind.ACCEPTED, "accepted", Status.UNSENT),
        TimelineEntry(START + 1, TimelineKind.QUEUE, "held", Status.UNSENT),
        TimelineEntry(START + 2, TimelineKind.QUEUE, "released", None),
    ) == [
        "2026-11-23 14:00:00.000  accepted   accepted → Unsent",
        "2026-11-23 14:00:00.001  queue      held",
        "2026-11-23 14:00:00.002  queue      released",
    ]


def test_an_attempt_tells_where_it_went_and_how_far_it_came() -> None:
    attempt = TimelineEntry(START, TimelineKind.ATTEMPT, "550 no", Status.FAILED, phase=Phase.RCPT, mx="mx.test")
    assert lines(attempt)[1].strip() == "mx.test, phase rcpt, in clear"
    unreached = TimelineEntry(
        START, TimelineKind.ATTEMPT, "refused", None, phase=Phase.DNS, address="192.0.2.1", duration_ms=1250
    )
    assert lines(unreached)[1].strip() == "[192.0.2.1], phase dns, 1.25 s"


def test_a_hit_tells_who_it_was_once() -> None:
    judged = TimelineEntry(START, TimelineKind.HIT, "Gmail's image proxy", Status.OPENED, hit=HitKind.PROXY)
    named = TimelineEntry(START, TimelineKind.HIT, "mail proxy: Gmail's image proxy", None, hit=HitKind.PROXY)
    assert lines(judged)[0].endswith("mail proxy: Gmail's image proxy → Opened")
    assert lines(named)[0].endswith("  mail proxy: Gmail's image proxy")


def test_remote_text_in_a_timeline_is_not_obeyed() -> None:
    evil = TimelineEntry(START, TimelineKind.ATTEMPT, "550 \x1b[2J[red]gone", Status.FAILED, mx="mx\x07.test")
    assert "\x1b" not in "".join(lines(evil))
    assert "\x07" not in "".join(lines(evil))
    assert "[red]gone" in lines(evil)[0]
