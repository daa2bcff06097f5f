"""HTML answers: a page in the frame that all pages share, and a part of one.

Rule: whatever a template needs beyond the page's own facts is put in here: who is logged in, the navigation,
addresses, the token of its forms, the time.
"""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from aiohttp import web

from report.asked import Asked, NavItem
from report.forms import FIELD, token_of
from report.page import render

NAV: list[NavItem] = []
"""The navigation of all pages, as their modules registered it."""


def page(asked: Asked, template: str, facts: Mapping[str, Any], *, status: HTTPStatus = HTTPStatus.OK) -> web.Response:
    """Return a page as an answer."""
    return web.Response(status=status, text=fragment(asked, template, facts), content_type="text/html")


def fragment(asked: Asked, template: str, facts: Mapping[str, Any]) -> str:
    """Return a template's HTML with what all templates may ask for."""
    version = asked.desk.static.version
    shared: dict[str, Any] = {
        "asked": asked,
        "visitor": asked.visitor,
        "nav": [item for item in NAV if asked.visitor is not None and asked.visitor.may(item.needs)],
        "here": asked.request.path.removeprefix(asked.desk.base.path),
        "url": asked.url,
        "static": lambda name: asked.url(f"/static/{version}/{name}"),
        "form_field": FIELD,
        "form_token": token_of(asked.key),
        "now_ms": asked.desk.clock_ms(),
        "zone": None,
    }
    return render(template, **(shared | dict(facts)))


def see_other(asked: Asked, path: str) -> web.Response:
    """Return the answer to a form that was taken: load `path` (of ours, with its query) next."""
    return web.Response(status=HTTPStatus.SEE_OTHER, headers={"Location": asked.url(path)})
