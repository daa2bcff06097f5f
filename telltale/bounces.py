"""Stored bounce messages and changed categories as lines: for people, and as JSON for programs.

Rule: what came from elsewhere is shown, never obeyed; an object is one line of ASCII.
"""

import json
from typing import Final

from relay.bounce.classify import VERSION
from relay.bounce.finding import Parsed
from report.words import full_time, rfc3339
from storage.model import Judged, StoredDsn, queue_id
from storage.reason import plain

_UNMATCHED: Final = "{:<13}  {:<19}  {:<9}  {:<32}  {}"
_CHANGE: Final = "{:<13}  {:<32}  {:<9}  {} → {}  ({})"
_REPLY_CHARS: Final = 100


def unmatched_title() -> str:
    """Return the line above those of `unmatched_line`."""
    return _UNMATCHED.format("ID", "Received", "Kind", "Recipient", "Says")


def unmatched_line(stored: StoredDsn, parsed: Parsed) -> str:
    """Return a bounce message that speaks of nobody as a line."""
    found = parsed.findings[0] if parsed.findings else None
    recipient = plain(found.recipient) if found else ""
    more = f" (and {len(parsed.findings) - 1} more)" if len(parsed.findings) > 1 else ""
    words = [found.verdict, f"({found.category})", found.diagnostic[:_REPLY_CHARS]] if found else ["not understood"]
    said = plain(" ".join(words))
    return _UNMATCHED.format(
        queue_id(stored.id), full_time(stored.received_ms, None)[:19], stored.kind or "", recipient + more, said
    )


def unmatched_object(stored: StoredDsn, parsed: Parsed) -> str:
    """Return a bounce message that speaks of nobody as a line of JSON."""
    made = {
        "id": queue_id(stored.id),
        "received": rfc3339(stored.received_ms),
        "sender": stored.sender,
        "kind": stored.kind,
        "size": len(stored.raw),
        "message_id": parsed.message_id or None,
        "envelope_id": parsed.envelope_id or None,
        "returned_to": parsed.returned_to or None,
        "reports": [
            {
                "recipient": found.recipient or None,
                "action": found.action,
                "status": found.status or None,
                "reply_code": found.reply_code,
                "diagnostic": found.diagnostic or None,
                "result": found.verdict,
                "category": found.category,
            }
            for found in parsed.findings
        ],
    }
    return json.dumps(made)


def change_line(fact: Judged, category: str) -> str:
    """Return a fact and the category that newer rules give it as a line."""
    said = " ".join(str(word) for word in (fact.reply.code, fact.reply.enhanced, fact.reply.text) if word)
    return _CHANGE.format(
        fact.queue_id,
        plain(fact.recipient),
        fact.kind,
        fact.category or "none",
        category,
        plain(said)[:_REPLY_CHARS],
    )


def change_object(fact: Judged, category: str) -> str:
    """Return the same as a line of JSON."""
    made = {
        "queue_id": fact.queue_id,
        "recipient": fact.recipient,
        "status": fact.status,
        "kind": fact.kind,
        "at": rfc3339(fact.at_ms),
        "code": fact.reply.code or None,
        "enhanced_status": fact.reply.enhanced,
        "reply": fact.reply.text,
        "mx": fact.mx,
        "bounce": None if fact.dsn_id is None else queue_id(fact.dsn_id),
        "from": fact.category,
        "from_rules": fact.rules,
        "to": category,
        "to_rules": VERSION,
    }
    return json.dumps(made)
