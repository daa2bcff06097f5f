"""Where a page of unsubscriptions begins, as a word for addresses of pages and answers.

Rule: pure; a word that is none of ours is None.
"""

import json
from base64 import urlsafe_b64decode, urlsafe_b64encode

from storage.people import Unsubscription


def mark_of(was: Unsubscription) -> str:
    """Return the word of a page that goes on after an unsubscription."""
    text = json.dumps([was.at_ms, was.address, was.type], ensure_ascii=False)
    return urlsafe_b64encode(text.encode()).decode().rstrip("=")


def marked(word: str) -> Unsubscription | None:
    """Return the unsubscription after which a page goes on; None where the word is none of ours."""
    try:
        found = json.loads(urlsafe_b64decode(word + "=" * (-len(word) % 4)).decode())
    except (ValueError, RecursionError):
        return None
    match found:
        case [int(at_ms), str(address), str(type_)] if abs(at_ms) < 1 << 62:
            return Unsubscription(address, type_, at_ms, "")
    return None
