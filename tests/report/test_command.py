import asyncio
import csv
import io
import json
import os
import subprocess
import sys
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

import pytest

from report.command import (
    Form,
    find_pending,
    print_log,
    print_queue,
    print_queue_count,
    print_timeline,
)
from storage.model import LogFilter, Reply
from storage.reader import StoreMissingError
from storage.status import Event, Status
from tests.report.mailing import START, Mail, id_of

ALL = LogFilter()
STATUSES = ["Blocked", "Unsent", "Sent", "Failed", "Soft Bounced", "Delivered", "Opened"]


async def logged(mail: Mail, form: Form, wanted: LogFilter = ALL, **more: Any) -> str:
    out = io.StringIO()
    options: dict[str, Any] = {"limit": None, "events": False, "follow": False} | more
    rows = await print_log(mail.state_dir, wanted, form, out=out, **options)
    text = out.getvalue()
    if form is Form.JSON:
        assert rows == len(text.splitlines())
    return text


def objects(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


async def test_the_log_as_json_is_a_recipient_a_line_newest_first(week: Mail) -> None:
    rows = objects(await logged(week, Form.JSON))
    assert [row["status"] for row in rows] == STATUSES
    failed = rows[3]
    assert (failed["recipient"], failed["code"], failed["enhanced_status"]) == (
        "no-such-user@example.test",
        550,
        "5.1.1",
    )
    assert (failed["last_attempt"], failed["mx"]) == ("2026-11-23T14:00:01.000Z", "mx1.example.test")
    opened = rows[6]
    assert (opened["opens"], opened["first_open"], opened["tracked"]) == (1, "2026-11-23T14:10:00.000Z", True)
    assert (rows[2]["tracked"], rows[2]["untracked_reason"]) == (False, "signed message")
    assert rows[4]["next_attempt"] == "2026-11-23T15:00:00.000Z"
    assert "events" not in opened


async def test_filters_and_limits_choose_the_rows(week: Mail) -> None:
    assert len(objects(await logged(week, Form.JSON, limit=2))) == 2
    wanted = LogFilter(statuses=(Status.OPENED, Status.FAILED))
    assert {row["status"] for row in objects(await logged(week, Form.JSON, wanted))} == {"Opened", "Failed"}
    assert await logged(week, Form.JSON, LogFilter(recipient="nobody@else.test")) == ""


async def test_events_are_the_timeline(week: Mail) -> None:
    wanted = LogFilter(statuses=(Status.OPENED,))
    (row,) = objects(await logged(week, Form.JSON, wanted, events=True))
    assert [event["kind"] for event in row["events"]] == ["accepted", "attempt", "hit", "hit"]
    assert [event["hit"] for event in row["events"]] == [None, None, "scanner", "person"]
    assert row["events"][1]["reply"] == "Ok: queued as 4711"


async def test_the_log_as_csv_has_a_header_even_when_empty(week: Mail) -> None:
    rows = list(csv.DictReader(io.StringIO(await logged(week, Form.CSV), newline="")))
    assert [row["status"] for row in rows] == STATUSES
    empty = await logged(week, Form.CSV, LogFilter(recipient="nobody@else.test"))
    assert empty.startswith("queue_id,recipient,")
    assert empty.count("\r\n") == 1
    with_events = list(csv.DictReader(io.StringIO(await logged(week, Form.CSV, events=True), newline="")))
    assert json.loads(with_events[0]["events"])[0]["kind"] == "accepted"


async def test_the_table_tells_people_what_became_of_each_copy(week: Mail) -> None:
    header, rule, *rows = (await logged(week, Form.TABLE)).splitlines()
    assert header.split("  ")[0] == "Recipient"
    for name in ("Recipient", "Subject", "Attempts", "Last Attempt", "Delivery Results", "Why"):
        assert name in header
    assert set(rule) == {"─"}
    assert len(rows) == len(STATUSES)
    for row, status in zip(rows, STATUSES, strict=True):
        assert status in row
    assert "no such user (550 5.1.1)" in rows[3]
    assert "the mailbox is full (452 4.2.2); next try" in rows[4]
    assert "bounced later: 5.1.1 mailbox has moved away" in rows[5]
    assert "1 open, the first" in rows[6]
    assert "Signed: Grüße [red]" in rows[2]
    assert "\x1b" not in "".join(rows)


async def test_the_table_fits_80_columns(week: Mail, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    table = await logged(week, Form.TABLE)
    assert max(len(line) for line in table.splitlines()) == 80
    for status in ("Delivered", "Soft Bounced", "Opened", "Failed"):
        assert status in table
    monkeypatch.setenv("COLUMNS", "20")
    assert await logged(week, Form.TABLE) == table


async def test_a_table_with_events_has_the_timeline_below_each_row(week: Mail) -> None:
    table = await logged(week, Form.TABLE, LogFilter(statuses=(Status.OPENED, Status.FAILED)), events=True)
    assert table.count("Recipient  ") == 1
    assert "250 2.0.0 Ok: queued as 4711 → Delivered" in table
    assert "person: no sign of a machine → Opened" in table


async def test_an_empty_table_is_nothing(mail: Mail) -> None:
    assert await logged(mail, Form.TABLE) == ""


async def test_a_long_log_comes_in_batches_below_one_header(mail: Mail) -> None:
    await mail.accept(*(f"reader{number}@example.test" for number in range(450)))
    for limit, expected in ((None, 450), (200, 200), (201, 201), (1000, 450)):
        assert len(objects(await logged(mail, Form.JSON, limit=limit))) == expected
    table = await logged(mail, Form.TABLE)
    assert table.count("Delivery Results") == 1
    assert len(table.splitlines()) == 452
    assert (await logged(mail, Form.CSV)).count("queue_id") == 1


class Heard(io.StringIO):
    """An output that tells when something was written."""

    def __init__(self) -> None:
        super().__init__()
        self.news = asyncio.Event()

    def flush(self) -> None:
        super().flush()
        self.news.set()

    async def lines(self, number: int) -> list[str]:
        async with asyncio.timeout(10):
            while len(self.getvalue().splitlines()) < number:
                self.news.clear()
                await self.news.wait()
        return self.getvalue().splitlines()


async def test_follow_prints_the_last_rows_oldest_first_and_then_what_changes(week: Mail) -> None:
    out = Heard()
    following = asyncio.create_task(
        print_log(week.state_dir, ALL, Form.JSON, limit=2, events=False, follow=True, out=out)
    )
    assert [json.loads(line)["status"] for line in await out.lines(2)] == ["Unsent", "Blocked"]
    (job,) = await week.accept("fay@example.test")
    assert json.loads((await out.lines(3))[2])["recipient"] == "fay@example.test"
    await week.settle(job, Event.DELIVER)
    assert json.loads((await out.lines(4))[3])["status"] == "Delivered"
    following.cancel()
    with pytest.raises(asyncio.CancelledError):
        await following


async def test_follow_heeds_the_filter(week: Mail) -> None:
    out = Heard()
    wanted = LogFilter(recipient="@followed.test")
    following = asyncio.create_task(
        print_log(week.state_dir, wanted, Form.JSON, limit=None, events=False, follow=True, out=out)
    )
    async with asyncio.timeout(10):
        await out.news.wait()
    await week.accept("ann@example.test")
    await week.accept("gus@followed.test")
    assert json.loads((await out.lines(1))[0])["recipient"] == "gus@followed.test"
    following.cancel()
    with pytest.raises(asyncio.CancelledError):
        await following


async def test_the_timeline_of_a_recipient_tells_the_whole_story(week: Mail) -> None:
    out = io.StringIO()
    assert await print_timeline(week.state_dir, "bob@example.test", Form.TABLE, out=out) == 1
    story = out.getvalue()
    for part in (
        "bob@example.test",
        "Delivered: taken by mx1.example.test; bounced later: 5.1.1 mailbox has moved away",
        "accepted from 192.0.2.1 → Unsent",
        "250 2.0.0 Ok: queued as 4711 → Delivered",
        "mx1.example.test [198.51.100.25], phase after-dot, TLSv1.3 TLS_AES_256_GCM_SHA384 unverified, 0.25 s",
        "report",
        "mailbox has moved away",
    ):
        assert part in story


async def test_the_timelines_of_a_queue_id_are_those_of_all_its_recipients(week: Mail) -> None:
    jobs = await week.accept("x@example.test", "y@example.test")
    out = io.StringIO()
    assert await print_timeline(week.state_dir, id_of(jobs[0]), Form.TABLE, out=out) == 2
    assert "x@example.test" in out.getvalue()
    assert "y@example.test" in out.getvalue()


async def test_a_story_tells_of_tracking_and_the_next_attempt(week: Mail) -> None:
    out = io.StringIO()
    await print_timeline(week.state_dir, "dan@example.test", Form.TABLE, out=out)
    assert "none: signed message" in out.getvalue()
    await print_timeline(week.state_dir, "cyd@other.test", Form.TABLE, out=out)
    assert "Next attempt" in out.getvalue()


async def test_the_timeline_as_json_is_a_row_with_events(week: Mail) -> None:
    out = io.StringIO()
    assert await print_timeline(week.state_dir, "ann@example.test", Form.JSON, out=out) == 2
    assert [len(row["events"]) for row in objects(out.getvalue())] == [1, 4]


@pytest.mark.parametrize("subject", ["nobody@else.test", "0000000000000", "no such thing"])
async def test_of_what_nobody_knows_nothing_is_printed(week: Mail, subject: str) -> None:
    out = io.StringIO()
    assert await print_timeline(week.state_dir, subject, Form.TABLE, out=out) == 0
    assert out.getvalue() == ""


async def test_the_queue_lists_what_waits_and_why(week: Mail) -> None:
    out = io.StringIO()
    assert await print_queue(week.state_dir, ALL, Form.TABLE, limit=None, out=out) == 2
    listed = out.getvalue()
    assert "news@sender.test → cyd@other.test" in listed
    assert "(the mailbox is full (452 4.2.2))" in listed
    assert "trying now" in listed
    assert "21 B" in listed


async def test_the_queue_as_json_holds_only_what_waits(week: Mail) -> None:
    out = io.StringIO()
    assert await print_queue(week.state_dir, ALL, Form.JSON, limit=None, out=out) == 2
    rows = objects(out.getvalue())
    assert [row["recipient"] for row in rows] == ["eve@example.test", "cyd@other.test"]
    assert (rows[1]["size"], rows[1]["held"], rows[1]["received"]) == (21, False, "2026-11-23T14:00:00.000Z")
    assert rows[1]["reason"] == "the mailbox is full (452 4.2.2)"
    assert rows[0]["next_attempt"] is None


async def test_an_empty_queue_is_a_header(mail: Mail) -> None:
    out = io.StringIO()
    assert await print_queue(mail.state_dir, ALL, Form.TABLE, limit=None, out=out) == 0
    assert len(out.getvalue().splitlines()) == 1


async def test_held_recipients_are_shown_as_held(week: Mail) -> None:
    held = await find_pending(week.state_dir, "cyd@other.test")
    assert await week.store.hold(held, START) == 1
    out = io.StringIO()
    await print_queue(week.state_dir, LogFilter(recipient="@other.test"), Form.TABLE, limit=None, out=out)
    assert " held " in out.getvalue()
    count = io.StringIO()
    await print_queue_count(week.state_dir, ALL, Form.JSON, out=count)
    assert json.loads(count.getvalue()) == {
        "total": 2,
        "held": 1,
        "statuses": {"Soft Bounced": 1, "Unsent": 1},
        "domains": {"example.test": 1, "other.test": 1},
    }
    table = io.StringIO()
    assert await print_queue_count(week.state_dir, ALL, Form.TABLE, out=table) == 2
    assert "1  held" in table.getvalue()


async def test_many_domains_are_counted_and_the_largest_shown(mail: Mail) -> None:
    await mail.accept(*(f"a@d{number}.test" for number in range(25)), "b@d7.test")
    out = io.StringIO()
    assert await print_queue_count(mail.state_dir, ALL, Form.TABLE, out=out) == 26
    lines = [" ".join(line.split()) for line in out.getvalue().splitlines()]
    assert lines[0] == "26 waiting"
    assert lines[2] == "2 @d7.test"
    assert lines[-1] == "5 in 5 other domains"


async def test_pending_recipients_are_found_by_queue_id_address_and_domain(week: Mail) -> None:
    jobs = await week.accept("hal@example.test", "ida@example.test")
    ids = {job.recipient_id for job in jobs}
    assert set(await find_pending(week.state_dir, id_of(jobs[0]))) == ids
    assert await find_pending(week.state_dir, "hal@example.test") == [jobs[0].recipient_id]
    assert ids < set(await find_pending(week.state_dir, "@example.test"))
    assert await find_pending(week.state_dir, "ann@example.test") == []
    assert await find_pending(week.state_dir, "example") == []


Print = Callable[[Path, TextIO], Awaitable[int]]


@pytest.mark.parametrize(
    "printing",
    [
        lambda state_dir, out: print_queue(state_dir, ALL, Form.CSV, limit=None, out=out),
        lambda state_dir, out: print_queue_count(state_dir, ALL, Form.CSV, out=out),
        lambda state_dir, out: print_timeline(state_dir, "a@b", Form.CSV, out=out),
    ],
)
async def test_only_the_log_is_printed_as_csv(mail: Mail, printing: Print) -> None:
    with pytest.raises(ValueError, match="CSV"):
        await printing(mail.state_dir, io.StringIO())


async def test_without_a_store_there_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(StoreMissingError):
        await print_log(tmp_path, ALL, Form.JSON, limit=None, events=False, follow=False, out=io.StringIO())


@dataclass
class Piped:
    """The program as a process of its own, its output read like `head` does."""

    state_dir: Path

    def run(self, form: str, lines: int, **environment: str) -> tuple[list[str], str, int]:
        code = (
            "import asyncio, sys; from pathlib import Path; from report.command import *\n"
            "from storage.model import LogFilter\n"
            f"asyncio.run(print_log(Path({str(self.state_dir)!r}), LogFilter(), Form({form!r}),"
            " limit=None, events=False, follow=False, out=sys.stdout))"
        )
        with subprocess.Popen(
            [sys.executable, "-c", code],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=Path(__file__).parents[2],
            env=os.environ | environment,
        ) as child:
            assert child.stdout
            assert child.stderr
            read = [child.stdout.readline() for _ in range(lines)]
            child.stdout.close()
            errors = child.stderr.read()
            return read, errors, child.wait()


@pytest.mark.parametrize("form", ["table", "json", "csv"])
async def test_a_reader_that_goes_away_ends_the_output_quietly(mail: Mail, form: str) -> None:
    await mail.accept(*(f"reader{number}@example.test" for number in range(3000)))
    lines, errors, code = await asyncio.to_thread(Piped(mail.state_dir).run, form, 2)
    assert all(lines)
    assert (errors, code) == ("", 0)


async def test_a_terminal_that_lacks_a_character_gets_its_escape(week: Mail) -> None:
    lines, errors, code = await asyncio.to_thread(
        Piped(week.state_dir).run, "table", 5, PYTHONIOENCODING="ascii", PYTHONUTF8="0"
    )
    assert any("Gr\\xfc\\xdfe" in line for line in lines)
    assert (errors, code) == ("", 0)


async def test_a_deferral_without_words_has_no_reason_line(mail: Mail) -> None:
    (job,) = await mail.accept("jim@example.test")
    await mail.settle(job, Event.DEFER, Reply(0, None, ""), next_ms=START)
    out = io.StringIO()
    await print_queue(mail.state_dir, ALL, Form.TABLE, limit=None, out=out)
    assert len(out.getvalue().splitlines()) == 2
    assert "due now" in out.getvalue()
