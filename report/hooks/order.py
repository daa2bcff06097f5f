"""What may be ordered about webhooks, by the API and on the command line: one made, one tried out.

Rule: what is wrong with an order is a sentence.
"""

import json
import secrets
from collections.abc import Collection
from datetime import UTC, datetime

from report.hooks.signing import SECRET_BYTES, new_secret
from report.hooks.target import wrong_url
from report.hooks.wire import Answer, Wire
from report.settings import WebhookSettings
from storage.feed import EventType, Place
from storage.webhook_model import Webhook


def made(
    url: str, types: Collection[EventType], user: str | None, now_ms: int, settings: WebhookSettings
) -> Webhook | str:
    """Return a new endpoint, or what is wrong with its URL."""
    wrong = wrong_url(url, allow_private=settings.allow_private)
    if wrong:
        return wrong
    secret = new_secret(secrets.token_bytes(SECRET_BYTES))
    return Webhook(f"wh_{secrets.token_hex(8)}", url, secret, frozenset(types), user, now_ms, Place(0, 0))


async def tried_out(hook: Webhook, now_ms: int, settings: WebhookSettings) -> Answer:
    """Send an endpoint an event of type "test", once."""
    at = datetime.fromtimestamp(now_ms / 1000, UTC)
    id_ = f"evt_test_{secrets.token_hex(8)}"
    event = {
        "id": id_,
        "type": "test",
        "timestamp": at.isoformat().replace("+00:00", "Z"),
        "data": {"webhook": hook.id},
    }
    wire = Wire(allow_private=settings.allow_private, timeout_seconds=settings.timeout, most=1)
    try:
        return await wire.post(hook.url, hook.secret, id_, json.dumps(event).encode())
    finally:
        await wire.close()
