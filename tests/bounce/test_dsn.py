"""Laws of `relay.bounce.dsn`: what real reporters write."""

import pytest

from relay.bounce.category import Category, Verdict
from relay.bounce.dsn import MAX_RECIPIENTS, groups, seen_in
from relay.bounce.finding import Action
from relay.bounce.reduce import Seen, action_of, finding


def test_stray_blank_lines_do_not_tear_a_group_apart() -> None:
    text = "Reporting-MTA: dns; mx\n\n\nFinal-Recipient: rfc822; a@x.example\n \nAction: failed\nStatus: 5.1.1\n"
    assert [seen.status for seen in seen_in(text)] == ["5.1.1"]
    assert groups(text)[0] == (("reporting-mta", "dns; mx"),)


def test_recipients_are_told_apart_where_the_blank_lines_were_lost() -> None:
    text = (
        "Final-Recipient: rfc822; a@x.example\nAction: failed\nFinal-Recipient: rfc822; b@x.example\nAction: delayed\n"
    )
    assert [(seen.recipient, seen.action) for seen in seen_in(text)] == [
        ("a@x.example", "failed"),
        ("b@x.example", "delayed"),
    ]


def test_fields_before_the_recipient_are_its_own() -> None:
    [seen] = seen_in("Action: failed\nStatus: 5.2.2\nFinal-Recipient: rfc822; a@x.example\n")
    assert (seen.action, seen.status) == ("failed", "5.2.2")


def test_another_field_names_the_recipient_where_the_first_is_foreign() -> None:
    text = "Final-Recipient: x400; /S=a/\nOriginal-Recipient: rfc822;a+2Bb@x.example\nAction: failed\n"
    assert seen_in(text)[0].recipient == "a+b@x.example"
    assert seen_in("Final-Recipient: LOCAL; ada\nAction: failed\n")[0].recipient == "ada"


def test_one_recipient_counts_once_by_its_most_final_report() -> None:
    group = "Final-Recipient: rfc822; a@x.example\nAction: {}\nStatus: {}\n\n"
    text = group.format("delayed", "4.4.1") * 5 + group.format("failed", "5.4.7") + group.format("delayed", "4.4.2")
    assert [(seen.action, seen.status) for seen in seen_in(text)] == [("failed", "5.4.7")]
    assert seen_in("Final-Recipient: rfc822; a@x.example\nAction: odd\n")[0].action == "odd"


def test_ten_thousand_recipients_are_read_and_more_are_not() -> None:
    text = "".join(f"Final-Recipient: rfc822; u{n}@x.example\nAction: failed\n\n" for n in range(MAX_RECIPIENTS + 10))
    assert len(seen_in(text)) == MAX_RECIPIENTS


def test_an_smtp_code_may_stand_in_status() -> None:
    [seen] = seen_in("Final-Recipient: rfc822; a@x.example\nStatus: 553 too large\nAction: failure\n")
    assert (seen.status, seen.reply_code) == ("", 553)


@pytest.mark.parametrize(
    ("words", "status", "action"),
    [
        ("failed", "", Action.FAILED),
        ("Failure (really)", "", Action.FAILED),
        ("error", "", Action.FAILED),
        ("expired", "4.4.7", Action.FAILED),
        ("Delayed", "", Action.DELAYED),
        ("deliverable", "2.1.5", Action.DELIVERED),
        ("relayed;", "", Action.RELAYED),
        ("expanded", "", Action.EXPANDED),
        ("", "4.2.2", None),
        ("", "2.1.5", Action.DELIVERED),
        ("odd", "5.0.0", Action.FAILED),
        ("", "", None),
    ],
)
def test_actions_as_written(words: str, status: str, action: Action | None) -> None:
    assert action_of(words, status) is action


def test_the_digit_four_alone_is_not_soft() -> None:
    found = finding(Seen("a@x.example", "failed", "4.2.2", "452 4.2.2 mailbox full"))
    assert (found.verdict, found.category) == (Verdict.BOUNCED, Category.MAILBOX_FULL)


def test_a_specific_code_beats_a_vague_one_and_words_fill_what_the_report_lacks() -> None:
    assert finding(Seen("a", "failed", "5.0.0", "550 5.1.1 gone")).status == "5.1.1"
    assert finding(Seen("a", "failed", "5.2.1", "550 5.1.1 gone")).status == "5.1.1"
    assert finding(Seen("a", "failed", "", "no codes"), "550 5.7.1 refused").status == "5.7.1"
    assert finding(Seen("a", "failed", "5.0.0", "x"), "a 4.4.1 of some other try").status == "5.0.0"
    assert finding(Seen("a", "delivered", "2.0.0", "250 5.1.1 odd")).status == "2.0.0"
    told = finding(Seen("a", "failed", "5.0.0"), "<a>: 552 5.2.2 mailbox full")
    assert (told.reply_code, told.diagnostic, told.category) == (
        552,
        "<a>: 552 5.2.2 mailbox full",
        Category.MAILBOX_FULL,
    )


def test_a_report_without_action_or_status_is_a_failure() -> None:
    assert finding(Seen("a")).action is Action.FAILED


def test_a_success_has_no_reason() -> None:
    found = finding(Seen("a", "delivered", "2.1.5", "250 2.1.5 spam folder"))
    assert (found.verdict, found.category, found.reply_code) == (Verdict.DELIVERED, Category.OTHER, 250)
