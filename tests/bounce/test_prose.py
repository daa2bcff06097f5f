"""Laws of the general reading: notices of many small reporters, by their layout."""

from pathlib import Path

import pytest

from relay.bounce.category import Verdict
from relay.bounce.mime import take_apart
from relay.bounce.parse import parse
from relay.bounce.prose import entries, read_notice, unmarked

HEAD = (
    "Return-Path: <>\nFrom: Mail Delivery Subsystem <MAILER-DAEMON@mx.example.net>\n"
    "To: news@sender.example\nSubject: Undeliverable mail\n\n"
)


def layouts() -> list[tuple[str, str]]:
    blocks = (Path(__file__).parent / "layouts.txt").read_text(encoding="utf-8").split("=== ")
    return [(verdict, text) for verdict, _, text in (block.partition("\n") for block in blocks) if text]


@pytest.mark.parametrize(("verdict", "text"), layouts(), ids=[text[:40].strip() for _, text in layouts()])
def test_a_notice_names_its_recipient(verdict: str, text: str) -> None:
    [found] = parse((HEAD + text).encode()).findings
    assert found.recipient == "ada@rcpt.example"
    assert found.verdict in verdict.split(" or ")


def named(text: str) -> list[str]:
    mail = take_apart((HEAD + text).encode())
    return [entry.address for entry in entries(read_notice(mail), mail)]


def test_an_address_that_begins_a_line_beats_those_in_sentences() -> None:
    assert named("We tried bob@example.org for long.\n\nada@rcpt.example\n") == ["ada@rcpt.example"]


def test_what_stands_further_in_belongs_to_the_reason() -> None:
    assert named("<ada@rcpt.example>: host said:\n    <bob@example.org>: unauthorized sender\n") == ["ada@rcpt.example"]


def test_whom_to_ask_for_help_did_not_fail() -> None:
    assert named(
        "It failed for ada@rcpt.example.\nFor assistance contact <help@example.net> or help@example.net\n"
    ) == ["ada@rcpt.example"]
    assert named("Please contact <help@example.net>\n") == []


def test_the_reporter_and_the_sender_did_not_fail_where_others_are_named() -> None:
    assert named("news@sender.example\nada@rcpt.example\n") == ["ada@rcpt.example"]
    assert named("<news@sender.example>: unknown\n") == ["news@sender.example"]


def test_the_senders_lines_name_no_recipient() -> None:
    assert named("From: bob@example.org\nSubject: to eve@example.org\n") == []


def test_of_addresses_in_sentences_those_count_that_the_message_was_for() -> None:
    text = (
        "Addresses are like name@rcpt.example here, but ada@rcpt.example is none\n\nReceived: for <ada@rcpt.example>\n"
    )
    assert named(text) == ["ada@rcpt.example"]
    assert named("Here name@rcpt.example and here ada@rcpt.example\n") == ["name@rcpt.example"]


def test_the_returned_message_is_not_read() -> None:
    assert named("ada@rcpt.example\n\n--- Below this line is a copy of the message.\n\nbob@example.org\n") == [
        "ada@rcpt.example"
    ]


def test_a_transcripts_line_takes_the_servers_words_above_it() -> None:
    text = (
        "   ----- Transcript of session follows -----\n<<< 550 No such user here\n"
        "550 <ada@rcpt.example>... User unknown\n"
        "550 <bob@rcpt.example>... Over quota\n"
    )
    first, second = parse((HEAD + text).encode()).findings
    assert (first.diagnostic, second.diagnostic) == ("550 No such user here", "550 Over quota")


def test_the_most_telling_words_of_an_address_count() -> None:
    [found] = parse((HEAD + "ada@rcpt.example\n\nada@rcpt.example\n550 5.1.1 gone\n").encode()).findings
    assert (found.reply_code, found.status, found.verdict) == (550, "5.1.1", Verdict.FAILED)


def test_html_is_read_as_lines() -> None:
    assert unmarked("<p>one<br>two</p><style>p{}</style><b>a &lt;b&gt;</b> <ada@x.example>").split() == [
        "one", "two", "a", "<b>", "<ada@x.example>",
    ]  # fmt: skip


def test_plain_words_beat_html_and_returned_parts_end_the_notice() -> None:
    raw = (
        'Content-Type: multipart/mixed; boundary="b"\n\n--b\nContent-Type: text/html\n\n<p>marked</p>\n--b\n\nplain\n'
        "--b\nContent-Type: image/gif\n\nGIF\n--b\nContent-Type: message/rfc822\n\nSubject: x\n\nreturned\n"
        "--b\n\nlater\n--b--\n"
    )
    notice = read_notice(take_apart(raw.encode()))
    assert notice.words.strip() == "plain"
    assert notice.whole.strip() == "plain"
