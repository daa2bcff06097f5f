"""Looking at pages as axe does: on a desktop and a telephone, in light and dark."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

SIZES = ((1280, 860), (390, 844))


def looked_at(page: "Page", axe: str, where: str) -> list[str]:
    """Return what axe finds on a page, of whatever impact, with all that is folded open, and whether it is too wide.

    What a frame holds is the mail's sender's; it runs no scripts, so axe cannot look into it either.
    """
    page.evaluate("for (const one of document.querySelectorAll('details:is(.more, .sure)')) one.open = true")
    page.evaluate(axe)
    found = page.evaluate("axe.run({exclude: ['iframe']})")["violations"]
    fits = page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    told = [f"{where}: {one['impact']}, {one['id']}: {one['nodes'][0]['html']}" for one in found]
    return told if fits else [*told, f"{where}: too wide"]


def findings(chromium: "Browser", state: Any, base: str, paths: Iterable[str], axe: str) -> list[str]:
    """Return what is found on pages for who is logged in (`state`)."""
    found: list[str] = []
    for width, height in SIZES:
        for scheme in ("light", "dark"):
            context = chromium.new_context(
                viewport={"width": width, "height": height}, color_scheme=scheme, storage_state=state, bypass_csp=True
            )
            page = context.new_page()
            for path in paths:
                page.goto(base + path)
                found += looked_at(page, axe, f"{path}, {width} wide, {scheme}")
            context.close()
    return found
