"""Makes a message (RFC 5322) of the fields that a program gives.

Rules: pure. Every value was validated before, so that none holds a line end; what is not ASCII is encoded (RFC 2047) in
texts and display names, and stays UTF-8 in addresses (RFC 6532). Texts are quoted-printable.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from email.charset import QP, Charset
from email.encoders import encode_base64
from email.header import Header
from email.mime.base import MIMEBase
from email.mime.multipart import MIMEMultipart
from email.mime.text import MIMEText
from email.policy import compat32
from typing import Final

_POLICY: Final = compat32.clone(linesep="\r\n", max_line_length=None)
_UTF8: Final = Charset("utf-8")
_UTF8.body_encoding = QP
_LINE_CHARS: Final = 900
_LINE_END: Final = re.compile("\r\n?")


@dataclass(frozen=True, slots=True)
class Mailbox:
    """An address with the name of whose it is."""

    address: str
    name: str = ""

    def __str__(self) -> str:
        """Return it as a header field has it."""
        if not self.name:
            return self.address
        if self.name.isascii():
            quoted = self.name.replace("\\", "\\\\").replace('"', '\\"')
            return f'"{quoted}" <{self.address}>'
        return f"{_encoded(self.name)} <{self.address}>"


@dataclass(frozen=True, slots=True)
class File:
    """An attachment, or a picture of the HTML text."""

    name: str
    media: str
    content: bytes = field(repr=False)
    id: str = ""
    """What HTML names it by ("cid:…"); "": it is an attachment."""


@dataclass(frozen=True, slots=True)
class Letter:
    """What a message is to say."""

    fields: Sequence[tuple[str, str]]
    """Unstructured fields of the header, Subject among them."""
    mailboxes: Sequence[tuple[str, Sequence[Mailbox]]]
    """Fields of addresses: From, To, Cc, Reply-To."""
    text: str | None
    html: str | None
    files: Sequence[File]


def compose(letter: Letter) -> bytes:
    """Return the message, without Date and Message-ID where `fields` has none: whoever accepts it adds them."""
    lines = [_field(name, ",\r\n ".join(map(str, some))) for name, some in letter.mailboxes if some]
    lines += [_field(name, _encoded(value)) for name, value in letter.fields]
    lines.append(_field("MIME-Version", "1.0"))
    return "".join(lines).encode() + _body(letter).as_bytes(policy=_POLICY)


def _field(name: str, value: str) -> str:
    return f"{name}: {value}\r\n"


def _encoded(text: str) -> str:
    if text.isascii() and len(text) <= _LINE_CHARS and "=?" not in text:
        return text
    return Header(text, "utf-8", header_name="Subject").encode(linesep="\r\n")


def _body(letter: Letter) -> MIMEBase:
    inline = [file for file in letter.files if file.id]
    attached = [file for file in letter.files if not file.id]
    body = _texts(letter, inline)
    return _joined("mixed", [body, *map(_part, attached)]) if attached else body


def _texts(letter: Letter, inline: Sequence[File]) -> MIMEBase:
    texts: list[MIMEBase] = []
    if letter.text is not None or letter.html is None:
        texts.append(_text(letter.text or "", "plain"))
    if letter.html is not None:
        page: MIMEBase = _text(letter.html, "html")
        texts.append(_joined("related", [page, *map(_part, inline)]) if inline else page)
    elif inline:
        texts = [_joined("mixed", [*texts, *map(_part, inline)])]
    return texts[0] if len(texts) == 1 else _joined("alternative", texts)


def _text(text: str, subtype: str) -> MIMEText:
    lines = _LINE_END.sub("\n", text).rstrip("\n") + "\n"
    part = MIMEText(lines, subtype, _UTF8)  # type: ignore[arg-type]  # takes a Charset
    del part["MIME-Version"]
    return part


def _joined(subtype: str, parts: Sequence[MIMEBase]) -> MIMEMultipart:
    whole = MIMEMultipart(subtype)
    for part in parts:
        whole.attach(part)
    del whole["MIME-Version"]
    return whole


def _part(file: File) -> MIMEBase:
    part = MIMEBase(*file.media.split("/", 1))
    del part["MIME-Version"]
    part.set_payload(file.content)
    encode_base64(part)
    name = file.name if file.name.isascii() else ("utf-8", "", file.name)
    part.add_header("Content-Disposition", "inline" if file.id else "attachment", filename=name)
    if file.id:
        part["Content-ID"] = f"<{file.id}>"
    return part
