"""Reading a bounce: `parse` takes the bytes of any mail and says what it is and what it reports.

Rule: pure, linear, bounded, never raises. A detector that breaks is named in `troubles` and the next one
tries.
"""

from dataclasses import replace

from relay.bounce import dsn
from relay.bounce.detectors import Case, detected, returned_headers
from relay.bounce.finding import Kind, Parsed
from relay.bounce.mime import field, take_apart
from relay.bounce.prose import read_notice
from relay.bounce.text import addresses

_MAX_MESSAGE_ID = 998  # RFC 5322, 2.1.1


def parse(raw: bytes, recipient: str | None = None) -> Parsed:
    """Return what the mail `raw` is and what it says of each recipient.

    `recipient` is the address behind the return path that the mail came to; it stands in where a
    report names no address. Line ends may be LF, CRLF or CR.
    """
    mail = take_apart(raw)
    case = Case(mail, read_notice(mail), recipient or "")
    parsed = detected(case)
    if parsed.kind not in (Kind.DSN, Kind.COMPLAINT):
        return parsed
    returned = returned_headers(mail)
    to = addresses(field(returned, "to"))
    report = next((part for part in mail.parts if part.media in dsn.REPORTS), None)
    return replace(
        parsed,
        findings=tuple(
            found if found.recipient else replace(found, recipient=case.recipient) for found in parsed.findings
        ),
        envelope_id=dsn.envelope_id(report) if report else "",
        message_id=field(returned, "message-id")[:_MAX_MESSAGE_ID],
        returned_to=to[0] if len(to) == 1 else "",
    )
