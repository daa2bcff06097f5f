"""relay/receive/content.py: one end of content, whatever the chunks; nothing that smuggles; bounded memory."""

import itertools
import time
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.receive.content import ContentReader, Reading
from relay.receive.limits import Budget

ROOM = 1 << 20


def read(raw: bytes, cuts: list[int], *, max_bytes: int = ROOM, repair: bool = True) -> tuple[Reading, bytes, bytes]:
    """Feed `raw` cut in pieces; return state, content and what came after the end."""
    reader = ContentReader(max_bytes, 1 << 16, Budget(ROOM), repair=repair)
    edges = [0, *sorted(cut % (len(raw) + 1) for cut in cuts), len(raw)]
    for begin, end in itertools.pairwise(edges):
        if reader.feed(raw[begin:end]):
            content = reader.take() if reader.state is Reading.COMPLETE else b""
            reader.close()
            assert reader.budget.used == 0
            return reader.state, content, reader.rest + raw[end:]
    return reader.state, b"", b""


@pytest.mark.parametrize(
    ("raw", "content"),
    [
        (b".\r\n", b""),
        (b"a\r\n.\r\n", b"a\r\n"),
        (b"..a\r\n.\r\n", b".a\r\n"),
        (b"a\r\n..\r\n..b\r\n.\r\n", b"a\r\n.\r\n.b\r\n"),
        (b"\r\n.\r\n", b"\r\n"),
        (b"x" * 5000 + b"\r\n.\r\n", b"x" * 5000 + b"\r\n"),
        (b"\x00\xff\r\n.\r\n", b"\x00\xff\r\n"),
    ],
)
@given(cuts=st.lists(st.integers(0, 10_000), max_size=8))
def test_the_content_is_what_stands_before_the_dot(raw: bytes, content: bytes, cuts: list[int]) -> None:
    assert read(raw + b"QUIT\r\n", cuts) == (Reading.COMPLETE, content, b"QUIT\r\n")


LINES = st.lists(st.binary(max_size=30).map(lambda line: line.translate(None, b"\r\n")), max_size=8)


@given(LINES, st.lists(st.integers(0, 300), max_size=6))
def test_stuffed_as_the_rfc_says_it_comes_back_as_it_was(lines: list[bytes], cuts: list[int]) -> None:
    content = b"".join(line + b"\r\n" for line in lines)
    stuffed = b"".join((b"." if line.startswith(b".") else b"") + line + b"\r\n" for line in lines)
    assert read(stuffed + b".\r\n", cuts) == (Reading.COMPLETE, content, b"")


PIECES = st.lists(st.sampled_from([b"\r", b"\n", b".", b"\r\n", b"a", b"\r\n.\r\n"]), max_size=12).map(b"".join)


@given(PIECES, st.lists(st.integers(0, 40), max_size=6), st.booleans())
def test_how_it_is_cut_into_chunks_changes_nothing(raw: bytes, cuts: list[int], repair: bool) -> None:
    assert read(raw, cuts, repair=repair) == read(raw, [], repair=repair)


@given(PIECES, st.lists(st.integers(0, 40), max_size=6))
def test_no_content_is_passed_on_with_a_bare_cr_or_lf(raw: bytes, cuts: list[int]) -> None:
    """Else another server could see the end of the message where we saw none (SMTP smuggling)."""
    state, content, _ = read(raw + b"\r\n.\r\n", cuts)
    assert state in {Reading.COMPLETE, Reading.BARE_CR}
    assert content.count(b"\r") == content.count(b"\n") == content.count(b"\r\n")


@pytest.mark.parametrize(
    "end", [b"\n.\n", b"\n.\r\n", b"\r\n.\n", b"\r.\r\n", b"\r.\r", b"\r\n.\r", b"\r.\n", b"\r\n\x00.\r\n"]
)
def test_only_one_sequence_ends_a_message(end: bytes) -> None:
    smuggled = b"a" + end + b"MAIL FROM:<evil@x.example>\r\n"
    state, content, rest = read(smuggled + b"\r\n.\r\n", [])
    assert rest == b""
    assert state is Reading.BARE_CR or b"MAIL FROM" in content


@pytest.mark.parametrize(
    ("raw", "content"),
    [
        (b"a\nb\n\r\n.\r\n", b"a\r\nb\r\n\r\n"),
        (b"a\n.\nb\r\n.\r\n", b"a\r\n.\r\nb\r\n"),
        (b"a\n.b\r\n..c\r\n.\r\n", b"a\r\n.b\r\n.c\r\n"),
    ],
)
def test_a_bare_line_feed_becomes_a_line_end(raw: bytes, content: bytes) -> None:
    assert read(raw, []) == (Reading.COMPLETE, content, b"")


def test_what_is_kept_and_never_passed_on_stays_as_it_came() -> None:
    assert read(b"a\nb\rc\r\n..d\r\n.\r\n", [], repair=False) == (Reading.COMPLETE, b"a\nb\rc\r\n.d\r\n", b"")


def test_a_message_that_is_too_big_is_read_to_its_end_and_holds_no_memory() -> None:
    budget = Budget(ROOM)
    reader = ContentReader(1000, 5000, budget)
    for _ in range(5):
        assert not reader.feed(b"x" * 999)
        assert reader.size <= 1000
    assert reader.feed(b"\r\n.\r\nRSET\r\n")
    assert (reader.state, reader.rest, budget.used) == (Reading.TOO_BIG, b"RSET\r\n", 0)


@pytest.mark.parametrize("size", [999, 1000, 1001])
def test_the_limit_is_exact(size: int) -> None:
    state, _, _ = read(b"x" * (size - 2) + b"\r\n.\r\n", [500], max_bytes=1000)
    assert state is (Reading.COMPLETE if size <= 1000 else Reading.TOO_BIG)


def test_a_message_without_end_is_left_alone_some_time() -> None:
    reader = ContentReader(1000, 1000, Budget(ROOM))
    fed = 0
    while not reader.feed(b"x" * 100):
        fed += 100
        assert fed <= 2000
    assert reader.state is Reading.ENDLESS


def test_without_room_in_the_budget_the_message_is_read_over() -> None:
    budget = Budget(1000)
    assert budget.take(900)
    reader = ContentReader(1000, 1000, budget)
    assert not reader.feed(b"x" * 200)
    assert budget.used == 900
    assert reader.feed(b"\r\n.\r\n")
    assert reader.state is Reading.NO_ROOM


def test_the_budget_is_charged_until_the_reader_is_closed() -> None:
    budget = Budget(1000)
    reader = ContentReader(1000, 1000, budget)
    assert reader.feed(b"x" * 200 + b"\r\n.\r\n")
    assert len(reader.take()) == budget.used == 202
    reader.close()
    reader.close()
    assert budget.used == 0


@pytest.mark.parametrize("piece", [b"\r\n.", b".", b"\r", b"\n", b"\r\n", b"a"])
def test_hostile_content_costs_linear_time(piece: bytes) -> None:
    chunk = piece * (65536 // len(piece))
    reader = ContentReader(1 << 24, 1 << 24, Budget(1 << 25))
    begun = time.perf_counter()
    for _ in range(100):
        reader.feed(chunk)
    reader.close()
    assert time.perf_counter() - begun < 3


def test_content_that_comes_byte_by_byte_takes_no_more_memory() -> None:
    reader = ContentReader(1 << 20, 1 << 20, Budget(1 << 20))
    tracemalloc.start()
    try:
        for _ in range(50_000):
            reader.feed(b"x")
        held, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert reader.size == 50_000
    assert held < 200_000
