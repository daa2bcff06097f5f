"""Reading a bounce: `parse` takes the bytes of any mail and says what it is and what it reports.

Rule: pure, linear, bounded, never raises. A detector that breaks is named in `troubles` and the next one
tries.
"""

import re
from dataclasses import replace
from typing import Final

from relay.bounce import dsn
from relay.bounce.detectors import Case, detected, returned_headers
from relay.bounce.finding import Kind, Parsed
from relay.bounce.mime import Headers, field, read_headers, take_apart
from relay.bounce.prose import read_notice
from relay.bounce.text import addresses, mailbox
from storage.model import message_id_of

_MESSAGE_ID: Final = re.compile(r"<[^<>\s]{1,996}>")  # RFC 5322, 3.6.4 and 2.1.1
_QUEUE_ID: Final = re.compile(r"\bid\s{1,20}([0-9A-Za-z]{13})(?![\w.-])")  # RFC 5321, 4.4
_MAX_QUEUE_IDS: Final = 20


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
    returned = returned_headers(mail) or read_headers(case.notice.rest)
    to = addresses(field(returned, "to"))
    report = next((part for part in mail.parts if part.media in dsn.REPORTS), None)
    return replace(
        parsed,
        findings=tuple(
            found if found.recipient else replace(found, recipient=case.recipient) for found in parsed.findings
        ),
        envelope_id=parsed.envelope_id or (dsn.envelope_id(report) if report else ""),
        message_id=_message_id(returned, mail.headers),
        return_path=parsed.return_path or mailbox(field(returned, "return-path")),
        queue_ids=_queue_ids(returned),
        returned_to=to[0] if len(to) == 1 else "",
    )


def _message_id(returned: Headers, own: Headers) -> str:
    """Return the returned message's Message-ID, else the one that the mail says it answers to (RFC 5322, 3.6.4)."""
    for value in (field(returned, "message-id"), field(own, "in-reply-to")):
        found = _MESSAGE_ID.search(value)
        if found:
            return found[0]
    return ""


def _queue_ids(returned: Headers) -> tuple[str, ...]:
    values = [value for name, value in returned if name == "received"]
    found = dict.fromkeys(match[1] for value in values for match in _QUEUE_ID.finditer(value))
    return tuple(one for one in found if message_id_of(one) is not None)[:_MAX_QUEUE_IDS]
