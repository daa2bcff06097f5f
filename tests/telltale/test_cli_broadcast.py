"""`telltale broadcast`: what is wrong is told before anything is stored; what is right is stored as a whole."""

import asyncio
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from relay.broadcast.runner import TURN_FILE
from storage.broadcast_model import Run, RunState
from storage.model import LogFilter
from storage.people import POLICY
from storage.reader import Reader
from storage.store import Store
from storage.turn import Turn
from telltale.broadcast_send import chunk_size, read_rate, read_sender, read_time
from telltale.cli import run
from telltale.errors import FailureError, UsageError
from telltale.recipients import Recipients
from tests.storage.makers import NOW

Told = Callable[..., tuple[str, str]]
SEND = ("send", "m.html", "--name", "Spring", "--from", "News <news@x.test>", "--subject", "Hi", "--to", "p.csv")


@pytest.fixture
def told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Told:
    monkeypatch.chdir(tmp_path)
    Path("m.html").write_text("<p>Hello {{ name|default('you') }}</p>")
    Path("p.csv").write_text("email,name\na@x.test,Ann\nb@x.test,\n")
    Path("c.toml").write_text(f'[server]\nstate_dir = "{tmp_path}/state"\n')
    monkeypatch.setenv("TELLTALE_CONFIG", "c.toml")

    async def make() -> None:
        await (await Store.open(tmp_path / "state", POLICY)).close()

    asyncio.run(make())

    def tell(*words: str, code: int = 0) -> tuple[str, str]:
        assert run(["broadcast", *words]) == code, capsys.readouterr()
        said = capsys.readouterr()
        return said.out, said.err

    return tell


def runs(state_dir: Path) -> list[Run]:
    async def ask() -> list[Run]:
        reader = await Reader.open(state_dir)
        found = await reader.broadcasts.runs(10)
        assert await reader.log(LogFilter(), limit=1) == []
        await reader.close()
        return found

    return asyncio.run(ask())


def words(text: str) -> str:
    return " ".join(text.split())


def test_a_dry_run_counts_and_stores_nothing(told: Told, tmp_path: Path) -> None:
    Path("p.csv").write_text("email;name\na@x.test;Ann\nA@X.TEST;\na@X.test;\nnobody;\n;Eve\nb@x.test;x;y\n")
    said, _ = told(*SEND, "--dry-run")
    assert "Broadcast “Spring”, type general, from <news@x.test>" in said
    for line in ("Unsent 2 will", "Blocked 0 on", "Duplicate 1 twice", "No Email Selected 0 no", "invalid 3 lines"):
        assert line in words(said)
    assert 'line 5, email: "nobody": address has no domain' in said
    assert "line 6, email: there is no address" in said
    assert "line 7: has 3 columns, the header 2" in said
    assert runs(tmp_path / "state") == []


def test_what_is_counted_as_json_and_all_bad_lines_in_a_report(told: Told, tmp_path: Path) -> None:
    lines = ["email,name,types", "a@x.test,Ann,weekly", "a@x.test,Ann,", "a@x.test,,", *["nobody,,"] * 7]
    Path("p.csv").write_text("\n".join(lines))
    Path("m.html").write_text("<p>Hello {{ name }}</p>")
    said, _ = told(*SEND, "--dry-run", "--json", "--report", "bad.csv")
    found = json.loads(said)
    assert (found["name"], found["recipients"], found["invalid"], found["missing"]) == ("Spring", 3, 7, [])
    assert found["counts"] == {"Unsent": 1, "Blocked": 0, "Duplicate": 1, "No Email Selected": 1}
    assert found["invalid_lines"][0] == {"line": 5, "column": "email", "why": '"nobody": address has no domain'}
    report = Path("bad.csv").read_text().splitlines()
    assert (report[0], len(report)) == ("line,column,why", 8)
    assert "2 more; bad.csv has all" in told(*SEND, "--dry-run", "--report", "bad.csv")[0]
    assert "2 more; --report FILE writes all" in told(*SEND, "--dry-run")[0]
    assert "--json tells what --dry-run counts" in told(*SEND, "--json", code=2)[1]
    assert "no/bad.csv: cannot be written" in told(*SEND, "--dry-run", "--report", "no/bad.csv", code=1)[1]


def test_a_missing_field_is_told_in_json_too_and_fails(told: Told) -> None:
    Path("m.html").write_text("<p>Hello {{ city }}</p>")
    said, why = told(*SEND, "--dry-run", "--json", code=1)
    assert json.loads(said)["missing"] == [{"field": "city", "recipients": 2, "first": ["a@x.test", "b@x.test"]}]
    assert "nothing was sent" in why


def test_runs_as_json(told: Told) -> None:
    told(*SEND, "--yes", "--rate", "5/s")
    (listed,) = map(json.loads, told("list", "--json")[0].splitlines())
    assert (listed["name"], listed["state"], listed["recipients"], listed["done"]) == ("Spring", "sending", 2, 0)
    assert (listed["per_hour"], listed["note"], listed["begins"], listed["ended"]) == (18000, None, None, None)
    shown = json.loads(told("show", "Spring", "--json")[0])
    assert (shown["statuses"], shown["waiting"]) == ({}, 0)
    assert listed.items() <= shown.items()


def test_what_is_sent_waits_for_the_relay_where_none_runs(told: Told, tmp_path: Path) -> None:
    said, _ = told(*SEND, "--yes", "--rate", "5/s")
    assert "No relay runs on this host" in said
    (made,) = runs(tmp_path / "state")
    assert (made.state, made.total, made.chunks, made.per_hour, made.personal) == (RunState.SENDING, 2, 1, 18000, True)
    assert (made.name, made.type, made.sender, made.subject) == ("Spring", "general", "news@x.test", "Hi")
    listed, _ = told("list")
    assert "Spring" in listed
    shown, _ = told("show", "Spring")
    assert "Spring: sending, 0 of 2 decided, 0 waiting in the queue" in shown


def test_orders(told: Told, tmp_path: Path) -> None:
    told(*SEND, "--yes", "--schedule", "2h")
    assert runs(tmp_path / "state")[0].state is RunState.SCHEDULED
    assert told("pause", "Spring")[0] == "Spring: paused, 0 of 2 decided\n"
    assert told("pause", "Spring", code=1)[1] == "telltale: cannot pause Spring: it is paused\n"
    assert told("resume", "Spring")[0] == "Spring: goes on, 0 of 2 decided\n"
    assert runs(tmp_path / "state")[0].state is RunState.SCHEDULED
    assert told("cancel", "Spring")[0] == "Spring: cancelled, 0 of 2 decided\n"
    for command in ("show", "pause"):
        _, why = told(command, "Other", code=1)
        assert why == 'telltale: no broadcast "Other" was sent by `telltale broadcast send` or the pages\n'


def test_with_a_relay_it_is_told_that_it_goes_out(told: Told, tmp_path: Path) -> None:
    turn = Turn(tmp_path / "state" / TURN_FILE)
    assert turn.take()
    said, _ = told(*SEND, "--yes", "--detach")
    assert "It is going out." in said
    turn.give()


def test_a_missing_field_is_told_with_its_recipients_and_nothing_is_stored(told: Told, tmp_path: Path) -> None:
    Path("m.html").write_text("<p>Hello {{ name }} in {{ city }}</p>")
    _, why = told(*SEND, "--yes", code=1)
    assert 'telltale: 2 recipients lack the field "city": a@x.test, b@x.test\n' in why
    assert 'telltale: 1 recipient lacks the field "name": b@x.test\n' in why
    assert "{{ city|default('…') }}" in why
    assert runs(tmp_path / "state") == []


@pytest.mark.parametrize(
    ("change", "code", "why"),
    [
        (("--to", "no.csv"), 1, "no.csv: cannot be read: no such file"),
        (("--list", "L"), 2, "say to whom"),
        (("--from", "nobody"), 2, '--from "nobody" is no address'),
        (("--rate", "fast"), 2, '--rate "fast" is no rate'),
        (("--schedule", "later"), 2, '--schedule "later" is no point in time'),
        (("--type", "*"), 2, '--type "*": expected a type'),
        (("--name", " "), 2, "--name must be a name"),
        ((), 2, "nobody can be asked here: say --yes"),
    ],
)
def test_what_is_wrong_is_told(told: Told, change: tuple[str, ...], code: int, why: str) -> None:
    assert why in told(*SEND, *change, code=code)[1]


@pytest.mark.parametrize(
    ("file", "content", "why"),
    [
        ("m.html", b"<p>\n{{ name </p>", "m.html, line 2: unexpected"),
        ("m.html", b"\xff", "m.html: is not UTF-8 text (byte 0)"),
        ("p.csv", b"", 'p.csv: there is no column with addresses; the columns are none; expected one named "email"'),
        ("p.csv", b"name,city\n", 'the columns are "name", "city"; expected one named "email"'),
        ("p.csv", b"email\n\xff\n", "there is nobody to send to"),
        ("p.csv", b"email\n", "there is nobody to send to"),
    ],
)
def test_files_that_cannot_be_used(told: Told, file: str, content: bytes, why: str) -> None:
    Path(file).write_bytes(content)
    assert why in told(*SEND, "--yes", code=1)[1]


def test_a_template_that_fails_with_somebody_s_fields_is_told_before_anything_goes(told: Told, tmp_path: Path) -> None:
    Path("m.html").write_text("{% if age > 18 %}x{% endif %}")
    Path("p.csv").write_text("email,age\na@x.test,20\n")
    assert "for a@x.test: m.html, text: '>' not supported" in told(*SEND, "--yes", code=1)[1]
    assert runs(tmp_path / "state") == []
    Path("m.html").write_text("{% if age|int > 18 %}x{% endif %}")
    told(*SEND, "--dry-run")


def test_a_list_that_is_not_there(told: Told) -> None:
    sent = [word for word in SEND if word not in {"--to", "p.csv"}]
    assert told(*sent, "--list", "Readers", code=1)[1] == 'telltale: there is no list "Readers"\n'


def test_an_html_page_needs_a_subject_and_a_message_has_its_own(told: Told, tmp_path: Path) -> None:
    sent = [word for word in SEND if word not in {"--subject", "Hi"}]
    assert "has no Subject: say --subject" in told(*sent, "--yes", code=2)[1]
    Path("m.eml").write_bytes(b"Subject: Own\n\nText\n")
    told("send", "m.eml", *sent[2:], "--yes")
    assert runs(tmp_path / "state")[0].subject == "Own"
    Path("m.eml").write_bytes(b"no message")
    assert "m.eml: it has no header" in told("send", "m.eml", *sent[2:], "--yes", code=1)[1]


@pytest.mark.parametrize(
    ("text", "per_hour"), [("100/s", 360_000), ("600 / minute", 36_000), ("5000/h", 5000), ("240/d", 10), (None, None)]
)
def test_rates(text: str | None, per_hour: int | None) -> None:
    assert read_rate(text) == per_hour


@pytest.mark.parametrize("text", ["0/s", "1/d", "5", "x/s", "-5/s"])
def test_what_is_no_rate(text: str) -> None:
    with pytest.raises(UsageError):
        read_rate(text)


def test_times() -> None:
    assert read_time("30m", NOW) == NOW + 1_800_000
    assert read_time("2100-01-01T00:00Z", NOW) == 4_102_444_800_000
    assert read_time(None, NOW) is None
    with pytest.raises(UsageError, match="is past"):
        read_time("2001-01-01", NOW)


def test_senders() -> None:
    assert read_sender("Jörg <j@X.test>") == ("j@x.test", "=?utf-8?b?SsO2cmc=?= <j@x.test>")
    assert read_sender("j@x.test") == ("j@x.test", "j@x.test")


def test_a_step_is_no_more_than_goes_out_in_a_second() -> None:
    assert chunk_size(1000, personal=False, per_hour=None) == 500
    assert chunk_size(1 << 20, personal=False, per_hour=None) == 2000
    assert chunk_size(1000, personal=True, per_hour=None) == 100
    assert chunk_size(1000, personal=True, per_hour=3600 * 7) == 7
    assert chunk_size(1000, personal=False, per_hour=5000) == 1
    assert chunk_size(1 << 20, personal=True, per_hour=None) == 8
    assert chunk_size(64 << 20, personal=True, per_hour=None) == 1


def test_a_file_of_any_size_is_read_a_record_at_a_time(tmp_path: Path) -> None:
    path = tmp_path / "p.csv"
    path.write_bytes("\ufeffE-Mail\tName\tCity\n".encode() + b"nobody\tX\n" * 9 + b"ann@x.test\t Ann \t\n")
    read: list[tuple[int, int | None]] = []
    recipients = Recipients(path, "general", progress=lambda *so_far: read.append(so_far))
    (entry,) = recipients.entries()
    assert read == [(path.stat().st_size, path.stat().st_size)]
    assert (entry.address, entry.name, entry.fields) == ("ann@x.test", "Ann", {})
    assert (recipients.bad, len(recipients.first_bad)) == (9, 5)
    with pytest.raises(FailureError, match="cannot be read"):
        list(Recipients(tmp_path / "none.csv", "general").entries())


def test_of_several_addresses_the_first_that_takes_the_type(tmp_path: Path) -> None:
    path = tmp_path / "p.csv"
    path.write_text("email,types,email2,types2\na@x.test,weekly,b@x.test,general\nc@x.test,weekly,,\nd@x.test,,,\n")
    recipients = Recipients(path, "General")
    assert [(entry.address, entry.declines) for entry in recipients.entries()] == [
        ("b@x.test", False),
        ("c@x.test", True),
        ("d@x.test", False),
    ]
    assert recipients.bad == 0


def test_a_contact_that_has_a_key_alone_is_no_recipient(tmp_path: Path) -> None:
    path = tmp_path / "p.csv"
    path.write_text("key,email\n7,\n")
    recipients = Recipients(path, "general")
    assert list(recipients.entries()) == []
    assert [(bad.line, bad.column, bad.why) for bad in recipients.first_bad] == [(2, "email", "there is no address")]


def test_a_file_in_another_charset_is_told(tmp_path: Path) -> None:
    path = tmp_path / "p.csv"
    path.write_bytes(b"\xff\xfee")
    with pytest.raises(FailureError, match="cannot be read"):
        list(Recipients(path, "general").entries())
