import email
import email.policy
import re
import time

import pytest

from relay.inject.alternative import MAX_TEXT_BEFORE_IMAGE, MAX_TEXT_BYTES
from relay.inject.plan import InjectOptions, plan_message
from relay.inject.render import render, render_checked
from storage.untracked import UntrackedReason as R
from tests.inject.messages import HTML_PART, TEXT_PART, URL, encoded, joined, message, multipart, part

ADD = InjectOptions(url_length=len(URL))


def _parts(content: bytes) -> tuple[bytes, str]:
    """Return the text part's body and the HTML, as another reader sees them."""
    read = email.message_from_bytes(content, policy=email.policy.SMTP)
    alternative = read if read.get_content_type() == "multipart/alternative" else next(iter(read.iter_parts()))
    text, shown = alternative.iter_parts()
    assert text.get_content_type() == "text/plain"
    return text.get_payload(decode=True), shown.get_content()


@pytest.mark.parametrize("encoding", ["7bit", "8bit", "quoted-printable", "base64"])
@pytest.mark.parametrize("eol", [b"\r\n", b"\n"])
def test_text_gets_an_html_alternative_and_keeps_its_bytes(encoding: str, eol: bytes) -> None:
    text = (
        b"Hello you,\r\n\r\n> see http://x.org/\r\n"
        if encoding == "7bit"
        else "Grüße,\r\n\r\n> http://x.org/\r\n".encode()
    )
    fields = ("Content-Type: text/plain; charset=utf-8", f"Content-Transfer-Encoding: {encoding}", "X-Kept: a\r\n b")
    content = message(encoded(text, encoding), *fields).replace(b"\r\n", eol)
    plan = plan_message(content, ADD)
    assert plan.untracked_reason is None
    rendered = render(content, plan, URL)
    assert content.partition(eol + eol)[2] in rendered
    assert b"X-Kept: a" + eol + b" b" + eol in rendered
    assert eol in rendered
    assert max(map(len, rendered.split(eol))) <= (200 if encoding == "7bit" else 78)
    # Where all is ASCII, the URL stands in the copy so that it can be seen and taken.
    assert encoding != "7bit" or URL.encode() in rendered
    kept, shown = _parts(rendered)
    assert kept.replace(b"\r\n", b"\n") == text.replace(b"\r\n", b"\n")
    assert shown.count(URL) == 1
    assert '<a href="http://x.org/">' in shown


@pytest.mark.parametrize(
    ("text", "longest"),
    [
        (b"word " * 400, 200),
        (b"x" * 300 + b" y", 320),
        (b"x " + b"y" * 900, 907),
        (b"x" * 150 + b" From " + b"y" * 180, 350),
        (b"From here\r\n" + b"x" * 90, 200),
    ],
)
def test_text_in_ascii_gets_html_in_lines_that_need_no_encoding(text: bytes, longest: int) -> None:
    """Long lines are broken at blanks; no line begins as mailboxes mask it."""
    content = message(text)
    rendered = render(content, plan_message(content, ADD), URL)
    page = rendered[rendered.index(b"<!DOCTYPE") :]
    assert b"Content-Transfer-Encoding: 7bit\r\n\r\n<!DOCTYPE" in rendered
    assert max(map(len, page.split(b"\r\n"))) <= longest
    assert b"\nFrom " not in page
    shown = re.sub(r"<[^>]*>|\s", "", _parts(rendered)[1].partition("<body>")[2]).replace("&#70;", "F")
    assert shown.replace("&nbsp;", "") == re.sub(r"\s", "", text.decode())


def test_a_word_longer_than_any_line_is_encoded() -> None:
    content = message(b"x" * 1200)
    rendered = render(content, plan_message(content, ADD), URL)
    assert b"Content-Transfer-Encoding: quoted-printable" in rendered
    assert "x" * 1200 in _parts(rendered)[1]


def test_a_multipart_of_8bit_parts_says_so_and_mime_version_is_added_once() -> None:
    content = message(
        "é".encode(), "Content-Type: text/plain; charset=utf-8", "Content-Transfer-Encoding: 8bit", mime=False
    )
    rendered = render(content, plan_message(content, ADD), URL)
    header = rendered.partition(b"\r\n\r\n")[0]
    assert header.count(b"Content-Transfer-Encoding: 8bit") == 1
    assert header.count(b"MIME-Version: 1.0") == 1
    with_version = message(b"x")
    assert render(with_version, plan_message(with_version, ADD), URL).count(b"MIME-Version") == 1


def test_a_message_with_attachments_keeps_them() -> None:
    attachment = part(b"%PDF", "Content-Type: application/pdf", "Content-Disposition: attachment")
    content = multipart("mixed", TEXT_PART, attachment)
    rendered = render(content, plan_message(content, ADD), URL)
    assert attachment in rendered
    assert _parts(rendered)[0] == b"shown"


def test_text_of_other_letters_is_written_in_base64() -> None:
    text = "日本語のテキスト\r\n" * 20
    content = message(text.encode(), "Content-Type: text/plain; charset=utf-8", "Content-Transfer-Encoding: 8bit")
    rendered = render(content, plan_message(content, ADD), URL)
    assert b"base64" in rendered
    assert max(map(len, rendered.split(b"\r\n"))) <= 76
    shown = _parts(rendered)[1]
    assert (shown.count("日本語のテキスト<br>"), shown.count(URL)) == (20, 1)


def test_long_text_has_its_image_first() -> None:
    content = message(b"line\r\n" * (MAX_TEXT_BEFORE_IMAGE // 5))
    shown = _parts(render(content, plan_message(content, ADD), URL))[1]
    assert 0 < shown.index(URL) < shown.index("line")


def test_the_boundary_is_not_in_the_message() -> None:
    content = message(b"text")
    boundary = re.search(rb'boundary="([^"]+)"', render(content, plan_message(content, ADD), URL))
    assert boundary is not None
    # The name comes from the content, so a content cannot name its own; a part of the search can be shown.
    assert boundary[1] not in content


def test_flowed_text_is_read_as_such() -> None:
    content = message(b"one \r\ntwo\r\n", "Content-Type: text/plain; format=flowed; delsp=yes")
    assert "onetwo<br>" in _parts(render(content, plan_message(content, ADD), URL))[1]


def _with(*fields: str, body: bytes = b"text\r\n") -> bytes:
    return message(body, *fields)


def _nested(kind: str) -> bytes:
    return part(joined(TEXT_PART, boundary="in"), f"Content-Type: multipart/{kind}; boundary=in")


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (_with("List-Post: <mailto:l@example.org>"), R.MAILING_LIST),
        (_with("Cc: x@vger.kernel.org"), R.MAILING_LIST),
        (_with("Cc: Bug <1@Bugs.Debian.org>"), R.MAILING_LIST),
        (_with("Cc: x@sub.freebsd.org"), R.MAILING_LIST),
        (message(b"x", "Subject: [RFC PATCH v2 1/3] x"), R.PATCH),
        (_with("X-Mailer: git-send-email 2.40"), R.PATCH),
        (_with("User-Agent: b4 0.12"), R.PATCH),
        (_with(body=b"x\r\n\r\ndiff --git a/x b/x\r\n"), R.PATCH),
        (_with(body=b"@@ -1,2 +3 @@\r\n"), R.PATCH),
        (_with(body=b"begin 644 a.zip\r\nM\r\nend\r\n"), R.PATCH),
        (_with(body=b"-----BEGIN PGP MESSAGE-----\r\n"), R.INLINE_PGP),
        (_with("X: a\rb"), R.MALFORMED_HEADER),
        (_with(body=b" \r\n"), R.NO_TEXT),
        (_with(body=b"\0"), R.TEXT_UNREADABLE),
        (_with(body=b"\xff"), R.TEXT_UNREADABLE),
        (_with(body=b"x" * (MAX_TEXT_BYTES + 1)), R.TEXT_TOO_LONG),
        (_with("Content-Type: text/plain; charset=no-such"), R.UNKNOWN_CHARSET),
        (_with("Content-Transfer-Encoding: no-such"), R.UNKNOWN_ENCODING),
        (_with("Content-Transfer-Encoding: base64", body=b"%"), R.BROKEN_ENCODING),
        (_with("Content-Type: text/plain; name=a.txt"), R.TEXT_ONLY),
        (multipart("alternative", TEXT_PART, part(b"x", "Content-Type: text/calendar")), R.TEXT_ONLY),
        (multipart("mixed", part(b"x", "Content-Type: image/png"), TEXT_PART), R.TEXT_ONLY),
        (multipart("mixed", part(b"x", "Content-Type: text/plain", "Content-Type: text/plain")), R.AMBIGUOUS_HEADER),
        (multipart("mixed", TEXT_PART).removesuffix(b"\r\n--=_b--\r\n"), R.AMBIGUOUS_BOUNDARY),
        (multipart("mixed", _nested("signed")), R.SIGNED),
        (multipart("mixed", _nested("mixed")), R.TEXT_ONLY),
        (multipart("mixed", part(b"--x\r\n" * 30_000), boundary="q"), R.TOO_COMPLEX),
    ],
)  # fmt: skip
def test_text_that_stays_as_it_is(content: bytes, reason: R) -> None:
    plan = plan_message(content, ADD)
    assert plan.untracked_reason is reason
    assert render(content, plan, URL) == content


def test_an_announcement_list_is_no_discussion() -> None:
    assert plan_message(_with("List-Post: NO"), ADD).tracked


@pytest.mark.parametrize(
    ("options", "tracked"),
    [
        (InjectOptions(leave_text_from=frozenset({"example.com"}), sender_domain="example.com"), False),
        (InjectOptions(leave_text_from=frozenset({"example.com"}), sender_domain="sub.example.com"), False),
        (InjectOptions(leave_text_from=frozenset({"example.com"}), sender_domain="badexample.com"), True),
        (InjectOptions(leave_text_to=frozenset({"x.org"}), recipient_domains=frozenset({"y.org", "x.org"})), False),
        (InjectOptions(leave_text_to=frozenset({"x.org"}), recipient_domains=frozenset({"y.org"})), True),
        (InjectOptions(recipient_domains=frozenset({"lists.debian.org"})), False),
    ],
)
def test_text_stays_by_the_envelopes_domains(options: InjectOptions, tracked: bool) -> None:
    assert plan_message(_with(), options).tracked is tracked
    assert plan_message(multipart("mixed", HTML_PART), options).tracked


def test_several_edits_pass_the_self_check() -> None:
    content = _with("Content-Type: text/plain", "Content-ID: <x>")
    rendering = render_checked(content, plan_message(content, ADD), URL)
    assert rendering.defect is None
    assert rendering.content.index(b"Content-ID") > rendering.content.index(b"--=_telltale")


@pytest.mark.parametrize("name", ["Subject", "To", "Cc", "X-Mailer", "User-Agent", "List-Post"])
@pytest.mark.parametrize("piece", ["[", "[ PATCH", "]", "@", "a@", "b4", "git-", ".", "<", "-", "=?", "a.b@c."])
def test_a_hostile_field_costs_little(name: str, piece: str) -> None:
    """A hundred thousand brackets in a Subject kept a relay for 47 s."""
    begun = time.process_time()
    plan_message(message(b"x", f"{name}: {piece * (100_000 // len(piece))}"), ADD)
    assert time.process_time() - begun < 1
