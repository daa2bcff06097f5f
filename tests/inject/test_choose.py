import pytest

from relay.inject.choose import find, why_none
from relay.inject.parts import scan
from storage.untracked import UntrackedReason as R
from tests.inject.messages import HTML_PART, TEXT_PART, joined, message, multipart, part


def _html(body: str, *fields: str) -> bytes:
    return part(body.encode(), "Content-Type: text/html", *fields)


def _alternative(*parts: bytes) -> bytes:
    return part(joined(*parts, boundary="alt"), "Content-Type: multipart/alternative; boundary=alt")


def _related(*parts: bytes) -> bytes:
    return part(joined(*parts, boundary="rel"), "Content-Type: multipart/related; boundary=rel")


def _related_from(start: str, *parts: bytes) -> bytes:
    return message(joined(*parts, boundary="b"), f"Content-Type: multipart/related; boundary=b; start=<{start}>")


IMAGE = part(b"x", "Content-Type: image/png", "Content-ID: <i>")


@pytest.mark.parametrize(
    "content",
    [
        message(b"here", "Content-Type: text/html"),
        multipart("alternative", TEXT_PART, _html("here")),
        multipart("alternative", _html("here"), TEXT_PART),
        multipart("alternative", _html("there"), _html("here")),
        multipart("alternative", TEXT_PART, part(b"x", "Content-Type: text/x-amp-html"), _html("here")),
        multipart("alternative", TEXT_PART, _html("here"), part(b"x", "Content-Type: text/calendar; method=REQUEST")),
        multipart(
            "mixed",
            _alternative(TEXT_PART, _related(_html("here"), IMAGE)),
            _html("there", "Content-Disposition: attachment"),
        ),
        multipart("mixed", _html("here"), _html("there")),
        multipart("mixed", TEXT_PART, _html("here")),
        multipart("mixed", _html("here", "Content-Disposition: inline; filename=a.html"), TEXT_PART),
        multipart("related", _alternative(TEXT_PART, _html("here")), IMAGE),
        multipart("mixed", _html("there", "Content-Disposition: ATTACHMENT"), _html("here")),
        multipart("mixed", _html("there", 'Content-Disposition: "attachment"'), _html("here")),
        multipart("mixed", _html("there", "Content-Disposition: attachment (a file)"), _html("here")),
        multipart("mixed", _html("here", "Content-Disposition: body")),
        multipart("mixed", TEXT_PART, _html("here", "Content-Disposition: inline")),
        _related_from("i", _html("here"), IMAGE),
        _related_from("H", _html("here", "Content-ID: <h>", "Content-ID: <h>"), IMAGE),
        _related_from("none", _html("here"), IMAGE),
    ],
)
def test_the_html_that_every_reader_shows_is_chosen(content: bytes) -> None:
    chosen = find(scan(content), b"text/html")
    assert chosen is not None
    assert content[chosen.start : chosen.end] == b"here"


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (message(b"x", "Content-Type: text/plain"), R.TEXT_ONLY),
        (message(b"x"), R.TEXT_ONLY),
        (message(b"x", "Content-Type: image/png"), R.NO_TEXT),
        (message(b"x", "Content-Type: text/html", "Content-Disposition: attachment"), R.ATTACHED_ONLY),
        (multipart("mixed", TEXT_PART, _html("x", "Content-Disposition: attachment")), R.TEXT_ONLY),
        (multipart("mixed", IMAGE, _html("x", "Content-Disposition: inline; filename=a.html")), R.ATTACHED_ONLY),
        (multipart("mixed", IMAGE, part(b"x", "Content-Type: text/html; name=a.html")), R.ATTACHED_ONLY),
        (multipart("related", IMAGE, HTML_PART), R.ATTACHED_ONLY),
        (_related_from("h", _html("x"), _html("y", "Content-ID: <h>")), R.ATTACHED_ONLY),
        (multipart("mixed", TEXT_PART, _html("x", "Content-Disposition: file")), R.TEXT_ONLY),
        (multipart("signed", HTML_PART, IMAGE), R.SIGNED),
        (
            multipart("mixed", part(joined(HTML_PART, boundary="s"), "Content-Type: multipart/signed; boundary=s")),
            R.SIGNED,
        ),
        (multipart("encrypted", IMAGE, IMAGE), R.ENCRYPTED),
        (message(b"x", "Content-Type: application/pkcs7-mime"), R.ENCRYPTED),
        (multipart("report", HTML_PART), R.REPORT),
        (multipart("digest", part(b"Subject: x\r\n\r\ny")), R.REPORT),
        (multipart("form-data", HTML_PART), R.UNKNOWN_MULTIPART),
        (message(b"Content-Type: text/html\r\n\r\nx", "Content-Type: message/rfc822"), R.EMBEDDED_ONLY),
    ],
)
def test_why_no_html_is_shown(content: bytes, reason: R) -> None:
    found = scan(content)
    assert found.doubt is None
    assert find(found, b"text/html") is None
    assert why_none(found) is reason


def test_a_part_beside_a_signed_one_is_still_shown() -> None:
    signed = part(joined(TEXT_PART, boundary="s"), "Content-Type: multipart/signed; boundary=s")
    assert find(scan(multipart("mixed", HTML_PART, signed)), b"text/html") is not None
