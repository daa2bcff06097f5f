"""The pages' templates, and what they can say: texts, times, numbers.

Rules: no clock, no store, no network; every text is escaped by the template engine, and shown, never obeyed.
"""

from typing import Any, Final

from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape

from report.query import slug
from report.words import browser, count, dialled, full_time, part_of, percent, rfc3339, short, short_time, size, span
from storage.reason import plain
from storage.status import Status

_pages: Final = Environment(
    loader=PackageLoader("report"),
    autoescape=select_autoescape(),
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
_pages.filters.update(
    plain=plain,
    number=lambda value: f"{value:,}",
    size=size,
    span=span,
    rfc3339=rfc3339,
    slug=slug,
    percent=percent,
    part_of=part_of,
    short=short,
    dialled=dialled,
    browser=browser,
    first_word=lambda text: text.partition(" ")[0],
)
_pages.globals.update(count=count, Status=Status, full_time=full_time, short_time=short_time)


def render(template: str, **facts: Any) -> str:
    """Return a template's HTML; a fact that it asks for and is not given raises."""
    return _pages.get_template(template).render(**facts)
