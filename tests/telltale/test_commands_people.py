"""`telltale contact …`, `telltale list …`, `telltale block …`: people, from the command line."""

import asyncio
import csv
import io
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from storage.contact_reader import ContactFilter
from storage.people import POLICY, Blocked, NewAddress, NewContact, Source
from storage.reader import Reader
from storage.store import Store
from telltale.cli import run

Told = Callable[..., tuple[str, str]]


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "c.toml"
    path.write_text(f'[server]\nhostname = "relay.test"\nstate_dir = "{tmp_path}/state"\n')
    monkeypatch.setenv("TELLTALE_CONFIG", str(path))
    return path


@pytest.fixture
def told(config: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Told:
    def tell(*words: str, code: int = 0, stdin: str = "") -> tuple[str, str]:
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(stdin.encode()), "utf-8"))
        assert run(words) == code, capsys.readouterr()
        said = capsys.readouterr()
        return said.out, said.err

    return tell


def test_an_import_tells_what_it_left_out_and_can_be_repeated(told: Told, tmp_path: Path) -> None:
    text = "".join(
        f"{'x at y' if number % 100 == 7 else f'{number}@x.example'};N{number};\r\n" for number in range(9000)
    )
    file = tmp_path / "people.csv"
    file.write_text(f"Mail;Name;Stadt\r\n{text}Ärger@x.example;;\r\n", encoding="latin-1")
    words = ("contact", "import", str(file), "--encoding", "latin-1", "--list", "All")
    out, err = told(*words, "--report", str(tmp_path / "bad.csv"))
    assert out == "8,911 added, 0 updated, 0 unchanged, 90 left out\n"
    assert err.splitlines()[0] == f'{file}, line 9: Mail: "x at y": malformed address'
    assert err.splitlines()[-1] == f"… and 70 more; {tmp_path}/bad.csv has all"
    bad = (tmp_path / "bad.csv").read_text().splitlines()
    assert bad[:2] == ["line,column,why", '9,Mail,"""x at y"": malformed address"']
    assert len(bad) == 91
    assert told(*words)[0] == "0 added, 0 updated, 8,911 unchanged, 90 left out\n"
    assert told("list", "show")[0] == "All  8,911\n"


def test_a_file_without_a_header_has_numbers_for_columns(told: Told, tmp_path: Path) -> None:
    file = tmp_path / "people.csv"
    file.write_text("Ann;ann@x.example;Ulm\n;nobody;\n\nBob;bob@x.example;Bonn;more\n")
    words = (
        "contact",
        "import",
        str(file),
        "--no-header",
        "--map",
        "2=email",
        "--map",
        "1=name",
        "--map",
        "3=field:City",
    )
    out, err = told(*words)
    assert out == "1 added, 0 updated, 0 unchanged, 2 left out\n"
    assert [line.partition(", ")[2] for line in err.splitlines()] == [
        'line 2: 2: "nobody": address has no domain',
        "line 4: has 4 columns, the header 3",
    ]
    assert json.loads(told("contact", "show", "ann@x.example", "--json")[0])["fields"] == {"City": "Ulm"}
    assert 'the columns are "1", "2", "3": name one' in told("contact", "import", str(file), "--no-header", code=2)[1]


def test_what_is_exported_is_imported_unchanged(told: Told, tmp_path: Path) -> None:
    told(
        "contact",
        "import",
        "-",
        stdin="email,email2,types2,name,x\na@x.example,b@x.example,none,A,1\nc@x.example,,,,\n",
    )
    table, json_ = told("contact", "export")[0], told("contact", "export", "--json")[0]
    assert table.splitlines()[0] == "key,name,email,types,email2,types2,list,x"
    assert json.loads(json_.splitlines()[0])["addresses"][1] == {"address": "b@x.example", "types": []}
    for text in (table, json_):
        assert told("contact", "import", "-", stdin=text)[0] == "0 added, 0 updated, 2 unchanged, 0 left out\n"
    assert told("contact", "export", "c@")[0].splitlines()[1:] == [",,c@x.example,*,,,,"]


def test_a_contact_is_added_changed_shown_and_removed(told: Told) -> None:
    told("contact", "add", "Ann@X.example", "b@x.example", "--types", "news", "--name", "A\x1b[31m", "--list", "L")
    assert "already" in told("contact", "add", "ann@x.example", code=1)[1]
    told("contact", "set", "b@x.example", "--types", "*", "--key", "7", "--field", "a=1", "--off-list", "l")
    assert told("contact", "show", "7")[0].splitlines() == [
        "A [31m key 7",
        "  Ann@x.example takes news",
        "  b@x.example takes all broadcasts",
        "  a: 1",
    ]
    told("unsubscribed", "add", "b@x.example", "--type", "News")
    told("block", "add", "b@x.example")
    shown = told("contact", "show", "b@x.example")[0]
    assert "unsubscribed from news (operator" in shown
    assert "blocked since" in shown
    assert told("unsubscribed", "remove", "b@x.example", "--type", "news")[0] == "b@x.example takes news\n"
    assert "is not unsubscribed" in told("unsubscribed", "remove", "b@x.example", code=1)[1]
    assert told("contact", "search", "@x.example")[0].startswith("Ann@x.example, b@x.example")
    told("contact", "remove", "7")
    assert "there is no contact" in told("contact", "show", "7", code=1)[1]


def test_who_unsubscribed_is_written_the_newest_first_and_read_back(told: Told, tmp_path: Path) -> None:
    assert told("unsubscribed", "add", "a@x.example", "--type", "news")[0] == "1 unsubscribed from news\n"
    assert told("unsubscribed", "add", "a@x.example", "b@y.example")[0] == "2 unsubscribed from all broadcasts\n"
    assert "1 were already" in told("unsubscribed", "add", "b@y.example", "c@y.example")[0]
    told("unsubscribed", "remove", "c@y.example")
    table = told("unsubscribed", "export")[0]
    head, *lines = table.splitlines()
    assert head == "address,type,at,source,broadcast"
    assert [line.split(",")[:2] for line in lines] == [
        ["a@x.example", "*"],
        ["b@y.example", "*"],
        ["a@x.example", "news"],
    ]
    (one,) = [json.loads(line) for line in told("unsubscribed", "export", "@Y.example", "--json")[0].splitlines()]
    assert (one["address"], one["type"], one["broadcast"]) == ("b@y.example", "*", None)
    assert len(told("unsubscribed", "export", "--type", "News")[0].splitlines()) == 2
    assert "cannot both" in told("unsubscribed", "export", "--json", "--csv", code=2)[1]
    assert told("unsubscribed", "import", "-", stdin=table)[0] == "0 unsubscribed, 3 were already, 0 left out\n"
    for address in ("a@x.example", "b@y.example"):
        told("unsubscribed", "remove", address)
    told("unsubscribed", "import", "-", stdin=table)
    assert sorted(told("unsubscribed", "export")[0].splitlines()) == sorted(table.splitlines())


def test_who_unsubscribed_elsewhere_is_imported(told: Told, tmp_path: Path) -> None:
    """Another service's export, and a mere list; what cannot be meant is told, with its line."""
    other = (
        "Email Address,First Name,UNSUB_TIME\na@x.example,Ann,2024-05-06 07:08:09\nnobody,,\nb@x.example,,yesterday\n"
    )
    report = tmp_path / "bad.csv"
    out, err = told("unsubscribed", "import", "-", "--report", str(report), stdin=other)
    assert out == "1 unsubscribed, 0 were already, 2 left out\n"
    assert "line 3" in err
    assert report.read_text().splitlines()[2] == '4,unsub_time,"""yesterday"" is no ISO time"'
    assert ",*,2024-05-06T" in told("unsubscribed", "export")[0]
    told("unsubscribed", "import", "-", "--type", "News", stdin="# left\nc@x.example\n\n")
    assert told("unsubscribed", "export", "c@")[0].splitlines()[1].startswith("c@x.example,news,")
    bad = "address,type\nd@x.example,\x07\n"
    assert "nothing was imported" in told("unsubscribed", "import", "-", stdin=bad, code=1)[1]
    assert "--type" in told("unsubscribed", "add", "d@x.example", "--type", "*", code=2)[1]


def test_lists(told: Told) -> None:
    told("contact", "add", "a@x.example", "--list", "One")
    told("contact", "add", "b@x.example")
    assert told("list", "add", "Two", "a@x.example", "b@x.example")[0] == "2 on Two\n"
    assert [json.loads(line) for line in told("list", "show", "--json")[0].splitlines()] == [
        {"name": "One", "contacts": 1}, {"name": "Two", "contacts": 2},
    ]  # fmt: skip
    assert told("list", "remove", "two", "a@x.example")[0] == "1 taken off two\n"
    assert "is not on Two" in told("list", "remove", "Two", "a@x.example", code=1)[1]
    told("list", "remove", "One")
    assert "there is no list" in told("list", "remove", "One", code=1)[1]
    assert "there is no list" in told("contact", "search", "--list", "One", code=1)[1]
    assert told("contact", "search", "--list", "Two")[0] == "b@x.example  on Two\n"
    assert "cannot be the name" in told("list", "add", "a,b", "a@x.example", code=2)[1]


@pytest.mark.parametrize(
    ("words", "code", "sentence"),
    [
        (("contact", "import", "/none"), 1, "/none: cannot be read: no such file or directory"),
        (("contact", "import", "-", "--map", "x"), 2, '--map "x": expected HEADER=COLUMN'),
        (("contact", "import", "-", "--map", "x=y"), 2, '--map "x=y": expected email, email2'),
        (("contact", "import", "-", "--format", "xml"), 2, '--format "xml" is not known'),
        (("contact", "import", "-", "--encoding", "klingon"), 2, '--encoding "klingon" is not known'),
        (("contact", "import", "-", "--delimiter", "ab"), 2, '--delimiter "ab" is not one character'),
        (("contact", "import", "-"), 2, "standard input: there is no column with addresses"),
        (("contact", "import", "-", "--report", "/none/x"), 1, "/none/x: cannot be written"),
        (("contact", "export", "--csv", "--json"), 2, "cannot both be meant"),
        (("contact", "add", "x"), 2, '"x": address has no domain'),
        (("block", "add", "x"), 2, '"x" is neither an address nor "@domain"'),
        (("block", "add", "a@x.example", "--for", "soon"), 2, '--for "soon" is no duration'),
        (("block", "add", "a@x.example", "--for", "0"), 2, "--for 0 blocks nobody"),
        (("block", "add", "a@x.example", "--for", "10000000d"), 2, "longer than anything lasts"),
        (("block", "add", "a@x.example", "--reason", "a\nb"), 2, "--reason is one line"),
        (("block", "search", "--source", "x"), 2, '--source "x" is not one of manual'),
        (("block", "undo"), 2, "when did it begin?"),
        (("block", "undo", "--since", "2h", "--until", "25:00"), 2, '--until "25:00" is no point in time'),
        (("block", "remove", "a@x.example"), 1, "not on the list"),
        (("block", "import", "/none"), 1, "/none: cannot be read"),
    ],
)
def test_what_cannot_be_meant_is_told_in_a_sentence(
    told: Told, words: tuple[str, ...], code: int, sentence: str
) -> None:
    assert sentence in told(*words, code=code, stdin="a,b\n1,2\n")[1]


def test_the_blocked_list_is_filled_searched_exported_and_imported(told: Told, tmp_path: Path) -> None:
    assert told("block", "add", "a@x.example", "@Y.example", "--reason", "asked", "--for", "30d")[0] == "2 blocked\n"
    assert told("block", "add", "A@x.example", "--for", "1d")[0] == "0 blocked, 1 were already\n"
    exported = told("block", "export")[0]
    assert told("block", "import", "-", stdin=exported)[0].startswith("0 blocked, 2 were already")
    out, err = told("block", "import", "-", stdin="# ours\n\nb@z.example\nfoo\n@z.example\n")
    assert (out, err) == (
        "2 blocked, 0 were already or are past, 1 left out\n",
        "standard input, line 4: address has no domain\n",
    )
    assert told("block", "search", "@z.example")[0].split("  ")[:2] == ["@z.example", "import"]
    assert len(told("block", "search", "--json")[0].splitlines()) == 4
    assert told("block", "remove", "b@z.example")[0] == "1 removed\n"
    assert "  removed by " in told("block", "show", "b@z.example")[0]
    assert "is not blocked" in told("block", "show", "b@q.example")[0]
    assert "nothing was imported" in told("block", "import", "-", stdin="foo\n", code=1)[1]


def test_a_file_of_addresses_to_block_is_read_line_by_line(told: Told, tmp_path: Path) -> None:
    file = tmp_path / "blocked.csv"
    file.write_text(
        "Category;Email;expires;reason\nuser unknown;a@x.example;2999-01-01T00:00:00Z;gone\n;b@x.example;soon;\n\n"
        f";@x;;\n;;;no address\n{'y' * 200_000};c@x.example;;\n;d@x.example;2001-01-01;\n;e@x.example\n"
    )
    out, err = told("block", "import", str(file))
    assert out == "3 blocked, 1 were already or are past, 3 left out\n"
    assert [line.partition(", line ")[2] for line in err.splitlines()] == [
        '3: expires "soon" is no ISO time',
        "6: there is no address",
        "7: cannot be read: field larger than field limit (131072)",
    ]
    assert told("block", "import", "-", stdin="email,created\nf@x.example,once\n", code=1)[1].startswith(
        'standard input, line 2: created "once" is no ISO time'
    )
    assert "until 2999-01-01T00:00:00Z  user unknown: gone" in told("block", "search", "a@x")[0]
    assert told("block", "search", "--category", "user unknown")[0].startswith("a@x.example")
    assert told("block", "export", "--json", "a@")[0].startswith('{"address": "a@x.example"')
    assert "cannot both be meant" in told("block", "export", "--json", "--csv", code=2)[1]
    assert told("block", "add", "q@x.example", "r@x.example")[0] == "2 blocked\n"
    assert told("block", "search", "-n", "2")[1] == "The newest 2; --limit shows more.\n"


def test_no_export_holds_a_formula_and_each_is_imported_as_it_was(told: Told, tmp_path: Path) -> None:
    """Programs that open tables obey formulas; another host gets the same contacts and the same list."""
    contact = {"email": "+a@x.example", "key": "-1", "name": "=1+1", "fields": {"@x": "'=y", "key": "7", "list": "+"}}
    told("contact", "import", "-", stdin=json.dumps(contact))
    told("block", "add", "@x.example", "=b@y.example", "--reason", "=now()", "--for", "4w")
    told("block", "import", "-", stdin="address,source,created\nc@x.example,complaint,2020-01-01T00:00:00Z\n")
    people, blocked = told("contact", "export")[0], told("block", "export")[0]
    cells = [cell for text in (people, blocked) for row in csv.reader(io.StringIO(text)) for cell in row]
    assert not [cell for cell in cells if cell.startswith(("=", "+", "-", "@"))]
    assert told("contact", "import", "-", stdin=people)[0] == "0 added, 0 updated, 1 unchanged, 0 left out\n"
    assert told("block", "import", "-", stdin=blocked)[0].startswith("0 blocked, 3 were already")
    other = tmp_path / "other.toml"
    other.write_text(f'[server]\nhostname = "other.test"\nstate_dir = "{tmp_path}/other"\n')
    for words, text in ((("contact",), people), (("block",), blocked)):
        told(*words, "import", "-", "--config", str(other), stdin=text)
        again = told(*words, "export", "--config", str(other))[0]
        assert sorted(again.splitlines()) == sorted(text.splitlines())
    shown = json.loads(told("contact", "export", "--json", "--config", str(other))[0])
    assert (shown["key"], shown["name"], shown["fields"]) == ("-1", "=1+1", contact["fields"])


def test_one_of_several_contacts_is_named_by_its_key(told: Told) -> None:
    told("contact", "import", "-", stdin="email,key\nAnn@x.example,1\nann@x.example,2\n")
    assert "more than one contact" in told("contact", "remove", "ANN@x.example", code=1)[1]
    assert "which stays" in told("contact", "set", "1", "--key", "3", code=1)[1]
    assert told("contact", "set", "ann@x.example", "--address", "b@x.example")[0] == "ann@x.example changed\n"
    assert "is an address of the contact" in told("contact", "set", "1", "--address", "b@x.example", code=1)[1]
    assert told("contact", "search", "-n", "1")[1] == "The first 1; --limit shows more.\n"
    assert json.loads(told("contact", "show", "2", "--json")[0])["key"] == "2"


def test_an_incident_is_undone_from_the_command_line(told: Told, tmp_path: Path) -> None:
    import time

    now = time.time_ns() // 1_000_000

    async def fill() -> None:
        store = await Store.open(tmp_path / "state", POLICY)
        await store.blocked.add(
            [
                Blocked("a@outlook.com", Source.FAILED, now - 60_000, "550 S3150", "reputation"),
                Blocked("b@outlook.com", Source.FAILED, now - 60_000, "no such user", "user unknown"),
                Blocked("c@outlook.com", Source.MANUAL, now - 60_000, "", "reputation"),
                Blocked("d@gmail.com", Source.BOUNCES, now - 60_000, "", "reputation"),
                Blocked("e@outlook.com", Source.BOUNCES, now - 7_200_000, "", "reputation"),
            ],
            "telltale",
        )
        await store.close()

    asyncio.run(fill())
    words = ("block", "undo", "--since", "1h", "--category", "reputation", "--domain", "outlook.com")
    out, err = told(*words, "--dry-run")
    assert (out.split()[0], err) == ("a@outlook.com", "1 would be taken off\n")
    assert told(*words)[0] == "1 taken off\n"
    assert told(*words)[0] == "0 taken off\n"
    assert len(told("block", "search")[0].splitlines()) == 4


_KILLED = """
import asyncio, sys
from pathlib import Path
from telltale import file_import
from telltale.cli import run
file_import.AT_ONCE = 50
sys.exit(run(["contact", "import", sys.argv[1], "--list", "All"]))
"""


async def _contacts(state_dir: Path) -> int:
    reader = await Reader.open(state_dir)
    try:
        return await reader.contacts.count(ContactFilter())
    finally:
        await reader.close()


async def test_an_import_that_was_killed_is_repeated_while_another_process_writes(config: Path, tmp_path: Path) -> None:
    """kill -9 leaves whole contacts, and the same import again leaves what one run would have left."""
    file, state_dir = tmp_path / "people.csv", tmp_path / "state"
    file.write_text("email,name\n" + "".join(f"{number}@x.example,N{number}\n" for number in range(4000)))
    store = await Store.open(state_dir, POLICY)
    program = [sys.executable, "-c", _KILLED, str(file)]
    process = subprocess.Popen(program, env=os.environ)  # noqa: ASYNC220 - it is to be killed
    while not 200 <= await _contacts(state_dir) < 4000:
        assert process.poll() is None, "it was over before it could be killed"
        await store.contacts.put([NewContact((NewAddress("other@y.example"),), name="other")], 1)
    process.send_signal(signal.SIGKILL)
    process.wait()
    left = await _contacts(state_dir)
    assert (left - 1) % 50 == 0
    assert left < 4001
    again = await asyncio.to_thread(subprocess.run, program, env=os.environ, capture_output=True, text=True, check=True)
    assert again.stdout == f"{4001 - left:,} added, 0 updated, {left - 1:,} unchanged, 0 left out\n"
    reader = await Reader.open(state_dir)
    names = [one.name async for one in reader.contacts.stream(ContactFilter(list="All"))]
    await reader.close()
    await store.close()
    assert sorted(names) == sorted(f"N{number}" for number in range(4000))


def test_all_parts_and_commands_keep_to_the_configured_policy(told: Told, config: Path) -> None:
    """Who writes to the store decides as the configuration says; a store cannot be opened without that."""
    with config.open("a") as more:
        more.write("[contacts]\nfold_local_part = true\n")
    told("contact", "import", "-", stdin="email\nAnn@x.example\nann@x.example\n")
    assert told("list", "show")[0] == ""
    assert len(told("contact", "search")[0].splitlines()) == 1
    with pytest.raises(TypeError, match="policy"):
        Store.open(config.parent / "state")  # type: ignore[call-arg]
