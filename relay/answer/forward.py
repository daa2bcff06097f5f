"""What came to a return path and is no report, on its way to the sender of the message that it answers.

Rule: pure. The mail travels whole inside a mail of ours. Sent on under its author's name it would fail DMARC where
only SPF spoke for it, and anybody who has seen a return path could have us sign and send what they like under any
name, ours too. Each forward says in Delivered-To which return path it came by, and carries those that it met before:
what comes to the same one again is going round.
"""

import re
from collections.abc import Iterable
from typing import Final

from relay.answer.field import Part, base64_part, folded, is_for_all, multipart, raw_part, sendable, text_part
from relay.answer.letter import Letterhead, header
from relay.bounce.mime import Mail, field, take_apart, unencoded
from relay.bounce.text import addresses
from storage.model import Message
from storage.reason import plain

MOST_HOPS: Final = 20
_MOST_TEXT: Final = 4000
_MOST_LINES: Final = 60
_ADDRESS: Final = re.compile(r"[!-;=?-~]{1,320}")


def hops(raw: bytes) -> list[str]:
    """Return the return paths by which a mail was forwarded already, as its Delivered-To fields name them."""
    return [value.strip().strip("<>") for name, value in take_apart(raw).headers if name == "delivered-to"]


def forward(
    message: Message, recipient: str, raw: bytes, head: Letterhead, *, came_to: str, before: Iterable[str]
) -> bytes:
    """Return the mail that brings `raw` to the sender of `message`, whose return path for `recipient` is `came_to`.

    `before` are the `hops` of `raw`.
    """
    mail = take_apart(raw)
    subject = plain(unencoded(field(mail.headers, "subject"))) or f"Answer to: {plain(message.subject)}"
    fields = [folded("Delivered-To", hop) for hop in (came_to, *before) if _ADDRESS.fullmatch(hop)]
    fields += header(head, message.sender, subject, "auto-generated", message)
    if reply_to := _author(mail):
        fields.append(folded("Reply-To", f"<{reply_to}>"))
    text = text_part(_text(message, recipient, mail, head))
    made = multipart(fields, "multipart/mixed", [text, _whole(raw)])
    return made if is_for_all(made) else multipart(fields, "multipart/mixed", [text, _encoded(raw)])


def _author(mail: Mail) -> str:
    found = addresses(unencoded(field(mail.headers, "from")))
    return found[0] if len(found) == 1 and found[0].isascii() else ""


def _text(message: Message, recipient: str, mail: Mail, head: Letterhead) -> str:
    lines = [
        f"This is the mail system at {head.hostname}.",
        "",
        f"The attached mail came in answer to your message to <{plain(recipient)}>",
        f'"{plain(message.subject)}"' if message.subject else "(without a subject)",
        "",
        f"From: {plain(unencoded(field(mail.headers, 'from')))}",
        f"Subject: {plain(unencoded(field(mail.headers, 'subject')))}",
        "",
        *[f"> {plain(line)}".rstrip() for line in _words(mail)],
    ]
    return "\n".join(lines) + "\n"


def _words(mail: Mail) -> list[str]:
    """Return the first lines of its first text."""
    part = next((part for part in mail.parts if part.media == "text/plain"), None)
    text = part.text(_MOST_TEXT) if part else ""
    return text.strip().split("\n")[:_MOST_LINES] if text.strip() else []


def _whole(raw: bytes) -> Part:
    content = sendable(raw)
    if content is None:
        return _encoded(raw)
    return raw_part("message/rfc822", content, "answer.eml")


def _encoded(raw: bytes) -> Part:
    """Return it as a file: RFC 2046, 5.2.1 lets message/rfc822 have no encoding that would make all lines travel."""
    return base64_part("application/octet-stream", raw, "answer.eml")
