"""What all mails of our own have in common: from whom, to whom, and what they answer.

Rule: pure. `Auto-Submitted` says that no person wrote it (RFC 3834, 5), so no program answers; the envelope has the
null sender, so no server does. Date, Message-ID and Received are added where all mail is accepted.
"""

from dataclasses import dataclass

from relay.answer.field import folded, message_id, unstructured
from storage.model import Message
from storage.reason import plain

SUBJECT_CHARS = 200


@dataclass(frozen=True, slots=True)
class Letterhead:
    """Who writes."""

    hostname: str
    address: str
    """In the From field."""


def header(head: Letterhead, to: str, subject: str, automatic: str, about: Message | None = None) -> list[str]:
    """Return the fields of a mail to the address `to`; `about` is the message that it answers."""
    fields = [
        folded("From", f"Mail Delivery System <{head.address}>"),
        folded("To", f"<{to}>"),
        unstructured("Subject", subject[:SUBJECT_CHARS]),
        f"Auto-Submitted: {automatic}\r\n",
    ]
    if about is not None and (known := message_id(about.message_id)):
        # Not folded: a Message-ID may be longer than a line should be, and has no blank to fold at.
        fields += [f"In-Reply-To: {known}\r\n", f"References: {known}\r\n"]
    return fields


def titled(words: str, message: Message) -> str:
    """Return a subject: what is told, and the subject of the message."""
    subject = plain(message.subject)
    return f"{words}: {subject}" if subject else words
