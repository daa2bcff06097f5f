"""Reading a bounce: `parse` takes the bytes of any mail and says what it is and what it reports.

Rule: pure, linear, bounded, never raises. Order of authority: feedback report, delivery status report,
families of other forms, generic reading; ordinary mail never meets a heuristic. A detector that breaks
is named in `troubles` and the next one tries.
"""

import re
from collections.abc import Callable
from typing import Final

from relay.bounce import dsn, feedback
from relay.bounce.category import Category, Verdict
from relay.bounce.finding import Finding, Kind, Parsed
from relay.bounce.mime import Headers, Mail, field, media_type, parameter, read_headers, take_apart, unencoded
from relay.bounce.reduce import Seen, finding
from relay.bounce.text import ADDRESS, clean

Detector = Callable[[Mail], Parsed | None]
"""Returns None where the mail is not its own."""


def parse(raw: bytes, recipient: str | None = None) -> Parsed:
    """Return what the mail `raw` is and what it says of each recipient.

    `recipient` is the address behind the return path that the mail came to; it stands in where a
    report names no address. Line ends may be LF, CRLF or CR.
    """
    mail = take_apart(raw)
    troubles: list[str] = []
    for name, detect in DETECTORS:
        try:
            parsed = detect(mail)
        except Exception as trouble:  # noqa: BLE001 - hostile input must not get past one detector's bug
            troubles.append(f"{name}: {type(trouble).__name__}: {clean(str(trouble))}")
            continue
        if parsed:
            return _finished(parsed, mail, name, tuple(troubles), recipient)
    return Parsed(Kind.NONE, troubles=tuple(troubles))


def _finished(parsed: Parsed, mail: Mail, detector: str, troubles: tuple[str, ...], recipient: str | None) -> Parsed:
    returned = returned_headers(mail)
    to = ADDRESS.findall(field(returned, "to")[:2000])
    report = next((part for part in mail.parts if part.media in dsn.REPORTS), None)
    stand_in = recipient or ""
    return Parsed(
        kind=parsed.kind,
        findings=tuple(_named(found, stand_in) for found in parsed.findings),
        detector=parsed.detector or detector,
        troubles=troubles,
        envelope_id=dsn.envelope_id(report) if report else "",
        message_id=field(returned, "message-id")[:998],
        returned_to=to[0] if len(to) == 1 else "",
    )


def _named(found: Finding, stand_in: str) -> Finding:
    if found.recipient or not stand_in:
        return found
    return Finding(
        stand_in,
        found.action,
        found.status,
        found.reply_code,
        found.diagnostic,
        found.remote_mta,
        found.category,
        found.verdict,
    )


def returned_headers(mail: Mail) -> Headers:
    """Return the header of the returned message, empty where it is not returned as a part."""
    for part in mail.parts:
        if part.returned:
            return read_headers(part.text().lstrip("\n").partition("\n\n")[0])
    return ()


def _feedback(mail: Mail) -> Parsed | None:
    fields = feedback.report_of(mail)
    if fields is None:
        return None
    diagnostic = clean(notice(mail))
    addresses = feedback.complainers(fields, returned_headers(mail)) or [""]
    return Parsed(
        Kind.COMPLAINT,
        tuple(
            Finding(address, None, "", None, diagnostic, "", Category.SPAM, Verdict.COMPLAINT) for address in addresses
        ),
    )


def _delivery_status(mail: Mail) -> Parsed | None:
    seen: dict[str, Seen] = {}
    for part in mail.parts:
        if part.media in dsn.REPORTS:
            for one in dsn.seen_in(part.text()):
                seen.setdefault(one.recipient.lower(), one)
    if not seen:
        return None
    context = notice(mail) if len(seen) == 1 else ""
    return Parsed(Kind.DSN, tuple(finding(one, context) for one in seen.values()))


def notice(mail: Mail) -> str:
    """Return the words for people: the first text part that is neither report nor returned message."""
    for part in mail.parts:
        if part.media == "text/plain":
            return part.text()
    return ""


_AUTO_SUBJECT: Final = re.compile(
    r"(?:auto(?:matic)?[ -]?(?:reply|response)|out of (?:the )?office|vacation|away from)\b", re.IGNORECASE
)


def _auto_reply(mail: Mail) -> Parsed | None:
    declared = field(mail.headers, "content-type")
    receipt = (
        media_type(declared) == "multipart/report"
        and parameter(declared, "report-type").lower() == "disposition-notification"
    )
    replied = field(mail.headers, "auto-submitted").lower().startswith(("auto-replied", "auto-generated"))
    if receipt or replied or _AUTO_SUBJECT.search(unencoded(field(mail.headers, "subject")[:500])):
        return Parsed(Kind.AUTO_REPLY)
    return None


DETECTORS: Final[tuple[tuple[str, Detector], ...]] = (
    ("feedback report", _feedback),
    ("delivery status", _delivery_status),
    ("auto-reply", _auto_reply),
)
