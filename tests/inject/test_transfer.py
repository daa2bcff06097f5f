import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.inject.image import encode
from relay.inject.splice import Edit, Form
from relay.inject.transfer import cut, decode, form_of
from storage.untracked import UntrackedReason as R
from tests.inject.messages import URL, encoded

FORMS = {"8bit": Form.PLAIN, "quoted-printable": Form.QUOTED_PRINTABLE, "base64": Form.BASE64}


@pytest.mark.parametrize(
    ("form", "body", "decoded"),
    [
        (Form.PLAIN, b"a=3D", b"a=3D"),
        (Form.QUOTED_PRINTABLE, b"a=3d=C3=\r\nb=\nc", b"a=\xc3bc"),
        (Form.QUOTED_PRINTABLE, b"a= \t\r\nb=zz==3D=", b"ab=zz=="),
        (Form.BASE64, b"Y W\r\nJj", b"abc"),
        (Form.BASE64, b"YQ==\r\n", b"a"),
        (Form.BASE64, b"", b""),
        (Form.BASE64, b"YQ", None),
        (Form.BASE64, b"YQ==YQ==", None),
        (Form.BASE64, b"YWJj\r\n-- \r\nfooter", None),
    ],
)  # fmt: skip
def test_bodies_are_decoded_or_told_broken(form: Form, body: bytes, decoded: bytes | None) -> None:
    assert decode(form, body) == decoded


def test_encodings_by_name() -> None:
    assert [form_of(name) for name in (b"", b"binary", b"base64", b"x-uuencode")] == [
        Form.PLAIN,
        Form.PLAIN,
        Form.BASE64,
        None,
    ]


def _rendered(form: Form, content: bytes, start: int, end: int, offset: int) -> bytes | None:
    edit = cut(form, content, start, end, offset, "ascii", b"\r\n")
    if not isinstance(edit, Edit):
        assert edit is R.BROKEN_ENCODING
        return None
    assert edit.slot is not None
    return content[start : edit.offset] + encode(edit.slot, URL) + content[edit.offset + edit.removed : end]


@given(st.lists(st.sampled_from([b"<p>", b"</p>", b"\r\n", "é".encode(), b"=", b" ", b"word"]), max_size=60), st.data())
@pytest.mark.parametrize("encoding", ["quoted-printable", "base64"])
def test_an_image_cut_in_anywhere_decodes_to_what_was_there_and_the_image(
    encoding: str, pieces: list[bytes], data: st.DataObject
) -> None:
    body = encoded(b"".join(pieces), encoding)
    form = FORMS[encoding]
    source = decode(form, body)
    assert source is not None
    offset = data.draw(st.integers(0, len(source)))
    content = b"before\r\n" + body + b"\r\nafter"
    rendered = _rendered(form, content, 8, 8 + len(body), offset)
    assert rendered is not None
    after = decode(form, rendered)
    assert after is not None
    assert after[:offset] == source[:offset]
    assert after[offset:].startswith(b"<img")
    assert after.endswith(b">" + source[offset:])
    longest = max(map(len, re.split(rb"\r?\n", body)), default=0)
    assert max(map(len, re.split(rb"\r?\n", rendered))) <= max(77 if encoding == "quoted-printable" else 76, longest)


def test_a_soft_break_that_ends_the_part_stays_last() -> None:
    rendered = _rendered(Form.QUOTED_PRINTABLE, b"x=", 0, 2, 1)
    assert rendered is not None
    assert rendered.startswith(b"x=\r\n<img")
    assert rendered.endswith(b">=")


@pytest.mark.parametrize(("body", "offset"), [(b"x=\r", 2), (b"x==a", 2)])
def test_nothing_is_put_behind_an_escape_that_is_open(body: bytes, offset: int) -> None:
    assert _rendered(Form.QUOTED_PRINTABLE, body, 0, len(body), offset) is None


def test_base64_before_a_tag_is_a_pure_insertion_and_keeps_its_line_length() -> None:
    """An image begins as every tag does, so the divided group keeps its characters."""
    for before in (b"abc", b"abcd", b"abcde"):
        body = encoded(before * 30 + b"</body></html>" * 9, "base64")
        rendered = _rendered(Form.BASE64, body, 0, len(body), len(before) * 30)
        assert rendered is not None
        same = next(at for at in range(len(body)) if body[at] != rendered[at])
        assert rendered.endswith(body[same:])
        assert max(map(len, rendered.split())) == 76


def test_base64_lines_of_odd_lengths_and_blanks_are_taken_as_they_are() -> None:
    body = b"PHA\r\n+ PC9\r\nwPg=\r\n="
    assert decode(Form.BASE64, body) == b"<p></p>"
    for offset in range(8):
        rendered = _rendered(Form.BASE64, body, 0, len(body), offset)
        assert rendered is not None
        assert (decode(Form.BASE64, rendered) or b"").startswith(b"<p></p>"[:offset] + b"<img")
