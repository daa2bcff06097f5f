"""From what a detector saw of one recipient to a finding: the one way for all detectors.

Rule: finality before reason. A report is soft only where the action or the wording says that tries go
on; the digit 4 alone says nothing of that. A specific code beats x.0.0.
"""

import re
from dataclasses import dataclass
from typing import Final

from relay.bounce.category import Category, Verdict, verdict_of
from relay.bounce.classify import classify
from relay.bounce.finding import Action, Finding
from relay.bounce.text import clean, enhanced, reply_code, vague

# Notices quote the message's subject; what is said of it is not said of the content.
_LABEL: Final = re.compile(r"\bsubject\s?:", re.IGNORECASE)
_ACTIONS: Final = {
    "failed": Action.FAILED,
    "failure": Action.FAILED,
    "fail": Action.FAILED,
    "error": Action.FAILED,
    "expired": Action.FAILED,  # the reporter's queue time ran out: final
    "undeliverable": Action.FAILED,
    "delayed": Action.DELAYED,
    "delay": Action.DELAYED,
    "deferred": Action.DELAYED,
    "delivered": Action.DELIVERED,
    "deliverable": Action.DELIVERED,  # the answer to a verification
    "relayed": Action.RELAYED,
    "expanded": Action.EXPANDED,
}
# Not "4": a transient reason may be a final failure's, and wording alone says that tries go on.
_BY_CLASS: Final = {"2": Action.DELIVERED, "5": Action.FAILED}
_SUCCESSES: Final = (Action.DELIVERED, Action.RELAYED, Action.EXPANDED)


@dataclass(frozen=True, slots=True)
class Seen:
    """What a detector saw of one recipient, in the mail's own words."""

    recipient: str
    action: str = ""
    status: str = ""
    diagnostic: str = ""
    remote_mta: str = ""
    reply_code: int | None = None
    """Where it stands in a field of its own."""


def action_of(words: str, status: str) -> Action | None:
    """Return the action that an Action field names, else the one that the status' class leaves no choice about."""
    first = words.strip().lower().partition(" ")[0].strip("();,.")
    return _ACTIONS.get(first) or _BY_CLASS.get(status[:1])


def finding(seen: Seen, context: str = "") -> Finding:
    """Judge what was seen; `context` is the mail's own text, read where the report itself is vague."""
    words = clean(seen.diagnostic)
    action = action_of(seen.action, seen.status) or Action.FAILED
    status = _status(seen.status, words, action)
    if vague(status):
        told = _status(status, clean(context), action)
        status = told if not status or told[0] == status[0] else status
    classes = "2" if action in _SUCCESSES else "45"
    code = reply_code(words, classes) or seen.reply_code or reply_code(clean(context), classes)
    diagnostic = words or clean(context)
    if action in _SUCCESSES:
        return Finding(
            seen.recipient, action, status, code, diagnostic, clean(seen.remote_mta), Category.OTHER, Verdict.DELIVERED
        )
    category = classify(code or 0, status or None, _LABEL.sub(" ", words), seen.remote_mta)
    if category is Category.OTHER:
        category = classify(code or 0, status or None, _LABEL.sub(" ", f"{words} {context}"))
    return Finding(
        recipient=seen.recipient,
        action=action,
        status=status,
        reply_code=code,
        diagnostic=diagnostic,
        remote_mta=clean(seen.remote_mta),
        category=category,
        verdict=Verdict.SOFT_BOUNCED if action is Action.DELAYED else verdict_of(category),
    )


def _status(reported: str, words: str, action: Action) -> str:
    """Return the code that the remote server itself said, where that is specific, else the reporter's.

    A specific report of another class stays: "5.4.7, expired" after many a 4.3.0 is the reporter's to tell.
    """
    said = enhanced(words)
    if not said or not _fits(said, action):
        return reported
    if reported and (vague(said) or (said[0] != reported[0] and not vague(reported))):
        return reported
    return said


def _fits(status: str, action: Action) -> bool:
    """Whether a code found in words can belong to a report with this action."""
    return (status[0] == "2") == (action in _SUCCESSES)
