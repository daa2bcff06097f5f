import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.deliver.reply import MAX_REPLY_BYTES, MAX_TEXT, ReplyReader, clean, from_text, garbled, ours, read, spell
from storage.model import Reply


def replies(*pieces: bytes) -> list[Reply]:
    reader = ReplyReader()
    return [read(code, raw) for piece in pieces for code, raw in reader.feed(piece)]


@pytest.mark.parametrize(
    ("raw", "reply"),
    [
        (b"250 2.0.0 Ok: queued as 4F\r\n", Reply(250, "2.0.0", "Ok: queued as 4F")),
        (b"250 ok\r\n", Reply(250, None, "ok")),
        (b"250\r\n", Reply(250, None, "")),
        (b"250 \n", Reply(250, None, "")),
        (b"250-a\r\n250-b\r\n250 c\r\n", Reply(250, None, "a b c")),
        (b"550-5.1.1 No\r\n550-5.1.1 such\r\n550 5.1.1 user\r\n", Reply(550, "5.1.1", "No such user")),
        (b"550-5.1.1 No\r\n550 such user\r\n", Reply(550, "5.1.1", "No such user")),
        (b"550 5.7.509 Access denied\r\n", Reply(550, "5.7.509", "Access denied")),
        (b"550 4.7.1 the classes differ\r\n", Reply(550, None, "4.7.1 the classes differ")),
        (b"550 5.1.1\r\n", Reply(550, "5.1.1", "")),
        (b"550 5.1.10.3 is no code\r\n", Reply(550, None, "5.1.10.3 is no code")),
        (b"450-first\r\n550 last\r\n", Reply(550, None, "first last")),
        (b"550 caf\xc3\xa9 \xff\r\n", Reply(550, None, "café �")),
        (b"550 a\x00b\x1b[31mc\xe2\x80\xaed\r\n", Reply(550, None, "a b [31mc d")),
    ],
)
def test_a_reply_is_read_as_a_server_wrote_it(raw: bytes, reply: Reply) -> None:
    assert replies(raw) == [reply]


def test_replies_of_a_pipeline_are_told_apart() -> None:
    assert [r.code for r in replies(b"250 a\r\n250-b\r\n250 c\r\n354 go\r\n")] == [250, 250, 354]


def test_a_multiline_reply_has_the_code_of_its_last_line() -> None:
    reader = ReplyReader()
    assert reader.feed(b"250-a\r\n451 b\r\n")[0][0] == 451


@pytest.mark.parametrize(
    "raw",
    [b"hello\r\n", b"25\n", b"\r\n", b"\n", b"250x\r\n", b"150 no\r\n", b"650 no\r\n", b"2 50\r\n", b"\xff\xfe\n"],
)
def test_what_is_no_reply_is_garbage_and_ends_the_reading(raw: bytes) -> None:
    reader = ReplyReader()
    assert [code for code, _ in reader.feed(b"250 ok\r\n" + raw)] == [250]
    assert reader.garbage is not None
    assert reader.feed(b"250 ok\r\n") == []
    assert garbled(reader.garbage).code == 0


def test_a_reply_without_end_is_garbage_and_is_not_kept() -> None:
    for piece in (b"x" * 1000, b"250-more\r\n" * 100):
        reader = ReplyReader()
        for _ in range(MAX_REPLY_BYTES // 1000 + 2):
            reader.feed(piece)
        assert reader.garbage is not None
        assert not reader.waiting


def test_a_half_reply_waits_for_its_other_half() -> None:
    reader = ReplyReader()
    assert reader.feed(b"250-a") == []
    assert reader.waiting
    assert len(reader.feed(b"\r\n250 b\r\n")) == 1
    assert not reader.waiting


@given(
    st.lists(st.sampled_from([b"250 ok\r\n", b"250-a\r\n250 b\r\n", b"550 5.1.1 no\n", b"354\r\n", b"421 \xff\r\n"])),
    st.data(),
)
def test_pieces_do_not_matter(whole: list[bytes], data: st.DataObject) -> None:
    stream = b"".join(whole)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=6)))
    pieces = [stream[a:b] for a, b in zip([0, *cuts], [*cuts, len(stream)], strict=True)]
    assert replies(*pieces) == replies(stream)


@given(st.binary(max_size=300), st.integers(1, 20))
def test_no_bytes_make_the_reader_fail(stream: bytes, step: int) -> None:
    for reply in replies(*(stream[i : i + step] for i in range(0, len(stream), step))):
        assert 200 <= reply.code < 600
        assert reply.text == clean(reply.text)


@given(st.text(alphabet=st.characters(), max_size=200))
def test_clean_text_is_one_printable_line_that_utf8_can_hold(text: str) -> None:
    cleaned = clean(text)
    cleaned.encode("utf-8")
    assert not re.search("[\x00-\x1f\x7f-\x9f\u2028\u2029\u202e]", cleaned)


def test_text_is_bounded() -> None:
    assert len(clean("x" * 10**6)) == MAX_TEXT
    assert len(from_text(550, "5.1.1 x" * 10**5).text) == MAX_TEXT


def test_a_reply_is_spelled_as_a_server_would() -> None:
    assert spell(Reply(550, "5.1.1", "No such user")) == "550 5.1.1 No such user"
    assert spell(ours("4.4.1", "connection\r\nrefused")) == "4.4.1 connection refused"
    assert spell(Reply(250, None, "")) == "250"
