"""relay/receive/headers.py: one pass over the header section; all that is not removed stays as it came."""

import time
from email import message_from_bytes, policy
from email.utils import parsedate_to_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.receive.headers import MAX_LINES, HeaderFault, Headers, Trace, mail_date, mend, protocol, scan

TRACE = Trace(
    "client.example", "192.0.2.7", "ESMTPS", "TLSv1.3 with cipher X", "relay.example", "QID", 1_700_000_000_123
)


def scanned(content: bytes) -> Headers:
    headers = scan(content)
    assert isinstance(headers, Headers)
    return headers


FULL = (
    b"Return-Path: <x@y.example>\r\n"
    b"Received: from a\r\n\tby b; today\r\n"
    b"From: Ann <ann@a.example>\r\n"
    b"BCC: secret@a.example,\r\n more@a.example\r\n"
    b"Subject: =?utf-8?q?Gr=C3=BC=C3=9Fe?=\r\n and more\r\n"
    b"Resent-Bcc:hidden@a.example\r\n"
    b"X-Track-Opens : No\r\n"
    b"X-Broadcast: Spring\r\n"
    b"X-Broadcast-Type: general\r\n"
    b"Date: Mon, 1 Jan 2024 00:00:00 +0000\r\n"
    b"message-id: <id@a.example> (comment)\r\n"
    b"X-Bcc: stays\r\n"
    b"\r\n"
    b"Bcc: part of the text\r\n"
)


def test_what_a_header_says() -> None:
    headers = scanned(FULL)
    assert headers.received == 1
    assert headers.subject == "Grüße and more"
    assert headers.message_id == "<id@a.example>"
    assert headers.from_fields == (b"Ann <ann@a.example>",)
    assert (headers.track_opens, headers.broadcast.name, headers.broadcast.type) == ("No", "Spring", "general")
    assert headers.opted_out
    assert headers.has_date
    assert headers.has_message_id


def test_fields_that_must_not_go_out_are_cut_and_the_rest_stays() -> None:
    mended = mend(FULL, scanned(FULL), TRACE)
    assert mended == (
        b"Received: from client.example ([192.0.2.7])\r\n"
        b"\t(using TLSv1.3 with cipher X)\r\n"
        b"\tby relay.example (Telltale) with ESMTPS id QID;\r\n"
        b"\tTue, 14 Nov 2023 22:13:20 +0000\r\n"
        b"Received: from a\r\n\tby b; today\r\n"
        b"From: Ann <ann@a.example>\r\n"
        b"Subject: =?utf-8?q?Gr=C3=BC=C3=9Fe?=\r\n and more\r\n"
        b"Date: Mon, 1 Jan 2024 00:00:00 +0000\r\n"
        b"message-id: <id@a.example> (comment)\r\n"
        b"X-Bcc: stays\r\n"
        b"\r\n"
        b"Bcc: part of the text\r\n"
    )


def test_a_message_id_and_a_date_are_added_where_missing() -> None:
    mended = mend(b"Subject: x\r\n\r\nText\r\n", scanned(b"Subject: x\r\n\r\nText\r\n"), TRACE)
    message = message_from_bytes(mended, policy=policy.default)
    assert message["Message-ID"] == "<QID@relay.example>"
    assert message["Date"] == "Tue, 14 Nov 2023 22:13:20 +0000"
    assert message["Subject"] == "x"
    assert message.get_content() == "Text\r\n"


@pytest.mark.parametrize(
    ("content", "kept"),
    [
        (b"", b"\r\n"),
        (b"\r\nText\r\n", b"\r\nText\r\n"),
        (b"Text without any field\r\n", b"\r\nText without any field\r\n"),
        (b" folded\r\nFrom: a@b\r\n\r\n", b"\r\n folded\r\nFrom: a@b\r\n\r\n"),
        (b"A: b\r\n", b"A: b\r\n"),
        (b"A: b", b"A: b"),
        (b"Bcc: x\r\n", b""),
        (b"Bcc: x", b""),
        (b"Bcc: x\r\n\r\nText", b"\r\nText"),
        (b"Bcc    \t: x\r\n\ty\r\nA: b\r\n\r\n", b"A: b\r\n\r\n"),
        (b"From ann@a.example Mon Jan  1 00:00:00 2024\r\nA: b\r\n\r\nText", b"A: b\r\n\r\nText"),
        (b"From ann@a.example", b"\r\nFrom ann@a.example"),
        (b"A: b\r\nno field\r\nBcc: c\r\n\r\nText", b"A: b\r\nno field\r\n\r\nText"),
        (b"A: b\r\n\nText\r\n\r\nBcc: c", b"A: b\r\n\nText\r\n\r\nBcc: c"),
    ],
)
def test_odd_sections_stay_as_they_came(content: bytes, kept: bytes) -> None:
    mended = mend(content, scanned(content), TRACE)
    assert mended.endswith(kept)
    assert mended[: len(mended) - len(kept)].startswith(b"Received: from client.example")
    assert mended[: len(mended) - len(kept)].endswith(b"Date: Tue, 14 Nov 2023 22:13:20 +0000\r\n")


def test_lines_of_unix_stay_lines_of_unix() -> None:
    content = b"Subject: x\nBcc: y\n z\n\nText\n"
    mended = mend(content, scanned(content), TRACE)
    assert b"\r" not in mended
    assert mended.endswith(b"+0000\nSubject: x\n\nText\n")


def test_all_from_fields_are_known() -> None:
    """Mail clients differ in which of two they show."""
    headers = scanned(b"From: a@x\r\nfrom : b@x\r\nno field\r\nFROM:\r\n c@x\r\n\r\nFrom: d@x\r\n")
    assert headers.from_fields == (b"a@x", b"b@x", b"c@x")


def test_every_received_field_is_counted() -> None:
    assert scanned(b"Received: x\r\n\ty\r\n" * 51 + b"\r\nReceived: x\r\n").received == 51


@pytest.mark.parametrize("value", [b"no", b"No", b" NO ", b"0", b"false"])
def test_an_opt_out(value: bytes) -> None:
    assert scanned(b"X-Track-Opens:" + value + b"\r\n\r\n").opted_out


@pytest.mark.parametrize(
    "content", [b"X-Track-Opens: yes\r\n\r\n", b"X-Track-Opens:\r\n\r\n", b"\r\n", b"\r\nX-Track-Opens: no"]
)
def test_no_opt_out(content: bytes) -> None:
    assert not scanned(content).opted_out


@pytest.mark.parametrize(
    ("helo", "client", "written"),
    [
        ("a.example", "192.0.2.1", b"from a.example ([192.0.2.1])"),
        ("[192.0.2.1]", "192.0.2.1", b"from [192.0.2.1] ([192.0.2.1])"),
        ("a", "2001:db8::1", b"from a ([IPv6:2001:db8::1])"),
        ("a", "fe80::1%eth0", b"from a ([IPv6:fe80::1])"),
        ("", "192.0.2.1", b"from unknown ([192.0.2.1])"),
        ("a) by (b;\r\nX: y ü", "192.0.2.1", b"from a??by??b???X:?y?? ([192.0.2.1])"),
        ("a" * 9999, "192.0.2.1", b"from " + b"a" * 255 + b" ("),
    ],
)
def test_what_a_client_says_of_itself_cannot_forge_a_field(helo: str, client: str, written: bytes) -> None:
    trace = Trace(helo, client, "ESMTP", None, "relay.example", "QID", 0)
    mended = mend(b"A: b\r\n\r\n", scanned(b"A: b\r\n\r\n"), trace)
    assert written in mended
    assert b"using" not in mended
    assert all(len(line) <= 998 for line in mended.split(b"\r\n"))


@pytest.mark.parametrize(
    ("facts", "word"),
    [
        ((False, False, False, False), "SMTP"),
        ((True, False, False, False), "ESMTP"),
        ((True, False, True, False), "ESMTPS"),
        ((True, False, False, True), "ESMTPA"),
        ((True, False, True, True), "ESMTPSA"),
        ((True, True, False, False), "UTF8SMTP"),
        ((True, True, True, True), "UTF8SMTPSA"),
    ],
)
def test_the_word_after_with(facts: tuple[bool, bool, bool, bool], word: str) -> None:
    extended, utf8, tls, authenticated = facts
    assert protocol(extended=extended, utf8=utf8, tls=tls, authenticated=authenticated) == word


@given(st.integers(0, 4_000_000_000_000))
def test_dates_are_those_of_the_rfc(at_ms: int) -> None:
    assert int(parsedate_to_datetime(mail_date(at_ms)).timestamp()) == at_ms // 1000


FIELDS = st.lists(
    st.one_of(
        st.sampled_from(
            [b"Bcc: x\r\n", b"bcc:\r\n y\r\n", b"Received: a\r\n", b"From: a@b\r\n", b"no field\r\n", b" fold\r\n"]
        ),
        st.binary(max_size=20).map(lambda line: b"X-" + line.translate(None, b"\r\n") + b"\r\n"),
    ),
    max_size=10,
).map(b"".join)


@given(st.one_of(FIELDS, st.binary(max_size=200)), st.binary(max_size=50))
def test_what_is_cut_and_added_is_all_that_changes(section: bytes, body: bytes) -> None:
    content = section + b"\r\n" + body
    headers = scanned(content)
    mended = mend(content, headers, TRACE)
    kept, at = b"", headers.begins
    for start, stop in headers.removed:
        assert at <= start < stop <= headers.end
        kept += content[at:start]
        at = stop
    kept += content[at:]
    assert mended.endswith(kept)
    added = mended[: len(mended) - len(kept)]
    assert added.startswith(b"Received: from client.example")
    assert not scanned(mended).removed or not headers.separated


@given(FIELDS)
def test_mending_is_done_once(section: bytes) -> None:
    """What was removed does not come back, what was added is not added again."""
    content = b"A: b\r\n" + section + b"\r\nText"
    once = mend(content, scanned(content), TRACE)
    headers = scanned(once)
    assert (headers.removed, headers.has_date, headers.has_message_id) == ((), True, True)
    assert headers.received == scanned(content).received + 1


@pytest.mark.parametrize(
    "content",
    [
        b"a:b\n" * (MAX_LINES + 1) + b"\n",
        b"a: " + b"x" * 600_000 + b"\r\n\r\n",
        b"x" * 600_000,
        b"\n:" * 400_000 + b"x",
    ],
)
def test_a_section_that_is_too_big_is_refused_or_none(content: bytes) -> None:
    assert isinstance(scan(content), HeaderFault) or content.startswith(b"\n")


@pytest.mark.parametrize(
    "piece", [b":", b"a:b\r\n", b"\r\n ", b" ", b"Bcc:\r\n", b"Subject: =?utf-8?q?", b"From: (\r\n", b"\r", b"a"]
)
def test_hostile_sections_cost_linear_time(piece: bytes) -> None:
    content = b"A: b\r\n" + piece * (500_000 // len(piece)) + b"\r\n\r\n" + piece * (500_000 // len(piece))
    begun = time.perf_counter()
    headers = scan(content)
    if isinstance(headers, Headers):
        mend(content, headers, TRACE)
    assert time.perf_counter() - begun < 1


def test_a_message_made_here_came_from_nobody() -> None:
    trace = Trace("", "", "ESMTP", None, "relay.example", "QID", 1_700_000_000_123)
    mended = mend(b"Subject: x\r\n\r\n", scanned(b"Subject: x\r\n\r\n"), trace)
    assert mended.startswith(
        b"Received: by relay.example (Telltale) id QID;\r\n\tTue, 14 Nov 2023 22:13:20 +0000\r\nMessage-ID: <QID@"
    )
