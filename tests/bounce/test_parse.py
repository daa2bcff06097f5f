"""Laws of `relay.bounce.parse`: any bytes, no exception, bounded work."""

import random
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from relay.bounce import detectors
from relay.bounce.category import Verdict
from relay.bounce.dsn import MAX_RECIPIENTS
from relay.bounce.finding import Action, Kind, Parsed
from relay.bounce.parse import parse

SAMPLES = [path.read_bytes() for path in sorted((Path(__file__).parent / "families").glob("*.eml"))]
REPORT = (
    'From: MAILER-DAEMON@mx.example.net\nContent-Type: multipart/report; report-type=delivery-status; boundary="b"\n\n'
    "--b\nContent-Type: message/delivery-status\n\nReporting-MTA: dns; mx\nOriginal-Envelope-Id: QQ+2B31\n\n{}\n"
    "--b\nContent-Type: text/rfc822-headers\n\nMessage-ID: <1@sender.example>\nTo: Ada <ada@rcpt.example>\n--b--\n"
)


def sound(parsed: Parsed) -> bool:
    """Whether a result keeps the promises of its types."""
    for found in parsed.findings:
        assert found.verdict is not Verdict.NONE
        assert (found.action is None) == (parsed.kind is Kind.COMPLAINT)
        (found.recipient + found.diagnostic + found.remote_mta).encode()
    return bool(parsed.findings) == (parsed.kind in (Kind.DSN, Kind.COMPLAINT))


@given(st.binary(max_size=3000))
def test_any_bytes_are_read(raw: bytes) -> None:
    assert sound(parse(raw))


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(SAMPLES), st.sampled_from(SAMPLES), st.integers(0, 2**32))
def test_broken_bounces_are_read(one: bytes, other: bytes, seed: int) -> None:
    chance = random.Random(seed)
    lines = one.split(b"\n") + other[chance.randrange(len(other)) :].split(b"\n")
    chance.shuffle(lines)
    mixed = bytearray(b"\n".join(lines))
    for _ in range(50):
        mixed[chance.randrange(len(mixed))] ^= 1 << chance.randrange(8)
    for raw in (bytes(mixed), one[: chance.randrange(len(one))], one + bytes(mixed)):
        parsed = parse(raw)
        assert sound(parsed)
        assert parsed.troubles == ()


@pytest.mark.parametrize(
    "raw",
    [
        b"", b"\0" * 5000, b"\n" * 5000, b"\xff" * 5000, b"From \n", b"A" * 1_000_000,
        b"Subject: " + b"=?utf-8?B?" + b"QUJD" * 50_000 + b"?=\n\n",
        b"Content-Type: message/rfc822\n\n" * 3000,
        b"From: mailer-daemon@x\nSubject: failure notice\n\n" + b"<" * 200_000,
        b"From: mailer-daemon@x\nSubject: failure notice\n\n" + b"a@" * 100_000,
        b"From: mailer-daemon@x\nSubject: failure notice\n\n" + b"550-" * 50_000,
        b"From: mailer-daemon@x\nSubject: failure notice\nContent-Type: text/html\n\n" + b"<style " * 50_000,
        b'From: a\nSubject: {"bouncedRecipients"\n\n{"bouncedRecipients":' + b"[" * 60_000,
        REPORT.format("Final-Recipient: rfc822; " + "(" * 100_000).encode(),
        REPORT.format("Final-Recipient: rfc822; a@x.example\nDiagnostic-Code: " + "mailbox " * 50_000).encode(),
    ],
    ids=range(15),
)  # fmt: skip
def test_hostile_mail_is_read(raw: bytes) -> None:
    parsed = parse(raw)
    assert sound(parsed)
    assert parsed.troubles == ()


def test_a_huge_bounce_is_read() -> None:
    report = "Final-Recipient: rfc822; ada@rcpt.example\nAction: failed\nStatus: 5.1.1\n"
    raw = REPORT.format(report).encode().replace(b"--b--\n", b"\n" + b"x" * 25_000_000 + b"\r\n--b--\n")
    assert [found.recipient for found in parse(raw).findings] == ["ada@rcpt.example"]


def test_ten_thousand_recipients_are_read() -> None:
    report = "".join(f"Final-Recipient: rfc822; u{n}@x.example\nAction: failed\nStatus: 5.1.1\n\n" for n in range(3000))
    assert len(parse(REPORT.format(report).encode()).findings) == min(3000, MAX_RECIPIENTS)


def test_what_matching_needs_is_told() -> None:
    parsed = parse(REPORT.format("Final-Recipient: rfc822; ada@rcpt.example\nAction: failed\n").encode())
    assert (parsed.envelope_id, parsed.message_id, parsed.returned_to) == (
        "QQ+31",
        "<1@sender.example>",
        "ada@rcpt.example",
    )


def test_the_return_path_names_the_recipient_where_the_mail_does_not() -> None:
    raw = b"From: <>\nReturn-Path: <>\nSubject: Mail could not be delivered\n\nThe mail could not be delivered.\n"
    assert [found.recipient for found in parse(raw, "ada@rcpt.example").findings] == ["ada@rcpt.example"]
    assert [found.recipient for found in parse(raw).findings] == [""]
    report = REPORT.format("Final-Recipient: system;<>\nAction: failed\n").encode()
    assert [found.recipient for found in parse(report, "ada@rcpt.example").findings] == ["ada@rcpt.example"]


def test_the_returned_messages_recipient_stands_in_for_a_nameless_notice() -> None:
    raw = (
        b"From: postmaster@mx.example.net\nSubject: Undeliverable\nContent-Type: multipart/mixed; boundary=b\n\n"
        b"--b\n\n"
        b"It could not be delivered.\n--b\nContent-Type: message/rfc822\n\nTo: ada@rcpt.example\n\nHi\n--b--\n"
    )
    assert [found.recipient for found in parse(raw).findings] == ["ada@rcpt.example"]


def test_without_an_action_the_wording_tells_whether_tries_go_on() -> None:
    raw = REPORT.format("Final-Recipient: rfc822; ada@rcpt.example\nStatus: 4.4.1\n")
    assert [found.verdict for found in parse(raw.encode()).findings] == [Verdict.BOUNCED]
    raw = raw.replace("--b\n", "--b\n\nIt has been delayed; we will keep trying.\n--b\n", 1)
    assert [found.verdict for found in parse(raw.encode()).findings] == [Verdict.SOFT_BOUNCED]


def test_a_reporters_mail_that_tells_no_failure_is_none() -> None:
    assert parse(b"From: postmaster@mx.example.net\nSubject: Undeliverable\n\nHello there.\n").kind is Kind.NONE


def test_a_mail_of_the_wrong_marks_is_none_whatever_its_words() -> None:
    raw = b"From: Bob <bob@x.example>\nSubject: lunch\n\n<ada@rcpt.example>: 550 5.1.1 User unknown\n"
    assert parse(raw).kind is Kind.NONE


def test_a_returned_ordinary_message_is_no_report() -> None:
    raw = (
        b"From: postmaster@mx.example.net\nSubject: Undeliverable\nContent-Type: multipart/mixed; boundary=b\n\n"
        b"--b\n\n"
        b"Hello\n--b\nContent-Type: message/rfc822\n\nFrom: bob@x.example\nSubject: lunch\n\nHi\n--b--\n"
    )
    assert parse(raw).kind is Kind.NONE


def test_a_foreign_recipient_is_named_by_the_mail_elsewhere() -> None:
    raw = REPORT.format("Final-Recipient: rfc822; /mail/spool/ada\nAction: failed\nStatus: 5.0.0\n")
    [found] = parse(("X-Failed-Recipients: ada@rcpt.example\n" + raw).encode()).findings
    assert found.recipient == "ada@rcpt.example"
    [found] = parse(raw.encode()).findings
    assert found.recipient == "/mail/spool/ada"


def test_a_family_keeps_delays_as_they_are() -> None:
    raw = (
        b"From: Mail Delivery Subsystem <mailer-daemon@googlemail.com>\nSubject: Delay\n"
        b"X-Failed-Recipients: club@googlegroups.com\n\nDelivery to groups.google.com has been delayed.\n"
    )
    [found] = parse(raw).findings
    assert found.action is Action.FAILED


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('{"bouncedRecipients": 1', []),
        ('{"bouncedRecipients": 1}', []),
        ('{"bounce": {"bouncedRecipients": [{"emailAddress": 1}, 2]}}', []),
        (
            '{"bounce": {"bounceType": "Transient", "bouncedRecipients": [{"emailAddress": "a@x.example"}]}}',
            [("a@x.example", Verdict.SOFT_BOUNCED)],
        ),
        (
            '{"delivery": {"recipients": ["a@x.example", 1], "smtpResponse": "250 2.0.0 ok"}}',
            [("a@x.example", Verdict.DELIVERED)],
        ),
    ],
)
def test_notifications_in_json_are_read_with_care(text: str, told: list[tuple[str, Verdict]]) -> None:
    parsed = parse(f"From: no-reply@sns.example\nSubject: Notification\n\n{text}\n".encode())
    assert [(found.recipient, found.verdict) for found in parsed.findings] == told
    assert parsed.troubles == ()


def test_a_complaint_without_report_part_is_known_by_its_declaration() -> None:
    raw = (
        b'Content-Type: multipart/report; report-type=feedback-report; boundary="b"\n\n--b\n\nA complaint.\n'
        b"--b\nContent-Type: message/rfc822\n\nTo: ada@rcpt.example\n\n--b--\n"
    )
    parsed = parse(raw)
    assert (parsed.kind, [found.recipient for found in parsed.findings]) == (Kind.COMPLAINT, ["ada@rcpt.example"])


def test_a_detector_that_breaks_is_named_and_the_next_one_tries(monkeypatch: pytest.MonkeyPatch) -> None:
    def breaks(_: detectors.Case) -> Parsed | None:
        raise ValueError("a bug")

    monkeypatch.setattr(detectors, "DETECTORS", (("broken", breaks), *detectors.DETECTORS))
    parsed = parse(REPORT.format("Final-Recipient: rfc822; ada@rcpt.example\nAction: failed\n").encode())
    assert parsed.troubles == ("broken: ValueError: a bug",)
    assert parsed.detector == "delivery status"
    assert parse(b"").troubles == ("broken: ValueError: a bug",)


RETURNED = """\
Return-Path: <Token@bounces.example>
Received: from mx.far.example (far [192.0.2.9]) by mx.there.example (Postfix) with ESMTPS id 4XyZ1a2b3c
\tfor <ada@rcpt.example>; Mon, 23 Nov 2026 14:00:01 +0000
Received: from laptop (laptop.example [192.0.2.1])
\tby relay.example (Telltale) with ESMTPSA id 1M0ZG9SH42300;
\tMon, 23 Nov 2026 14:00:00 +0000
Received: by other.example id 1M0ZG9SH4230A1 and id 1M0ZG9SH4230e
Message-ID: <m1@sender.example> (added)
To: Ada <ada@rcpt.example>
"""


OWN_HEADER = "Message-ID: <1@sender.example>\nTo: Ada <ada@rcpt.example>\n"


@pytest.mark.parametrize(
    "mail",
    [
        REPORT.format("Final-Recipient: rfc822; ada@rcpt.example\nAction: failed\n").replace(OWN_HEADER, RETURNED),
        "From: MAILER-DAEMON@mx.example\nSubject: failure notice\n\n<ada@rcpt.example>:\nno such user\n\n"
        "--- Below this line is a copy of the message.\n\n" + RETURNED,
    ],
    ids=["attached", "in the text"],
)
def test_what_a_bounce_can_be_matched_by_is_read_from_the_returned_header(mail: str) -> None:
    parsed = parse(mail.encode())
    assert parsed.kind is Kind.DSN
    assert parsed.message_id == "<m1@sender.example>"
    assert parsed.return_path == "Token@bounces.example"
    assert parsed.queue_ids == ("1M0ZG9SH42300",)


def test_without_a_returned_header_the_mail_answers_to_a_message_id() -> None:
    report = REPORT.format("Final-Recipient: rfc822; ada@rcpt.example\n").replace(OWN_HEADER, "")
    assert parse(f"In-Reply-To: <m1@sender.example>\n{report}".encode()).message_id == "<m1@sender.example>"
    assert parse(f"In-Reply-To: m1@sender.example\n{report}".encode()).message_id == ""
