"""telltale/logs.py: one line a fact, whatever is in it."""

import io
import logging

import pytest

from telltale.logs import LineFormatter, start_logging


def record(text: str, level: int = logging.INFO, error: BaseException | None = None) -> logging.LogRecord:
    made = logging.makeLogRecord(
        {"msg": text, "levelno": level, "levelname": logging.getLevelName(level), "created": 0.5}
    )
    made.msecs = 500.0
    if error is not None:
        made.exc_info = (type(error), error, error.__traceback__)
    return made


def raised() -> BaseException:
    try:
        int("two\nlines")
    except ValueError as error:
        return error
    raise AssertionError


@pytest.mark.parametrize(
    ("level", "start"),
    [
        (logging.CRITICAL, "<2>relay/0: "),
        (logging.ERROR, "<3>relay/0: "),
        (logging.WARNING, "<4>relay/0: "),
        (logging.INFO, "<6>relay/0: "),
        (logging.DEBUG, "<7>relay/0: "),
    ],
)
def test_journald_reads_the_level_at_the_start(level: int, start: str) -> None:
    assert LineFormatter("relay/0", journal=True, debug=False).format(record("a=b", level)) == f"{start}a=b"


def test_people_read_time_part_and_what_is_not_usual() -> None:
    plain = LineFormatter("pixel", journal=False, debug=False)
    assert plain.format(record("a=b")).endswith(".500 pixel: a=b")
    assert plain.format(record("a=b", logging.WARNING)).endswith(".500 pixel: WARNING a=b")


def test_no_text_can_make_a_second_line() -> None:
    line = LineFormatter("p", journal=True, debug=False).format(record("a\nb\x1b[31m\u2028ü"))
    assert line == r"<6>p: a\nb\x1b[31m\u2028ü"


def test_an_error_is_told_with_its_place_on_the_same_line() -> None:
    line = LineFormatter("p", journal=True, debug=False).format(record("x", logging.ERROR, raised()))
    assert line.startswith('<3>p: x error="ValueError: invalid literal')
    assert ' at="test_logs.py:' in line
    assert "in raised" in line
    assert "\n" not in line


def test_debug_shows_the_traceback() -> None:
    assert "Traceback" in LineFormatter("p", journal=True, debug=True).format(record("x", logging.ERROR, raised()))


@pytest.mark.parametrize(("environ", "lines"), [({}, 2), ({"TELLTALE_DEBUG": "1"}, 3)])
def test_our_facts_and_others_warnings_are_shown(environ: dict[str, str], lines: int) -> None:
    root = logging.getLogger()
    before = root.handlers[:], root.level, logging.getLogger("telltale").level
    out = io.StringIO()
    try:
        start_logging("p", environ, out)
        logging.getLogger("telltale.x").debug("1")
        logging.getLogger("telltale.x").info("2")
        logging.getLogger("other").info("3")
        logging.getLogger("other").warning("4")
    finally:
        root.handlers[:], root.level = before[0], before[1]
        logging.getLogger("telltale").setLevel(before[2])
    assert len(out.getvalue().splitlines()) == lines
