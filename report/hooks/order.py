"""What may be ordered about webhooks, in the browser, by the API and on the command line.

Rule: the three read and do it here, so that what one refuses all refuse; what is wrong with an order is a sentence.
"""

import json
import logging
import secrets
from collections.abc import Collection
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from difflib import get_close_matches
from typing import Final

from report.hooks.signing import SECRET_BYTES, new_secret
from report.hooks.target import wrong_url
from report.hooks.wire import Answer, Wire
from report.settings import WebhookSettings
from report.words import rfc3339
from storage.feed import EventType, Place
from storage.kv import kv
from storage.reader import Reader
from storage.store import Store
from storage.webhook_model import TEST, HookAttempt, Webhook

MOST: Final = 100
BOTH_SIGN_HOURS: Final = 24
"""How long a secret that was replaced signs along."""
_MARK: Final = "recipient."

_log = logging.getLogger("telltale.webhooks")


@dataclass(frozen=True, slots=True)
class Wrong:
    """What is wrong with an order: a sentence about a field of it ("": about all of it)."""

    field: str
    words: str


@dataclass(frozen=True, slots=True)
class Wanted:
    """An endpoint that is to be added."""

    url: str
    types: Collection[EventType]
    """None: all."""
    user: str | None
    """Whose mail alone it is told of; None: all."""


def event_type(text: str) -> EventType | str:
    """Return the type of events that a text names, as "soft-bounced" or "recipient.soft_bounced"; or what is wrong."""
    word = _MARK + text.strip().lower().replace("-", "_").removeprefix(_MARK)
    if word in set(EventType):
        return EventType(word)
    there = [one.value.removeprefix(_MARK) for one in EventType]
    near = get_close_matches(word.removeprefix(_MARK), there, n=1, cutoff=0.6)
    meant = f'did you mean "{near[0]}"?' if near else f"there are {', '.join(there)}"
    return f'"{text[:80]}" is no type of events; {meant}'


async def add(
    store: Store, reader: Reader, wanted: Wanted, actor: str, now_ms: int, settings: WebhookSettings
) -> Webhook | Wrong:
    """Add an endpoint, which is told of all that happens from now on; return it with its secret."""
    if wrong := wrong_url(wanted.url, allow_private=settings.allow_private):
        return Wrong("url", wrong)
    if wanted.user is not None and await reader.user(wanted.user) is None:
        return Wrong("user", f'there is no user "{wanted.user[:80]}"')
    if len(await reader.webhooks.all()) >= MOST:
        return Wrong("", f"there are {MOST} webhooks already, which is the most: remove one first")
    id_, secret = f"wh_{secrets.token_hex(8)}", fresh_secret()
    hook = Webhook(id_, wanted.url, secret, frozenset(wanted.types), wanted.user, now_ms, Place(0, 0))
    await store.webhooks.add(hook, actor)
    return hook


async def change(
    store: Store,
    hook: Webhook,
    url: str,
    types: Collection[EventType],
    actor: str,
    now_ms: int,
    settings: WebhookSettings,
) -> Wrong | None:
    """Let an endpoint be another URL, and be told of other types (none: all); return what is wrong with that."""
    called = []
    if url != hook.url:
        if wrong := wrong_url(url, allow_private=settings.allow_private):
            return Wrong("url", wrong)
        called.append(f"moved from {hook.url}")
    if (now := frozenset(types)) != hook.types:
        called.append(f"told of {', '.join(sorted(one.removeprefix(_MARK) for one in now)) or 'all events'}")
    changed = replace(hook, url=url, types=now)
    if called and not await store.webhooks.change(changed, now_ms, ", ".join(called), actor):
        return Wrong("", "there is no such webhook any more")
    return None


async def found(reader: Reader, id_: str, own: str | None) -> Webhook | None:
    """Return an endpoint that somebody may see (`own`: whose own ones alone; None: all); None where there is none."""
    hook = await reader.webhooks.one(id_)
    return hook if hook is not None and own in {None, hook.user} else None


async def remove(store: Store, id_: str, actor: str) -> bool:
    """Forget an endpoint with all that is known of it, but for a line in the log; False where there is none."""
    done = await store.webhooks.remove(id_)
    if done:
        _log.info(kv(event="webhook-removed", webhook=id_, by=actor))
    return done


def fresh_secret() -> str:
    """Return a secret that nobody knows."""
    return new_secret(secrets.token_bytes(SECRET_BYTES))


async def rotate(store: Store, id_: str, actor: str, now_ms: int) -> str | None:
    """Give an endpoint another secret and return it; the former one signs along for a day. None: no such endpoint."""
    secret, until_ms = fresh_secret(), now_ms + BOTH_SIGN_HOURS * 3_600_000
    return secret if await store.webhooks.rotate(id_, secret, until_ms, now_ms, actor) else None


async def replay_since(store: Store, reader: Reader, hook: Webhook, at_ms: int, actor: str, now_ms: int) -> bool:
    """Send an endpoint again what happened from a time on; what it was not sent yet is never left out by that."""
    place = min(await reader.feed.since(at_ms), hook.place)
    # No year before the first one can be written.
    return await store.webhooks.replay(hook.id, place, now_ms, rfc3339(max(at_ms, 0)) or "", actor)


async def replay_after(store: Store, hook: Webhook, place: Place, actor: str, now_ms: int) -> bool:
    """Let an endpoint go on from a cursor of the API, back or forth."""
    return await store.webhooks.replay(hook.id, place, now_ms, str(place), actor)


async def try_out(store: Store, hook: Webhook, now_ms: int, settings: WebhookSettings) -> Answer:
    """Send an endpoint an event of type "test", once, and keep what came of it with its other calls."""
    at = datetime.fromtimestamp(now_ms / 1000, UTC)
    id_ = f"evt_test_{secrets.token_hex(8)}"
    event = {
        "id": id_,
        "type": TEST,
        "timestamp": at.isoformat().replace("+00:00", "Z"),
        "data": {"webhook": hook.id},
    }
    wire = Wire(allow_private=settings.allow_private, timeout_seconds=settings.timeout, most=1)
    try:
        answer = await wire.post(hook.url, hook.secrets(now_ms), id_, json.dumps(event).encode())
    finally:
        await wire.close()
    attempt = HookAttempt(now_ms, answer.duration_ms, TEST, None, None, answer.status, answer.words, 1)
    await store.webhooks.tried(hook.id, attempt)
    return answer
