import pytest

from relay.inject.header import MAX_FIELDS, MAX_HEADER_BYTES, body_of, read_header, read_value


def test_fields_are_found_by_offsets_and_unfolded() -> None:
    content = b"Subject: a\r\n b\r\nTo:c\r\n\r\nbody"
    header = read_header(content, 0)
    assert header is not None
    assert [(field.name, body_of(content, field)) for field in header.fields] == [(b"subject", b"a b"), (b"to", b"c")]
    assert content[header.end :] == b"\r\n\r\nbody"[2:]
    assert (header.closed, content[header.body_start :]) == (True, b"body")


@pytest.mark.parametrize("content", [b"", b"A: b", b"A: b\n", b"A: b\nno field\n\nx", b"A : b\n\n", b" x: y\n\n"])
def test_a_header_without_its_blank_line_is_not_closed(content: bytes) -> None:
    header = read_header(content, 0)
    assert header is not None
    assert not header.closed


@pytest.mark.parametrize(
    "content",
    [b"A: " + b"x" * MAX_HEADER_BYTES + b"\n\n", b"A:\n" * (MAX_FIELDS + 1) + b"\n"],
    ids=["bytes", "fields"],
)
def test_a_header_larger_than_any_real_one_is_refused(content: bytes) -> None:
    assert read_header(content, 0) is None


@pytest.mark.parametrize(
    ("body", "value", "parameters"),
    [
        (b"text/html", b"text/html", {}),
        (b" Text/HTML ; Charset=UTF-8", b"text/html", {b"charset": b"UTF-8"}),
        (b'a/b; x="y;z=1"; q=2', b"a/b", {b"x": b"y;z=1", b"q": b"2"}),
        (b'a/b; x="y\\"z"', b"a/b", {b"x": b'y"z'}),
        (b'a/b; x="y\r\n z"; boundary="y\r\n z"', b"a/b", {b"x": b"y z", b"boundary": b"y\r\n z"}),
        (b"a/b;\r\n\tx=1", b"a/b", {b"x": b"1"}),
        (b"a/b (comment); x=1", b"a/b", {b"x": b"1"}),
        (b'a/b; x="open y; z=1', b"a/b", {b"x": b'"open', b"z": b"1"}),
        (b'a/b; x="y"z; z="1"', b"a/b", {b"x": b'"y"z', b"z": b"1"}),
        (b'a/b; x=open"', b"a/b", {b"x": b'open"'}),
        (b"a/b; x*0=ab; x*1=cd", b"a/b", {b"x*0": b"ab", b"x*1": b"cd", b"x": b"abcd"}),
        (b"a/b; x*=utf-8'en'%41b", b"a/b", {b"x*": b"utf-8'en'%41b", b"x": b"Ab"}),
        (b"a/b; x*0*=utf-8''%41; x*1=%42", b"a/b", {b"x*0*": b"utf-8''%41", b"x*1": b"%42", b"x": b"A%42"}),
        (b"a/b; x=1; x*=utf-8''2", b"a/b", {b"x": b"1", b"x*": b"utf-8''2"}),
        (b"a/b; x*y=1; z*99999=2", b"a/b", {b"x*y": b"1", b"z*99999": b"2"}),
        (b"a/b; x=" + b"y" * 300, b"a/b", {b"x": b"y" * 300}),
    ],
)
def test_values_are_read_as_rfc_2045_and_2231_say(body: bytes, value: bytes, parameters: dict[bytes, bytes]) -> None:
    read = read_value(body)
    assert (read.value, dict(read.parameters), read.doubtful) == (value, parameters, False)


@pytest.mark.parametrize(
    "body",
    [
        b"a/b; charset=x; charset=y",
        b"multipart/mixed; boundary=x; boundary=y",
        b"multipart/mixed; boundary=x; boundary=x",
        b'multipart/mixed; boundary="x"\r\n\tboundary="x"',
        b"multipart/mixed; boundary=x\r\n\tboundary=y",
        b"multipart/mixed; boundary*=us-ascii''x",
        b'multipart/mixed; boundary="-" a multi-part message',
        b'multipart/mixed; boundary="a"b',
        b"multipart/mixed; Boundary*0=x; boundary*1=y",
        b"multipart/mixed; boundary=x; boundary*=us-ascii''y",
    ],
)
def test_what_readers_take_differently_is_doubtful(body: bytes) -> None:
    assert read_value(body).doubtful


@pytest.mark.parametrize(
    "body",
    [
        b"a/b; x=1; x=2",
        b"a/b; charset=UTF-8; charset=utf-8",
        b"a/b; boundary*=x",
        b'multipart/mixed; boundary="boundary=1"',
        b"multipart/mixed; boundary = x; type=y",
        b'multipart/mixed; boundary="x" ; type=y',
        b'multipart/mixed; boundary="x\\"y" (a comment)\r\n',
        b"multipart/mixed",
    ],
)
def test_what_all_readers_take_alike_is_not(body: bytes) -> None:
    assert not read_value(body).doubtful
