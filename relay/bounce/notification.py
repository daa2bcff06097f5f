"""Bounces as Amazon SES tells them through SNS: JSON in a mail's text.

Rule: the JSON reader of the standard library meets bounded text only.
"""

import json
from typing import Any, Final

from relay.bounce.reduce import Seen
from relay.bounce.text import enhanced

MAX_JSON: Final = 64 * 1024
_NAMES: Final = ('"bouncedRecipients"', '"complainedRecipients"', '"smtpResponse"')


def notification(text: str) -> tuple[bool, list[Seen]] | None:
    """Return (whether it is a complaint, what is said of each recipient); None where the text is no notification."""
    start = text.find('{"')
    if start < 0 or not any(name in text for name in _NAMES):
        return None
    try:
        whole, _ = json.JSONDecoder(strict=False).raw_decode(text[:MAX_JSON], start)
    except (ValueError, RecursionError):
        return None
    complaint = _object(whole, "complaint")
    if complaint:
        return True, [Seen(one["emailAddress"]) for one in _recipients(complaint, "complainedRecipients")]
    delivery = _object(whole, "delivery")
    if delivery:
        named = [one for one in delivery.get("recipients") or () if isinstance(one, str)]
        words = _text(delivery, "smtpResponse")
        return False, [Seen(address, "delivered", enhanced(words), words) for address in named]
    bounce = _object(whole, "bounce")
    return False, [_seen(one, bounce) for one in _recipients(bounce, "bouncedRecipients")]


def _seen(recipient: Any, bounce: Any) -> Seen:
    transient = _text(bounce, "bounceType").lower() == "transient"
    return Seen(
        recipient=_text(recipient, "emailAddress"),
        action=_text(recipient, "action") or ("delayed" if transient else "failed"),
        status=_text(recipient, "status"),
        diagnostic=_text(recipient, "diagnosticCode").removeprefix("smtp;").strip(),
    )


def _object(value: Any, key: str) -> dict[str, Any]:
    found = value.get(key) if isinstance(value, dict) else None
    return found if isinstance(found, dict) else {}


def _recipients(value: dict[str, Any], key: str) -> list[dict[str, Any]]:
    found = value.get(key)
    return [one for one in found if _text(one, "emailAddress")] if isinstance(found, list) else []


def _text(value: Any, key: str) -> str:
    found = value.get(key) if isinstance(value, dict) else None
    return found if isinstance(found, str) else ""
