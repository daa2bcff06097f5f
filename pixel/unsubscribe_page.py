"""The page on which a recipient unsubscribes, as HTML.

Rule: pure; all that is not ours is escaped. Nothing is fetched from anywhere, nothing runs: it is read in any browser,
by any screen reader, and a scanner that follows links changes nothing.
"""

from enum import StrEnum
from html import escape
from http import HTTPStatus
from typing import Final

from pixel.answer import Answer
from storage.broadcast_model import Subscription
from storage.people import ALL_TYPES


class Wish(StrEnum):
    """What the page's buttons ask for."""

    TYPE = "type"
    ALL = "all"
    UNDO_TYPE = "undo-type"
    UNDO_ALL = "undo-all"


_HEADERS: Final = (
    "Content-Security-Policy: default-src 'none'; style-src 'unsafe-inline'; form-action 'self'",
    "X-Frame-Options: DENY",
    "Referrer-Policy: no-referrer",
    "X-Content-Type-Options: nosniff",
    "X-Robots-Tag: noindex",
)
_STYLE: Final = (
    ":root{color-scheme:light dark}body{font:1.1rem/1.5 system-ui,sans-serif;max-width:34rem;margin:3rem auto;"
    "padding:0 1rem;overflow-wrap:anywhere}button{font:inherit;padding:.6rem 1.2rem;margin:.3rem 0;cursor:pointer}"
)
_PAGE: Final = (
    '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
    '<meta name="viewport" content="width=device-width, initial-scale=1">\n<title>{title}</title>\n'
    "<style>{style}</style>\n</head>\n<body>\n<main>\n<h1>{title}</h1>\n{body}\n</main>\n</body>\n</html>\n"
)


def page_of(now: Subscription) -> Answer:
    """Return the page that says how things are, with a button for each thing that may be asked for."""
    if ALL_TYPES in now.left:
        told = f"{_address(now)} gets no more broadcasts from this sender, whatever their type."
        return _page("You are unsubscribed", f"<p>{told}</p>\n{_undo(now, ALL_TYPES, Wish.UNDO_ALL)}")
    if now.type in now.left:
        told = f"{_address(now)} gets no more mail of the type “{escape(now.type)}”{_from(now)}."
        buttons = _undo(now, now.type, Wish.UNDO_TYPE), _button(Wish.ALL, "Unsubscribe from all types")
        return _page("You are unsubscribed", f"<p>{told}</p>\n{buttons[0]}\n{buttons[1]}")
    asked = f"Shall {_address(now)} get no more mail of the type “{escape(now.type)}”{_from(now)}?"
    buttons = _button(Wish.TYPE, "Unsubscribe"), _button(Wish.ALL, "Unsubscribe from all types")
    return _page("Unsubscribe", f"<p>{asked}</p>\n{buttons[0]}\n{buttons[1]}")


def _undo(now: Subscription, type_: str, wish: Wish) -> str:
    return "" if type_ in now.held else _button(wish, "Undo")


def _address(now: Subscription) -> str:
    return f"<strong>{escape(now.address)}</strong>"


def _from(now: Subscription) -> str:
    return f" from {escape(now.sender)}" if now.sender else ""


def _button(wish: Wish, label: str) -> str:
    return f'<form method="post"><button name="wish" value="{wish}">{label}</button></form>'


def _page(title: str, body: str, status: HTTPStatus = HTTPStatus.OK) -> Answer:
    content = _PAGE.format(title=title, style=_STYLE, body=body).encode("utf-8")
    return Answer(status, "text/html; charset=utf-8", content, headers=_HEADERS)


UNKNOWN: Final = _page(
    "This link is not known",
    "<p>It is incomplete, or the message that it was in is too old. Please answer that message instead.</p>",
    HTTPStatus.NOT_FOUND,
)
TROUBLE: Final = _page(
    "This did not work",
    "<p>Nothing was changed. Please try again in some minutes.</p>",
    HTTPStatus.SERVICE_UNAVAILABLE,
)
