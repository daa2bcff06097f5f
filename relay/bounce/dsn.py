"""Delivery status notifications in the form of RFC 3464, also in UTF-8 (RFC 6533).

Rule: takes what real reporters write (any letter case, missing types, comments in Status, unknown
actions, fields of one recipient repeated over many groups); one group of fields is one recipient.
"""

import re
from typing import Final

from relay.bounce.finding import Action
from relay.bounce.mime import Headers, Part, field, read_headers
from relay.bounce.reduce import Seen, action_of
from relay.bounce.text import is_address, mailbox, typed, xtext

MAX_RECIPIENTS: Final = 10_000
MAX_REPORT_BYTES: Final = 4 * 1024 * 1024
"""Of a report part: room for MAX_RECIPIENTS and what servers said of them."""
REPORTS: Final = frozenset(
    {"message/delivery-status", "message/global-delivery-status", "text/delivery-status", "text/global-delivery-status"}
)
_STATUS: Final = re.compile(r"([245]\.\d{1,3}\.\d{1,3})(?!\d)")
_MAX_HEAD: Final = 8000
_CODE: Final = re.compile(r"([2-5]\d\d)(?![.\d])")
_BLANK_LINES: Final = re.compile(r"\n(?:[ \t]*\n)+")
_CHALLENGES: Final = ("not pre-approved", "awaiting sender confirmation", "sender confirmation required", "challenge")
_FINALITY: Final = {Action.FAILED: 3, Action.DELIVERED: 2, Action.EXPANDED: 2, Action.RELAYED: 2, Action.DELAYED: 1}
# Where a foreign mail system names the recipient, if not in Final-Recipient.
_RECIPIENT_FIELDS: Final = ("final-recipient", "original-recipient", "x-actual-recipient")


def groups(text: str) -> tuple[Headers, list[Headers]]:
    """Return the per-message fields and the groups of per-recipient fields of a report's text."""
    message: Headers = ()
    recipients: list[Headers] = []
    for block in _BLANK_LINES.split(text):
        fields = read_headers(block)
        if _names_recipient(fields):
            recipients += _split(fields)
            if len(recipients) >= MAX_RECIPIENTS:
                break
        elif fields and not recipients:
            message += fields
        elif fields:
            # A stray blank line tore a group apart.
            recipients[-1] += fields
    return message, recipients


def _names_recipient(fields: Headers) -> bool:
    return any(field(fields, name) for name in _RECIPIENT_FIELDS)


def _split(fields: Headers) -> list[Headers]:
    """Split a block in which the blank lines between recipients were lost."""
    starts = [number for number, (name, _) in enumerate(fields) if name == "final-recipient"]
    if len(starts) < 2:  # noqa: PLR2004 - nothing to split
        return [fields]
    ends = [*starts[1:], len(fields)]
    head = fields[: starts[0]]
    return [
        (head if number == 0 else ()) + fields[start:end]
        for number, (start, end) in enumerate(zip(starts, ends, strict=True))
    ]


def seen_in(text: str) -> list[Seen]:
    """Return what a report says of each recipient, each recipient once: the most final report of it."""
    best: dict[str, Seen] = {}
    for fields in groups(text)[1]:
        seen = _seen(fields)
        key = seen.recipient.lower()
        known = best.get(key)
        if known is None or _weight(seen) > _weight(known):
            best[key] = seen
    return list(best.values())


def _weight(seen: Seen) -> tuple[int, bool]:
    action = action_of(seen.action, seen.status)
    return (_FINALITY[action] if action else 0, bool(seen.diagnostic))


def _seen(fields: Headers) -> Seen:
    diagnostic = field(fields, "diagnostic-code")
    kind, words = typed(diagnostic)
    told = field(fields, "status")
    status = _STATUS.search(told)
    code = _CODE.match(told)
    return Seen(
        recipient=_recipient(fields),
        action=field(fields, "action"),
        status=status[1] if status else "",
        diagnostic=words if kind in ("smtp", "x-postfix", "x-unix", "x-local") else diagnostic,
        remote_mta=typed(field(fields, "remote-mta"))[1],
        reply_code=int(code[1]) if code else None,
    )


def _recipient(fields: Headers) -> str:
    """Return the first address that is one; foreign forms (X.400, LOCAL) only where there is no other."""
    first = ""
    for name in _RECIPIENT_FIELDS:
        value = field(fields, name)
        found = mailbox(xtext(value) if name == "original-recipient" else value)
        if is_address(found):
            return found
        first = first or found
    return first


def is_challenge(seen: Seen) -> bool:
    """Whether a report is a challenge to the sender in a report's dress: says nothing of the delivery."""
    words = seen.diagnostic.lower()
    return any(phrase in words for phrase in _CHALLENGES)


def envelope_id(part: Part) -> str:
    """Return the Original-Envelope-Id of a report (RFC 3464, 2.2.1), "" where it has none."""
    return xtext(field(groups(part.text(_MAX_HEAD))[0], "original-envelope-id"))
