"""Forms that change something: who sent them, and what they say.

Rules: a form counts only with the token of the cookie that it was made for, and only from a page of ours: the
browser itself says where it comes from (Sec-Fetch-Site, Origin). Bounded in bytes.
"""

import asyncio
import hmac
from collections.abc import Mapping
from http import HTTPStatus
from typing import Final
from urllib.parse import parse_qsl, urlsplit

from aiohttp import hdrs

from report.asked import Asked
from report.problem import ProblemError

FIELD: Final = "form_token"
MAX_BYTES: Final = 64 * 1024
_READ_SECONDS: Final = 60.0
_OUR_OWN: Final = frozenset({"same-origin", "none"})


def token_of(key: str) -> str:
    """Return the token that forms made for the cookie `key` carry."""
    return hmac.digest(key.encode(), b"telltale form", "sha256").hex()


async def posted(asked: Asked) -> Mapping[str, str]:
    """Return a form's fields, each once; raises ProblemError where it is not one that we gave to this browser."""
    check_site(asked)
    if asked.request.content_type != "application/x-www-form-urlencoded":
        raise ProblemError(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "Expected a form of this server.")
    # Pages of ours are UTF-8, and so are their forms: a codec that a stranger names may cost much, or not be there.
    try:
        async with asyncio.timeout(_READ_SECONDS):
            text = (await asked.request.read()).decode("utf-8", "replace")
    except TimeoutError:
        raise ProblemError(HTTPStatus.REQUEST_TIMEOUT, f"The form took more than {_READ_SECONDS:.0f} s.") from None
    fields = dict(parse_qsl(text, keep_blank_values=True, errors="replace"))
    check_token(asked, fields.pop(FIELD, ""))
    return fields


def check_token(asked: Asked, given: str) -> None:
    """Raise ProblemError where a form's token is not that of the browser's cookie."""
    if not asked.key or not hmac.compare_digest(given.encode("utf-8", "replace"), token_of(asked.key).encode()):
        detail = "This form was made for another session: go back, load the page anew, and send it again."
        raise ProblemError(HTTPStatus.FORBIDDEN, detail)


def check_site(asked: Asked) -> None:
    """Raise ProblemError where a form comes from a page of another site."""
    headers = asked.request.headers
    site = headers.get("Sec-Fetch-Site")
    origin = headers.get(hdrs.ORIGIN)
    if site is not None:
        foreign = site.lower() not in _OUR_OWN
    else:
        foreign = origin is not None and _netloc(origin) not in _our_names(asked)
    if foreign:
        raise ProblemError(HTTPStatus.FORBIDDEN, "A form of another site changes nothing here.")


def _netloc(origin: str) -> str | None:
    try:
        return urlsplit(origin).netloc.lower()
    except ValueError:
        return None


def _our_names(asked: Asked) -> set[str]:
    return {name.lower() for name in (asked.request.host, asked.desk.base.netloc) if name}
