"""Logging in and out, and the link that makes the first administrator.

Rule: whoever fails learns that it failed and no more: not whether a name is known, nor by how much time it took.
"""

import logging
import time
from dataclasses import replace
from http import HTTPStatus
from typing import Final

from aiohttp import web

from report import sessions
from report.asked import Asked, Route
from report.forms import posted
from report.html import page, see_other
from report.problem import ProblemError
from storage.access import Role, hashed
from storage.kv import kv
from storage.model import User
from storage.passwords import MAX_NAME_CHARS, MAX_PASSWORD_CHARS, Unproven

HOME: Final = "/"
"""Where people land who named no page: what they come for is how their mail fares, and then one row of it."""
_WRONG: Final = "The name or the password is not right."
_LATER: Final = "Too many tries. Wait a while, then try again."
_GONE: Final = (
    "This link is used up or too old. Restart telltale serve for a new one, or run: telltale user add NAME --admin"
)
MIN_PASSWORD_CHARS: Final = 10
"""What NIST SP 800-63B asks of a password at least is 8; ours opens everybody's mail log."""

_log = logging.getLogger("telltale.report")


async def show(asked: Asked) -> web.Response:
    """Show the form; who is logged in already goes on."""
    if asked.visitor is not None:
        return see_other(asked, _next(asked.request.query.get("next", "")))
    return await _form(asked, asked.request.query.get("next", ""))


async def _form(
    asked: Asked, next_: str, *, name: str = "", wrong: str = "", status: HTTPStatus = HTTPStatus.OK
) -> web.Response:
    facts = {"next": _next(next_), "name": name, "wrong": wrong, "no_admin": not await asked.desk.reader.has_admin()}
    return _with_key(asked, "login.html", facts, status)


def _with_key(asked: Asked, template: str, facts: dict[str, object], status: HTTPStatus) -> web.Response:
    """Return a page whose form is bound to a cookie, which a browser without a session gets with it."""
    fresh = asked if asked.key else replace(asked, key=sessions.new_key())
    answer = page(fresh, template, facts, status=status)
    if not asked.key:
        sessions.set_cookie(asked, answer, fresh.key)
    return answer


def _next(text: str) -> str:
    """Return the page of ours to go on with: never an address elsewhere."""
    return text if text.startswith("/") and not text.startswith(("//", "/\\")) and text.isprintable() else HOME


async def log_in(asked: Asked) -> web.Response:
    """Take a name and a password."""
    fields = await posted(asked)
    name, next_ = fields.get("name", "").strip(), fields.get("next", "")
    if not asked.desk.throttle.begin(name[:MAX_NAME_CHARS], asked.client, time.monotonic()):
        return await _form(asked, next_, name=name, wrong=_LATER, status=HTTPStatus.TOO_MANY_REQUESTS)
    found = await asked.desk.passwords.verify(name, fields.get("password", ""))
    if isinstance(found, Unproven):
        _log.warning(kv(event="login-failed", client=asked.client))
        busy = found is Unproven.BUSY
        status = HTTPStatus.SERVICE_UNAVAILABLE if busy else HTTPStatus.UNAUTHORIZED
        return await _form(asked, next_, name=name, wrong=_LATER if busy else _WRONG, status=status)
    asked.desk.throttle.succeeded(name[:MAX_NAME_CHARS], asked.client)
    answer = see_other(asked, _next(next_))
    if not await sessions.begin(asked, found, answer):  # the password was changed meanwhile
        return await _form(asked, next_, name=name, wrong=_WRONG, status=HTTPStatus.UNAUTHORIZED)
    _log.info(kv(event="login", user=found.name, client=asked.client))
    return answer


async def log_out(asked: Asked) -> web.Response:
    """End this session, or all of this user's."""
    fields = await posted(asked)
    who = asked.visitor
    if who is not None and who.session is not None:
        if fields.get("everywhere"):
            await asked.desk.store.end_sessions_of(who.user)
        else:
            await asked.desk.store.end_session(who.session.hash)
    answer = see_other(asked, "/login")
    sessions.forget_cookie(asked, answer)
    return answer


async def show_setup(asked: Asked) -> web.Response:
    """Show the form that makes the first administrator."""
    if not await asked.desk.reader.has_setup_link(hashed(asked.request.match_info["secret"]), asked.desk.clock_ms()):
        raise ProblemError(HTTPStatus.NOT_FOUND, _GONE)
    return _with_key(asked, "setup.html", {"name": "", "wrong": ""}, HTTPStatus.OK)


async def set_up(asked: Asked) -> web.Response:
    """Make the first administrator, and log in."""
    fields = await posted(asked)
    name, password = fields.get("name", "").strip(), fields.get("password", "")
    wrong = wrong_name(name) or wrong_password(password, fields.get("again", ""))
    link, now_ms = hashed(asked.request.match_info["secret"]), asked.desk.clock_ms()
    if wrong is None:
        if not await asked.desk.reader.has_setup_link(link, now_ms):
            raise ProblemError(HTTPStatus.NOT_FOUND, _GONE)
        user = User(name, await asked.desk.passwords.hashed(password), (), now_ms, Role.ADMIN)
        made = await asked.desk.store.use_setup_link(link, now_ms, user)
        if made is None:
            raise ProblemError(HTTPStatus.NOT_FOUND, _GONE)
        if made:
            answer = see_other(asked, HOME)
            await sessions.begin(asked, user, answer)
            _log.info(kv(event="first-admin", user=name, client=asked.client))
            return answer
        wrong = f'There is a user "{name}" already: choose another name, or run: telltale user role {name} admin'
    return _with_key(asked, "setup.html", {"name": name, "wrong": wrong}, HTTPStatus.UNPROCESSABLE_ENTITY)


def wrong_name(name: str) -> str | None:
    """Return what is wrong with a new user's name, in a sentence; None: nothing."""
    if not 0 < len(name) <= MAX_NAME_CHARS or not name.isprintable() or any(char.isspace() for char in name):
        return f"A name has 1 to {MAX_NAME_CHARS} printable characters and no blanks."
    return None


def wrong_password(password: str, again: str) -> str | None:
    """Return what is wrong with a new password, in a sentence; None: nothing."""
    if not MIN_PASSWORD_CHARS <= len(password) <= MAX_PASSWORD_CHARS or not password.isprintable():
        return f"A password has {MIN_PASSWORD_CHARS} to {MAX_PASSWORD_CHARS} printable characters."
    return None if password == again else "The two passwords differ."


ROUTES: Final = (
    Route("GET", "/login", show, None),
    Route("POST", "/login", log_in, None),
    Route("POST", "/logout", log_out, None),
    Route("GET", "/setup/{secret}", show_setup, None),
    Route("POST", "/setup/{secret}", set_up, None),
)
