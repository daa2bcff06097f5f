"""The commands upon a real store: users, the queue, the log, bounce messages, the configuration."""

import asyncio
import io
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest

from storage.model import Attempt, BodyType, Message, NewRecipient, Phase, Reply, Report, Result, queue_id
from storage.people import POLICY
from storage.reader import Reader
from storage.status import Event
from storage.store import Store
from telltale.cli import run

TELLTALE = str(Path(sys.executable).parent / "telltale")
NOBODY = 65534
DSN = b"""From: MAILER-DAEMON@mx.example
Content-Type: multipart/report; report-type=delivery-status; boundary=x

--x
Content-Type: message/delivery-status

Reporting-MTA: dns; mx.example

Final-Recipient: rfc822; ann@example.org
Action: failed
Status: 5.1.1
Diagnostic-Code: smtp; 550 5.1.1 no such user

--x--
"""


@pytest.fixture(autouse=True)
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "c.toml"
    path.write_text(f'[server]\nhostname = "relay.test"\nstate_dir = "{tmp_path}/state"\n')
    monkeypatch.setenv("TELLTALE_CONFIG", str(path))
    return path


Told = Callable[..., tuple[str, str]]


@pytest.fixture
def told(capsys: pytest.CaptureFixture[str]) -> Told:
    def tell(*words: str, code: int = 0) -> tuple[str, str]:
        assert run(words) == code
        said = capsys.readouterr()
        return said.out, said.err

    return tell


@pytest.fixture
def password(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO("geheim\nmore\n"))


async def fill(state_dir: Path, *addresses: str) -> str:
    """Store one message to `addresses`; return its queue id."""
    store = await Store.open(state_dir, POLICY)
    try:
        message = Message(
            id=store.next_id(), received_ms=1_000, sender="me@relay.test", body=BodyType.SEVEN_BIT, smtputf8=False,
            size=5, plan=b"", subject="Hello",
        )  # fmt: skip
        recipients = [NewRecipient(store.next_id(), each, each.rpartition("@")[2]) for each in addresses]
        await store.accept(message, b"hello", recipients, lifetime_ms=1 << 40, leased=False)
    finally:
        await store.close()
    return queue_id(message.id)


def filled(tmp_path: Path, *addresses: str) -> str:
    import asyncio

    return asyncio.run(fill(tmp_path / "state", *addresses))


def test_a_user_is_added_changed_and_removed(told: Told, password: None, tmp_path: Path) -> None:
    assert told("user", "add", "ann", "--password-stdin", "--sender", "Ann@Example.ORG", "--sender", "@B.example") == (
        "user ann added\n",
        "",
    )
    assert told("user", "list") == ("ann  sender  Ann@example.org, @b.example\n", "")
    assert json.loads(told("user", "list", "--json")[0]) == {
        "name": "ann",
        "role": "sender",
        "senders": ["Ann@example.org", "@b.example"],
    }
    assert told("user", "passwd", "ann", "--password-stdin")[0] == "password of ann changed\n"
    assert "Ann@example.org" in told("user", "list")[0]
    assert told("user", "remove", "ann")[0] == "user ann removed\n"
    assert told("user", "list") == ("", "")


def test_what_a_user_is_told_is_shown_and_changed(told: Told, password: None) -> None:
    told("user", "add", "ann", "--password-stdin")
    assert told("user", "answers", "ann")[0] == "ann: default\n"
    assert told("user", "answers", "ann", "failures=digest", "delay=off")[0] == "ann: failures=digest delay=off\n"
    assert told("user", "answers", "ann", "forward=off")[0] == "ann: failures=digest delay=off forward=off\n"
    assert told("user", "passwd", "ann", "--password-stdin")[0] == "password of ann changed\n"
    assert told("user", "answers", "ann")[0] == "ann: failures=digest delay=off forward=off\n"
    assert told("user", "answers", "ann", "default")[0] == "ann: default\n"


def test_a_password_is_kept_as_argon2id_and_is_the_line_that_was_given(
    told: Told, password: None, tmp_path: Path
) -> None:
    import asyncio

    from argon2 import PasswordHasher

    async def stored() -> str:
        reader = await Reader.open(tmp_path / "state")
        try:
            user = await reader.user("ann")
            assert user is not None
            return user.password_hash
        finally:
            await reader.close()

    told("user", "add", "ann", "--password-stdin")
    hashed = asyncio.run(stored())
    assert hashed.startswith("$argon2id$")
    assert PasswordHasher().verify(hashed, "geheim")


@pytest.mark.parametrize(
    ("words", "stdin", "code", "sentence"),
    [
        (("add", "a b", "--password-stdin"), "x\n", 2, "a user's name has"),
        (("add", "", "--password-stdin"), "x\n", 2, "a user's name has"),
        (("add", "ann", "--password-stdin"), "\n", 2, "the password is empty"),
        (("add", "ann", "--password-stdin"), "a\0b\n", 2, "a password has at most"),
        (("add", "ann", "--password-stdin", "--sender", "ann"), "x\n", 2, '--sender "ann" is neither'),
        (("add", "ann", "--password-stdin", "--sender", "@"), "x\n", 2, '--sender "@" is neither'),
        (("add", "ann", "--password-stdin", "--sender", "a b@x"), "x\n", 2, '--sender "a b@x" is neither'),
        (("add", "ann", "--password-stdin", "--sender", "Postmaster"), "x\n", 2, '--sender "Postmaster" is neither'),
        (("add", "ann"), "x\n", 2, "there is no terminal to ask"),
        (("passwd", "bob", "--password-stdin"), "x\n", 1, 'there is no user "bob"'),
        (("remove", "bob"), "", 1, 'there is no user "bob"'),
    ],
)
def test_what_cannot_be_a_user_is_told(
    told: Told, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...], stdin: str, code: int, sentence: str
) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO(stdin))
    out, err = told("user", *words, code=code)
    assert out == ""
    assert err.startswith(f"telltale: {sentence}")


def test_what_is_no_answer_is_told_with_all_that_are(told: Told, password: None) -> None:
    told("user", "add", "ann", "--password-stdin")
    assert '"delay=soon" is none of failures=each|digest|no' in told("user", "answers", "ann", "delay=soon", code=2)[1]
    assert 'there is no user "bob"' in told("user", "answers", "bob", "delay=off", code=1)[1]


def test_a_name_that_is_taken_is_told(told: Told, password: None) -> None:
    told("user", "add", "ann", "--password-stdin")
    assert 'there is a user "ann" already' in told("user", "add", "ann", "--password-stdin", code=1)[1]


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(("second", "code"), [("geheim", 0), ("Geheim", 2)])
def test_a_terminal_is_asked_twice(told: Told, monkeypatch: pytest.MonkeyPatch, second: str, code: int) -> None:
    answers = iter(["geheim", second])
    monkeypatch.setattr(sys, "stdin", Terminal())
    monkeypatch.setattr("telltale.cli_user.getpass", lambda _: next(answers))
    told("user", "add", "ann", code=code)


def test_a_state_directory_is_its_users_alone(told: Told, password: None, tmp_path: Path) -> None:
    told("user", "add", "ann", "--password-stdin")
    modes = {path.stat().st_mode & 0o077 for path in (tmp_path / "state").iterdir()}
    assert modes == {0}


def test_where_there_is_no_store_nothing_is_made(told: Told, tmp_path: Path) -> None:
    for words in (["log"], ["show", "a@b"], ["queue", "list"], ["queue", "flush", "--all"], ["user", "list"]):
        assert "there is no store" in told(*words, code=1)[1]
    assert not (tmp_path / "state").exists()


def test_the_log_shows_what_was_accepted(told: Told, tmp_path: Path) -> None:
    name = filled(tmp_path, "a@x.example", "b@y.example")
    rows = [json.loads(line) for line in told("log", "--json")[0].splitlines()]
    assert {row["recipient"] for row in rows} == {"a@x.example", "b@y.example"}
    assert {row["queue_id"] for row in rows} == {name}
    assert told("log", "--json", "--status", "failed")[0] == ""
    assert "a@x.example" in told("log", "--recipient", "@x.example")[0]
    assert told("log", "--csv", "--limit", "1")[0].count("\n") == 2


def test_the_log_is_searched_as_in_the_browser(told: Told, tmp_path: Path) -> None:
    filled(tmp_path, "a@x.example", "b@y.example")
    for found in (["--words", "hello"], ["--subject", "ell"], ["--since", "1970-01-01T00:00Z", "--until", "2h"]):
        assert len(told("log", "--json", *found)[0].splitlines()) == 2
    for none in (["--words", "bye"], ["--subject", "bye"], ["--broadcast", "May"], ["--category", "spam"]):
        assert told("log", "--json", *none)[0] == ""
    assert told("log", "--json", "--until", "1970-01-01T00:00Z")[0] == ""
    assert '--until "soon" is no point in time' in told("log", "--until", "soon", code=2)[1]


def test_a_cut_table_says_so(told: Told, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    filled(tmp_path, "a@x.example", "b@y.example")
    monkeypatch.setattr("telltale.cli_log.TABLE_ROWS", 1)
    assert told("log")[1] == "The newest 1 rows; --limit shows more.\n"


def test_show_tells_the_story_of_a_message_and_of_a_recipient(told: Told, tmp_path: Path) -> None:
    name = filled(tmp_path, "a@x.example")
    for subject in (name, "a@x.example"):
        assert "a@x.example" in told("show", subject)[0]
    assert told("show", "c@z.example", code=1)[1] == (
        'telltale: the log knows no queue id and no recipient "c@z.example"\n'
    )


def test_the_sites_of_the_queue_are_shown_without_a_relay_too(told: Told, tmp_path: Path) -> None:
    assert told("queue", "sites", code=1)[1].startswith("telltale: there is no store")
    asyncio.run(fill(tmp_path / "state", "a@x.example"))
    assert "no relay process is running" in told("queue", "sites")[0]
    assert told("queue", "sites", "--json", "--all")[0] == ""
    assert "Invalid value" in told("queue", "sites", "--limit", "0", code=2)[1]


def test_a_shaping_file_is_checked_with_the_configuration(told: Told, config: Path, tmp_path: Path) -> None:
    shaping = tmp_path / "shaping.toml"
    with config.open("a") as file:
        file.write(f'[delivery]\nshaping = "{shaping}"\n')
    assert "cannot be read: no such file" in told("config", "check", code=2)[1]
    shaping.write_text("[google]\nconections = 3\n")
    expected = f"telltale: {shaping}: [google] conections is not a known key; did you mean connections?\n"
    assert told("config", "check", code=2)[1] == expected
    shaping.write_text("[google]\nconnections = 3\n")
    assert told("config", "check")[0] == f"{config}: good; {shaping}: good\n"


def test_the_queue_is_held_released_and_removed(told: Told, tmp_path: Path) -> None:
    name = filled(tmp_path, "a@x.example", "b@y.example", "c@y.example")
    assert told("queue", "hold", "@y.example")[0] == "2 recipients held\n"
    assert told("queue", "hold", name)[0] == "1 recipient held, 2 left as they were (being tried, or so already)\n"
    assert told("queue", "release", "--all")[0] == "3 recipients released\n"
    assert told("queue", "remove", "a@x.example")[0] == "1 recipient removed\n"
    assert "a@x.example" not in told("queue", "list")[0]
    assert told("queue", "flush", "--all")[0].startswith(("0 recipients due now", "2 recipients due now"))
    assert '"b@y.example"' in told("queue", "list", "--json")[0]
    assert "2" in told("queue", "count")[0]
    assert json.loads(told("log", "--json", "--recipient", "a@x.example")[0])["status"] == "Bounced"


def test_a_flush_that_names_nothing_means_all(told: Told, tmp_path: Path) -> None:
    """As postqueue -f does; the other verbs want to be told what they act on."""
    filled(tmp_path, "a@x.example", "b@y.example")
    assert told("queue", "flush")[0].startswith(("0 recipients due now, 2 left", "2 recipients due now"))
    for verb in ("hold", "release", "remove"):
        assert "say what to act on" in told("queue", verb, code=2)[1]
    assert "say what to act on" in told("queue", "flush", "@x.example", "--all", code=2)[1]


def test_what_does_not_wait_cannot_be_held(told: Told, tmp_path: Path) -> None:
    filled(tmp_path, "a@x.example")
    assert told("queue", "hold", "z@z.example", code=1)[1] == 'telltale: no recipient waits under "z@z.example"\n'


def test_everything_is_reached_in_steps(told: Told, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("telltale.cli_queue._BATCH", 2)
    filled(tmp_path, *[f"u{number}@x.example" for number in range(5)])
    assert told("queue", "hold", "--all")[0] == "5 recipients held\n"


def test_a_broken_store_is_one_sentence(told: Told, tmp_path: Path) -> None:
    (tmp_path / "state").mkdir()
    (tmp_path / "state" / "telltale.db").write_bytes(b"this is no database" * 100)
    out, err = told("log", code=1)
    assert out == ""
    assert len(err.splitlines()) == 1


def test_bounce_messages_are_read(told: Told, tmp_path: Path) -> None:
    (tmp_path / "dsn.eml").write_bytes(DSN)
    found = json.loads(told("bounce", "parse", str(tmp_path / "dsn.eml"))[0])
    assert (found["recipient"], found["action"], found["status"]) == ("ann@example.org", "failed", "5.1.1")
    assert found["result"] == "Failed"


async def _bounced(state_dir: Path) -> tuple[str, str]:
    """A recipient that failed by a bounce judged by older rules, and a bounce of nobody's; the ids of both bounces."""
    store = await Store.open(state_dir, POLICY)
    message = Message(store.next_id(), 1_700_000_000_000, "me@x.example", BodyType.SEVEN_BIT, False, 5, b"")
    ann = NewRecipient(store.next_id(), "ann@example.org", "example.org")
    (job,) = await store.accept(message, b"hello", [ann], lifetime_ms=10**12, leased=True)
    done = Attempt(1_700_000_000_000, 1, Phase.AFTER_DOT, Reply(250, None, "ok"))
    await store.settle(Result(job, done, Event.HAND_OVER))
    matched = await store.accept_dsn(DSN, ann.id, "", 1_700_000_000_000)
    report = Report(ann.id, Event.BOUNCE, Reply(550, "5.1.1", "no such user"), category="policy", rules=0)
    await store.settle_dsn(matched, [report], "dsn")
    foreign = await store.accept_dsn(DSN, None, "", 1_700_000_000_000)
    await store.settle_dsn(foreign, [], "dsn")
    await store.close()
    return queue_id(matched), queue_id(foreign)


def test_bounces_of_nobody_are_listed_and_printed(told: Told, tmp_path: Path) -> None:
    _, foreign = asyncio.run(_bounced(tmp_path / "state"))
    out = told("bounce", "unmatched")[0]
    title, line, end = out.splitlines()
    assert title.split() == ["ID", "Received", "Kind", "Recipient", "Says"]
    assert line.startswith(foreign)
    assert "ann@example.org" in line
    assert "Failed (user unknown) 550 5.1.1 no such user" in line
    assert end == "1 unmatched; telltale bounce show ID prints one"
    shown = json.loads(told("bounce", "unmatched", "--json")[0])
    assert (shown["id"], shown["kind"], shown["size"]) == (foreign, "dsn", len(DSN))
    assert shown["reports"][0]["category"] == "user unknown"
    printed = subprocess.run([TELLTALE, "bounce", "show", foreign], capture_output=True, check=True)
    assert printed.stdout == DSN
    unknown = told("bounce", "show", "nothing", code=1)[1]
    assert unknown == 'telltale: no bounce message "nothing" is kept\n'


def test_newer_rules_are_shown_before_they_are_written(told: Told, tmp_path: Path) -> None:
    matched, _ = asyncio.run(_bounced(tmp_path / "state"))
    change = json.loads(told("bounce", "reclassify", "--dry-run", "--json")[0])
    assert (change["recipient"], change["kind"], change["bounce"]) == ("ann@example.org", "report", matched)
    assert (change["from"], change["to"], change["status"]) == ("policy", "user unknown", "Bounced")
    out = told("bounce", "reclassify", "--dry-run")[0]
    assert "policy → user unknown  (550 5.1.1 no such user)" in out
    assert out.endswith("1  policy → user unknown\n1 would change\n")
    assert told("bounce", "reclassify", "--since", "1h")[0] == "0 changed\n"
    assert told("bounce", "reclassify")[0].endswith("1 changed\n")
    assert told("bounce", "reclassify", "--dry-run")[0] == "0 would change\n"
    row = json.loads(told("log", "--json")[0])
    assert (row["status"], row["category"]) == ("Bounced", "user unknown")


@pytest.mark.parametrize("command", [["unmatched"], ["show", "1"], ["reclassify"]])
def test_bounces_of_a_store_that_is_not_there_are_one_sentence(told: Told, tmp_path: Path, command: list[str]) -> None:
    assert "there is no store in" in told("bounce", *command, code=1)[1]
    assert not (tmp_path / "state").exists()


def test_a_bounce_message_that_is_not_there_is_one_sentence(told: Told) -> None:
    assert told("bounce", "parse", "none.eml", code=1)[1] == (
        "telltale: none.eml: cannot be read: No such file or directory\n"
    )


HTML = b"Subject: x\r\nContent-Type: text/html\r\n\r\n<html><body><p>Hi</p></body></html>\r\n"
TEXT = b"Subject: x\n\nHi \xff\n"
URL = "https://t.example/o/abc.gif"


def injected(message: bytes, *words: str) -> bytes:
    command = [TELLTALE, "inject", "--pixel-url", URL, *words]
    return subprocess.run(command, input=message, capture_output=True, check=True, timeout=60).stdout


def test_an_image_is_put_into_a_message() -> None:
    done = injected(HTML)
    assert done.count(URL.encode()) == 1
    assert URL.encode() in injected(b"Subject: x\r\n\r\nHi\r\n")


def test_a_message_that_is_left_alone_comes_out_as_it_went_in() -> None:
    assert injected(TEXT, "--text-only", "leave") == TEXT
    assert injected(b"") == b""


@pytest.mark.parametrize("url", ["x", "ftp://t.example/x", "https://t.example/a b", 'https://t.example/"', "https://"])
def test_what_is_no_address_of_an_image_is_told(told: Told, url: str) -> None:
    sentence = f'telltale: --pixel-url "{url}" is no http or https address\n'
    assert told("inject", "--pixel-url", url, code=2) == ("", sentence)


def test_a_password_that_is_no_text_is_told() -> None:
    add = [TELLTALE, "user", "add", "ann", "--password-stdin"]
    done = subprocess.run(add, input=b"\xff\n", capture_output=True, check=False, timeout=60)
    assert done.returncode == 2
    assert done.stderr.startswith((b"telltale: the password on standard input is no text", b"telltale: a password has"))


def test_a_good_configuration_is_told(told: Told, config: Path) -> None:
    assert told("config", "check")[0] == f"{config}: good\n"
    assert told("config", "check", "-c", str(config))[0] == f"{config}: good\n"


def test_the_configuration_in_force_is_shown(told: Told, config: Path) -> None:
    shown = told("config", "show", str(config))[0]
    assert shown.startswith(f"# {config}\n[server]\n")
    assert 'domain = "relay.test"' in shown


def open_to_all(path: str) -> bool:
    return all(each.stat().st_mode & 0o005 == 0o005 for each in (Path(path), *Path(path).parents))


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
@pytest.mark.skipif(not open_to_all(sys.base_prefix), reason="this Python is closed to other users")
def test_root_leaves_no_files_that_the_service_cannot_read(config: Path) -> None:
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        state = Path(folder, "state")
        filled(Path(folder), "a@x.example")
        for path in (state, *state.rglob("*")):
            os.chown(path, NOBODY, NOBODY)
        config.write_text(f'[server]\nstate_dir = "{state}"\n')
        add = [TELLTALE, "user", "add", "ann", "--password-stdin"]
        subprocess.run(add, input=b"x\n", check=True, timeout=60, capture_output=True)
        assert {path.stat().st_uid for path in state.rglob("*")} == {NOBODY}
