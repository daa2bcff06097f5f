import pytest

from relay.inject.parts import MAX_BOUNDARY_BYTES, MAX_DASH_LINES, MAX_DEPTH, MAX_PARTS, scan
from storage.untracked import UntrackedReason as R
from tests.inject.messages import HTML_PART, TEXT_PART, joined, message, multipart, part


def _bodies(content: bytes) -> list[tuple[bytes, bytes]]:
    found = scan(content)
    assert found.doubt is None
    return [(each.kind, content[each.start : each.end]) for each in found.parts if not each.children]


def test_the_line_end_before_a_delimiter_belongs_to_it() -> None:
    content = multipart("mixed", TEXT_PART, HTML_PART)
    assert _bodies(content) == [(b"text/plain", b"shown"), (b"text/html", b"<p>shown</p>")]
    assert _bodies(content.replace(b"\r\n", b"\n")) == [(b"text/plain", b"shown"), (b"text/html", b"<p>shown</p>")]


def test_nested_parts_preamble_and_epilogue() -> None:
    inner = part(joined(TEXT_PART, HTML_PART, boundary="in"), "Content-Type: multipart/alternative; boundary=in")
    content = (
        multipart("mixed", inner + b"epilogue", part(b"x", "Content-Type: image/png"), boundary="out")
        + b"after\r\n--out\r\n"
    )
    content = content.replace(b"--out\r\n", b"preamble\r\n--out  \r\n", 1)
    assert [kind for kind, _ in _bodies(content)] == [b"text/plain", b"text/html", b"image/png"]


def test_an_outer_delimiter_ends_inner_parts_that_were_not_closed() -> None:
    inner = part(b"--in\r\n" + HTML_PART, "Content-Type: multipart/alternative; boundary=in")
    assert _bodies(multipart("mixed", inner, TEXT_PART, boundary="out")) == [
        (b"text/html", b"<p>shown</p>"),
        (b"text/plain", b"shown"),
    ]


def test_a_message_that_breaks_off_ends_its_last_part() -> None:
    content = multipart("mixed", HTML_PART)
    assert _bodies(content[: content.index(b"shown")]) == [(b"text/html", b"<p>")]
    assert _bodies(message(b"--=_b", 'Content-Type: multipart/mixed; boundary="=_b"')) == [(b"text/plain", b"")]


def test_delimiters_inside_an_embedded_message_are_not_ours() -> None:
    embedded = part(multipart("mixed", HTML_PART, boundary="other"), "Content-Type: message/rfc822")
    assert [kind for kind, _ in _bodies(multipart("mixed", embedded))] == [b"message/rfc822"]


def test_parts_of_a_digest_are_messages() -> None:
    assert [kind for kind, _ in _bodies(multipart("digest", part(b"Subject: x\r\n\r\ny")))] == [b"message/rfc822"]


def test_parts_of_the_same_header_are_parts_of_their_own() -> None:
    one, two = part(b"1", "Content-Type: text/html"), part(b"2", "Content-Type: text/html")
    inner = part(joined(one, two, boundary="in"), "Content-Type: multipart/mixed; boundary=in")
    content = multipart(
        "mixed", one, two, inner, inner.replace(b"=in", b"=i2").replace(b"--in", b"--i2"), boundary="out"
    )
    assert [body for _, body in _bodies(content)] == [b"1", b"2"] * 3
    parents = [each.parent.start for each in scan(content).parts if each.parent is not None]
    assert len(parents) == 8
    assert len(set(parents)) == 3


def test_of_attachments_alike_one_is_listed_and_all_are_counted() -> None:
    alike = part(b"1", "Content-Type: image/png")
    content = multipart("mixed", HTML_PART, alike, alike, TEXT_PART, alike)
    assert [kind for kind, _ in _bodies(content)] == [b"text/html", b"image/png", b"text/plain"]
    assert [body for kind, body in _bodies(content) if kind == b"text/plain"] == [b"shown"]
    assert scan(multipart("mixed", *([alike] * (MAX_PARTS + 1)))).doubt is R.TOO_COMPLEX


def test_a_bare_return_before_other_dashes_is_data() -> None:
    assert _bodies(multipart("mixed", part(b"x\r--y"))) == [(b"text/plain", b"x\r--y")]


def test_what_a_part_says_of_itself() -> None:
    content = multipart(
        "mixed",
        part(
            b"", "Content-Type: text/html; name=x", "Content-Transfer-Encoding: BASE64", "Content-Disposition: INLINE"
        ),
        part(b"", "Content-Type: html", "Content-Disposition: attachment; filename=x"),
        part(b"", "Content-Type: a/b", "Content-Type: c/d"),
    )
    one, two, three = scan(content).parts[1:]
    assert (one.kind, one.encoding, one.disposition, one.named) == (b"text/html", b"base64", b"inline", True)
    assert (two.kind, two.disposition, two.named, two.doubt) == (b"", b"attachment", True, None)
    assert three.doubt is R.AMBIGUOUS_HEADER


_MIXED = 'Content-Type: multipart/mixed; boundary="{}"'


@pytest.mark.parametrize(
    ("content", "doubt"),
    [
        (b"no header at all", R.MALFORMED_HEADER),
        (b"A: b\r\nbroken\r\n\r\nx", R.MALFORMED_HEADER),
        (b"From a@example.com Mon Jan 1 00:00:00 2024\r\nA: b\r\n\r\nx", R.MALFORMED_HEADER),
        (message(b"", "Content-Type: a/b", "Content-Type: c/d"), R.AMBIGUOUS_HEADER),
        (message(b"--a b\r\n", 'Content-Type: multipart/mixed; boundary="a\r\n b"'), R.AMBIGUOUS_BOUNDARY),
        (message(b"x", "Content-Type: multipart/mixed"), R.AMBIGUOUS_BOUNDARY),
        (message(b"x", _MIXED.format("b" * (MAX_BOUNDARY_BYTES + 1))), R.AMBIGUOUS_BOUNDARY),
        (multipart("mixed", TEXT_PART, fields=("Content-Transfer-Encoding: base64",)), R.AMBIGUOUS_BOUNDARY),
        (multipart("mixed", part(b"x\r--=_b\r\n")), R.AMBIGUOUS_BOUNDARY),
        (multipart("mixed", part(b"--=_b and more")), R.AMBIGUOUS_BOUNDARY),
        (multipart("mixed", part(b"--=_b" + b" " * 900)), R.AMBIGUOUS_BOUNDARY),
        (
            multipart("mixed", part(joined(TEXT_PART, boundary="=_b1"), _MIXED.format("=_b1"))),
            R.AMBIGUOUS_BOUNDARY,
        ),
        (multipart("mixed", part(joined(TEXT_PART), _MIXED.format("=_b"))), R.AMBIGUOUS_BOUNDARY),
        (
            multipart("mixed", part(joined(TEXT_PART, boundary="="), _MIXED.format("="))),
            R.AMBIGUOUS_BOUNDARY,
        ),
        (multipart("mixed", part(b"x", "A: b", "--=_b: c"), boundary="=_b:"), R.MALFORMED_HEADER),
        (
            multipart("mixed", part(b"x", "A: b", "Content-Type: multipart/mixed", _MIXED.format("i"))),
            R.AMBIGUOUS_BOUNDARY,
        ),
        (multipart("mixed", part(b"x", "A: " + "b" * (1 << 20))), R.TOO_COMPLEX),
        (message(b"x", "A: " + "b" * (1 << 20)), R.TOO_COMPLEX),
        (multipart("mixed", *([b"\r\n"] * (MAX_PARTS + 1))), R.TOO_COMPLEX),
        (
            multipart("mixed", part(b"--x\r\n" * (MAX_DASH_LINES + 1) + b"--y\r\n", _MIXED.format("y"))),
            R.TOO_COMPLEX,
        ),
        (
            b"".join(
                b"Content-Type: multipart/mixed; boundary=%04d_\n\n--%04d_\n" % (i, i) for i in range(MAX_DEPTH + 2)
            ),
            R.TOO_COMPLEX,
        ),
    ],
)
def test_what_readers_could_cut_differently_is_in_doubt(content: bytes, doubt: R) -> None:
    assert scan(content).doubt is doubt
