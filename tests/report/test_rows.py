import csv
import io
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from report.rows import COLUMNS, as_object, csv_header, csv_line, event_object, json_line
from storage.model import HitKind, LogRow, Phase, Reply, TimelineEntry, TimelineKind
from storage.status import Status
from storage.table import text_of
from tests.report.mailing import a_row

# 2026-11-23T14:00:00.123Z
AT = 1_795_442_400_123


def row(subject: str = "Hello", recipient: str = "ann@example.test", **more: object) -> LogRow:
    facts: dict[str, object] = {
        "status": Status.SOFT_BOUNCED,
        "attempts": 2,
        "last_attempt_ms": AT,
        "next_attempt_ms": AT + 60_000,
        "code": 452,
        "enhanced_status": "4.2.2",
        "diagnostic": "over quota",
        "mx": "mx.test",
    }
    return a_row(subject=subject, recipient=recipient, **(facts | more))


ATTEMPT = TimelineEntry(
    AT,
    TimelineKind.ATTEMPT,
    "452 4.2.2 over quota",
    Status.SOFT_BOUNCED,
    phase=Phase.RCPT,
    reply=Reply(452, "4.2.2", "over quota"),
    mx="mx.test",
    address="198.51.100.25",
    source="192.0.2.25",
    tls="TLSv1.3",
    duration_ms=250,
)


def test_an_object_has_the_names_that_programs_rely_on() -> None:
    assert as_object(row()) == {
        "queue_id": "1M0Z9QM5bRK00",
        "recipient": "ann@example.test",
        "sender": "news@sender.test",
        "subject": "Hello",
        "broadcast": None,
        "status": "Soft Bounced",
        "attempts": 2,
        "last_attempt": "2026-11-23T14:00:00.123Z",
        "next_attempt": "2026-11-23T14:01:00.123Z",
        "code": 452,
        "enhanced_status": "4.2.2",
        "diagnostic": "over quota",
        "mx": "mx.test",
        "opens": 0,
        "first_open": None,
        "tracked": True,
        "untracked_reason": None,
        "category": None,
    }
    assert tuple(as_object(row())) == COLUMNS


def test_what_is_not_there_is_null() -> None:
    made = as_object(row(code=0, diagnostic=""))
    assert (made["code"], made["diagnostic"]) == (None, None)


def test_events_come_where_they_are_asked_for() -> None:
    assert as_object(row(), [])["events"] == []
    assert as_object(row(), [ATTEMPT])["events"] == [
        {
            "at": "2026-11-23T14:00:00.123Z",
            "kind": "attempt",
            "text": "452 4.2.2 over quota",
            "status": "Soft Bounced",
            "phase": "rcpt",
            "code": 452,
            "enhanced_status": "4.2.2",
            "reply": "over quota",
            "mx": "mx.test",
            "address": "198.51.100.25",
            "tls": "TLSv1.3",
            "duration_ms": 250,
            "hit": None,
            "category": None,
            "bounce": None,
            "source": "192.0.2.25",
        }
    ]
    hit = event_object(TimelineEntry(AT, TimelineKind.HIT, "Gmail", None, hit=HitKind.PROXY))
    assert (hit["hit"], hit["status"], hit["code"], hit["reply"]) == ("mail proxy", None, None, None)


@given(st.text())
def test_a_line_of_json_is_one_line_to_every_reader(subject: str) -> None:
    line = json_line(as_object(row(subject)))
    assert len(line.splitlines()) == 1
    assert line.isascii()
    assert json.loads(line)["subject"] == subject


def test_a_csv_has_the_same_columns() -> None:
    table = list(csv.reader(io.StringIO(csv_header(events=False) + csv_line(row(tracked=False)), newline="")))
    assert tuple(table[0]) == COLUMNS
    made = dict(zip(*table, strict=True))
    assert (made["status"], made["broadcast"], made["tracked"]) == ("Soft Bounced", "", "false")
    assert csv_line(row()).endswith("\r\n")


def test_the_events_of_a_csv_are_json_in_a_cell() -> None:
    table = list(csv.DictReader(io.StringIO(csv_header(events=True) + csv_line(row(), [ATTEMPT]), newline="")))
    assert json.loads(table[0]["events"])[0]["kind"] == "attempt"


@pytest.mark.parametrize("subject", ["=cmd|' /C calc'!A0", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "＝1"])
def test_no_cell_is_a_formula(subject: str) -> None:
    made = next(iter(csv.DictReader(io.StringIO(csv_header(events=False) + csv_line(row(subject)), newline=""))))
    assert made["subject"] == "'" + subject


@given(st.text().filter(lambda text: "\0" not in text), st.text().filter(lambda text: "\0" not in text))
def test_a_csv_gives_the_text_back(subject: str, recipient: str) -> None:
    lines = csv_header(events=False) + csv_line(row(subject, recipient))
    made = next(iter(csv.DictReader(io.StringIO(lines, newline=""))))
    assert (text_of(made["subject"]), text_of(made["recipient"])) == (subject, recipient)
