"""The detectors, in order of authority.

Feedback report, delivery status report, notification, families of other forms, general reading of the
layout, a report inside the returned message.

Rule: each takes a case and returns None where the mail is not its own; the general reading asks the gate
first, so that ordinary mail never meets a heuristic.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final

from relay.bounce import dsn, feedback
from relay.bounce.category import Category, Verdict, verdict_of
from relay.bounce.families import FAMILIES
from relay.bounce.families.family import Family
from relay.bounce.finality import still_trying, succeeded
from relay.bounce.finding import Action, Finding, Kind, Parsed
from relay.bounce.gate import ENOUGH, points, tells_failure
from relay.bounce.mime import Headers, Mail, field, media_type, parameter, read_headers, take_apart, unencoded
from relay.bounce.notification import notification
from relay.bounce.prose import Entry, Notice, entries, read_notice
from relay.bounce.reduce import Seen, action_of, finding
from relay.bounce.text import addresses, clean, is_address, mailbox, xtext

MAX_FAMILY_TEXT: Final = 16 * 1024
"""Of a notice, as far as families are looked for."""


_MANY: Final = 200
_SHORT_DIAGNOSTIC: Final = 200
"""Characters that are kept of each server's words where a report has more than _MANY recipients."""


@dataclass(frozen=True, slots=True)
class Case:
    """A mail before the detectors."""

    mail: Mail
    notice: Notice
    recipient: str = ""
    """Whom the return path belongs to; "" where that is not known."""
    inner: bool = False
    """Whether this mail came out of another one: a report in a report is opened once."""

    @property
    def subject(self) -> str:
        """The subject, decoded, bounded."""
        return unencoded(field(self.mail.headers, "subject")[:500])


Detector = Callable[[Case], Parsed | None]
"""Returns None where the mail is not its own."""


def detected(case: Case) -> Parsed:
    """Return what the first detector says that knows the mail."""
    troubles: list[str] = []
    for name, detect in DETECTORS:
        try:
            parsed = detect(case)
        except Exception as trouble:  # noqa: BLE001 - hostile input must not get past one detector's bug
            troubles.append(f"{name}: {type(trouble).__name__}: {clean(str(trouble))}")
            continue
        if parsed:
            return replace(parsed, detector=parsed.detector or name, troubles=(*troubles, *parsed.troubles))
    return Parsed(Kind.NONE, troubles=tuple(troubles))


def returned_headers(mail: Mail) -> Headers:
    """Return the header of the returned message, empty where it is not returned as a part."""
    for part in mail.parts:
        if part.returned:
            return read_headers(part.text().lstrip("\n").partition("\n\n")[0])
    return ()


def _feedback(case: Case) -> Parsed | None:
    fields = feedback.report_of(case.mail)
    if fields is None:
        return None
    named = feedback.complainers(fields, returned_headers(case.mail))
    told = _complaint(named or [""], clean(case.notice.words), feedback.category(fields))
    envelope_id = xtext(field(fields, "original-envelope-id"))
    return replace(told, return_path=mailbox(field(fields, "original-mail-from")), envelope_id=envelope_id)


def _complaint(named: list[str], words: str, category: Category) -> Parsed:
    found = Finding("", None, "", None, words, "", category, Verdict.COMPLAINT)
    return Parsed(Kind.COMPLAINT, tuple(replace(found, recipient=address) for address in named))


def _delivery_status(case: Case) -> Parsed | None:
    seen: dict[str, Seen] = {}
    for part in case.mail.parts:
        if part.media in dsn.REPORTS:
            for one in dsn.seen_in(part.text(dsn.MAX_REPORT_BYTES)):
                seen.setdefault(one.recipient.lower(), one)
    if seen and all(dsn.is_challenge(one) for one in seen.values()):
        return Parsed(Kind.AUTO_REPLY)
    return _reported(list(seen.values()), case) if seen else None


def _reported(seen: list[Seen], case: Case) -> Parsed:
    """Judge the reports, each in the light of what the notice says of its recipient."""
    said = entries(case.notice, case.mail)
    if len(seen) == 1 and not is_address(seen[0].recipient):
        # A path, an X.400 name or a bare user: the mail may name the address elsewhere.
        named = addresses(field(case.mail.headers, "x-failed-recipients")) or [one.address for one in said]
        seen = [replace(seen[0], recipient=named[0])] if len(named) == 1 else seen
    if len(seen) > _MANY:
        seen = [replace(one, diagnostic=one.diagnostic[:_SHORT_DIAGNOSTIC]) for one in seen]
    silent = _action(case)
    seen = [one if action_of(one.action, one.status) else replace(one, action=silent) for one in seen]
    reasons = {one.address.lower(): one.reason for one in said}
    alone = case.notice.words if len(seen) == 1 else ""
    return Parsed(Kind.DSN, tuple(finding(one, reasons.get(one.recipient.lower()) or alone) for one in seen))


def _notification(case: Case) -> Parsed | None:
    told = notification(case.mail.parts[0].text()) if len(case.mail.parts) == 1 else None
    if not told or not told[1]:
        return None
    complaint, seen = told
    if complaint:
        return _complaint([one.recipient for one in seen], "complaint, as Amazon SES notifies", Category.SPAM)
    return Parsed(Kind.DSN, tuple(finding(one) for one in seen))


def _families(case: Case) -> Parsed | None:
    text = case.notice.whole[:MAX_FAMILY_TEXT]
    marks = (unencoded(field(case.mail.headers, name)[:500]) for name in ("from", "subject", "x-mailer"))
    words = "\n".join((*marks, text)).lower()
    for family in FAMILIES:
        if family.claims(words) and (found := family.read(text) or _by_layout(case)):
            return Parsed(Kind.DSN, tuple(_of_family(family, one, case) for one in found), family.name)
    return None


def _of_family(family: Family, entry: Entry, case: Case) -> Finding:
    action = family.action or _action(case)
    found = finding(Seen(entry.address, action, "", entry.reason), case.notice.words)
    if family.category is None or found.action is not Action.FAILED:
        return found
    return replace(found, category=family.category, verdict=verdict_of(family.category))


def _action(case: Case) -> str:
    return "delayed" if still_trying(case.notice.words, case.subject) else "failed"


def _general(case: Case) -> Parsed | None:
    if points(case.mail, case.notice.words) < ENOUGH:
        return None
    torn = dsn.seen_in(case.notice.whole) if "final-recipient:" in case.notice.whole.lower() else []
    if torn:
        # The structure was lost on the way, the report's fields were not.
        return _reported(torn, case)
    found = _by_layout(case)
    return _judged(found, case) if found else _inside(case) or _nameless(case)


def _by_layout(case: Case) -> list[Entry]:
    return _failed_recipients(case) or entries(case.notice, case.mail)


def _judged(found: list[Entry], case: Case) -> Parsed:
    context = case.notice.words if len(found) == 1 else ""
    action = _action(case)
    seen = [Seen(one.address, succeeded(case.notice.words, one.reason) or action, "", one.reason) for one in found]
    return Parsed(Kind.DSN, tuple(finding(one, context) for one in seen))


def _failed_recipients(case: Case) -> list[Entry]:
    """Return the entries of X-Failed-Recipients, as Exim and Google write it, with their words in the notice."""
    named = addresses(field(case.mail.headers, "x-failed-recipients"))
    if not named:
        return []
    said = {one.address.lower(): one.reason for one in entries(case.notice, case.mail)}
    alone = case.notice.words if len(named) == 1 else ""
    return [Entry(address, said.get(address.lower(), alone)) for address in named]


def _inside(case: Case) -> Parsed | None:
    """Read the report that a gateway returned instead of passing it on."""
    for part in () if case.inner else case.mail.parts:
        if part.media == "message/rfc822":
            mail = take_apart(part.raw)
            told = detected(Case(mail, read_notice(mail), case.recipient, inner=True))
            return told if told.kind is Kind.DSN else None
    return None


def _nameless(case: Case) -> Parsed | None:
    """Report on the one that the message was for, where the notice itself names nobody."""
    if not tells_failure(case.notice.words):
        return None
    returned = returned_headers(case.mail) or read_headers(case.notice.rest.partition("\n")[2])
    named = addresses(field(returned, "to"))[:1] or [case.recipient]
    return _judged([Entry(named[0], case.notice.words)], case)


_AUTO_SUBJECT: Final = re.compile(
    r"(?:auto(?:matic)?[ -]?(?:reply|response)|out of (?:the )?office|vacation|away from)\b", re.IGNORECASE
)


def _auto_reply(case: Case) -> Parsed | None:
    headers = case.mail.headers
    declared = field(headers, "content-type")
    report = parameter(declared, "report-type").lower() if media_type(declared) == "multipart/report" else ""
    replied = field(headers, "auto-submitted").lower().startswith(("auto-replied", "auto-generated"))
    answers = any(field(headers, name) for name in ("x-autoreply", "x-autorespond", "x-auto-response-suppress"))
    if report == "disposition-notification" or replied or answers or _AUTO_SUBJECT.search(case.subject):
        return Parsed(Kind.AUTO_REPLY)
    return None


DETECTORS: Final[tuple[tuple[str, Detector], ...]] = (
    ("feedback report", _feedback),
    ("delivery status", _delivery_status),
    ("notification", _notification),
    ("family", _families),
    ("layout", _general),
    ("auto-reply", _auto_reply),
)
