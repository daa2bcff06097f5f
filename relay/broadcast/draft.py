"""From a file of the sender's to the message that is stored with a broadcast: a MIME message whose texts are templates.

Rule: for files of people who may send; `email` is never let near other mail, and here what it reads is bounded first:
it takes milliseconds for each parameter and each part. What is returned can be read by `relay.broadcast.letter`.
"""

import re
from collections.abc import Iterator
from email import message_from_bytes, policy
from email.message import EmailMessage
from itertools import islice
from typing import Final

from inscriptis import get_text
from inscriptis.model.config import ParserConfig

from relay.broadcast.grammar import TemplateError, read

_POLICY: Final = policy.SMTP.clone(refold_source="none", max_line_length=998)
_BEGINNING: Final = re.compile(r"\{[{%#]")
_ENDS: Final = {"{{": "}}", "{%": "%}", "{#": "#}"}
_HELD: Final = re.compile("\ue000(\\d+)\ue001")
# What belongs to one copy, or to one way that a message took: each copy gets its own.
_OF_A_COPY: Final = (
    *("to", "cc", "bcc", "date", "message-id", "received", "return-path", "delivered-to", "dkim-signature"),
    *("x-broadcast", "x-broadcast-type", "authentication-results", "list-unsubscribe-post"),
)


# A message of a hundred parts has some 15 KB of them.
_MOST_FIELD_BYTES: Final = 2000
_MOST_FIELDS_BYTES: Final = 16_000
_MOST_PARTS: Final = 500
_MOST_FIELDS: Final = 20_000
# What is read of a header: the Content fields of all parts, and two of the message's own.
_READ_FIELD: Final = re.compile(
    rb"^(?:content-[a-z-]{1,40}|mime-version|subject):[^\n]*(?:\n[ \t][^\n]*)*", re.IGNORECASE | re.MULTILINE
)
_FIELD: Final = re.compile(rb"^[!-9;-~]++:", re.MULTILINE)
_LINE_END: Final = re.compile(rb"\r\n?")


def of_html(html: str, subject: str, sender: str, name: str = "the page") -> bytes:
    """Return the message of an HTML page, with a text version beside it.

    Raises TemplateError where its placeholders cannot be read; `name` is the file's.
    """
    read(html, name, html=True)
    message = EmailMessage(policy=_POLICY)
    message["From"] = sender
    message["Subject"] = _line(subject)
    message.set_content(text_of(html), cte="quoted-printable")
    message.add_alternative(html, subtype="html", cte="quoted-printable")
    return message.as_bytes()


def of_message(content: bytes, subject: str | None, sender: str) -> bytes:
    """Return the message of an .eml file, with its own header but for From, and Subject where one is given.

    Raises TemplateError where it is no message.
    """
    content = _LINE_END.sub(b"\n", content)  # for `email`, a bare CR ends a line
    if wrong := _too_much(content):
        raise TemplateError(wrong)
    message = message_from_bytes(content, policy=_POLICY)
    if not message.keys():
        raise TemplateError("it has no header: expected lines such as “Subject: …”, a blank line, and the text")
    if subject is None and not message["subject"]:
        raise TemplateError("it has no Subject: expected one in its header, or beside it (--subject)")
    for name in _OF_A_COPY:
        del message[name]
    del message["from"]
    message["From"] = sender
    if subject is not None:
        del message["subject"]
        message["Subject"] = _line(subject)
    if message["mime-version"] is None:
        message["MIME-Version"] = "1.0"
    return message.as_bytes()


def _too_much(content: bytes) -> str | None:
    """Return what of a message, with LF for its line ends, would take too long to read; None: nothing."""
    sizes = [len(found[0]) for found in _READ_FIELD.finditer(content)]
    if max(sizes, default=0) > _MOST_FIELD_BYTES or sum(sizes) > _MOST_FIELDS_BYTES:
        return "its Subject or its Content- fields are too long: attach less, or give the attachments shorter names"
    # Whatever a delimiter is, its line begins so.
    if content.count(b"\n--") > _MOST_PARTS:
        return f"it has more than {_MOST_PARTS} parts, or lines that begin as a delimiter does (--)"
    if sum(1 for _ in islice(_FIELD.finditer(content), _MOST_FIELDS + 1)) > _MOST_FIELDS:
        return f"it has more than {_MOST_FIELDS} header fields, or lines that begin as one does"
    return None


def text_of(html: str) -> str:
    """Return HTML as plain text, with its links and its placeholders."""
    held: list[str] = []
    pieces: list[str] = []
    at = 0
    for start, end in _placeholders(html):
        pieces += (html[at:start], f"\ue000{len(held)}\ue001")
        held.append(html[start:end])
        at = end
    pieces.append(html[at:])
    text = get_text("".join(pieces), ParserConfig(display_links=True))
    lines = [line.rstrip() for line in text.strip().splitlines()]
    return _HELD.sub(lambda found: held[int(found[1])], "\n".join(lines)) + "\n"


def _placeholders(html: str) -> Iterator[tuple[int, int]]:
    """Yield where placeholders stand: linear, where a text has thousands of beginnings and no end (in a raw block)."""
    endless: set[str] = set()
    at = 0
    while found := _BEGINNING.search(html, at):
        end = -1 if found[0] in endless else html.find(_ENDS[found[0]], found.end())
        if end < 0:
            endless.add(found[0])
            at = found.start() + 1
        else:
            at = end + 2
            yield found.start(), at


def _line(text: str) -> str:
    return " ".join(text.split())
