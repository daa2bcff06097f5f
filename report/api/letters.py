"""What a message says, as programs give it: texts, files, fields of the header; and what is made of it.

Rule: pure. Every value is validated here, so that none holds a line end where there may be none.
"""

import re
from base64 import b64decode
from binascii import Error
from collections.abc import Iterable, Sequence
from typing import Annotated, Final
from urllib.parse import quote

from pydantic import AfterValidator, FailFast, Field, StringConstraints

from report.api.compose import File, Letter, Mailbox
from report.api.model import Format, Line, Taken
from storage.address import Address, parse_mailbox

_MOST_FIELDS: Final = 100
_MOST_FILES: Final = 100
# Read in one way only, whatever it is given: no two neighbours match the same character.
_NAMED: Final = re.compile(r"(?:\"((?:[^\"\\]|\\.)*+)\"\s*+|([^\"<>]*+))<([^<>]+)>")
# What the message's own structure, its other fields, or whoever accepts it says.
_OURS: Final = re.compile(
    r"(?i)content-.*|from|to|cc|bcc|subject|reply-to|sender|mime-version|received|return-path|dkim-signature"
    r"|x-broadcast.*|x-track-opens"
)
_MOST_QUOTED: Final = 800


def mailbox(text: str) -> Mailbox:
    """Return the address of a text such as `Ann <ann@example.org>`, with its name; raises ValueError."""
    found = _NAMED.fullmatch(text.strip())
    name, address = (found[1] or found[2] or "", found[3]) if found else ("", text)
    parsed = parse_mailbox(address.strip(), utf8=True) if text.isprintable() else None
    if not isinstance(parsed, Address) or not parsed.domain:
        raise ValueError('expected an address such as "ann@example.org" or "Ann <ann@example.org>"')
    return Mailbox(str(parsed), re.sub(r"\\(.)", r"\1", name).strip())


def _checked_mailbox(text: str) -> str:
    mailbox(text)
    return text


def _field_name(name: str) -> str:
    if _OURS.fullmatch(name):
        raise ValueError("this field is written by other means")
    return name


def _base64(text: str) -> str:
    try:
        b64decode(text, validate=True)
    except (Error, ValueError):
        raise ValueError("expected base64") from None
    return text


def _file_name(name: str) -> str:
    # RFC 2231 writes it in one piece, and a line has 998 octets at most.
    if len(quote(name)) > _MOST_QUOTED:
        raise ValueError("expected a shorter name")
    return name


MailboxText = Annotated[
    str, StringConstraints(min_length=3, max_length=600), AfterValidator(_checked_mailbox), Format("mailbox")
]
FieldName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9-]{0,75}$"), AfterValidator(_field_name)]
Mailboxes = Annotated[tuple[MailboxText, ...], FailFast(), Field(max_length=100_000)]
Base64 = Annotated[str, AfterValidator(_base64), Format("byte")]


class Attachment(Taken):
    """A file that goes with the message."""

    name: Annotated[Line, Field(max_length=200, description="Of the file."), AfterValidator(_file_name)]
    type: Annotated[
        str,
        StringConstraints(pattern=r"^[a-z0-9][a-z0-9.+-]{0,60}/[a-z0-9][a-z0-9.+-]{0,60}$"),
        Field(description="Its media type."),
    ] = "application/octet-stream"
    content: Annotated[Base64, Field(description="Base64.")]
    content_id: Annotated[
        str, StringConstraints(pattern=r"^[A-Za-z0-9._@-]{0,100}$"), Field(description='For "cid:…" in the HTML text.')
    ] = ""


class Content(Taken):
    """What a message says."""

    text: Annotated[str | None, Field(description="A plain text.")] = None
    html: Annotated[str | None, Field(description="An HTML page; with a text, the other way to read it.")] = None
    attachments: Annotated[
        tuple[Attachment, ...], FailFast(), Field(max_length=_MOST_FILES, description="Files that go with it.")
    ] = ()
    reply_to: Annotated[Mailboxes, Field(description="Where answers go; none: to the sender.")] = ()
    headers: Annotated[
        dict[FieldName, Line],
        Field(max_length=_MOST_FIELDS, default_factory=dict, description="Further fields of the header."),
    ]
    track: Annotated[bool, Field(description="Whether copies get a tracking image.")] = True


def letter(
    content: Content, mailboxes: Iterable[tuple[str, Sequence[str]]], fields: Iterable[tuple[str, str]]
) -> Letter:
    """Return what is to be composed: the content, with further fields of addresses and of text."""
    named = [*mailboxes, ("Reply-To", content.reply_to)]
    unstructured = [*fields, *content.headers.items()]
    unstructured += [] if content.track else [("X-Track-Opens", "no")]
    files = [File(one.name, one.type, b64decode(one.content), one.content_id) for one in content.attachments]
    addresses = [(name, [mailbox(text) for text in texts]) for name, texts in named]
    return Letter(unstructured, addresses, content.text, content.html, files)
