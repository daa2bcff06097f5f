"""Feedback reports: complaints in the Abuse Reporting Format (RFC 5965)."""

from typing import Final

from relay.bounce.category import Category
from relay.bounce.mime import (
    MAX_HEADER_BYTES,
    Headers,
    Mail,
    Part,
    field,
    media_type,
    parameter,
    read_headers,
    unencoded,
)
from relay.bounce.phrases import phrases
from relay.bounce.text import ADDRESS, mailbox

REPORT: Final = "message/feedback-report"
_MAX_FIELDS_BYTES: Final = 4000
_MAX_SUBJECT: Final = 500
# Hotmail's Junk Mail Reporting Program, AOL's notices before ARF, and others in their manner.
_SUBJECTS: Final = phrases(
    """
    complaint about message from|client tos notification|email feedback report for|spam complaint|abuse complaint
    """
)
_TYPES: Final = {
    "auth-failure": Category.AUTHENTICATION,
    "not-spam": Category.OTHER,
    "opt-out": Category.POLICY,
    "virus": Category.VIRUS,
}


def report_of(mail: Mail) -> Headers | None:
    """Return the fields of a feedback report; None where the mail is none."""
    for part in mail.parts:
        if part.media == REPORT:
            return read_headers(part.text().strip("\n"))
        if part.media == "text/plain" and _names_type(part):
            return read_headers(part.text().strip("\n"))
    declared = field(mail.headers, "content-type")
    if media_type(declared) == "multipart/report" and parameter(declared, "report-type").lower() == "feedback-report":
        return ()
    return _foreign(mail)


def _names_type(part: Part) -> bool:
    """Whether a text is the fields of a report that lost its type on the way."""
    fields = read_headers(part.text(_MAX_FIELDS_BYTES).strip("\n").partition("\n\n")[0])
    return all(field(fields, name) for name in ("feedback-type", "user-agent", "version"))


def _foreign(mail: Mail) -> Headers | None:
    """Return the returned header of a complaint that is no ARF: a provider's subject, and the message itself."""
    returned = next((part for part in mail.parts if part.media == "message/rfc822"), None)
    if returned is None:
        return None
    fields = read_headers(returned.text(MAX_HEADER_BYTES).lstrip("\n").partition("\n\n")[0])
    subject = unencoded(field(mail.headers, "subject")[:_MAX_SUBJECT]).lower()
    known = any(phrase in subject for phrase in _SUBJECTS)
    return fields if known or field(fields, "x-hmxmroriginalrecipient") else None


def category(fields: Headers) -> Category:
    """Return what a feedback report is about: a failed authentication (RFC 6591) is no person's complaint."""
    return _TYPES.get(field(fields, "feedback-type").lower(), Category.SPAM)


def complainers(fields: Headers, returned: Headers) -> list[str]:
    """Return who complained: Original-Rcpt-To (repeatable, RFC 5965, 3.2), else the returned message's To."""
    named = [
        mailbox(value)
        for name, value in fields
        if name in ("original-rcpt-to", "removal-recipient", "x-hmxmroriginalrecipient")
    ]
    found = [address for address in dict.fromkeys(named) if ADDRESS.fullmatch(address)]
    return found or [match[0] for match in ADDRESS.finditer(field(returned, "to")[:2000])][:1]
