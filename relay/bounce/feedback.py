"""Feedback reports: complaints in the Abuse Reporting Format (RFC 5965)."""

from typing import Final

from relay.bounce.category import Category
from relay.bounce.mime import MAX_HEADER_BYTES, Headers, Mail, field, media_type, parameter, read_headers
from relay.bounce.text import ADDRESS, mailbox

REPORT: Final = "message/feedback-report"
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
    declared = field(mail.headers, "content-type")
    if media_type(declared) == "multipart/report" and parameter(declared, "report-type").lower() == "feedback-report":
        return ()
    return None


def hotmail(mail: Mail) -> Headers | None:
    """Return the returned header of a complaint of Hotmail's Junk Mail Reporting Program, which is no ARF."""
    for part in mail.parts:
        if part.media == "message/rfc822" and b"X-HmXmrOriginalRecipient" in part.raw[:MAX_HEADER_BYTES]:
            return read_headers(part.text().lstrip("\n").partition("\n\n")[0])
    return None


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
