"""relay/answer/notice.py: well-formed by RFC 3464, 3461 and 6533, in plain words, and proof against what it quotes."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.answer.field import is_for_all
from relay.answer.notice import notice
from relay.bounce.category import Verdict
from relay.bounce.dsn import groups
from relay.bounce.finding import Action, Kind
from relay.bounce.mime import field, take_apart
from relay.bounce.parse import parse
from storage.duty import Duty, DutyKind, Group
from storage.model import Reply, queue_id
from tests.answer.makers import AT, CONTENT, HEAD, UNKNOWN, body_of, duty, group, read

LIMIT = 50_000
_HOSTILE = st.text(st.sampled_from("\r\n :;=?<>@a.-\u2028\x85\0é😀\ud800 ") | st.characters(), max_size=120)


def made(of: Group, content: bytes | None = CONTENT) -> bytes:
    return notice(of, content, HEAD, LIMIT)


def report(of: Group, content: bytes | None = CONTENT) -> tuple[dict[str, str], list[dict[str, str]]]:
    """Return the report's fields: per message, and per recipient."""
    text = take_apart(made(of, content)).parts[1].raw.decode()
    fields = [
        dict(line.split(": ", 1) for line in block.replace("\n ", " ").strip().split("\n"))
        for block in text.strip().split("\n\n")
    ]
    return fields[0], fields[1:]


def test_a_failure_is_reported_whole() -> None:
    found = read(made(group(envid="QQ+2B1")))
    assert found["From"] == "Mail Delivery System <MAILER-DAEMON@relay.test>"
    assert found["To"] == "<ann@a.example>"
    assert found["Subject"] == "Undeliverable: Hello"
    assert found["Auto-Submitted"] == "auto-replied"
    assert found["In-Reply-To"] == found["References"] == "<1@a.example>"
    assert found.get_content_type() == "multipart/report"
    assert found.get_param("report-type") == "delivery-status"
    text, status, returned = found.get_payload()
    assert [part.get_content_type() for part in (text, status, returned)] == [
        "text/plain",
        "message/delivery-status",
        "message/rfc822",
    ]
    assert returned.get_payload()[0].as_bytes().replace(b"\n", b"\r\n") == CONTENT
    words = body_of(text)
    assert "could not be delivered to the following address:" in words
    assert (
        "<bob@b.example>\r\n    No such user (550 5.1.1)\r\n    mx.b.example said: 550 5.1.1 No such user here" in words
    )
    assert "    Subject: Hello\r\n" in words
    message, (recipient,) = report(group(envid="QQ+2B1"))
    assert message == {
        "Original-Envelope-Id": "QQ+1",
        "Reporting-MTA": "dns; relay.test",
        "X-Telltale-Queue-Id": queue_id(1),
        "Arrival-Date": "Tue, 14 Nov 2023 22:13:20 +0000",
    }
    assert recipient == {
        "Final-Recipient": "rfc822; bob@b.example",
        "Action": "failed",
        "Status": "5.1.1",
        "Remote-MTA": "dns; mx.b.example",
        "Diagnostic-Code": "smtp; 550 5.1.1 No such user here",
        "Last-Attempt-Date": "Tue, 14 Nov 2023 22:13:21 +0000",
    }


@pytest.mark.parametrize(
    ("kind", "action", "verdict", "subject"),
    [
        (DutyKind.FAILED, Action.FAILED, Verdict.FAILED, "Undeliverable: Hello"),
        (DutyKind.DELAYED, Action.DELAYED, Verdict.SOFT_BOUNCED, "Delayed: Hello"),
        (DutyKind.DELIVERED, Action.DELIVERED, Verdict.DELIVERED, "Delivered: Hello"),
        (DutyKind.RELAYED, Action.RELAYED, Verdict.DELIVERED, "Relayed: Hello"),
        (DutyKind.EXPANDED, Action.EXPANDED, Verdict.DELIVERED, "Expanded: Hello"),
    ],
)
def test_our_own_reader_understands_it(kind: DutyKind, action: Action, verdict: Verdict, subject: str) -> None:
    reply = {DutyKind.FAILED: UNKNOWN, DutyKind.DELAYED: Reply(451, "4.7.1", "later")}.get(
        kind, Reply(250, "2.0.0", "ok")
    )
    raw = made(group(duty(kind, reply=reply), kind=kind, envid="E1"))
    parsed = parse(raw)
    assert parsed.kind is Kind.DSN
    (finding,) = parsed.findings
    assert (finding.recipient, finding.action, finding.verdict) == ("bob@b.example", action, verdict)
    assert (finding.status, finding.remote_mta) == (reply.enhanced, "mx.b.example")
    assert (parsed.envelope_id, parsed.message_id) == ("E1", "<1@a.example>")
    assert read(raw)["Subject"] == subject


def test_several_recipients_share_one_report() -> None:
    of = group(duty(address="bob@b.example"), duty(address="eve@e.example", reply=Reply(0, "5.4.4", "no such domain")))
    _, recipients = report(of)
    assert [one["Final-Recipient"] for one in recipients] == ["rfc822; bob@b.example", "rfc822; eve@e.example"]
    assert recipients[1]["Diagnostic-Code"] == "X-Telltale; 5.4.4 no such domain"
    words = body_of(read(made(of)).get_payload()[0])
    assert "the following addresses:" in words
    assert "<eve@e.example>\r\n    No such domain (5.4.4)\r\n\r\n" in words


def test_a_delay_says_until_when_it_is_tried() -> None:
    of = group(duty(DutyKind.DELAYED, reply=Reply(451, "4.7.1", "later")), kind=DutyKind.DELAYED)
    _, (recipient,) = report(of)
    assert recipient["Will-Retry-Until"] == "Wed, 15 Nov 2023 22:13:20 +0000"
    assert "It is tried until Wed, 15 Nov 2023" in body_of(read(made(of)).get_payload()[0])


@pytest.mark.parametrize(
    ("kind", "reply", "status"),
    [
        (DutyKind.FAILED, UNKNOWN, "5.1.1"),
        (DutyKind.FAILED, Reply(450, "4.4.7", "expired"), "4.4.7"),
        (DutyKind.FAILED, Reply(550, None, "no"), "5.0.0"),
        (DutyKind.FAILED, Reply(450, None, "no"), "4.0.0"),
        (DutyKind.FAILED, Reply(0, None, "removed"), "5.0.0"),
        (DutyKind.FAILED, Reply(250, "2.0.0", "odd"), "5.0.0"),
        (DutyKind.FAILED, None, "5.0.0"),
        (DutyKind.DELAYED, Reply(451, None, "later"), "4.0.0"),
        (DutyKind.DELAYED, Reply(554, "5.7.1", "go away"), "4.7.1"),
        (DutyKind.RELAYED, Reply(250, None, "ok"), "2.0.0"),
        (DutyKind.RELAYED, Reply(250, "2.6.0", "ok"), "2.6.0"),
        (DutyKind.RELAYED, Reply(250, "x\r\ny", "ok"), "2.0.0"),
    ],
)
def test_the_status_is_of_a_class_that_the_action_allows(kind: DutyKind, reply: Reply | None, status: str) -> None:
    """RFC 3464, 2.3.4."""
    _, (recipient,) = report(group(duty(kind, reply=reply), kind=kind))
    assert recipient["Status"] == status
    assert ("Diagnostic-Code" in recipient) == (reply is not None)


@pytest.mark.parametrize(
    ("kind", "ret", "content", "media", "holds"),
    [
        (DutyKind.FAILED, None, CONTENT, "message/rfc822", "The text"),
        (DutyKind.FAILED, "FULL", CONTENT, "message/rfc822", "The text"),
        (DutyKind.FAILED, "HDRS", CONTENT, "text/rfc822-headers", "Subject: Hello"),
        (DutyKind.FAILED, "FULL", CONTENT + b"x\r\n" * 20_000, "text/rfc822-headers", "Subject: Hello"),
        (DutyKind.FAILED, None, CONTENT + b"x" * 999, "text/rfc822-headers", "Subject: Hello"),
        (DutyKind.FAILED, None, None, "text/rfc822-headers", "Message-ID: <1@a.example>"),
        (DutyKind.FAILED, "HDRS", b"no end", "text/rfc822-headers", "Subject: Hello"),
        (DutyKind.FAILED, "HDRS", b"X: " + b"x" * 999 + b"\r\n\r\n", "text/rfc822-headers", "Subject: Hello"),
        (DutyKind.DELAYED, "FULL", CONTENT, "text/rfc822-headers", "Subject: Hello"),
        (DutyKind.RELAYED, "FULL", CONTENT, "text/rfc822-headers", "Subject: Hello"),
    ],
)
def test_what_is_returned_is_as_the_sender_asked_and_as_it_can_be(
    kind: DutyKind, ret: str | None, content: bytes | None, media: str, holds: str
) -> None:
    """RFC 3461, 4.3: whole for a failure only, and nobody is sent back what they asked not to get."""
    returned = read(made(group(kind=kind, ret=ret), content)).get_payload()[2]
    assert returned.get_content_type() == media
    assert holds in returned.as_string()
    assert ("The text" in returned.as_string()) == (media == "message/rfc822")


def test_eight_bit_content_is_returned_as_it_came() -> None:
    content = CONTENT + "Grüße\r\n".encode()
    raw = made(group(), content)
    assert content in raw
    assert b"Content-Transfer-Encoding: 8bit\r\n" in raw


@pytest.mark.parametrize(
    ("orcpt", "shown"),
    [
        ("rfc822;bob+2Bx@b.example", "rfc822; bob+x@b.example"),
        ("RFC822;bob@b.example", "RFC822; bob@b.example"),
        ("x400;/S=bob/", "x400; /S=bob/"),
        ("utf-8;b\\x{F6}b@b.example", "utf-8; b\\x{F6}b@b.example"),
        ("nothing", None),
        (None, None),
    ],
)
def test_the_original_recipient_is_as_the_sender_named_it(orcpt: str | None, shown: str | None) -> None:
    _, (recipient,) = report(group(duty(orcpt=orcpt)))
    assert recipient.get("Original-Recipient") == shown


def test_addresses_that_are_not_ascii_make_a_global_report() -> None:
    """RFC 6533, 3 and 4."""
    of = group(
        duty(
            address="jörg@b.example",
            reply=Reply(550, "5.1.1", "Benutzer unbekannt: jörg"),
            orcpt="utf-8;jörg@b.example",
        )
    )
    raw = made(of)
    status = read(raw).get_payload()[1]
    assert status.get_content_type() == "message/global-delivery-status"
    assert "Original-Recipient: utf-8; jörg@b.example\r\nFinal-Recipient: utf-8; jörg@b.example\r\n".encode() in raw
    assert "Diagnostic-Code: smtp; 550 5.1.1 Benutzer unbekannt: jörg\r\n".encode() in raw
    (finding,) = parse(raw).findings
    assert finding.recipient == "jörg@b.example"


def test_a_message_of_smtputf8_is_returned_as_one() -> None:
    content = "From: Jörg <j@a.example>\r\nSubject: Grüße\r\n\r\nText\r\n".encode()
    returned = read(made(group(smtputf8=True), content)).get_payload()[2]
    assert returned.get_content_type() == "message/global"
    head = take_apart(made(group(smtputf8=True, ret="HDRS"), content)).parts[2]
    assert head.media == "message/global-headers"
    assert "Subject: Grüße" in head.text()


@pytest.mark.parametrize(
    ("mx", "shown"),
    [("mx.b.example", "mx.b.example"), ("192.0.2.1", "[192.0.2.1]"), ("2001:db8::1", "[IPv6:2001:db8::1]")],
)
def test_a_server_without_a_name_is_an_address_literal(mx: str, shown: str) -> None:
    _, (recipient,) = report(group(duty(mx=mx)))
    assert recipient["Remote-MTA"] == f"dns; {shown}"


def test_in_an_ascii_report_a_reply_is_ascii_and_the_text_has_it_all() -> None:
    of = group(duty(reply=Reply(550, "5.1.1", "Größe")))
    _, (recipient,) = report(of)
    assert recipient["Diagnostic-Code"] == "smtp; 550 5.1.1 Gr??e"
    assert "Größe" in body_of(read(made(of)).get_payload()[0])


def test_without_a_subject_or_a_message_id_there_is_still_a_report() -> None:
    found = read(made(group(subject="", message_id="", from_header=""), None))
    assert found["Subject"] == "Undeliverable"
    assert found["In-Reply-To"] is None
    assert body_of(found.get_payload()[2]) == "Date: Tue, 14 Nov 2023 22:13:20 +0000\r\n"


def test_a_recipient_that_was_never_tried_has_no_date_and_no_server() -> None:
    _, (recipient,) = report(group(duty(last_attempt_ms=None, mx=None, reply=Reply(0, None, "removed"))))
    assert set(recipient) == {"Final-Recipient", "Action", "Status", "Diagnostic-Code"}
    words = body_of(read(made(group(duty(mx=None)))).get_payload()[0])
    assert "The server said: 550" in words


@given(
    st.sampled_from([kind for kind in DutyKind if kind is not DutyKind.FORWARD]),
    st.fixed_dictionaries(
        {"subject": _HOSTILE, "message_id": _HOSTILE, "from_header": _HOSTILE, "envid": _HOSTILE | st.none()}
    ),
    st.fixed_dictionaries({"orcpt": _HOSTILE | st.none(), "mx": _HOSTILE | st.none(), "address": _HOSTILE}),
    st.builds(Reply, st.sampled_from([0, 250, 450, 550]), st.none() | _HOSTILE, _HOSTILE),
    st.booleans(),
    st.none() | st.binary(max_size=300),
)
def test_nothing_that_it_quotes_can_add_a_field_or_a_part(
    kind: DutyKind, of_message: dict[str, Any], of_duty: dict[str, Any], reply: Reply, utf8: bool, content: bytes | None
) -> None:
    """Headers, addresses and replies come from strangers, and none of them writes into our mail."""
    quoted: Duty = duty(kind, reply=reply, **of_duty)
    raw = notice(group(quoted, kind=kind, smtputf8=utf8, **of_message), content, HEAD, LIMIT)
    found = read(raw)
    allowed = {"From", "To", "Subject", "Auto-Submitted", "In-Reply-To", "References", "MIME-Version", "Content-Type"}
    assert set(found.keys()) <= allowed | {"Content-Transfer-Encoding"}
    assert len(found.get_payload()) == 3
    text, status, _ = found.get_payload()
    assert text.get_content_type() == "text/plain"
    if status.get_content_type() == "message/delivery-status":
        of_message, of_recipient = status.get_payload()
        assert of_message.get_all("Reporting-MTA") == ["dns; relay.test"]
        assert of_recipient.get_all("Action") == [kind.value]
        assert of_recipient.get_all("Final-Recipient") is not None
    _, recipients = groups(take_apart(raw).parts[1].raw.decode())
    assert [field(one, "action") for one in recipients] == [kind.value]
    assert parse(raw).kind is Kind.DSN


def test_the_time_of_a_message_is_told() -> None:
    assert f"Sent: {'Tue, 14 Nov 2023 22:13:20 +0000'}" in body_of(read(made(group(received_ms=AT))).get_payload()[0])


def test_a_report_that_some_servers_could_not_be_given_returns_the_header_alone() -> None:
    """A report that fails is told to nobody."""
    signed = b"Subject: x\r\nContent-Type: multipart/signed; boundary=b\r\n\r\n--b\r\n\r\n\xc3\xa9\r\n--b--\r\n"
    raw = notice(group(duty()), signed, HEAD, LIMIT)
    assert is_for_all(raw)
    assert read(raw).get_payload()[2].get_content_type() == "text/rfc822-headers"
    eight = notice(group(duty()), b"Subject: x\r\n\r\n\xc3\xa9\r\n", HEAD, LIMIT)
    assert read(eight).get_payload()[2].get_content_type() == "message/rfc822"
