"""relay/broadcast/draft.py and letter.py: from a sender's file to the message of each contact."""

import contextlib
import email
import time
from email import policy
from email.message import EmailMessage
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from relay.broadcast.draft import of_html, of_message, text_of
from relay.broadcast.grammar import TemplateError
from relay.broadcast.letter import Contact, Letter

BOB = Contact("bob@there.example", "Bob Ö", {"city": "Wien & <Umland>"})
HTML = "<html><body><h1>Hallo {{ name|default('Du') }}</h1><p>Grüße aus {{ city }}.</p></body></html>"


def parsed(content: bytes) -> EmailMessage:
    assert content.count(b"\n") == content.count(b"\r\n") == content.count(b"\r")
    assert all(len(line) < 999 for line in content.split(b"\r\n"))
    message: Any = email.message_from_bytes(content, policy=policy.default)
    assert not message.defects
    return message


def body(content: bytes, kind: str) -> str:
    part = parsed(content).get_body((kind,))
    assert part is not None
    text: str = part.get_content()
    return text


def test_a_page_becomes_a_message_with_a_text_version() -> None:
    letter = Letter(of_html(HTML, "Neues für {{ name|d('Dich') }}", "News <news@sender.example>"), "page.html")
    assert letter.personal
    assert (letter.needs, letter.knows) == ({"city"}, {"city", "name"})
    copy = letter.personal_copy(BOB)
    message = parsed(copy)
    assert (message["From"], message["To"], message["Subject"]) == (
        "News <news@sender.example>",
        "Bob Ö <bob@there.example>",
        "Neues für Bob Ö",
    )
    assert message.get_content_type() == "multipart/alternative"
    assert "Grüße aus Wien & <Umland>." in body(copy, "plain")
    assert "Grüße aus Wien &amp; &lt;Umland&gt;." in body(copy, "html")
    assert "Hallo Du" in body(letter.personal_copy(Contact("x@y.example", "", {"city": "z"})), "html")


def test_without_placeholders_all_share_one_message() -> None:
    letter = Letter(of_html("<p>Hello &amp; welcome</p>", "Hi", "news@sender.example"))
    assert not letter.personal
    message = parsed(letter.shared())
    assert (message["To"], message["Subject"]) == (None, "Hi")
    assert body(letter.shared(), "plain").strip() == "Hello & welcome"


MESSAGE = (
    b"From: Old <old@x.example>\r\nTo: test@x.example\r\nSubject: =?utf-8?q?Gr=C3=BC=C3=9Fe?= {{ city }}\r\n"
    b"Date: Fri, 20 Nov 2026 10:00:00 +0000\r\nMessage-ID: <old@x>\r\nReply-To: reply@x.example\r\n"
    b'Content-Type: multipart/mixed; boundary="b"\r\n\r\n--b\r\nContent-Type: text/plain; charset=iso-8859-1\r\n'
    b"Content-Transfer-Encoding: 8bit\r\n\r\nGr\xfc\xdfe aus {{ city }}\r\n.\r\n--b\r\n"
    b'Content-Type: text/plain; name="a.txt"\r\nContent-Disposition: attachment; filename="a.txt"\r\n\r\n{{ raw }}\r\n'
    b"--b\r\nContent-Type: application/pdf\r\nContent-Transfer-Encoding: base64\r\n\r\nJVBERi0x\r\n--b--\r\n"
)


def test_a_message_keeps_its_parts_and_attachments_are_no_templates() -> None:
    letter = Letter(of_message(MESSAGE, None, "New <new@x.example>"), "m.eml")
    assert letter.knows == {"city"}
    copy = letter.personal_copy(BOB)
    message = parsed(copy)
    assert (message["From"], message["Reply-To"]) == ("New <new@x.example>", "reply@x.example")
    assert (message["Date"], message["Message-ID"]) == (None, None)  # each copy's own are put in when it is accepted
    assert message["Subject"] == "Grüße Wien & <Umland>"
    text, attached, pdf = message.iter_parts()
    assert text.get_content().splitlines() == ["Grüße aus Wien & <Umland>", "."]
    assert attached.get_content().strip() == "{{ raw }}"
    assert pdf.get_content() == b"%PDF-1"


def test_a_subject_that_is_given_is_the_subject() -> None:
    letter = Letter(of_message(MESSAGE, "  New\r\n subject ", "new@x.example"))
    assert parsed(letter.personal_copy(BOB))["Subject"] == "New subject"


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"no message", "it has no header"),
        (b"From: x\r\n\r\nText", "it has no Subject"),
    ],
)
def test_what_is_no_message(content: bytes, told: str) -> None:
    with pytest.raises(TemplateError, match=told):
        of_message(content, None, "n@x.example")


def test_a_mistake_is_told_with_file_part_and_line() -> None:
    with pytest.raises(TemplateError, match=r"page\.html, line 2: unexpected"):
        of_html("<p>\n{{ city </p>", "x", "n@x.example", "page.html")
    with pytest.raises(TemplateError, match=r"m\.eml, HTML, line 2: unexpected"):
        Letter(
            of_message(b"Subject: a\r\nContent-Type: text/html\r\n\r\n<p>\r\n{{ a\r\n", None, "n@x.example"), "m.eml"
        )
    with pytest.raises(TemplateError, match=r"m\.eml, Subject, line 1"):
        Letter(of_message(b"Subject: {{ a\r\n\r\nText\r\n", None, "n@x.example"), "m.eml")


def test_a_charset_that_nobody_knows_is_told() -> None:
    content = b"Subject: s\r\nContent-Type: text/plain; charset=nonsense\r\n\r\nText\xff\r\n"
    with pytest.raises(TemplateError, match="a text part cannot be read"):
        Letter(of_message(content, None, "n@x.example"))


@pytest.mark.parametrize(
    ("html", "text"),
    [
        ("<p>{{ a_b }} {% if a < b %}x{% endif %}</p>", "{{ a_b }} {% if a < b %}x{% endif %}"),
        ('<a href="https://x.example/?a=1&amp;b=2">here</a>', "[here](https://x.example/?a=1&b=2)"),
        ("<ul><li>one</li><li>two</li></ul>", "  * one\n  * two"),
        ("<style>p{}</style><script>x</script>", ""),
    ],
)
def test_html_as_text(html: str, text: str) -> None:
    assert text_of(html).strip("\n").strip() == text.strip()


@settings(deadline=None)
@given(st.text(max_size=60), st.text(max_size=60), st.text(max_size=200))
def test_no_field_breaks_out_of_its_place(name: str, city: str, html: str) -> None:
    """Whatever a contact's fields hold: the same header fields, one each, and the same parts."""
    letter = Letter(of_html(HTML, "Für {{ name|d('') }} in {{ city }}", "n@x.example"))
    copy = letter.personal_copy(Contact("bob@there.example", name, {"city": city + html}))
    head = copy.partition(b"\r\n\r\n")[0]
    fields = [line.partition(b":")[0] for line in head.split(b"\r\n") if line[:1] not in (b" ", b"\t")]
    assert fields == [b"To", b"Subject", b"From", b"MIME-Version", b"Content-Type"]
    assert len(list(parsed(copy).iter_parts())) == 2


def test_a_message_without_any_text_is_left_as_it_is() -> None:
    content = b"MIME-Version: 1.0\r\nSubject: {{ city }}\r\nContent-Type: image/gif\r\n\r\nR0lG\r\n"
    copy = Letter(of_message(content, None, "n@x.example")).personal_copy(BOB)
    assert copy.endswith(b"\r\n\r\nR0lG\r\n")


def test_an_address_in_other_scripts_stays_as_it_is() -> None:
    copy = Letter(of_html(HTML, "x", "n@x.example")).personal_copy(Contact("jörg@x.example", "Jörg", {"city": "c"}))
    assert copy.startswith("To: <jörg@x.example>\r\n".encode())


def test_a_long_subject_is_folded() -> None:
    letter = Letter(of_html(HTML, "{{ city }}", "n@x.example"))
    copy = letter.personal_copy(Contact("b@x.example", "", {"city": "word " * 400}))
    assert parsed(copy)["Subject"].split() == ["word"] * 400


@pytest.mark.parametrize(
    "field",
    [
        b"Content-Type: text/plain" + b"; a=b" * 500,
        b"Content-Type: text/plain;\r\n " + b"x" * 2000,
        b"\r\n".join([b"Content-Type: text/plain" + b"; a=b" * 300] * 12),
    ],
)
def test_fields_that_would_take_seconds_to_read_are_refused(field: bytes) -> None:
    with pytest.raises(TemplateError, match="too long"):
        of_message(b"Subject: x\r\n" + field + b"\r\n\r\nx", None, "a@b.test")


def test_fields_that_would_make_gigabytes_of_a_message_are_refused() -> None:
    """Its length is that of the template and of the fields times how often they are read, in all parts together."""
    letter = Letter(of_html("{{ a ~ a }}" * 1000, "x", "News <news@sender.example>"), "page.html")
    with pytest.raises(TemplateError, match="longer by more than 1000000 characters"):
        letter.personal_copy(Contact("bob@there.example", "", {"a": "x" * 1000, "b": "y"}))
    assert letter.personal_copy(Contact("bob@there.example", "", {"a": "x", "b": "y" * 2_000_000}))


@pytest.mark.parametrize(
    ("message", "told"),
    [
        (
            b"Subject: x\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n" + b"--b\r\n\r\n" * 600,
            "more than 500 parts",
        ),
        (b"Subject: x\rContent-Type: multipart/mixed; boundary=b\r\r" + b"--b\r\r" * 600, "more than 500 parts"),
        (b"a:b\r\n" * 21_000 + b"Subject: x\r\n\r\nx", "more than 20000 header fields"),
        (b"Subject: " + b"a " * 2000 + b"\r\n\r\nx", "too long"),
        (b"Subject: x\r\nX: y\rMIME-Version: " + b"(" * 3000 + b"\r\n\r\nx", "too long"),
        (b"Subject: x\r\nX: y\rContent-Type: text/plain" + b"; a=b" * 3000 + b"\r\n\r\nx", "too long"),
    ],
)
def test_what_would_take_minutes_to_read_is_refused(message: bytes, told: str) -> None:
    """A hundred kilobytes of empty parts took 39 s, and a bare CR hid a field from what bounds it."""
    with pytest.raises(TemplateError, match=told):
        of_message(message, None, "ann@sender.example")


def test_many_texts_share_one_bound_of_placeholders() -> None:
    part = b"--b\r\n\r\n" + b"{{ a }}" * 3000 + b"\r\n"
    content = b"Subject: x\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n" + part * 6 + b"--b--\r\n"
    with pytest.raises(TemplateError, match="too many placeholders"):
        Letter(of_message(content, None, "ann@sender.example"))


@pytest.mark.parametrize("piece", ["{{ ", "{% ", "{# ", "{{ }} {% ", "{{{", "}} {{"])
def test_beginnings_without_an_end_cost_little(piece: str) -> None:
    """In a raw block they are text, and each was followed to the end: two megabytes would have taken an hour."""
    html = "{% raw %}" + piece * (300_000 // len(piece)) + "{% endraw %}"
    begun = time.process_time()
    with contextlib.suppress(TemplateError):
        of_html(html, "x", "ann@sender.example")
    assert time.process_time() - begun < 5


def test_the_text_version_keeps_placeholders_and_what_looks_like_their_beginnings() -> None:
    assert text_of("<b>a</b> {{ b > c }} {% if d %}<i>e</i>{% endif %} {# f #} {{ g {% h") == (
        "a {{ b > c }} {% if d %}e{% endif %} {# f #} {{ g {% h\n"
    )
