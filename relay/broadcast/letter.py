"""A broadcast's message, ready to be made for each contact: the parts that stay as bytes, and the places that do not.

Rules: pure. The stored message is taken apart once; a copy is then joined from pieces, each text rendered and encoded
by itself. Without placeholders all contacts share one message, and its To is written into each copy on its way out.
"""

import re
from binascii import b2a_qp
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from email import message_from_bytes, policy
from email.charset import QP, Charset
from email.header import Header
from email.message import EmailMessage, Message
from email.utils import formataddr
from hashlib import blake2b
from typing import Final

from relay.broadcast.grammar import MAX_TOKENS, TemplateError, Text, read

_POLICY: Final = policy.SMTP.clone(refold_source="none", max_line_length=998)
MOST_FIELD_CHARS: Final = 1_000_000
"""What all placeholders of a copy put into it, at most; many copies are in memory at once."""
_LINE_CHARS: Final = 900
# A page and its text version, twice over.
_MOST_TEXTS: Final = 4
_UTF8: Final = Charset("utf-8")
_UTF8.header_encoding = QP


@dataclass(frozen=True, slots=True)
class Contact:
    """Whom a copy is for."""

    address: str
    name: str
    fields: Mapping[str, str]
    """What placeholders find; without those that are empty."""

    def all_fields(self) -> dict[str, str]:
        """Return the fields, and the address and the name as `address` and `name`."""
        named = {"name": self.name} if self.name else {}
        return {"address": self.address, **named, **self.fields}


_Piece = bytes | Text


class Letter:
    """The message of one broadcast."""

    def __init__(self, stored: bytes, name: str = "the message") -> None:
        """Read what `relay.broadcast.draft` made; `name` is the file's, for people. Raises TemplateError."""
        message = message_from_bytes(stored, policy=_POLICY)
        self.subject = str(message["subject"] or "")
        """As it was written, placeholders and all."""
        subject = read(self.subject, f"{name}, Subject", html=False)
        marks: dict[bytes, Text] = {}
        tokens = subject.tokens
        for leaf, label in _texts(message):
            text = read(_content_of(leaf), f"{name}, {label}", html=leaf.get_content_subtype() == "html")
            tokens += text.tokens
            if tokens > _MOST_TEXTS * MAX_TOKENS:
                raise TemplateError(f"{name}: its texts have too many placeholders")
            mark = b"telltale-%b" % blake2b(stored + b"%d" % len(marks), digest_size=16).hexdigest().encode()
            marks[mark] = text
            _put(leaf, mark.decode())
        del message["subject"]
        self._subject = subject
        self._pieces = list(_pieces(message.as_bytes(), marks))
        texts = [subject, *marks.values()]
        self.needs = frozenset().union(*(text.needs for text in texts))
        """Fields that a contact must have."""
        self.knows = frozenset().union(*(text.knows for text in texts))
        """All fields that it mentions."""
        uses = sum((Counter(text.uses) for text in texts), Counter[str]())
        self._uses = tuple(uses.items())
        self.personal = bool(self.knows)
        """Whether each contact gets another message."""

    def shared(self) -> bytes:
        """Return the message that all contacts share, without a To."""
        return self._subject_field({}) + self._joined({})

    def personal_copy(self, contact: Contact) -> bytes:
        """Return the message of a contact; raises TemplateError where a field that it needs is missing.

        And where the fields are so long, and read so often, that nobody can mean that.
        """
        fields = contact.all_fields()
        if sum(len(fields.get(name, "")) * times for name, times in self._uses) > MOST_FIELD_CHARS:
            raise TemplateError(f"the fields would make the message longer by more than {MOST_FIELD_CHARS} characters")
        to = b"To: %b\r\n" % _mailbox(contact.name, contact.address).encode()
        return to + self._subject_field(fields) + self._joined(fields)

    def placeholder(self, contact: Contact) -> bytes:
        """Return what stands for the message of somebody who is to be sent nothing: a header without a text."""
        to = _mailbox(contact.name, contact.address).encode()
        return b"To: %b\r\nSubject: %b\r\n\r\n" % (to, _unstructured(self.subject))

    def _subject_field(self, fields: Mapping[str, str]) -> bytes:
        return b"Subject: %b\r\n" % _unstructured(self._subject.render(fields))

    def _joined(self, fields: Mapping[str, str]) -> bytes:
        return b"".join(
            [piece if isinstance(piece, bytes) else _encoded(piece.render(fields)) for piece in self._pieces]
        )


def _texts(message: Message) -> Iterator[tuple[EmailMessage, str]]:
    """Yield the parts whose texts are templates, with a word for each."""
    for part in message.walk():
        if not isinstance(part, EmailMessage) or part.get_content_disposition() == "attachment":
            continue
        if part.get_content_type() in {"text/plain", "text/html"}:
            yield part, "HTML" if part.get_content_subtype() == "html" else "text"


def _content_of(leaf: EmailMessage) -> str:
    try:
        content: str = leaf.get_content()
    except (LookupError, ValueError) as error:
        raise TemplateError(f"a text part cannot be read: {error}") from None
    return content.replace("\r\n", "\n")


def _put(leaf: EmailMessage, mark: str) -> None:
    del leaf["content-transfer-encoding"]
    leaf.set_param("charset", "utf-8")
    leaf["Content-Transfer-Encoding"] = "quoted-printable"
    leaf.set_payload(mark)


def _pieces(skeleton: bytes, marks: Mapping[bytes, Text]) -> Iterator[_Piece]:
    """Split the message at its marks; what needs no contact is encoded already."""
    if not marks:
        yield skeleton  # a calendar, a picture: nothing in it is a text
        return
    for piece in re.split(b"(" + b"|".join(marks) + b")", skeleton):
        text = marks.get(piece)
        if text is None:
            yield piece
        else:
            yield text if text.knows else _encoded(text.render({}))


def _encoded(text: str) -> bytes:
    """Return text as quoted-printable (RFC 2045, 6.7), lines ended by CRLF."""
    lines = text.replace("\r\n", "\n").replace("\r", "\n")
    return b2a_qp(lines.encode(errors="replace"), istext=True).replace(b"\n", b"\r\n")


def _unstructured(text: str) -> bytes:
    """Return a header value; whatever a field holds, it stays one field."""
    line = " ".join("".join(char if char.isprintable() else " " for char in text).split())
    if line.isascii() and len(line) <= _LINE_CHARS and "=?" not in line:
        return line.encode()
    return Header(line, _UTF8, header_name="Subject", maxlinelen=76).encode(linesep="\r\n").encode()


def _mailbox(name: str, address: str) -> str:
    clean = " ".join("".join(char if char.isprintable() else " " for char in name).split())
    return formataddr((clean, address)) if clean and address.isascii() else f"<{address}>"
