"""relay/inject/bodies.py: what is encoded decodes to what it was, in lines that all servers and all readers take."""

import base64
import quopri
import time

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from relay.inject.bodies import encoded, has_long_line, quoted_printable

BODIES = st.lists(
    st.one_of(
        st.binary(max_size=40),
        st.sampled_from(
            [b"\r\n", b"--", b"-", b" ", b"\t\r\n", b"=", b"\r", b"\n", b"\0", b".\r\n", b"x" * 75, "é".encode()]
        ),
    ),
    max_size=30,
).map(b"".join)


@given(BODIES, st.booleans(), st.booleans())
@example(b"a" * 72 + b"--boundary", True, True)
@example(b"a" * 75 + b"\xff--", True, False)
@example(b"-" * 400, True, False)
@example(b"-" * 400 + b"\r\n", True, False)
@example(b"x" * 75 + b"\t\r\n", True, True)
@example(b"--" + b"x" * 72 + b"\xff" + b"--" * 90 + b" \r\n--" + b"-" * 73 + b"\xff\r\n", True, True)
def test_an_encoded_body_decodes_to_what_it_was(body: bytes, text: bool, last: bool) -> None:
    """RFC 2045, 6.7 and 6.8: 7 bits, 76 characters, no bare CR or LF, and no line that might be a delimiter."""
    found = encoded(body, b"8bit", text=text, last=last)
    assert found is not None
    name, written = found
    decode = {b"quoted-printable": quopri.decodestring, b"base64": base64.b64decode}[name]
    assert decode(written) == body
    assert text or name == b"base64"
    assert written.isascii()
    assert b"\0" not in written
    lines = written.split(b"\r\n")
    assert not any(b"\r" in line or b"\n" in line or line.startswith(b"--") or len(line) > 76 for line in lines)
    if name == b"quoted-printable":
        assert not any(line.endswith((b" ", b"\t")) for line in lines)


@given(BODIES)
def test_the_shorter_encoding_is_taken_for_text(body: bytes) -> None:
    found = encoded(body, b"", text=True, last=False)
    assert found is not None
    other = quoted_printable(body) if found[0] == b"base64" else base64.encodebytes(body)
    # Soft breaks and line ends are not counted: they are one character in 25.
    assert len(found[1]) <= len(other) * 1.1 + 10


@pytest.mark.parametrize(
    ("body", "written"),
    [
        (b"caf\xc3\xa9 \r\n", b"caf=C3=A9=20\r\n"),
        (b"1=2\r\n-- \r\nme", b"1=3D2\r\n=2D-=20\r\nme"),
        (b"ab\rc\nd", b"ab=0Dc=0Ad"),
        (b"x" * 77, b"x" * 75 + b"=\r\nxx"),
        (b"x" * 74 + b"\xe9y", b"x" * 74 + b"=\r\n=E9y"),
        (b"x" * 75 + b"--b", b"x" * 75 + b"=\r\n=2D-b"),
    ],
)
def test_quoted_printable_as_rfc_2045_has_it(body: bytes, written: bytes) -> None:
    assert quoted_printable(body) == written


@pytest.mark.parametrize(
    ("encoding", "body", "found"),
    [
        (b"x-uuencode", b"x", None),
        (b"base64", b"QUJD" * 30 + b"\xe9\r\nQUJD", (b"base64", b"QUJD" * 30 + b"\r\nQUJD")),
        (b"base64", b"QUJD" * 300, (b"base64", b"\r\n".join([b"QUJD" * 19] * 15 + [b"QUJD" * 15]))),
        (b"quoted-printable", b"a=C3=A9\xe9=\r\nb", (b"quoted-printable", b"a=C3=A9=E9b")),
    ],
)
def test_what_is_encoded_already_stays_in_its_encoding(
    encoding: bytes, body: bytes, found: tuple[bytes, bytes] | None
) -> None:
    assert encoded(body, encoding, text=True, last=False) == found


@pytest.mark.parametrize(
    ("text", "long"),
    [
        (b"", False),
        (b"x" * 998, False),
        (b"x" * 999, True),
        (b"x" * 998 + b"\r\n", False),
        (b"x" * 999 + b"\r\n", True),
        ((b"x" * 998 + b"\r\n") * 50, False),
        ((b"x" * 998 + b"\r\n") * 50 + b"x" * 999 + b"\r\n", True),
        (b"\r\n" * 3000, False),
        (b"a\r\n" * 3000 + b"x" * 999, True),
    ],
)
def test_long_lines_are_seen(text: bytes, long: bool) -> None:
    """RFC 5322, 2.1.1: 998 without the CRLF."""
    assert has_long_line(text) is long


@given(st.lists(st.integers(0, 1100), max_size=12))
def test_no_long_line_hides(lengths: list[int]) -> None:
    text = b"".join(b"x" * length + b"\r\n" for length in lengths)
    assert has_long_line(text) is any(length > 998 for length in lengths)


@pytest.mark.parametrize("piece", [b"\xe9", b"--", b"x", b"=", b" ", b"\r", b"\r\n", b"-\xe9"])
def test_time_is_linear(piece: bytes) -> None:
    """Twenty times the body in far less than four hundred times the time."""

    def seconds(size: int) -> float:
        body = piece * size
        start = time.process_time()
        quoted_printable(body)
        return time.process_time() - start

    small = max(min(seconds(20_000) for _ in range(3)), 1e-4)
    assert seconds(400_000) < 120 * small
