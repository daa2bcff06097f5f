import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.inject.charset import Reading, canonical, read, text_of
from storage.untracked import UntrackedReason as R


@pytest.mark.parametrize(
    ("name", "known"),
    [
        (b"", "ascii"),
        (b"US-ASCII", "ascii"),
        (b"UTF-8", "utf_8"),
        (b"iso-8859-8-i", "iso8859_8"),
        (b"windows-1252", "cp1252"),
        (b"GB18030", "gb18030"),
        (b"x-sjis", "cp932"),
        (b"ISO-2022-JP", "iso2022_jp"),
        (b"hz-gb-2312", "hz"),
        (b"utf-16le", "utf_16_le"),
        (b"cp037", None),
        (b"rot13", None),
        (b"zlib", None),
        (b"idna", None),
        (b"unicode_escape", None),
        (b"no-such-charset", None),
        (b"\xff", None),
    ],
)
def test_charsets_are_known_by_the_names_of_mail(name: bytes, known: str | None) -> None:
    assert canonical(name) == known


@pytest.mark.parametrize(
    "codec",
    ["utf-8", "iso-8859-1", "koi8-r", "windows-1251", "gb2312", "gbk", "gb18030", "big5", "shift_jis", "cp932",
     "euc-jp", "euc-kr", "iso-2022-jp", "iso-2022-kr", "hz", "utf-7", "utf-16-le", "utf-16-be", "utf-32-le",
     "utf-32-be", "johab"],
)  # fmt: skip
def test_an_image_fits_before_any_tag_and_the_text_stays(codec: str) -> None:
    text = "".join(char for char in "<p>é日本語 か~+\\한국어 中文 привет</p>" if _can(codec, char))
    source = text.encode(codec)
    reading = read(source, codec.encode())
    assert isinstance(reading, Reading)
    index = reading.markup.index(b"</p>")
    offset = reading.offset(index)
    assert offset is not None
    image = '<img src="u">'.encode(reading.codec)
    assert reading.proves(offset, image)
    assert (source[:offset] + image + source[offset:]).decode(codec) == text.replace("</p>", '<img src="u"></p>')


def _can(codec: str, char: str) -> bool:
    try:
        return char.encode(codec).decode(codec) == char
    except UnicodeEncodeError:
        return False


@pytest.mark.parametrize("codec", ["utf-16", "utf-32"])
def test_a_byte_order_mark_decides_and_stays_first(codec: str) -> None:
    reading = read("<p>".encode(codec), codec.encode())
    assert isinstance(reading, Reading)
    assert (reading.mark, reading.markup[1:]) == (1, b"<p>")
    bare = read("<p>".encode(codec + "-le"), codec.encode())
    assert isinstance(bare, Reading)
    assert (bare.mark, bare.markup) == (0, b"<p>")
    utf8 = read(b"\xef\xbb\xbf<p>", b"utf-8")
    assert isinstance(utf8, Reading)
    assert utf8.mark == 3


@pytest.mark.parametrize(
    ("source", "name", "reason"),
    [
        (b"\0<\0p\0>", b"utf-16", R.BROKEN_CHARSET),
        (b"<\0p\0>", b"utf-16le", R.BROKEN_CHARSET),
        (b"<\0\0\0p\0\0\0", b"utf-8", R.BROKEN_CHARSET),
        (b"<p>a", b"utf-16le", R.BROKEN_CHARSET),
        (b"<p>\x1b$BF|\x1b", b"iso-2022-jp", R.BROKEN_CHARSET),
        (b"<p>\x1b$BF|<!--K\x1b(B", b"iso-2022-jp", R.BROKEN_CHARSET),
        (b"<p>\x1b$BF|\r\n\x1b(B", b"iso-2022-jp", R.BROKEN_CHARSET),
        (b"<p>", b"cp037", R.UNKNOWN_CHARSET),
        (b"<\0p\0>\0", b"utf-8", R.BROKEN_CHARSET),
        (b"\0<\0p\0>", b"us-ascii", R.BROKEN_CHARSET),
        (b"<p>\xff", b"no-such-charset", R.UNKNOWN_CHARSET),
        (b"<p>\x1b$B", b"no-such-charset", R.UNKNOWN_CHARSET),
        (b"<p>~{", b"no-such-charset", R.UNKNOWN_CHARSET),
    ],
)
def test_what_cannot_be_read_for_certain_is_not_read(source: bytes, name: bytes, reason: R) -> None:
    assert read(source, name) is reason


def test_an_unknown_name_does_no_harm_to_plain_ascii() -> None:
    assert isinstance(read(b"<p>x", b"no-such-charset"), Reading)


def test_nothing_goes_into_a_run_that_is_not_ascii() -> None:
    reading = read("<p>日本".encode("iso-2022-jp").removesuffix(b"\x1b(B"), b"iso-2022-jp")
    assert isinstance(reading, Reading)
    assert reading.offset(len(reading.markup)) is None
    assert b"<" not in reading.markup[3:]
    assert reading.offset(3) == 3


@pytest.mark.parametrize(
    ("source", "name"),
    [
        (b"<p>\x1b$BF|", b"iso-2022-jp"),
        (b"<p>\x1b", b"iso-2022-jp"),
        (b"<p>\x1b(", b"iso-2022-jp"),
        (b"<p>~", b"hz"),
    ],
)
def test_nothing_goes_into_an_escape(source: bytes, name: bytes) -> None:
    reading = read(source, name)
    assert isinstance(reading, Reading)
    assert reading.offset(len(source)) is None
    assert reading.offset(0) == 0


@pytest.mark.parametrize(
    ("source", "name", "markup"),
    [
        (b"<p>\x1b$B<b>a\x1b(B</p>", b"us-ascii", b"<p>" + b"\x80" * 7 + b"\x1b(B</p>"),
        (b"<p>\x1b$B<b>\x1b(B</p>", b"utf-8", None),
        (b"<p>\x1b$B</p>", b"us-ascii", None),
        (b"<p>\0</p>", b"utf-8", None),
    ],
)
def test_escapes_count_where_they_lead_back(source: bytes, name: bytes, markup: bytes | None) -> None:
    reading = read(source, name)
    assert isinstance(reading, Reading)
    assert reading.markup == (markup or source)


def test_an_insertion_that_reads_otherwise_is_not_proved() -> None:
    reading = read("<p>é".encode("utf-7"), b"utf-7")
    assert isinstance(reading, Reading)
    assert not reading.proves(5, b"<img>")
    assert not reading.proves(2, b"+")
    utf16 = read("<p>".encode("utf-16-le"), b"utf-16le")
    assert isinstance(utf16, Reading)
    assert not utf16.proves(1, "<img>".encode("utf-16-le"))
    assert not utf16.proves(0, b"\x00\xd8")


@given(
    st.binary(max_size=60), st.sampled_from([b"utf-8", b"hz", b"iso-2022-jp", b"utf-7", b"utf-16", b"johab", b"x", b""])
)
def test_any_bytes_are_read_or_refused(source: bytes, name: bytes) -> None:
    reading = read(source, name)
    if isinstance(reading, Reading):
        offsets = [reading.offset(index) for index in range(len(reading.markup) + 1)]
        known = [offset for offset in offsets if offset is not None]
        assert known == sorted(known)
        assert all(0 <= offset <= len(source) for offset in known)


@pytest.mark.parametrize(
    ("source", "name", "text"),
    [
        ("é".encode(), b"utf-8", "é"),
        ("日".encode("iso-2022-jp"), b"iso-2022-jp", "日"),
        ("é".encode("utf-16"), b"utf-16", "é"),
        ("é".encode("utf-16-le"), b"utf-16", R.TEXT_UNREADABLE),
        (b"\xff", b"", R.TEXT_UNREADABLE),
        (b"x", b"no-such-charset", R.UNKNOWN_CHARSET),
    ],
)
def test_text_is_read_for_certain_or_not_at_all(source: bytes, name: bytes, text: str | R) -> None:
    assert text_of(source, name) == text
