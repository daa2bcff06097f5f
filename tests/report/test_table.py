import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from report.table import STYLES, TableWriter, console, widths
from storage.status import Status
from tests.report.mailing import START, a_row


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def colours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLUMNS", "120")
    for name in ("NO_COLOR", "FORCE_COLOR", "COLORTERM"):
        monkeypatch.delenv(name, raising=False)


def printed(out: io.StringIO, **more: object) -> str:
    TableWriter(console(out), lambda: START).write([(a_row(**more), None)])
    return out.getvalue()


def test_every_status_has_a_style() -> None:
    assert set(STYLES) == set(Status)


def test_statuses_are_coloured_on_a_terminal_and_plain_elsewhere() -> None:
    assert "\x1b[1;31mFailed" in printed(Terminal(), status=Status.FAILED)
    assert "\x1b" not in printed(io.StringIO(), status=Status.FAILED)


def test_no_text_of_a_row_is_obeyed() -> None:
    table = printed(io.StringIO(), subject="[bold red]x[/] \x1b[2J \u202eevil", recipient="a@b\x07.test")
    assert "[bold red]x[/] [2J evil" in table
    assert "\x1b" not in table
    assert "\x07" not in table


@given(
    st.integers(80, 300),
    st.lists(st.tuples(st.text(min_size=1, max_size=320), st.text(max_size=500)), max_size=3),
)
def test_the_columns_fill_the_terminal_and_none_is_starved(total: int, texts: list[tuple[str, str]]) -> None:
    size = widths(total, [a_row(recipient=recipient, subject=subject) for recipient, subject in texts])
    assert size.recipient + size.subject + size.last_attempt + size.results + size.why + 8 + 5 == total
    assert size.recipient >= 18
    assert size.subject >= 10
    assert size.why >= 16


@pytest.mark.parametrize("subject", ["=?utf-8?b?" * 5000, "word " * 10_000, "漢字" * 300])
def test_no_subject_takes_the_screen(subject: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    table = printed(io.StringIO(), subject=subject)
    assert len(table.splitlines()) < 9
    assert "…" in table


def test_a_subject_that_fits_is_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    assert "…" not in printed(io.StringIO(), subject="The weekly report")
