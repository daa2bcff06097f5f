from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from relay.inject.parts import scan
from relay.inject.plan import InjectOptions, Plan, plan_message
from relay.inject.render import render, render_checked
from relay.inject.splice import Edit
from storage.tracking import ForeignDkim, TextOnly
from storage.untracked import UntrackedReason as R
from tests.inject.messages import HTML_PART, PAGE, TEXT_PART, URL, encoded, html, joined, message, multipart, part

LEAVE = InjectOptions(text_only=TextOnly.LEAVE, url_length=len(URL))


def _reason(content: bytes, options: InjectOptions = LEAVE) -> R | None:
    return plan_message(content, options).untracked_reason


@pytest.mark.parametrize("encoding", ["7bit", "8bit", "binary", "quoted-printable", "base64"])
@pytest.mark.parametrize("charset", ["utf-8", "iso-8859-1", "utf-16", "utf-16le", "utf-7", "gb18030"])
@pytest.mark.parametrize("eol", [b"\r\n", b"\n"])
def test_every_encoding_and_charset(encoding: str, charset: str, eol: bytes) -> None:
    page = PAGE.encode(charset)
    if encoding == "quoted-printable" and charset.startswith("utf-16"):
        pytest.skip("line ends of these charsets cannot stand in quoted-printable")
    content = html(encoded(page, encoding), encoding, charset)
    if charset not in {"utf-16", "utf-16le"} or encoding == "base64":
        content = content.replace(b"\r\n", eol)
    plan = plan_message(content, LEAVE)
    assert plan.untracked_reason is None
    rendered = render(content, plan, URL)
    assert rendered != content
    (edit,) = plan.edits
    assert rendered.startswith(content[: edit.offset])
    assert rendered.endswith(content[edit.offset + edit.removed :])
    assert b"\r" not in rendered or eol == b"\r\n" or b"\r" in content


_PGP = "-----BEGIN PGP SIGNED MESSAGE-----\r\n"


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (message(b"<p>x", "Content-Type: text/html", "X-Track-Opens: No"), R.OPTED_OUT),
        (message(b"text", "x-track-opens: no"), R.OPTED_OUT),
        (b"X-Track-Opens: no\r\nbroken\r\n\r\n", R.OPTED_OUT),
        (message(b"text"), R.TEXT_ONLY),
        (multipart("signed", HTML_PART, TEXT_PART), R.SIGNED),
        (html(_PGP.encode() + b"<p>x"), R.INLINE_PGP),
        (multipart("alternative", part(_PGP.encode(), "Content-Type: text/plain"), HTML_PART), R.INLINE_PGP),
        (
            multipart(
                "alternative",
                part(encoded(_PGP.encode(), "base64"), "Content-Type: text/plain", "Content-Transfer-Encoding: base64"),
                HTML_PART,
            ),
            R.INLINE_PGP,
        ),
        (html(b" \r\n "), R.EMPTY_HTML),
        (html(b"<p>x", "x-uuencode"), R.UNKNOWN_ENCODING),
        (html(b"PHA", "base64"), R.BROKEN_ENCODING),
        (html(b"<p>x=\r", "quoted-printable"), R.BROKEN_ENCODING),
        (html(b"<p>\xff", charset="no-such-charset"), R.UNKNOWN_CHARSET),
        (html(b"<p>x", charset='"utf-16"x'), R.UNKNOWN_CHARSET),
        (html(b"<\0p\0>\0"), R.BROKEN_CHARSET),
        (html(b"<FRAMESET></FRAMESET>"), R.FRAMESET),
        (html(b"<title>x"), R.NO_SAFE_PLACE),
        (html("<p>日本".encode("iso-2022-jp").removesuffix(b"\x1b(B"), charset="iso-2022-jp"), R.NO_SAFE_PLACE),
        (multipart("mixed", part(b"<p>x", "Content-Type: text/html", "Content-Type: text/html")), R.AMBIGUOUS_HEADER),
        (multipart("mixed", part(b"--=_bx\r\n<p>", "Content-Type: text/html")), R.AMBIGUOUS_BOUNDARY),
        (b"", R.TEXT_ONLY),
        (b"no header", R.MALFORMED_HEADER),
        (message(b"x", "A: " + "b" * (1 << 20)), R.TOO_COMPLEX),
    ],
)
def test_what_goes_out_untouched_and_why(content: bytes, reason: R) -> None:
    plan = plan_message(content, LEAVE)
    assert plan.untracked_reason is reason
    assert render(content, plan, URL) == content


def test_the_sender_opted_out_though_its_field_is_gone() -> None:
    assert _reason(html(b"<p>x"), InjectOptions(track=False)) is R.OPTED_OUT


def test_other_values_of_the_field_do_not_opt_out() -> None:
    assert _reason(message(b"<p>x", "Content-Type: text/html", "X-Track-Opens: yes")) is None


def test_inline_pgp_that_the_html_is_no_alternative_to_does_not_matter() -> None:
    assert _reason(multipart("mixed", HTML_PART, part(_PGP.encode(), "Content-Type: text/plain"))) is None


@pytest.mark.parametrize(
    "field",
    [
        "Content-Type: multipart/mixed; boundary=b\r\n\tboundary=b",
        "Content-Type: multipart/mixed; boundary*=us-ascii''b",
        "Content-Type: multipart/mixed; boundary*0=b",
    ],
)
def test_a_boundary_that_readers_find_differently_is_in_doubt(field: str) -> None:
    assert _reason(message(joined(HTML_PART, boundary="b"), field)) is R.AMBIGUOUS_HEADER


@pytest.mark.parametrize(
    "text",
    [
        TEXT_PART,
        part(b"%", "Content-Type: text/plain", "Content-Transfer-Encoding: base64"),
        part(b"x", "Content-Type: text/plain", "Content-Transfer-Encoding: odd"),
    ],
)
def test_text_beside_the_html_that_is_not_pgp_does_not_matter(text: bytes) -> None:
    assert _reason(multipart("alternative", text, HTML_PART)) is None


@pytest.mark.parametrize("encoding", ["8bit", "quoted-printable", "base64"])
@pytest.mark.parametrize("url", [URL, "https://x.example/?a=1&b=2"])
def test_a_second_time_nothing_is_put_in(encoding: str, url: str) -> None:
    options = InjectOptions(text_only=TextOnly.LEAVE, own_url=url)
    content = html(encoded(PAGE.encode(), encoding), encoding)
    once = render(content, plan_message(content, options), url)
    assert _reason(once, options) is R.ALREADY_TRACKED


def test_long_html_has_its_image_where_gmail_does_not_clip() -> None:
    page = PAGE.replace("<p>", "<p>" + "x" * 100 * 1024).encode()
    content = html(page)
    rendered = render(content, plan_message(content, LEAVE), URL)
    assert rendered.index(b"<img") == content.index(b"<body>") + len(b"<body>")


_SIGNATURE = "DKIM-Signature: v=1; a=rsa-sha256; d=Example.org; s=s; bh=x;\r\n b=y"


@pytest.mark.parametrize(
    ("options", "tracked", "kept"),
    [
        (LEAVE, False, True),
        (InjectOptions(foreign_dkim=ForeignDkim.BREAK), True, True),
        (InjectOptions(foreign_dkim=ForeignDkim.REMOVE), True, False),
        (InjectOptions(signing_domains=frozenset({"example.org"})), True, False),
        (InjectOptions(signing_domains=frozenset({"example.com"})), False, True),
    ],
)
@pytest.mark.parametrize("body", ["Content-Type: text/html", "Content-Type: text/plain"])
def test_signatures_that_an_image_would_break(options: InjectOptions, tracked: bool, kept: bool, body: str) -> None:
    content = message(b"<p>x</p>", _SIGNATURE, body)
    plan = plan_message(content, options)
    assert plan.untracked_reason is (None if tracked else R.FOREIGN_DKIM)
    rendering = render_checked(content, plan, URL)
    assert rendering.defect is None
    assert (b"DKIM-Signature: v=1; a=rsa-sha256; d=Example.org; s=s; bh=x;\r\n b=y\r\n" in rendering.content) is kept
    assert (b" b=y" in rendering.content) is kept
    assert (URL.encode() in rendering.content.replace(b"=\r\n", b"")) is tracked


@pytest.mark.parametrize(
    "content",
    [
        multipart("signed", HTML_PART, TEXT_PART, fields=(_SIGNATURE,)),
        multipart("mixed", part(b"--=_bx"), fields=(_SIGNATURE,)),
        message(b"text", _SIGNATURE),
    ],
)
def test_our_signatures_come_out_of_what_is_not_tracked_and_foreign_ones_stay(content: bytes) -> None:
    """We sign again what goes out; a foreign signature is broken by nothing there."""
    ours = replace(LEAVE, signing_domains=frozenset({"example.org"}), foreign_dkim=ForeignDkim.REMOVE)
    plan = plan_message(content, ours)
    assert plan.untracked_reason is not None
    assert render(content, plan, URL) == content.replace(_SIGNATURE.encode() + b"\r\n", b"")
    for options in (LEAVE, InjectOptions(text_only=TextOnly.LEAVE, foreign_dkim=ForeignDkim.REMOVE)):
        assert render(content, plan_message(content, options), URL) == content


def test_an_edit_that_does_not_prove_is_our_bug_and_goes_out_untouched(monkeypatch: pytest.MonkeyPatch) -> None:
    """The proof is independent of the cut: a cut at a wrong place is found out."""
    from relay.inject import alternative, transfer

    real_cut, real_add = transfer.cut, alternative.add_html

    def wrong_cut(*arguments: object) -> object:
        edit = real_cut(*arguments)  # type: ignore[arg-type]
        assert isinstance(edit, Edit)
        return Edit(edit.offset + 1, 0, slot=edit.slot)

    def wrong_add(*arguments: object) -> object:
        edits = real_add(*arguments)  # type: ignore[arg-type]
        assert isinstance(edits, tuple)
        return tuple(each for each in edits if each.slot is not None)

    monkeypatch.setattr(transfer, "cut", wrong_cut)
    monkeypatch.setattr(alternative, "add_html", wrong_add)
    assert _reason(html(b"<p>x</p></body>")) is R.SELF_CHECK
    assert _reason(html(encoded(b"<p>x</p></body>", "base64"), "base64")) is R.SELF_CHECK
    assert _reason(message(b"text"), InjectOptions()) is R.SELF_CHECK


_SKELETONS = (
    html(PAGE.encode()),
    html(encoded(PAGE.encode(), "base64"), "base64"),
    html(encoded(PAGE.encode(), "quoted-printable"), "quoted-printable"),
    message(b"plain > text http://x/\r\n> quoted\r\n", "Content-Type: text/plain; format=flowed"),
    multipart(
        "mixed",
        part(joined(TEXT_PART, HTML_PART, boundary="i"), "Content-Type: multipart/alternative; boundary=i"),
        TEXT_PART,
    ),
    multipart("mixed", TEXT_PART, part(b"\0\1", "Content-Type: application/octet-stream")),
)
_SNIPPETS = st.sampled_from(
    [b"\r\n", b"\n", b"\r", b"--", b"=", b"<", b">", b"--=_b\r\n", b"\r\n\r\n", b"\0", b"\xff",
     b"Content-Type: text/html\r\n", b"</body>", b"<!--", b'"', b"=\r\n", b";", b"<script>", b"<div hidden>", b"\x1b$B",
     b"Content-Transfer-Encoding: base64\r\n"]
) | st.binary(max_size=3)  # fmt: skip


@settings(max_examples=300, deadline=None)
@given(
    st.sampled_from(_SKELETONS),
    st.lists(st.tuples(st.integers(0, 700), st.integers(0, 9), _SNIPPETS), max_size=5),
    st.sampled_from([LEAVE, InjectOptions()]),
)
def test_whatever_comes_the_inserted_bytes_taken_out_give_the_senders(
    skeleton: bytes, changes: list[tuple[int, int, bytes]], options: InjectOptions
) -> None:
    """No bytes raise; a render differs by its insertions alone; its parts are those of the message."""
    content = skeleton
    for at, removed, put in changes:
        content = content[:at] + put + content[at + removed :]
    plan = plan_message(content, options)
    assert plan.untracked_reason is not R.SELF_CHECK
    assert Plan.from_bytes(plan.to_bytes()) == plan
    rendering = render_checked(content, plan, URL)
    assert rendering.defect is None
    assert (rendering.content == content) is not plan.tracked
    if plan.tracked and len(plan.edits) == 1:
        before, after = scan(content), scan(rendering.content)
        assert [part.kind for part in before.parts] == [part.kind for part in after.parts]


@given(st.binary(max_size=300))
def test_any_bytes_have_a_plan(content: bytes) -> None:
    plan = plan_message(content, InjectOptions())
    assert render_checked(content, plan, URL).defect is None
