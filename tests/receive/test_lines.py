"""relay/receive/lines.py: command lines out of any chunks, bounded."""

import itertools

from hypothesis import given
from hypothesis import strategies as st

from relay.receive.lines import OVERLONG, LineBuffer


def lines_of(raw: bytes, cuts: list[int], max_line_bytes: int = 20) -> list[bytes]:
    buffer, found = LineBuffer(max_line_bytes), []
    edges = [0, *sorted(cut % (len(raw) + 1) for cut in cuts), len(raw)]
    for begin, end in itertools.pairwise(edges):
        buffer.add(raw[begin:end])
        while (line := buffer.next()) is not None:
            found.append(line)
        assert len(buffer) <= max_line_bytes + 1
        assert not buffer.has_news
    return found


@given(st.lists(st.binary(max_size=40)), st.lists(st.integers(0, 400), max_size=10))
def test_lines_do_not_depend_on_chunks(lines: list[bytes], cuts: list[int]) -> None:
    raw = b"".join(line.translate(None, b"\n") + b"\r\n" for line in lines)
    wanted = [line.translate(None, b"\n") for line in lines]
    assert lines_of(raw, cuts) == [line if len(line) <= 20 else OVERLONG for line in wanted]


def test_a_bare_line_feed_ends_a_command_and_a_bare_cr_stays_in_it() -> None:
    assert lines_of(b"a\nb\rc\r\n\r\n", []) == [b"a", b"b\rc", b""]


def test_a_line_without_end_holds_no_memory() -> None:
    buffer = LineBuffer(20)
    for _ in range(1000):
        buffer.add(b"x" * 1000)
        assert buffer.next() is None
        assert len(buffer) == 0
    assert buffer.skipped == 1_000_000
    buffer.add(b"\nNOOP\n")
    assert [buffer.next(), buffer.next(), buffer.next()] == [OVERLONG, b"NOOP", None]
    assert buffer.skipped == 0


def test_what_was_not_read_as_lines_can_be_taken() -> None:
    buffer = LineBuffer(20)
    buffer.add(b"DATA\r\nabc")
    assert buffer.next() == b"DATA"
    assert buffer.has_news
    assert buffer.take() == b"abc"
    assert len(buffer) == 0
