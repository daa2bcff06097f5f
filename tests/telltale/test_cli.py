"""telltale/cli.py, app.py and options.py: exit codes, one clear sentence each, and never a traceback."""

import contextlib
import os
import subprocess
import sys
from datetime import datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage.status import Status
from telltale.cli import run
from telltale.errors import UsageError
from telltale.options import since_ms, statuses

TELLTALE = str(Path(sys.executable).parent / "telltale")
NOON = 1_800_000_000_000


def command(*words: str, **more: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [TELLTALE, *words], capture_output=True, text=True, check=False, timeout=60, env=os.environ | more
    )


def test_the_version_is_told() -> None:
    done = command("--version")
    assert (done.returncode, done.stdout, done.stderr) == (0, "telltale 0.1.0\n", "")


@pytest.mark.parametrize("words", [["--version", "log"], ["-c", "none.toml", "--version"]])
def test_the_version_is_told_among_other_words_too(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run(words) == 0
    assert capsys.readouterr().out.startswith("telltale ")


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--frob"], "No such option: --frob. See telltale --help."),
        (["frob"], "No such command 'frob'. See telltale --help."),
        (["queue"], "Missing command. See telltale queue --help."),
        (["queue", "hold"], 'say what to act on: a queue id, a recipient, "@domain", or --all'),
        (["queue", "hold", "a@b", "--all"], 'say what to act on: a queue id, a recipient, "@domain", or --all'),
        (["log", "--json", "--csv"], "--json and --csv cannot both be meant"),
        (["log", "--status", "delivrd"], '--status "delivrd" is not a status; did you mean "Delivered"?'),
        (["log", "--since", "soon"], '--since "soon" is no point in time: say how long ago'),
        (["show"], "Missing argument 'QUEUE_ID|RECIPIENT'. See telltale show --help."),
        (["serve", "--only", "x"], "Invalid value for '--only': 'x' is not one of 'relay', 'pixel', 'report'."),
        (["inject"], "Missing option '--pixel-url'. See telltale inject --help."),
        (["doctor", "--reach", "a b"], '--reach "a b" is no server: write "mx.example.org" or "mx.example.org:25"'),
        (["-c", "none.toml", "log"], "none.toml: cannot be read: no such file or directory"),
        (["log", "-c", "none.toml"], "none.toml: cannot be read: no such file or directory"),
        (["config", "check", "none.toml"], "none.toml: cannot be read: no such file or directory"),
    ],
)
def test_bad_usage_is_one_sentence_and_exit_2(
    words: list[str], sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(words) == 2
    told = capsys.readouterr()
    assert told.out == ""
    assert told.err.startswith(f"telltale: {sentence}")
    assert len(told.err.splitlines()) == 1


def test_nothing_asked_shows_what_could_be_asked(capsys: pytest.CaptureFixture[str]) -> None:
    assert run([]) == 2
    assert "serve" in capsys.readouterr().err


def test_help_is_no_error(capsys: pytest.CaptureFixture[str]) -> None:
    for words in ([], ["log"], ["queue"], ["queue", "hold"], ["user", "add"], ["config"], ["bounce", "parse"]):
        assert run([*words, "--help"]) == 0
        assert capsys.readouterr().out.startswith("Usage: telltale")


def test_an_error_that_nobody_foresaw_is_one_sentence(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("telltale.config.load", lambda _: {}["x"])
    assert run(["config", "check"]) == 1
    assert capsys.readouterr().err == "telltale: unexpected KeyError: 'x' (TELLTALE_DEBUG=1 shows where)\n"
    monkeypatch.setenv("TELLTALE_DEBUG", "1")
    assert run(["config", "check"]) == 1
    assert capsys.readouterr().err.startswith("Traceback (most recent call last):\n")


def test_an_interrupt_is_quiet(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def interrupted(_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("telltale.config.load", interrupted)
    assert run(["config", "check"]) == 130
    assert capsys.readouterr().err == ""


def test_a_reader_that_went_away_is_quiet() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "w") as gone:
        done = subprocess.run(
            [TELLTALE, "config", "show"], stdout=gone, stderr=subprocess.PIPE, text=True, check=False, timeout=60
        )
    assert done.stderr == ""


def test_output_that_cannot_be_written_is_a_failure() -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [TELLTALE, "config", "show"], stdout=full, stderr=subprocess.PIPE, text=True, check=False, timeout=60
        )
    assert done.returncode == 1
    assert done.stderr == "telltale: No space left on device\n"


@pytest.mark.parametrize(
    ("text", "at"),
    [
        (None, None),
        ("90s", NOON - 90_000),
        ("2H", NOON - 7_200_000),
        (" 3d ", NOON - 3 * 86_400_000),
        ("1w", NOON - 7 * 86_400_000),
        ("2026-11-23T14:05:00Z", 1_795_442_700_000),
        ("2026-11-23T15:05+01:00", 1_795_442_700_000),
        ("2026-11-23", int(datetime(2026, 11, 23).timestamp() * 1000)),  # noqa: DTZ001 - local time is meant
    ],
)
def test_a_point_in_time_is_read(text: str | None, at: int | None) -> None:
    assert since_ms(text, NOON) == at


@given(st.text())
def test_no_text_breaks_the_reading_of_time(text: str) -> None:
    with contextlib.suppress(UsageError):
        assert isinstance(since_ms(text, NOON), int)


@pytest.mark.parametrize(
    "form", [str, str.lower, str.upper, lambda s: s.replace(" ", "-"), lambda s: s.replace(" ", "")]
)
def test_a_status_is_known_in_any_writing(form: type[str]) -> None:
    assert statuses([form(status) for status in Status]) == tuple(Status)


def test_a_word_like_no_status_is_answered_with_all_of_them() -> None:
    with pytest.raises(UsageError, match="the statuses are Unsent, Soft Bounced, Sent"):
        statuses(["zzz"])
