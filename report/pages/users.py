"""Users and their API tokens, for administrators; and everybody's own tokens.

Rules: a token is shown once, when it is made; nobody gives away more than they may do; whoever manages users cannot
lock the last administrator out, since nobody changes the own role or removes oneself.
"""

import secrets
from http import HTTPStatus
from typing import Any, Final
from urllib.parse import quote

from aiohttp import web

from report.asked import Asked, NavItem, Route
from report.fields import Form
from report.forms import posted
from report.html import page, see_other
from report.pages.login import wrong_name, wrong_password
from report.problem import ProblemError
from storage.access import SCOPES, TOKEN_MARK, TOKEN_PREFIX_CHARS, ApiToken, Role, Scope, hashed
from storage.address import Fault, parse_domain, parse_mailbox
from storage.model import User

_DONE: Final = {
    "added": "The user is added.",
    "removed": "The user is removed, with all sessions and tokens.",
    "saved": "The changes are saved.",
    "password": "The password is changed, and all sessions of the user are ended; API tokens go on.",
    "token-removed": "What is removed opens nothing from now on.",
}


async def show_all(asked: Asked) -> web.Response:
    """Show all users, and the form that adds one."""
    return await _all(asked, {}, [])


async def _all(asked: Asked, given: dict[str, str], wrong: list[str]) -> web.Response:
    tokens = await asked.desk.reader.tokens()
    users = await asked.desk.reader.users()
    facts = {
        "users": [(user, sum(token.user == user.name for token in tokens)) for user in users],
        "roles": list(Role),
        "given": given,
        "wrong": wrong,
        "done": _DONE.get(asked.request.query.get("done", "")),
    }
    return page(asked, "users.html", facts, status=HTTPStatus.UNPROCESSABLE_ENTITY if wrong else HTTPStatus.OK)


async def add(asked: Asked) -> web.Response:
    """Add a user."""
    fields = await posted(asked)
    form = Form(fields)
    name, password = fields.get("name", "").strip(), fields.get("password", "")
    form.wrong += [wrong for wrong in (wrong_name(name), wrong_password(password, password)) if wrong]
    role, senders = _role(form), _senders(form)
    if not form.wrong:
        made = User(name, await asked.desk.passwords.hashed(password), senders, asked.desk.clock_ms(), role)
        if await asked.desk.store.add_user(made):
            return see_other(asked, "/users?done=added")
        form.wrong.append(f'There is a user "{name}" already.')
    return await _all(asked, {key: value for key, value in fields.items() if key != "password"}, form.wrong)


def _role(form: Form) -> Role:
    text = form.fields.get("role", Role.SENDER.value)
    if text in set(Role):
        return Role(text)
    form.wrong.append(f"Role: a user is {', '.join(Role)}.")
    return Role.SENDER


def _senders(form: Form) -> tuple[str, ...]:
    """Return addresses and "@domain" as the store holds them."""
    found = []
    for text in form.fields.get("senders", "").replace(",", " ").split():
        meant = parse_domain(text[1:]) if text.startswith("@") else parse_mailbox(text, utf8=True)
        if isinstance(meant, Fault) or "@" not in text:
            form.wrong.append(f'"{text[:80]}" is neither an address nor "@domain".')
        else:
            found.append(f"@{meant}" if text.startswith("@") else str(meant))
    return tuple(found)


async def show(asked: Asked) -> web.Response:
    """Show a user."""
    return await _shown(asked, await _user(asked))


async def _user(asked: Asked) -> User:
    user = await asked.desk.reader.user(asked.request.match_info["name"])
    if user is None:
        raise ProblemError(HTTPStatus.NOT_FOUND, "There is no such user (any more).")
    return user


async def _shown(asked: Asked, user: User, wrong: list[str] | None = None, **more: Any) -> web.Response:
    facts = {
        "user": user,
        "roles": list(Role),
        "scopes": sorted(SCOPES[user.role]),
        "tokens": await asked.desk.reader.tokens(user.name),
        "sessions": await asked.desk.reader.sessions_of(user.name),
        "wrong": wrong or [],
        "secret": None,
        "done": _DONE.get(asked.request.query.get("done", "")),
    }
    status = HTTPStatus.UNPROCESSABLE_ENTITY if wrong else HTTPStatus.OK
    return page(asked, "user.html", facts | more, status=status)


async def save(asked: Asked) -> web.Response:
    """Give a user another role, and other addresses to send from."""
    form, user = Form(await posted(asked)), await _user(asked)
    role, senders = _role(form), _senders(form)
    if user.name == asked.who.user and role is not user.role:
        form.wrong.append("Nobody changes the own role: another administrator does.")
    if form.wrong:
        return await _shown(asked, user, form.wrong)
    await asked.desk.store.set_user(user.name, role=role, senders=senders)
    return see_other(asked, f"/users/{_quoted(user.name)}?done=saved")


async def set_password(asked: Asked) -> web.Response:
    """Give a user another password; all sessions of the user end."""
    fields, user = await posted(asked), await _user(asked)
    if user.name == asked.who.user:
        return see_other(asked, "/account")
    wrong = wrong_password(fields.get("password", ""), fields.get("again", ""))
    if wrong:
        return await _shown(asked, user, [wrong])
    await asked.desk.store.set_user(user.name, password_hash=await asked.desk.passwords.hashed(fields["password"]))
    return see_other(asked, f"/users/{_quoted(user.name)}?done=password")


async def remove(asked: Asked) -> web.Response:
    """Remove a user, with all sessions and tokens."""
    await posted(asked)
    user = await _user(asked)
    if user.name == asked.who.user:
        return await _shown(asked, user, ["Nobody removes oneself: another administrator does."])
    await asked.desk.store.remove_user(user.name)
    return see_other(asked, "/users?done=removed")


async def add_token(asked: Asked) -> web.Response:
    """Make a token for a user, and show it once."""
    fields, user = await posted(asked), await _user(asked)
    made = await new_token(asked, fields, user)
    return await _shown(asked, user, made) if isinstance(made, list) else await _shown(asked, user, secret=made)


async def new_token(asked: Asked, fields: Any, user: User) -> str | list[str]:
    """Make a token as a form says and return its secret, or what is wrong with the form."""
    form = Form(fields)
    name, lasts = form.text("name", "Name"), form.span_ms("lasts", "For")
    # What the user may not do is not given; what the maker may not do, neither.
    allowed = SCOPES[user.role] & asked.who.scopes
    scopes = frozenset(scope for scope in allowed if fields.get(scope.value))
    if not name:
        form.wrong.append("Name: say what the token is for.")
    if not scopes:
        form.wrong.append("Scopes: choose one at least.")
    if form.wrong:
        return form.wrong
    now_ms = asked.desk.clock_ms()
    secret = TOKEN_MARK + secrets.token_urlsafe(30)
    ends = None if lasts is None else now_ms + lasts
    token = ApiToken(hashed(secret), secret[:TOKEN_PREFIX_CHARS], user.name, name, scopes, now_ms, ends)
    return secret if await asked.desk.store.add_token(token) else ["There is no such user any more."]


async def remove_token(asked: Asked) -> web.Response:
    """Remove a token of a user, or all."""
    fields, user = await posted(asked), await _user(asked)
    await drop_token(asked, user.name, fields)
    return see_other(asked, f"/users/{_quoted(user.name)}?done=token-removed")


async def drop_token(asked: Asked, user: str, fields: Any) -> None:
    """Remove a token by its first characters, where it is the user's; or all that the user has."""
    prefix = fields.get("prefix", "")
    if fields.get("all"):
        await asked.desk.store.remove_tokens_of(user)
        return
    if prefix not in [token.prefix for token in await asked.desk.reader.tokens(user)]:
        raise ProblemError(HTTPStatus.NOT_FOUND, "There is no such token (any more).")
    await asked.desk.store.remove_token(prefix)


def _quoted(name: str) -> str:
    return quote(name, safe="")


NAV: Final = (NavItem("/users", "Users", Scope.USERS),)
ROUTES: Final = (
    Route("GET", "/users", show_all, Scope.USERS),
    Route("POST", "/users", add, Scope.USERS),
    Route("GET", "/users/{name}", show, Scope.USERS),
    Route("POST", "/users/{name}", save, Scope.USERS),
    Route("POST", "/users/{name}/password", set_password, Scope.USERS),
    Route("POST", "/users/{name}/remove", remove, Scope.USERS),
    Route("POST", "/users/{name}/tokens", add_token, Scope.USERS),
    Route("POST", "/users/{name}/tokens/remove", remove_token, Scope.USERS),
)
