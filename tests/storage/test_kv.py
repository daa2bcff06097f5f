"""storage/kv.py: no remote text can forge a pair or a line."""

import ast
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage.kv import kv
from storage.status import Status

PAIR = re.compile(r'(\w+)=("(?:[^"\\]|\\.)*"|[^\s"=\\]+)(?: |$)')


def read(line: str) -> dict[str, str]:
    """Read a line back, as an independent reader would."""
    found, at = {}, 0
    while at < len(line):
        pair = PAIR.match(line, at)
        assert pair, line[at:]
        found[pair[1]] = ast.literal_eval(pair[2]) if pair[2].startswith('"') else pair[2]
        at = pair.end()
    return found


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("a@b.example", "v=a@b.example"),
        (7, "v=7"),
        (0.25, "v=0.25"),
        (Status.UNSENT, "v=Unsent"),
        (Status.SOFT_BOUNCED, 'v="Soft Bounced"'),
        ("", 'v=""'),
        ("a=b", 'v="a=b"'),
        ('say "hi"', r'v="say \"hi\""'),
        ("back\\slash", r'v="back\\slash"'),
        ("one\r\ntwo\tthree", r'v="one\r\ntwo\tthree"'),
        ("\x1b[31m\x85", r'v="\x1b[31m\x85"'),
        ("a\u2028b\u202e\ud800", r'v="a\u2028b\u202e\ud800"'),
        ("\U000e0001", r'v="\U000e0001"'),
        ("Grüße", 'v="Grüße"'),
    ],
)
def test_a_value_is_written_plainly_or_quoted(value: object, text: str) -> None:
    assert kv(v=value) == text


def test_fields_keep_their_order_and_none_is_left_out() -> None:
    assert kv(queue_id="B0", mx=None, delay=0) == "queue_id=B0 delay=0"


@given(st.dictionaries(st.from_regex(r"[a-z_]{1,8}", fullmatch=True), st.text(), max_size=4))
def test_every_text_comes_back_and_stays_on_one_printable_line(fields: dict[str, str]) -> None:
    line = kv(**fields)
    assert line.isprintable()
    assert read(line) == fields
