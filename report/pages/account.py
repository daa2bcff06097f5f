"""The account of who is logged in: where else that is so, another password, own API tokens.

Rule: whoever changes a password proves the old one, and ends all other sessions with it.
"""

import time
from dataclasses import replace
from http import HTTPStatus
from typing import Any, Final

from aiohttp import web

from report import sessions
from report.asked import Asked, Route
from report.forms import posted
from report.html import page, see_other
from report.pages.login import wrong_password
from report.pages.users import drop_token, new_token
from storage.access import Scope
from storage.passwords import Unproven


async def show(asked: Asked) -> web.Response:
    """Show the account."""
    return await _shown(asked)


async def _shown(asked: Asked, *, wrong: str = "", status: HTTPStatus = HTTPStatus.OK, **more: Any) -> web.Response:
    who = asked.who
    facts: dict[str, Any] = {
        "sessions": await asked.desk.reader.sessions_of(who.user),
        "tokens": await asked.desk.reader.tokens(who.user),
        "wrong": wrong,
        "changed": "changed" in asked.request.query,
        "scopes": sorted(who.scopes),
        "secret": None,
    }
    return page(asked, "account.html", facts | more, status=status)


async def change_password(asked: Asked) -> web.Response:
    """Take another password."""
    fields = await posted(asked)
    desk, who = asked.desk, asked.who
    if not desk.throttle.begin(who.user, asked.client, time.monotonic()):
        return await _shown(asked, wrong="Too many tries. Wait a while.", status=HTTPStatus.TOO_MANY_REQUESTS)
    user = await desk.passwords.verify(who.user, fields.get("old", ""))
    if isinstance(user, Unproven):
        return await _shown(asked, wrong="The present password is not right.", status=HTTPStatus.FORBIDDEN)
    desk.throttle.succeeded(who.user, asked.client)
    new = fields.get("new", "")
    wrong = wrong_password(new, fields.get("again", ""))
    if wrong:
        return await _shown(asked, wrong=wrong, status=HTTPStatus.UNPROCESSABLE_ENTITY)
    changed = replace(user, password_hash=await desk.passwords.hashed(new))
    await desk.store.set_user(who.user, password_hash=changed.password_hash)
    answer = see_other(asked, "/account?changed")
    await sessions.begin(asked, changed, answer)
    return answer


async def add_token(asked: Asked) -> web.Response:
    """Make a token that acts for who is logged in, and show it once."""
    fields = await posted(asked)
    user = await asked.desk.reader.user(asked.who.user)
    made = ["There is no such user any more."] if user is None else await new_token(asked, fields, user)
    if isinstance(made, list):
        return await _shown(asked, wrong=" ".join(made), status=HTTPStatus.UNPROCESSABLE_ENTITY)
    return await _shown(asked, secret=made)


async def remove_token(asked: Asked) -> web.Response:
    """Remove an own token, or all."""
    await drop_token(asked, asked.who.user, await posted(asked))
    return see_other(asked, "/account")


ROUTES: Final = (
    Route("GET", "/account", show, Scope.LOG_READ),
    Route("POST", "/account/password", change_password, Scope.LOG_READ),
    Route("POST", "/account/tokens", add_token, Scope.LOG_READ),
    Route("POST", "/account/tokens/remove", remove_token, Scope.LOG_READ),
)
