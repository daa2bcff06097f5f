"""report/api/compose.py: whatever is given, the message says it, and no line of its own is long or broken."""

from email import message_from_bytes, policy
from email.message import EmailMessage

from hypothesis import given
from hypothesis import strategies as st

from report.api.compose import File, Letter, Mailbox, compose
from report.api.messages import NewMessage, _content

LINES = st.text(st.characters(exclude_categories=("C", "Z")) | st.just(" "), min_size=1, max_size=200).filter(
    lambda text: text.isprintable() and text.strip() == text
)
TEXTS = st.text(st.characters(exclude_categories=("Cs",)), max_size=2000)


def read(content: bytes) -> EmailMessage:
    message = message_from_bytes(content, policy=policy.default)
    assert isinstance(message, EmailMessage)
    return message


@given(LINES, LINES, TEXTS, TEXTS, LINES)
def test_what_is_given_is_what_is_read(subject: str, name: str, text: str, html: str, file: str) -> None:
    files = [File(file[:50], "application/x-a", b"\0\r\n\n"), File("b.png", "image/png", b"png", "b")]
    people = [("From", [Mailbox("ann@example.org", name)]), ("To", []), ("Cc", [Mailbox("bob@example.org")] * 3)]
    content = compose(Letter([("Subject", subject)], people, text, html, files))
    assert b"\n" not in content.replace(b"\r\n", b"")
    assert b"\r" not in content.replace(b"\r\n", b"")
    assert all(len(line) <= 998 for line in content.split(b"\r\n"))
    message = read(content)
    assert " ".join(message["Subject"].split()) == " ".join(subject.split())
    assert message["From"].addresses[0].addr_spec == "ann@example.org"
    assert message["To"] is None
    assert len(message["Cc"].addresses) == 3
    assert set(message.keys()) == {"From", "Cc", "Subject", "Content-Type", "MIME-Version"}
    plain = message.get_body(("plain",))
    assert plain is not None
    lines = text.replace("\r\n", "\n").replace("\r", "\n")
    assert plain.get_content().replace("\r\n", "\n").rstrip("\n") == lines.rstrip("\n")
    assert [
        part.get_payload(decode=True) for part in message.walk() if part.get_content_maintype() == "application"
    ] == [b"\0\r\n\n"]


def test_the_smallest_letter_is_plain_text() -> None:
    message = read(_content(NewMessage.model_validate({"from": "a@b.test", "to": ["c@d.test"], "text": ""})))
    assert message.get_content_type() == "text/plain"
    assert message["Subject"] is None


def test_a_picture_without_a_page_is_attached() -> None:
    message = read(compose(Letter([], [], None, None, [File("b.png", "image/png", b"png", "b")])))
    assert [part.get_content_type() for part in message.walk()] == ["multipart/mixed", "text/plain", "image/png"]


def test_names_are_quoted_or_encoded() -> None:
    assert str(Mailbox("a@b.test", 'A "B" \\ C')) == '"A \\"B\\" \\\\ C" <a@b.test>'
    assert str(Mailbox("a@b.test", "Käthe")).startswith("=?utf-8?")
