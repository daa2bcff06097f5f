"""Laws of `relay.bounce.command`."""

import json
from pathlib import Path

import pytest

from relay.bounce.command import lines

BOUNCE = (
    "From: MAILER-DAEMON@mx.example.net\nReturn-Path: <>\nSubject: failure notice\n\n"
    "Your mail was not delivered.\n\n<{}>:\n550 5.1.1 no such user\n"
)


def test_each_file_gives_at_least_one_line_of_plain_ascii(tmp_path: Path) -> None:
    (tmp_path / "bounce").write_text(BOUNCE.format("ädä@rcpt.example"), encoding="utf-8")
    (tmp_path / "mail").write_text("From: bob@x.example\nSubject: lunch\n\nHi\n", encoding="utf-8")
    printed = list(lines([tmp_path / "bounce", str(tmp_path / "mail")]))
    assert all(line.isascii() for line in printed)
    bounce, mail = map(json.loads, printed)
    assert bounce == {
        "file": str(tmp_path / "bounce"), "recipient": "ädä@rcpt.example", "action": "failed", "status": "5.1.1",
        "reply_code": 550, "diagnostic": "550 5.1.1 no such user", "result": "Failed", "category": "user unknown",
        "remote_mta": None, "kind": "dsn", "detector": "layout",
    }  # fmt: skip
    assert (mail["file"], mail["result"], mail["recipient"], mail["kind"]) == (
        str(tmp_path / "mail"),
        "None",
        None,
        "none",
    )


def test_an_mbox_is_several_mails(tmp_path: Path) -> None:
    start = "From MAILER-DAEMON  Thu Apr 29 23:34:45 2015\n"
    (tmp_path / "mbox").write_text(start + BOUNCE.format("a@x.example") + "\n" + start + BOUNCE.format("b@x.example"))
    (tmp_path / "odd").write_text("From somebody\n" + BOUNCE.format("c@x.example"))
    told = [json.loads(line)["recipient"] for line in lines([tmp_path / "mbox", tmp_path / "odd"])]
    assert told == ["a@x.example", "b@x.example", "c@x.example"]


def test_the_return_paths_recipient_stands_in(tmp_path: Path) -> None:
    (tmp_path / "nameless").write_text("From: <>\nSubject: Undeliverable\n\nYour mail could not be delivered.\n")
    [line] = lines([tmp_path / "nameless"], "ada@rcpt.example")
    assert json.loads(line)["recipient"] == "ada@rcpt.example"


def test_a_file_that_cannot_be_read_is_the_callers_to_tell(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        list(lines([tmp_path / "missing"]))
