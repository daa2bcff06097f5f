"""Who a browser or a program is: cookies, sessions, API tokens.

Rules: a session's secret is in its cookie alone, the store has its hash; a log-in makes a new secret always, so
that nobody can prepare one for somebody else; a session ends after some time without use, and after its
lifetime anyway.
"""

import secrets
from typing import Final

from aiohttp import hdrs, web

from report.asked import Asked
from report.desk import Desk
from storage.access import SCOPES, TOKEN, ApiToken, Session, Visitor, hashed
from storage.model import User

_SECRET_BYTES: Final = 32
_MOST_COOKIE_CHARS: Final = 100
# What was used lately is not written down again: a page with live updates would write all the time.
_SEEN_EVERY_MS: Final = 300_000
_BEARER: Final = "bearer "


def cookie_name(asked: Asked) -> str:
    """Return the session cookie's name; the prefixes are promises that browsers hold (RFC 6265bis, 4.1.3)."""
    if not asked.secure:
        return "telltale"
    return "__Secure-telltale" if asked.desk.base.path else "__Host-telltale"


def key_of(asked: Asked) -> str:
    """Return the secret in the browser's cookie; "" where there is none that could be ours."""
    key = asked.request.cookies.get(cookie_name(asked), "")
    return key if len(key) <= _MOST_COOKIE_CHARS and key.isascii() else ""


async def visitor_of(asked: Asked, *, noted: bool = True) -> Visitor | None:
    """Return who asks, by API token or by session; None: nobody that we know.

    `noted`: that is use, which keeps a session from its end; a page that follows the log by itself is none.
    """
    given = asked.request.headers.get(hdrs.AUTHORIZATION, "")
    if given.lower().startswith(_BEARER):
        return await _by_token(asked.desk, given[len(_BEARER) :].strip())
    return await _by_session(asked.desk, asked.key, noted=noted) if asked.key else None


async def _by_token(desk: Desk, text: str) -> Visitor | None:
    token = await desk.reader.token(hashed(text)) if TOKEN.fullmatch(text) else None
    now_ms = desk.clock_ms()
    if token is None or (token.expires_ms is not None and token.expires_ms <= now_ms):
        return None
    user = await desk.reader.user(token.user)
    if user is None:
        return None
    await _note_token(desk, token, now_ms)
    return Visitor(user.name, user.role, token.scopes & SCOPES[user.role])


async def _note_token(desk: Desk, token: ApiToken, now_ms: int) -> None:
    if now_ms - (token.used_ms or 0) >= _SEEN_EVERY_MS:
        await desk.store.see_token(token.hash, now_ms)


async def _by_session(desk: Desk, key: str, *, noted: bool) -> Visitor | None:
    session = await desk.reader.session(hashed(key))
    now_ms = desk.clock_ms()
    if session is None or not _lives(desk, session, now_ms):
        return None
    user = await desk.reader.user(session.user)
    if user is None:
        return None
    if noted and now_ms - session.seen_ms >= _SEEN_EVERY_MS:
        await desk.store.see_session(session.hash, now_ms)
    return Visitor(user.name, user.role, SCOPES[user.role], session)


def _lives(desk: Desk, session: Session, now_ms: int) -> bool:
    at = desk.settings
    idle_ms, old_ms = now_ms - session.seen_ms, now_ms - session.made_ms
    return idle_ms < at.session_idle * 1000 and old_ms < at.session_lifetime * 1000


async def begin(asked: Asked, user: User, answer: web.StreamResponse) -> bool:
    """Log `user` in: end the session that the browser had, make a new one, and put its secret into `answer`.

    False where the password that `user` has proven is not that user's any more.
    """
    desk = asked.desk
    if asked.visitor is not None and asked.visitor.session is not None:
        await desk.store.end_session(asked.visitor.session.hash)
    now_ms = desk.clock_ms()
    secret = secrets.token_urlsafe(_SECRET_BYTES)
    begun = await desk.store.begin_session(
        Session(hashed(secret), user.name, now_ms, now_ms, asked.client, asked.agent),
        user.password_hash,
        made_before_ms=now_ms - desk.settings.session_lifetime * 1000,
        seen_before_ms=now_ms - desk.settings.session_idle * 1000,
    )
    if begun:
        set_cookie(asked, answer, secret, max_age=desk.settings.session_lifetime)
    return begun


def set_cookie(asked: Asked, answer: web.StreamResponse, value: str, *, max_age: int | None = None) -> None:
    """Give the browser a secret; out of reach for scripts, and for pages of others that send something here."""
    answer.set_cookie(
        cookie_name(asked),
        value,
        max_age=max_age,
        path=asked.desk.base.path or "/",
        secure=asked.secure,
        httponly=True,
        samesite="Lax",
    )


def forget_cookie(asked: Asked, answer: web.StreamResponse) -> None:
    """Take the browser's secret away."""
    answer.del_cookie(
        cookie_name(asked),
        path=asked.desk.base.path or "/",
        secure=asked.secure,
        httponly=True,
        samesite="Lax",
    )


def new_key() -> str:
    """Return a secret for the forms of a browser without a session."""
    return secrets.token_urlsafe(_SECRET_BYTES)
