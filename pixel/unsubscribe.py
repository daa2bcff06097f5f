"""Unsubscribing over HTTP: a page for people, and the one click of RFC 8058 for their mail programs.

Rules: a GET changes nothing, since scanners and previews follow links; a POST is answered once what it asked for is
stored. A POST without a known wish is the one click (RFC 8058, 3.2: the request may carry no more than that).
"""

import asyncio
import logging
from collections.abc import Callable
from typing import Final
from urllib.parse import parse_qs

from aiohttp import hdrs, web

from pixel.answer import Answer
from pixel.unsubscribe_page import TROUBLE, UNKNOWN, Wish, page_of
from storage.broadcast_model import Subscription
from storage.kv import kv
from storage.model import LogFilter
from storage.people import ALL_TYPES, BY_LINK, Unsubscription
from storage.reader import Reader
from storage.store import Store
from storage.unsubscribe_link import Link, UnsubscribeBox

_BODY_BYTES: Final = 4096
_BODY_SECONDS: Final = 10.0
# Copies that wait for one address; more is nothing that happens.
_MOST_WAITING: Final = 2000

_log = logging.getLogger("telltale.pixel")


class UnsubscribePages:
    """Answers requests under the prefix of these pages."""

    def __init__(self, tokens: UnsubscribeBox, store: Store, reader: Reader, clock_ms: Callable[[], int]) -> None:
        """Take the box of these tokens, the store, and the time in milliseconds since the epoch."""
        self._tokens = tokens
        self._store = store
        self._reader = reader
        self._clock_ms = clock_ms

    async def answer(self, token: str, request: web.BaseRequest) -> Answer:
        """Answer a request for the page of a token."""
        link = self._tokens.open(token)
        if link is None:
            return UNKNOWN
        try:
            return await self._answer(link, request)
        except Exception as error:  # noqa: BLE001 - whatever the store's trouble is, the person is told to come again
            _log.error(kv(event="not-unsubscribed", reason=f"{type(error).__name__}: {error}"))
            return TROUBLE

    async def _answer(self, link: Link, request: web.BaseRequest) -> Answer:
        now = await self._now(link)
        if now is None:
            return UNKNOWN
        if request.method == hdrs.METH_POST:
            await self._grant(now, await _wish(request))
            now = await self._now(link) or now
        return page_of(now)

    async def _now(self, link: Link) -> Subscription | None:
        """Return how things are: by the log, or by what the link says where the log has forgotten its copy."""
        found = await self._reader.broadcasts.subscription(link.recipient_id)
        if found is not None or not link.type:
            return found
        return Subscription(
            link.recipient_id, link.address, link.type, "", *await self._reader.broadcasts.left(link.address)
        )

    async def _grant(self, now: Subscription, wish: Wish) -> None:
        type_ = ALL_TYPES if wish in {Wish.ALL, Wish.UNDO_ALL} else now.type
        if wish in {Wish.UNDO_TYPE, Wish.UNDO_ALL}:
            if type_ not in now.held:
                await self._store.broadcasts.undo_unsubscribe(now.address, type_)
            return
        left = Unsubscription(now.address, type_, self._clock_ms(), BY_LINK, now.recipient_id)
        await self._store.contacts.unsubscribe([left])
        # Asked for only now: what is accepted from here on is decided on with the unsubscription in the store.
        waiting = await self._reader.log(LogFilter(recipient=now.address, pending_only=True), limit=_MOST_WAITING)
        ids = [row.recipient_id for row in waiting]
        await self._store.broadcasts.withdraw(now.address, type_, ids, self._clock_ms())


async def _wish(request: web.BaseRequest) -> Wish:
    """Read a form; whatever it is not, is the one click."""
    if request.content_type != "application/x-www-form-urlencoded":
        return Wish.TYPE
    body = b""
    async with asyncio.timeout(_BODY_SECONDS):
        while len(body) < _BODY_BYTES and (piece := await request.content.read(_BODY_BYTES - len(body))):
            body += piece
    said = parse_qs(body.decode("latin-1")).get("wish", [""])[0]
    return Wish(said) if said in set(Wish) else Wish.TYPE
